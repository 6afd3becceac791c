"""RxDesk: a self-hosted server of the RxScale Management API."""
