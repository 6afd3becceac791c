"""Products, their SKUs, and where they are sold."""
