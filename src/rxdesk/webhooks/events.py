"""The catalogue of event types: one place, from which checks, samples and documents are made.

Five types are the vendor's, the others are ours; ours are thin (uid, status, times; no personal data).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type and a sample of its data, made for a Unix time."""

    name: str
    summary: str
    sample: Callable[[int], dict[str, Any]]


_ALL = (
    EventType("pharmacy_order_created", "A pharmacy order was made", _pharmacy_order),
    EventType("pharmacy_order_updated", "A pharmacy order changed", _pharmacy_order),
    EventType("pharmacy_sku_stock_updated", "A pharmacy's stock of a SKU changed", _sku_stock),
    EventType(
        "patient_doctor_meeting_updated",
        "A meeting of patient and doctor changed",
        _thin("vr-sample", "allocated"),
    ),
    EventType(
        "appointment_reminder_due", "A reminder of an appointment is due", _thin("apt-sample", "confirmed")
    ),
    EventType("order_created", "An order was made", _thin("ord-sample", "init")),
    EventType("order_updated", "An order changed", _thin("ord-sample", "waiting for doctor")),
    EventType("prescription_created", "A prescription was made", _thin("px-sample", "waiting_for_doctor")),
    EventType("prescription_updated", "A prescription changed", _thin("px-sample", "signed")),
    EventType("waiting_room_updated", "A visit in the waiting room changed", _thin("q-sample", "waiting")),
    EventType(
        "notification_subscription_disabled",
        "A subscription was disabled: its target is gone, or failed for five days",
        _thin("ns-sample", "failing"),
    ),
)
EVENT_TYPES = {event.name: event for event in _ALL}


def envelope(event_type: str, timestamp: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """Put the data of an event into the body that is delivered; `timestamp` is when it happened."""
    return {"event_type": event_type, "timestamp": timestamp, "payload_version": "1", "data": data}
