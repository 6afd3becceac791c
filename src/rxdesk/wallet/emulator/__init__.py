"""Doubles of the wallets' servers and of a phone, on loopback, for trials and tests."""
