"""The health of the service, as a client sees it."""
