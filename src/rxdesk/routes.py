"""The table of contents: every API and endpoint that the server has."""

from __future__ import annotations

from rxdesk.doctors import endpoints as doctors
from rxdesk.health import endpoints as health
from rxdesk.orders import endpoints as orders
from rxdesk.patients import endpoints as patients
from rxdesk.prescriptions import endpoints as prescriptions
from rxdesk.products import endpoints as products
from rxdesk.waiting_room import endpoints as waiting_room
from rxdesk.wallet import endpoints as wallet
from rxdesk.web.api import Api
from rxdesk.webhooks import documents
from rxdesk.webhooks import endpoints as webhooks
from rxdesk.webhooks import operations as webhook_operations

_ENDPOINTS = (
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

MANAGEMENT = Api(
    base="/v1/management",
    title="RxDesk Management API",
    description="The Management API of a telemedicine provider, served by RxDesk. Authorize with a key "
    "(`X-API-Key`); a key belongs to one organisation and carries a list of permissions.",
    document="openapi.json",
    endpoints=_ENDPOINTS,
    webhooks=documents.webhooks(),
)
OPERATIONS = Api(
    base="/v1/operations",
    title="RxDesk Operations API",
    description="What RxDesk offers beside the vendor's API: the log of events and deliveries, and sending again. "
    "Authorize with a key (`X-API-Key`) of the organisation.",
    document="openapi-operations.json",
    endpoints=(*webhook_operations.ENDPOINTS,),
)
APIS = (MANAGEMENT, OPERATIONS)
