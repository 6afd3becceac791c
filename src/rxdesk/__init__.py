"""RxDesk: a self-hosted server of the RxScale Management API."""

__version__ = "0.1.0"
