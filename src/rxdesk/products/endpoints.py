"""Routes of products."""

from __future__ import annotations

from rxdesk.permissions import Permission
from rxdesk.products import queries, schemas
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint
from rxdesk.web.paging import Paging


@endpoint(
    "GET",
    "/products",
    Permission.PRODUCT_READ,
    tag="Products",
    summary="List products",
    description="By name (case aside), then uid, with SKUs, shops and pharmacies.",
    query=Paging,
    answer=schemas.ProductPage,
    answer_example=schemas.EXAMPLE,
)
async def list_products(call: Call) -> Answer:
    """Answer with a page of products."""
    paging = call.query(Paging)
    return await call.read(queries.PRODUCTS, paging.size, paging.offset)


ENDPOINTS = (list_products,)
