"""The table of contents: every endpoint that the server has."""

from __future__ import annotations

from rxdesk.doctors import endpoints as doctors
from rxdesk.health import endpoints as health
from rxdesk.orders import endpoints as orders
from rxdesk.patients import endpoints as patients
from rxdesk.prescriptions import endpoints as prescriptions
from rxdesk.products import endpoints as products
from rxdesk.waiting_room import endpoints as waiting_room
from rxdesk.wallet import endpoints as wallet
from rxdesk.web.endpoint import Endpoint
from rxdesk.webhooks import endpoints as webhooks

BASE = "/v1/management"

ENDPOINTS: tuple[Endpoint, ...] = (
    *orders.ENDPOINTS,
    *prescriptions.ENDPOINTS,
    *products.ENDPOINTS,
    *doctors.ENDPOINTS,
    *patients.ENDPOINTS,
    *waiting_room.ENDPOINTS,
    *wallet.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *health.ENDPOINTS,
)
