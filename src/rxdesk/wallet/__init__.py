"""Wallet pass templates, passes and push notifications."""
