"""Routes of the pharmacy's own API."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rxdesk.permissions import PharmacyPermission
from rxdesk.pharmacies import commands, examples, queries, schemas
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint
from rxdesk.web.paging import MAX_NUMBER, Paging
from rxdesk.webhooks import commands as webhook_commands
from rxdesk.webhooks import queries as webhook_queries
from rxdesk.webhooks import schemas as webhook_schemas
from rxdesk.webhooks.targets import check_header, judged

_ORDER_UID = {"pharmacy_order_uid": "Uid of the pharmacy order"}
_SKU_UID = {"pharmacy_sku_uid": "Uid of the pharmacy's SKU"}
_Seconds = Annotated[
    int, msgspec.Meta(ge=0, le=MAX_NUMBER, description="Unix seconds; the bound itself counts")
]


class OrdersWanted(Paging, kw_only=True):
    """A page of orders, of all or of those that match."""

    status: Annotated[schemas.PharmacyOrderStatus, msgspec.Meta(description="Only those in it")] | None = None
    created_at_from: _Seconds | None = None
    created_at_to: _Seconds | None = None
    updated_at_from: _Seconds | None = None
    updated_at_to: _Seconds | None = None


class SkusWanted(Paging, kw_only=True):
    """A page of SKUs, of all or of those that match."""

    external_id: Annotated[str, msgspec.Meta(description="The pharmacy's own id of the pack")] | None = None
    pzn: Annotated[str, msgspec.Meta(description="Pharmazentralnummer, 8 digits")] | None = None


@endpoint(
    "GET",
    "/pharmacy_orders/",
    PharmacyPermission.ORDERS_READ,
    tag="Pharmacy orders",
    summary="List the pharmacy's orders",
    description="Newest first.",
    query=OrdersWanted,
    answer=schemas.PharmacyOrderPage,
    answer_example=examples.ORDERS,
)
async def list_pharmacy_orders(call: Call) -> Answer:
    """Answer with a page of the pharmacy's orders."""
    wanted = call.query(OrdersWanted)
    created = (wanted.created_at_from, wanted.created_at_to)
    updated = (wanted.updated_at_from, wanted.updated_at_to)
    return await call.read(queries.ORDERS, wanted.size, wanted.offset, wanted.status, *created, *updated)


@endpoint(
    "GET",
    "/pharmacy_orders/{pharmacy_order_uid}",
    PharmacyPermission.ORDERS_READ,
    tag="Pharmacy orders",
    summary="Look up an order",
    path_parameters=_ORDER_UID,
    answer=schemas.PharmacyOrder,
    answer_example=examples.ORDER,
)
async def get_pharmacy_order(call: Call) -> Answer:
    """Answer with one order, as its events tell it."""
    return await call.read(queries.ORDER, call.uid("pharmacy_order_uid"))


@endpoint(
    "PATCH",
    "/pharmacy_orders/{pharmacy_order_uid}/status",
    PharmacyPermission.ORDERS_WRITE,
    tag="Pharmacy orders",
    summary="Take an order a step on",
    description="A step that the lifecycle does not know is 409 and names those that are allowed. An order is "
    "completed by `complete_order` only.",
    path_parameters=_ORDER_UID,
    body=schemas.StatusChange,
    body_example=examples.STATUS,
    answer=schemas.ChangedOrder,
    answer_example=examples.MOVED,
    errors=(409,),
)
async def set_pharmacy_order_status(call: Call) -> Answer:
    """Take a step of the lifecycle."""
    body = await call.body(schemas.StatusChange)
    return await call.write(commands.move_order, call.uid("pharmacy_order_uid"), body.status)


@endpoint(
    "PATCH",
    "/pharmacy_orders/{pharmacy_order_uid}/complete_order",
    PharmacyPermission.ORDERS_WRITE,
    tag="Pharmacy orders",
    summary="Complete an order",
    description="Takes its items from the pharmacy's stock; 409 names each SKU of which there is too little, and "
    "nothing is changed then. Stock that is null is not counted. A body has no members.",
    path_parameters=_ORDER_UID,
    body=schemas.Completion,
    body_required=False,
    body_example={},
    answer=schemas.ChangedOrder,
    answer_example=examples.COMPLETED,
    errors=(409,),
)
async def complete_pharmacy_order(call: Call) -> Answer:
    """Complete the order and take down the stock."""
    await call.body_if_any(schemas.Completion)
    return await call.write(commands.complete_order, call.uid("pharmacy_order_uid"))


@endpoint(
    "GET",
    "/pharmacy_skus/",
    PharmacyPermission.STOCK_READ,
    tag="Pharmacy SKUs",
    summary="List the pharmacy's SKUs",
    description="By the uid of the SKU.",
    query=SkusWanted,
    answer=schemas.PharmacySkuPage,
    answer_example=examples.SKUS,
)
async def list_pharmacy_skus(call: Call) -> Answer:
    """Answer with a page of the pharmacy's SKUs."""
    wanted = call.query(SkusWanted)
    return await call.read(queries.SKUS, wanted.size, wanted.offset, wanted.external_id, wanted.pzn)


