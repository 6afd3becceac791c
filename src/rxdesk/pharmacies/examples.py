"""Examples of the pharmacy's API, and of the Operations API's routes of pharmacies, as the documents show them."""

from __future__ import annotations

from rxdesk.history import Actor, Change, ChangePage
from rxdesk.pharmacies import schemas

_PHARMACY = schemas.PharmacySummary(uid="ph-xyz", display_name="City Pharmacy")

ORDER = schemas.PharmacyOrder(
    uid="po-abc123",
    status="init",
    name="#1001",
    data={},
    external_status="OPEN",
    created_at=1711899000,
    updated_at=1711899000,
    deleted_at=None,
    pharmacy=_PHARMACY,
    order=schemas.Delivery(
        uid="ord-123",
        delivery_address={
            "first_name": "Max",
            "last_name": "Mustermann",
            "street": "Hauptstr.",
            "house_number": "1",
            "zip_code": "10115",
            "city": "Berlin",
            "country": "Germany",
            "additional_address": None,
        },
        invoice_address={},
        shipping_costs_amount=490,
        shipping_costs_currency="EUR",
        priority=0,
    ),
    delivery_type=schemas.DeliveryType(uid="dt-001", display_name="Standard Shipping", identifier="standard"),
    order_items=[
        schemas.PharmacyOrderItem(
            uid="oi-789",
            amount=1,
            total_paid_amount=1299,
            sku=schemas.ItemSku(
                uid="sku-456",
                display_name="Medication X 100mg",
                pzn="12345678",
                product_uid="prod-abc123",
                product_display_name="Medication X",
                product_handle="medication-x",
            ),
            pharmacy_sku=schemas.ItemPharmacySku(uid="psku-012", external_id="EXT-001", price=1299, stock=50),
        )
    ],
    patient_data=schemas.PatientData(
        uid="pp-123",
        display_name="Max Mustermann",
        email="max@example.com",
        date_of_birth="1990-01-15",
    ),
)
ORDERS = schemas.PharmacyOrderPage(data=[ORDER], total_registries=42, total_pages=1)
STATUS = schemas.StatusChange(status="in-progress")
MOVED = schemas.ChangedOrder(
    uid="po-abc123", status="in-progress", created_at=1711899000, updated_at=1711900000
)
COMPLETED = schemas.ChangedOrder(
    uid="po-abc123", status="completed", created_at=1711899000, updated_at=1711900000
)
SKU = schemas.PharmacySku(
    uid="psku-012",
    external_id="EXT-001",
    price=1299,
    stock=50,
    pharmacy=_PHARMACY,
    sku=schemas.OfferedSku(uid="sku-456", display_name="Medication X 100mg", pzn="12345678"),
    updated_at=1711899000,
)
SKUS = schemas.PharmacySkuPage(data=[SKU], total_registries=42, total_pages=1)
PRICE = schemas.PriceChange(price=1299)
STOCK = schemas.StockChange(stock=50)
EXTERNAL_ID = schemas.ExternalIdChange(external_id="EXT-001")


def _changes(what: str, old: str, new: str, reason: str | None) -> ChangePage:
    by = Actor(kind="key", uid="key-abc123")
    change = Change(uid="chg-abc123", what=what, old=old, new=new, reason=reason, at=1711900000, actor=by)
    return ChangePage(data=[change], total_registries=1, total_pages=1)


ORDER_CHANGES = _changes("status", "init", "waiting for pharmacy", None)
SKU_CHANGES = _changes("stock", "50", "49", "po-abc123")
