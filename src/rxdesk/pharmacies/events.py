"""What is told of a pharmacy's orders and stock: the payloads of their events, each read in one statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from rxdesk.access import Transaction
from rxdesk.pharmacies.queries import ORDER_DOCUMENT, SKU_DOCUMENT
from rxdesk.webhooks.outbox import emit

OrderEvent: TypeAlias = Literal["pharmacy_order_created", "pharmacy_order_updated"]

_ORDER = f"""
SELECT po.pharmacy_uid, {ORDER_DOCUMENT}::text AS body FROM pharmacy_orders po
WHERE po.organisation_id = $1 AND po.uid = $2"""

_SKUS = f"""
SELECT k.pharmacy_uid, {SKU_DOCUMENT}::text AS body FROM pharmacy_skus k
WHERE k.organisation_id = $1 AND k.uid = ANY ($2::text[]) ORDER BY k.uid"""


async def tell_order(tx: Transaction, pharmacy_order_uid: str, event_type: OrderEvent) -> None:
    """Emit an event of a pharmacy order as it now stands; to be called when the change has been written."""
    [row] = await tx.connection.fetch(_ORDER, tx.organisation_id, pharmacy_order_uid)
    emit(tx, event_type, msgspec.json.decode(row["body"]), pharmacy_uid=row["pharmacy_uid"])


async def tell_stock(tx: Transaction, previous: Mapping[str, int | None]) -> None:
    """Emit an event for each pharmacy SKU whose stock was changed; `previous` gives by uid what it was."""
    for row in await tx.connection.fetch(_SKUS, tx.organisation_id, list(previous)):
        data = msgspec.json.decode(row["body"])
        told = {
            **{name: data[name] for name in ("uid", "external_id", "price", "stock")},
            "previous_stock": previous[data["uid"]],
            **{name: data[name] for name in ("pharmacy", "sku", "updated_at")},
        }
        emit(tx, "pharmacy_sku_stock_updated", told, pharmacy_uid=row["pharmacy_uid"])
