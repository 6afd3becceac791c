"""Lines of each kind that go together."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
T = 1_780_000_000  # May 2026

SHOP: Row = {"uid": "shop-1", "identifier": "one", "display_name": "One", "created_at": T}
PHARMACY: Row = {"uid": "ph-1", "display_name": "Apotheke", "created_at": T}
DOCTOR: Row = {
    "uid": "doc-1",
    "display_name": "Dr. Ärmel",
    "email": "Doc@example.com",
    "minutes_to_respond": 30,
    "can_sign_prescriptions": True,
    "active": True,
    "created_at": T,
}
DELIVERY_TYPE: Row = {"uid": "dt-1", "identifier": "standard", "display_name": "Standard", "created_at": T}
PRODUCT: Row = {
    "uid": "prod-1",
    "display_name": "Quorimexalon",
    "handle": "quor",
    "skus": [
        {
            "uid": "sku-1",
            "display_name": "Quorimexalon 5 mg",
            "pzn": "90000311",
            "shop_skus": [{"uid": "ssku-1", "shop_uid": "shop-1", "external_id": "v1"}],
            "pharmacy_skus": [
                {
                    "uid": "psku-1",
                    "pharmacy_uid": "ph-1",
                    "price": 1299,
                    "stock": 5,
                    "external_id": "E1",
                    "updated_at": T,
                }
            ],
        },
        {"uid": "sku-2", "display_name": "Quorimexalon 10 mg"},
    ],
    "shop_products": [{"uid": "sp-1", "shop_uid": "shop-1", "external_id": "p1"}],
    "created_at": T,
}
PATIENT: Row = {
    "uid": "pp-1",
    "display_name": "Max Mustermann",
    "first_name": "Max",
    "last_name": "Mustermann",
    "email": "Max@Example.com",
    "date_of_birth": "1990-01-15",
    "profile": {"phone": "+49 30 1", "nested": {"a": [1, 2.5, None]}},
    "submissions": [
        {"uid": "sub-1", "intent": "akne", "signed_at": T},
        {"uid": "sub-2", "intent": "akne"},
    ],
    "created_at": T,
}
ORDER: Row = {
    "uid": "ord-1",
    "status": "completed",
    "name": "#1001",
    "patient_profile_uid": "pp-1",
    "email": "max@example.com",
    "delivery_address": {"first_name": "Max", "city": "Köln", "additional_address": None},
    "invoice_address": {},
    "shipping_costs_amount": 490,
    "shipping_costs_currency": "EUR",
    "priority": 1,
    "shop_orders": [{"uid": "so-1", "shop_uid": "shop-1", "external_id": "EXT-1"}],
    "items": [
        {"uid": "oi-1", "sku_uid": "sku-1", "quantity": 2, "total_paid_amount": 2598},
        {"uid": "oi-2", "sku_uid": "sku-2", "quantity": 1},
    ],
    "fulfillment_orders": [
        {"uid": "fo-1", "items": [{"uid": "foi-1", "order_item_uid": "oi-1"}]},
        {"uid": "fo-2", "items": [{"uid": "foi-2", "order_item_uid": "oi-2"}]},
    ],
    "prescriptions": [
        {
            "uid": "px-1",
            "status": "signed",
            "fulfillment_order_uid": "fo-1",
            "doctor_uid": "doc-1",
            "assigned_at": T + 60,
            "decided_at": T + 660,
            "rendered": True,
            "created_at": T + 30,
            "updated_at": T + 660,
        },
        {"uid": "px-2", "status": "waiting_for_doctor"},
    ],
    "pharmacy_orders": [
        {
            "uid": "po-1",
            "status": "completed",
            "pharmacy_uid": "ph-1",
            "fulfillment_order_uid": "fo-1",
            "delivery_type_uid": "dt-1",
            "name": "#1001",
            "data": {"note": "x"},
            "external_status": "FULFILLED",
        }
    ],
    "created_at": T,
    "updated_at": T + 700,
}
VISIT: Row = {
    "uid": "q-1",
    "shop_uid": "shop-1",
    "patient_profile_uid": "pp-1",
    "preferred_doctor_uid": "doc-1",
    "visit_reason": "Folgerezept",
    "status": "waiting",
    "created_at": T,
}
TEMPLATE: Row = {
    "uid": "wpt-1",
    "shop_uid": "shop-1",
    "display_name": "Treuekarte",
    "pass_type": "storeCard",
    "fields": ["points"],
    "design": {
        "language": "de",
        "title": {"de": "Treuekarte", "en": "Loyalty card"},
        "background": "#0a3d62",
        "foreground": "#ffffff",
        "fields": [
            {
                "key": "points",
                "place": "primary",
                "label": {"de": "Punkte", "en": "Points"},
                "value": "{points}",
                "change_message": "{value} Punkte",
            }
        ],
        "links": [{"key": "help", "label": "Hilfe", "url": "https://example.org/help"}],
        "barcode": "none",
        "barcode_text": "Nr. 7",
        "message_label": "Nachricht",
    },
    "created_at": T,
}
PASS: Row = {
    "uid": "wp-1",
    "wallet_pass_template_uid": "wpt-1",
    "shop_customer_id": "cust-1",
    "patient_profile_uid": "pp-1",
    "status": "active",
    "expires_at": T + 100,
    "display_name": "Max Mustermann",
    "first_name": "Max",
    "last_name": "Mustermann",
    "field_values": {"points": 10},
    "created_at": T,
}


def world(**changes: list[Row]) -> dict[str, list[Row]]:
    """One line of each kind, with other lines where they are given."""
    return {
        "shops": [SHOP],
        "pharmacies": [PHARMACY],
        "doctors": [DOCTOR],
        "delivery_types": [DELIVERY_TYPE],
        "products": [PRODUCT],
        "patients": [PATIENT],
        "orders": [ORDER],
        "wallet_templates": [TEMPLATE],
        "wallet_passes": [PASS],
        "waiting_room": [VISIT],
        **changes,
    }
