"""Shared HTTP glue: declaration of endpoints, calls, paging, rate limits, OpenAPI."""
