"""The table of contents: every endpoint that the server has."""

from __future__ import annotations

from rxdesk.prescriptions import endpoints as prescriptions
from rxdesk.web.endpoint import Endpoint

BASE = "/v1/management"

ENDPOINTS: tuple[Endpoint, ...] = (*prescriptions.ENDPOINTS,)