@endpoint(
    "PATCH",
    "/pharmacy_skus/{pharmacy_sku_uid}",
    PharmacyPermission.PHARMACY_SKU_WRITE,
    tag="Pharmacy SKUs",
    summary="Set a price",
    path_parameters=_SKU_UID,
    body=schemas.PriceChange,
    body_example=examples.PRICE,
    answer=schemas.PharmacySku,
    answer_example=examples.SKU,
)
async def set_pharmacy_sku_price(call: Call) -> Answer:
    """Set the price and answer with the SKU."""
    body = await call.body(schemas.PriceChange)
    return await call.write(commands.change_sku, call.uid("pharmacy_sku_uid"), "price", body.price)


@endpoint(
    "PATCH",
    "/pharmacy_skus/{pharmacy_sku_uid}/stock",
    PharmacyPermission.STOCK_WRITE,
    tag="Pharmacy SKUs",
    summary="Set the stock",
    path_parameters=_SKU_UID,
    body=schemas.StockChange,
    body_example=examples.STOCK,
    answer=schemas.PharmacySku,
    answer_example=examples.SKU,
)
async def set_pharmacy_sku_stock(call: Call) -> Answer:
    """Set the stock and answer with the SKU."""
    body = await call.body(schemas.StockChange)
    return await call.write(commands.change_sku, call.uid("pharmacy_sku_uid"), "stock", body.stock)


@endpoint(
    "PATCH",
    "/pharmacy_skus/{pharmacy_sku_uid}/external_id",
    PharmacyPermission.PHARMACY_SKU_WRITE,
    tag="Pharmacy SKUs",
    summary="Set the pharmacy's own id",
    path_parameters=_SKU_UID,
    body=schemas.ExternalIdChange,
    body_example=examples.EXTERNAL_ID,
    answer=schemas.PharmacySku,
    answer_example=examples.SKU,
)
async def set_pharmacy_sku_external_id(call: Call) -> Answer:
    """Set the pharmacy's id of the pack and answer with the SKU."""
    body = await call.body(schemas.ExternalIdChange)
    return await call.write(
        commands.change_sku, call.uid("pharmacy_sku_uid"), "external_id", body.external_id
    )


@endpoint(
    "GET",
    "/webhooks/",
    PharmacyPermission.WEBHOOKS_READ,
    tag="Webhooks",
    summary="List the pharmacy's active subscriptions",
    answer=list[webhook_schemas.Subscription],
    answer_example=[webhook_schemas.SUBSCRIPTION_EXAMPLE],
)
async def list_webhooks(call: Call) -> Answer:
    """Answer with a bare array of the pharmacy's active subscriptions."""
    return await call.read(webhook_queries.SUBSCRIPTIONS_OF_PHARMACY)


@endpoint(
    "POST",
    "/webhooks/",
    PharmacyPermission.WEBHOOKS_WRITE,
    tag="Webhooks",
    summary="Subscribe to an event type",
    description="It hears of the pharmacy's own orders and stock. The signing secret is shown this once. A "
    "subscription made by a key without `orders_read`, or without `stock_read` for stock, gets `data` cut to uid, "
    "status and times.",
    status=201,
    idempotent=True,
    body=webhook_schemas.NewPharmacySubscription,
    body_example=webhook_schemas.NEW_PHARMACY_EXAMPLE,
    answer=webhook_schemas.CreatedSubscription,
    answer_example=webhook_schemas.CREATED_EXAMPLE,
    errors=(409, 422),
)
async def create_webhook(call: Call) -> Answer:
    """Create a subscription of the pharmacy, whose target the address policy allows."""
    body = await call.body(webhook_schemas.NewPharmacySubscription)
    check_header(body.header_key, body.header_value)
    if (kept := await call.kept()) is not None:
        return kept
    target = await judged(call.services.egress, "target", body.target)
    return await call.write(webhook_commands.create_subscription, body, target)


@endpoint(
    "DELETE",
    "/webhooks/{subscription_uid}",
    PharmacyPermission.WEBHOOKS_WRITE,
    tag="Webhooks",
    summary="Remove a subscription",
    path_parameters={"subscription_uid": "Uid of the subscription"},
    status=204,
)
async def remove_webhook(call: Call) -> Answer:
    """Remove an active subscription; its deliveries stop, its log stays."""
    return await call.write(webhook_commands.remove_of_pharmacy, call.uid("subscription_uid"))


ENDPOINTS = (
    list_pharmacy_orders,
    get_pharmacy_order,
    set_pharmacy_order_status,
    complete_pharmacy_order,
    list_pharmacy_skus,
    set_pharmacy_sku_price,
    set_pharmacy_sku_stock,
    set_pharmacy_sku_external_id,
    list_webhooks,
    create_webhook,
    remove_webhook,
)
