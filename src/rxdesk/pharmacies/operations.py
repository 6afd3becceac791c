"""Routes of the Operations API for pharmacies' orders and SKUs: what an organisation sees of any of its pharmacies."""

from __future__ import annotations

from rxdesk import history
from rxdesk.permissions import Permission
from rxdesk.pharmacies import examples, queries
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint
from rxdesk.web.paging import Paging


@endpoint(
    "GET",
    "/pharmacy_orders/{pharmacy_order_uid}/history",
    Permission.ORDER_READ,
    tag="Pharmacy orders",
    summary="What changed of a pharmacy order",
    description="Oldest first; what was imported has no history from before.",
    path_parameters={"pharmacy_order_uid": "Uid of the pharmacy order"},
    query=Paging,
    answer=history.ChangePage,
    answer_example=examples.ORDER_CHANGES,
)
async def get_pharmacy_order_history(call: Call) -> Answer:
    """Answer with a page of the pharmacy order's changes."""
    paging = call.query(Paging)
    return await call.read(queries.ORDER_CHANGES, call.uid("pharmacy_order_uid"), paging.size, paging.offset)


@endpoint(
    "GET",
    "/pharmacy_skus/{pharmacy_sku_uid}/history",
    Permission.PRODUCT_READ,
    tag="Pharmacy SKUs",
    summary="What changed of a pharmacy's SKU",
    description="Its price, stock and external id, oldest first; the reason of stock that a completed order took is "
    "the uid of the pharmacy order. What was imported has no history from before.",
    path_parameters={"pharmacy_sku_uid": "Uid of the pharmacy's SKU"},
    query=Paging,
    answer=history.ChangePage,
    answer_example=examples.SKU_CHANGES,
)
async def get_pharmacy_sku_history(call: Call) -> Answer:
    """Answer with a page of the pharmacy SKU's changes."""
    paging = call.query(Paging)
    return await call.read(queries.SKU_CHANGES, call.uid("pharmacy_sku_uid"), paging.size, paging.offset)


ENDPOINTS = (get_pharmacy_order_history, get_pharmacy_sku_history)
