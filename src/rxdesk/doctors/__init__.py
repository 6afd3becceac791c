"""Doctors and their statistics."""
