"""What goes into and comes out of the wallet routes (contract, section 2, routes 12 to 14)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from rxdesk.kit.text import SEEN_IN_SCHEMAS

MAX_MESSAGE = 500
MAX_PUSHES = 1000

Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
FieldValue: TypeAlias = Annotated[str, msgspec.Meta(max_length=500)] | int | None
PassStatus: TypeAlias = Literal["active", "revoked", "expired"]
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
    status: PassStatus


class NewPass(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A customer's pass of a template; there is one of each pair.

    What is left out of a change stays as it is. `field_values` are the values of the template's fields: those that are
    named are set, and null takes one away. `expires_at` in Unix seconds. The holder's names are those of the patient
    where there is one.
    """

    wallet_pass_template_uid: str
    shop_customer_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    patient_profile_uid: str | msgspec.UnsetType | None = msgspec.UNSET
    display_name: Name | msgspec.UnsetType | None = msgspec.UNSET
    first_name: Name | msgspec.UnsetType | None = msgspec.UNSET
    last_name: Name | msgspec.UnsetType | None = msgspec.UNSET
    expires_at: Annotated[int, msgspec.Meta(ge=0, le=9999999999)] | msgspec.UnsetType | None = msgspec.UNSET
    field_values: Annotated[dict[str, FieldValue], msgspec.Meta(max_length=100)] | msgspec.UnsetType = (
        msgspec.UNSET
    )

    def given(self) -> dict[str, Any]:
        """Give the members that are not left out, but for those that say which pass it is."""
        members = {name: getattr(self, name) for name in self.__struct_fields__[2:]}
        return {name: value for name, value in members.items() if value is not msgspec.UNSET}


class Links(msgspec.Struct, kw_only=True):
    """Addresses for the holder of a pass: whoever has one has the pass.

    `landing_page` shows the card and offers what suits the device. `apple_wallet` is the pass itself, null where the
    server has no certificate of Apple's. `google_wallet` leads to Google, which saves the pass; null where the server
    has no account of Google's, and for a store card without a logo.
    """

    landing_page: str
    apple_wallet: str | None
    google_wallet: str | None


class IssuedPass(Pass, kw_only=True):
    """A customer's pass with its addresses."""

    links: Links


class PassList(msgspec.Struct, kw_only=True):
    """All passes of a customer, newest first."""

    data: list[Pass]
    total: int


CheckResult: TypeAlias = Literal["valid", "revoked", "expired", "unknown"]


class Code(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the barcode of a pass holds, as a scanner read it."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class CheckedPass(msgspec.Struct, kw_only=True):
    """What a code is worth, and whose pass it is of; the rest is null where it is `unknown`.

    `display_name` is the holder's, `expires_at` in Unix seconds; each is null where the pass has none.
    """

    result: CheckResult
    wallet_pass_uid: str | None = None
    wallet_pass_template_uid: str | None = None
    shop_customer_id: str | None = None
    display_name: str | None = None
    expires_at: int | None = None


class Push(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A message for the holder of a pass; `{first_name}` and the like are filled from the holder's data."""

    wallet_pass_uid: str
    message: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=MAX_MESSAGE,
            description="A text of which something can be seen, not spaces and invisible characters alone",
            extra_json_schema={"pattern": SEEN_IN_SCHEMAS},  # `queue_pushes` looks, and knows more of them
        ),
    ]


Pushes = Annotated[list[Push], msgspec.Meta(min_length=1, max_length=MAX_PUSHES)]


class PushResult(msgspec.Struct, kw_only=True):
    """What became of one message.

    `error` is null, or `not_found`, `revoked`, `expired`, `unknown_placeholder:<name>`,
    `empty_placeholder:<name>` (nothing of its value can be seen), `too_long` (over 500 characters once filled).
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
CODE_EXAMPLE = Code(code="mdv4kx7w.9Vd0Tq3yJm5cRz1B.wX2mQp7nVr4sLt9yKb3uEg")
CHECKED_EXAMPLE = CheckedPass(
    result="valid",
    wallet_pass_uid="wp-abc123",  # noqa: S106 (a uid)
    wallet_pass_template_uid="wpt-abc123",  # noqa: S106 (a uid)
    shop_customer_id="cust-123",
    display_name="Max Mustermann",
)
NEW_PASS_EXAMPLE = NewPass(
    wallet_pass_template_uid="wpt-abc123",  # noqa: S106 (a uid)
    shop_customer_id="cust-123",
    display_name="Max Mustermann",
    first_name="Max",
    field_values={"points": 120},
)
ISSUED_EXAMPLE = IssuedPass(
    uid="wp-abc123",
    wallet_pass_template_uid="wpt-abc123",  # noqa: S106 (a uid)
    shop_customer_id="cust-123",
    status="active",
    links=Links(
        landing_page="https://passes.example/w/mdv4kx7w.9Vd0Tq3yJm5cRz1B.8kQpZ2nW4vXs6tYb0uLhEg",
        apple_wallet="https://passes.example/w/mdv4kx7w.9Vd0Tq3yJm5cRz1B.8kQpZ2nW4vXs6tYb0uLhEg/pass.pkpass",
        google_wallet="https://passes.example/w/mdv4kx7w.9Vd0Tq3yJm5cRz1B.8kQpZ2nW4vXs6tYb0uLhEg/google",
    ),
)
REVOKED_EXAMPLE = Pass(
    uid="wp-abc123",
    wallet_pass_template_uid="wpt-abc123",  # noqa: S106 (a uid)
    shop_customer_id="cust-123",
    status="revoked",
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
