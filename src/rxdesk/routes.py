"""The table of contents: every API and endpoint that the server has."""

from __future__ import annotations

from rxdesk.doctors import endpoints as doctors
from rxdesk.health import endpoints as health
from rxdesk.orders import endpoints as orders
from rxdesk.patients import endpoints as patients
from rxdesk.pharmacies import endpoints as pharmacies
from rxdesk.pharmacies import operations as pharmacy_operations
from rxdesk.prescriptions import endpoints as prescriptions
from rxdesk.products import endpoints as products
from rxdesk.waiting_room import endpoints as waiting_room
from rxdesk.waiting_room import operations as waiting_room_operations
from rxdesk.wallet import endpoints as wallet
from rxdesk.wallet import google_public as wallet_google
from rxdesk.wallet import operations as wallet_operations
from rxdesk.wallet import public as wallet_public
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
    description="What moves orders and prescriptions, what became of them, and the log of events and deliveries: "
    "an API of RxDesk's own, beside the Management API and with the same keys and rules. Authorize with a key "
    "(`X-API-Key`).",
    document="openapi-operations.json",
    endpoints=(
        *orders.OPERATIONS,
        *prescriptions.OPERATIONS,
        *pharmacy_operations.ENDPOINTS,
        *waiting_room_operations.ENDPOINTS,
        *wallet_operations.ENDPOINTS,
        *webhook_operations.ENDPOINTS,
    ),
)
PHARMACY = Api(
    base="/v1/external-pharmacy-api-v1",
    others=("/v1/external_pharmacy_api",),
    title="RxDesk External Pharmacy API",
    description="The API of a pharmacy, served by RxDesk. Authorize with a pharmacy's key (`X-API-Key`): it sees that "
    "pharmacy's own orders, stock and webhooks, and nothing else.",
    document="openapi-pharmacy.json",
    endpoints=pharmacies.ENDPOINTS,
)
APIS = (MANAGEMENT, OPERATIONS, PHARMACY)
# Served without a Swagger page: it is for phones, and there is nothing that one could try without a pass.
PUBLIC = Api(
    base="/w",
    title="RxDesk public addresses of wallet passes",
    description="What holders of passes and their devices ask, without a key. The routes of devices are those of "
    "Apple's PassKit web service. Addresses begin with `public_url`.",
    document="openapi-public.json",
    endpoints=(*wallet_public.ENDPOINTS, *wallet_google.ENDPOINTS),
)
