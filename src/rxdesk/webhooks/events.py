"""The catalogue of event types: one place, from which checks, samples and documents are made.

Five types are the vendor's, the others are ours; ours are thin (uid, status, times; no personal data).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rxdesk.permissions import Permission
from rxdesk.webhooks.payloads import PharmacyOrder, SkuStock, Thin

_ADDRESS = {
    "first_name": "Max",
    "last_name": "Mustermann",
    "street": "Hauptstr.",
    "house_number": "1",
    "zip_code": "10115",
    "city": "Berlin",
    "country": "Germany",
    "additional_address": None,
}


def _pharmacy_order(now: int) -> dict[str, Any]:
    return {
        "uid": "po-sample",
        "status": "init",
        "name": "#1001",
        "data": {},
        "external_status": "OPEN",
        "created_at": now,
        "updated_at": now,
        "deleted_at": None,
        "pharmacy": {"uid": "ph-sample", "display_name": "City Pharmacy"},
        "order": {
            "uid": "ord-sample",
            "delivery_address": _ADDRESS,
            "invoice_address": {},
            "shipping_costs_amount": 490,
            "shipping_costs_currency": "EUR",
            "priority": 0,
        },
        "delivery_type": {
            "uid": "dt-sample",
            "display_name": "Standard Shipping",
            "identifier": "standard",
        },
        "order_items": [
            {
                "uid": "oi-sample",
                "amount": 1,
                "total_paid_amount": 1299,
                "sku": {
                    "uid": "sku-sample",
                    "display_name": "Medication X 100mg",
                    "pzn": "12345678",
                    "product_uid": "prod-sample",
                    "product_display_name": "Medication X",
                    "product_handle": "medication-x",
                },
                "pharmacy_sku": {"uid": "psku-sample", "external_id": "EXT-001", "price": 1299, "stock": 50},
            }
        ],
        "patient_data": {
            "uid": "pp-sample",
            "display_name": "Max Mustermann",
            "email": "max@example.com",
            "date_of_birth": "1990-01-15",
        },
    }


def _sku_stock(now: int) -> dict[str, Any]:
    return {
        "uid": "psku-sample",
        "external_id": "EXT-001",
        "price": 1299,
        "stock": 49,
        "previous_stock": 50,
        "pharmacy": {"uid": "ph-sample", "display_name": "City Pharmacy"},
        "sku": {"uid": "sku-sample", "display_name": "Medication X 100mg", "pzn": "12345678"},
        "updated_at": now,
    }


def _thin(uid: str, status: str) -> Callable[[int], dict[str, Any]]:
    return lambda now: {"uid": uid, "status": status, "created_at": now, "updated_at": now}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """An event type: what its data looks like, and who gets all of it.

    `sample` makes an example of the data for a Unix time. A subscription gets the data whole when the key that made
    it has all of `needs`; else it is cut to uid, status and times, which is all that a `thin` type has.
    """

    name: str
    summary: str
    sample: Callable[[int], dict[str, Any]]
    payload: type[PharmacyOrder | SkuStock | Thin] = Thin
    needs: tuple[Permission, ...] = ()

    @property
    def thin(self) -> bool:
        """Whether there is nothing to cut."""
        return self.payload is Thin


_ORDER_AND_PATIENT = (Permission.ORDER_READ, Permission.PATIENT_READ)
_ALL = (
    EventType(
        name="pharmacy_order_created",
        summary="A pharmacy order was made",
        sample=_pharmacy_order,
        payload=PharmacyOrder,
        needs=_ORDER_AND_PATIENT,
    ),
    EventType(
        name="pharmacy_order_updated",
        summary="A pharmacy order changed",
        sample=_pharmacy_order,
        payload=PharmacyOrder,
        needs=_ORDER_AND_PATIENT,
    ),
    EventType(
        name="pharmacy_sku_stock_updated",
        summary="A pharmacy's stock of a SKU changed",
        sample=_sku_stock,
        payload=SkuStock,
        needs=(Permission.PRODUCT_READ,),
    ),
    EventType(
        name="patient_doctor_meeting_updated",
        summary="A meeting of patient and doctor changed",
        sample=_thin("vr-sample", "allocated"),
        needs=(Permission.WAITING_ROOM_READ,),
    ),
    EventType(
        name="appointment_reminder_due",
        summary="A reminder of an appointment is due",
        sample=_thin("apt-sample", "confirmed"),
    ),
    EventType(
        name="order_created",
        summary="An order was made",
        sample=_thin("ord-sample", "init"),
        needs=(Permission.ORDER_READ,),
    ),
    EventType(
        name="order_updated",
        summary="An order changed",
        sample=_thin("ord-sample", "waiting for doctor"),
        needs=(Permission.ORDER_READ,),
    ),
    EventType(
        name="prescription_created",
        summary="A prescription was made",
        sample=_thin("px-sample", "waiting_for_doctor"),
        needs=(Permission.PRESCRIPTION_READ,),
    ),
    EventType(
        name="prescription_updated",
        summary="A prescription changed",
        sample=_thin("px-sample", "signed"),
        needs=(Permission.PRESCRIPTION_READ,),
    ),
    EventType(
        name="waiting_room_updated",
        summary="A visit in the waiting room changed",
        sample=_thin("q-sample", "waiting"),
        needs=(Permission.WAITING_ROOM_READ,),
    ),
    EventType(
        name="notification_subscription_disabled",
        summary="A subscription was deactivated: its receiver answered 410 (`gone`), or failed for days (`failing`)",
        sample=_thin("ns-sample", "failing"),
    ),
)
EVENT_TYPES = {event.name: event for event in _ALL}


def envelope(event_type: str, timestamp: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """Put the data of an event into the body that is delivered; `timestamp` is when it happened."""
    return {"event_type": event_type, "timestamp": timestamp, "payload_version": "1", "data": data}
