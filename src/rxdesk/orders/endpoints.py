"""Routes of orders."""

from __future__ import annotations

from rxdesk import history
from rxdesk.orders import commands, queries, schemas
from rxdesk.permissions import Permission
from rxdesk.prescriptions.schemas import BECAUSE_EXAMPLE, Because
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint
from rxdesk.web.paging import Paging

_ORDER_UID = {"order_uid": "Uid of the order"}


@endpoint(
    "GET",
    "/orders/{order_uid}",
    Permission.ORDER_READ,
    tag="Orders",
    summary="Look up an order",
    description="Without `prescription:read` both `prescriptions` arrays are empty.",
    path_parameters=_ORDER_UID,
    answer=schemas.Order,
    answer_example=schemas.EXAMPLE,
)
async def get_order(call: Call) -> Answer:
    """Answer with one order and its children."""
    return await call.read(queries.ORDER, call.uid("order_uid"))


@endpoint(
    "POST",
    "/orders",
    Permission.ORDER_WRITE,
    tag="Orders",
    summary="Make an order",
    description="It begins as `init`, with its positions in one fulfillment order and as many prescriptions as are "
    "wanted, each waiting for a doctor.",
    status=201,
    idempotent=True,
    body=schemas.NewOrder,
    body_example=schemas.NEW_EXAMPLE,
    answer=schemas.MadeOrder,
    answer_example=schemas.MADE_EXAMPLE,
    errors=(404,),
)
async def create_order(call: Call) -> Answer:
    """Make the order and its children."""
    return await call.write(commands.create, await call.body(schemas.NewOrder))


@endpoint(
    "POST",
    "/orders/{order_uid}/status",
    Permission.ORDER_WRITE,
    tag="Orders",
    summary="Take a step with an order",
    description="An order follows its prescriptions and pharmacy orders, so it may go on from there at once: the "
    "answer says where it stands. A step that is not allowed is a 409 whose `allowed` names those that are.",
    path_parameters=_ORDER_UID,
    idempotent=True,
    body=schemas.Move,
    body_example=schemas.MOVE_EXAMPLE,
    answer=schemas.OrderState,
    answer_example=schemas.STATE_EXAMPLE,
)
async def move_order(call: Call) -> Answer:
    """Move, and answer with where the order stands."""
    return await call.write(commands.move, call.uid("order_uid"), await call.body(schemas.Move))


@endpoint(
    "POST",
    "/orders/{order_uid}/cancel",
    Permission.ORDER_WRITE,
    tag="Orders",
    summary="Cancel an order",
    description="Its open prescriptions and pharmacy orders are cancelled with it.",
    path_parameters=_ORDER_UID,
    idempotent=True,
    body=Because,
    body_required=False,
    body_example=BECAUSE_EXAMPLE,
    answer=schemas.OrderState,
    answer_example=schemas.CANCELLED_EXAMPLE,
)
async def cancel_order(call: Call) -> Answer:
    """Cancel the order and what is open of it."""
    return await call.write(commands.cancel, call.uid("order_uid"), await call.body_if_any(Because))


@endpoint(
    "GET",
    "/orders/{order_uid}/history",
    Permission.ORDER_READ,
    tag="Orders",
    summary="What changed of an order",
    description="Oldest first; what was imported has no history from before.",
    path_parameters=_ORDER_UID,
    query=Paging,
    answer=history.ChangePage,
    answer_example=schemas.CHANGES_EXAMPLE,
)
async def get_order_history(call: Call) -> Answer:
    """Answer with a page of the order's own changes."""
    paging = call.query(Paging)
    return await call.read(queries.CHANGES, call.uid("order_uid"), paging.size, paging.offset)


ENDPOINTS = (get_order,)
OPERATIONS = (create_order, move_order, cancel_order, get_order_history)
