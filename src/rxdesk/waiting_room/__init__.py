"""The virtual waiting room."""
