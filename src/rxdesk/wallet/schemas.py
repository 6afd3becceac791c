"""What goes into and comes out of the wallet routes (contract, section 2, routes 12 to 14)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

MAX_MESSAGE = 500
MAX_PUSHES = 1000

ShopIdentifier = Annotated[str, msgspec.Meta(min_length=1, description="Identifier of the shop")]


class TemplateSearch(msgspec.Struct, kw_only=True):
    """The shop whose templates are listed."""

    shop_identifier: ShopIdentifier


class PassSearch(msgspec.Struct, kw_only=True):
    """The customer of a shop whose passes are listed."""

    shop_customer_id: Annotated[str, msgspec.Meta(min_length=1, description="The shop's id of the customer")]
    shop_identifier: ShopIdentifier
    wallet_pass_template_uid: (
        Annotated[str, msgspec.Meta(description="Only passes of this template, by its uid")] | None
    ) = None


class Template(msgspec.Struct, kw_only=True):
    """A template that passes are made from."""

    uid: str
    display_name: str
    pass_type: Literal["generic", "storeCard", "eventTicket", "coupon"]
    shop_identifier: str


class TemplateList(msgspec.Struct, kw_only=True):
    """All templates of a shop, by name."""

    data: list[Template]
    total: int


class Pass(msgspec.Struct, kw_only=True):
    """A customer's pass."""

    uid: str
    wallet_pass_template_uid: str
    shop_customer_id: str
    status: Literal["active", "revoked", "expired"]


class PassList(msgspec.Struct, kw_only=True):
    """All passes of a customer, newest first."""

    data: list[Pass]
    total: int


class Push(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A message for the holder of a pass; `{first_name}` and the like are filled from the holder's data."""

    wallet_pass_uid: str
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MESSAGE)]


Pushes = Annotated[list[Push], msgspec.Meta(min_length=1, max_length=MAX_PUSHES)]


class PushResult(msgspec.Struct, kw_only=True):
    """What became of one message.

    `error` is null, or `not_found`, `revoked`, `expired`, `unknown_placeholder:<name>`,
    `empty_placeholder:<name>`, `too_long` (over 500 characters once filled).
    """

    wallet_pass_uid: str
    status: Literal["queued", "failed"]
    error: str | None


class PushResults(msgspec.Struct, kw_only=True):
    """The results, in the order of the request."""

    data: list[PushResult]
    total: int


TEMPLATES_EXAMPLE = TemplateList(
    data=[
        Template(
            uid="wpt-abc123",
            display_name="Loyalty Card",
            pass_type="generic",  # noqa: S106 (a kind of pass)
            shop_identifier="my-shop",
        )
    ],
    total=1,
)
PASSES_EXAMPLE = PassList(
    data=[
        Pass(
            uid="wp-abc123",
            wallet_pass_template_uid="wpt-abc123",  # noqa: S106 (a uid)
            shop_customer_id="cust-123",
            status="active",
        )
    ],
    total=1,
)
PUSHES_EXAMPLE = [
    Push(
        wallet_pass_uid="wp-abc123",  # noqa: S106 (a uid)
        message="{first_name}, your prescription is ready",
    )
]
PUSH_RESULTS_EXAMPLE = PushResults(
    data=[
        PushResult(
            wallet_pass_uid="wp-abc123",  # noqa: S106 (a uid)
            status="queued",
            error=None,
        )
    ],
    total=1,
)
