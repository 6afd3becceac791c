"""Patients and their intents."""
