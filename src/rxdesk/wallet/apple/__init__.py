"""Apple Wallet: passes, their signatures, and pushes to the devices that hold them."""
