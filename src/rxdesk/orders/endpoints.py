"""Routes of orders."""

from __future__ import annotations

from rxdesk.orders import queries, schemas
from rxdesk.permissions import Permission
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint


@endpoint(
    "GET",
    "/orders/{order_uid}",
    Permission.ORDER_READ,
    tag="Orders",
    summary="Look up an order",
    description="Without `prescription:read` both `prescriptions` arrays are empty.",
    path_parameters={"order_uid": "Uid of the order"},
    answer=schemas.Order,
    answer_example=schemas.EXAMPLE,
)
async def get_order(call: Call) -> Answer:
    """Answer with one order and its children."""
    return await call.read(queries.ORDER, call.uid("order_uid"))


ENDPOINTS = (get_order,)
