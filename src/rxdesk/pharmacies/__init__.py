"""What pharmacies work on: their orders, their stock, and an API of their own."""
