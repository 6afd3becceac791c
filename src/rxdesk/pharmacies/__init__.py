"""Pharmacies: what they are told of and what they do."""
