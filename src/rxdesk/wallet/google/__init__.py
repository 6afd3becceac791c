"""Google Wallet: classes and objects, links that save them, the client of its API, and its callbacks."""
