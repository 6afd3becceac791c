"""The tables that an import writes, and what must hold among their rows: one description for every statement.

A staged row is `(line, i, j, uid, *columns, [created_at,] [updated_at,] deleted_at)`: the line it came from,
its place among its siblings (`j`) and its parent's place (`i`), then what is stored. Instants are staged as
Unix seconds. `kept` is a JSON object that a row keeps where a line has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rxdesk.importing.formats import Kind

Type: TypeAlias = Literal["uid", "text", "int", "bool", "seconds", "json", "date", "names", "kept"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that names a row of another table; `field` is the member of the file that holds it."""

    column: str
    table: str
    field: str
    noun: str


@dataclass(frozen=True, slots=True)
class Unique:
    """Columns that no two rows share while the condition holds for both; `{row}` in it is a row's alias."""

    columns: tuple[str, ...]
    condition: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the database.

    `path` is where its rows stand in a line, with `{i}` and `{j}` for the places; "" for the line itself.
    `parent` is the column that must never change. `root` is the staged table and column under which rows that
    are not listed any more are found (`via` another table, when the parent is not the line itself).
    """

    name: str
    noun: str
    columns: tuple[tuple[str, Type], ...]
    path: str = ""
    times: tuple[str, ...] = ("created_at", "updated_at")
    parent: str | None = None
    parent_noun: str = ""
    via: tuple[str, str] | None = None
    references: tuple[Reference, ...] = ()
    uniques: tuple[Unique, ...] = ()
    has_actor: bool = True

    @property
    def staged(self) -> str:
        """The temporary table's name."""
        return f"import_{self.name}"

    @property
    def is_child(self) -> bool:
        """Whether its rows stand inside a line and have a place there."""
        return bool(self.path)

    def field_path(self, name: str, i: int, j: int) -> str:
        """Give the dotted path of a member of one of its rows."""
        return self.path.format(i=i, j=j) + name


def _child(  # noqa: PLR0913 (a table has this many sides)
    name: str,
    noun: str,
    path: str,
    parent: str,
    parent_noun: str,
    columns: tuple[tuple[str, Type], ...],
    *,
    references: tuple[Reference, ...] = (),
    times: tuple[str, ...] = (),
    via: tuple[str, str] | None = None,
) -> Table:
    return Table(
        name,
        noun,
        ((parent, "uid"), *columns),
        path=path,
        times=times,
        parent=parent,
        parent_noun=parent_noun,
        via=via,
        references=references,
        has_actor="created_at" in times,
    )


_NOT_DELETED = "{row}.deleted_at IS NULL"
_OF_SHOP = Reference("shop_uid", "shops", "shop_uid", "shop")
_PATIENT = Reference("patient_uid", "patients", "patient_profile_uid", "patient")
_PHARMACY = Reference("pharmacy_uid", "pharmacies", "pharmacy_uid", "pharmacy")
_DOCTOR = Reference("doctor_uid", "doctors", "doctor_uid", "doctor")
_TIMES = ("created_at", "updated_at")

TABLES: dict[Kind, tuple[Table, ...]] = {
    "shops": (
        Table(
            "shops",
            "shop",
            (
                ("identifier", "text"),
                ("display_name", "text"),
                ("consultation_minutes", "int"),
                ("doctors_on_duty", "int"),
            ),
            uniques=(Unique(("identifier",), _NOT_DELETED, "identifier", "shop {uid} has this identifier"),),
        ),
    ),
    "pharmacies": (Table("pharmacies", "pharmacy", (("display_name", "text"),)),),
    "doctors": (
        Table(
            "doctors",
            "doctor",
            (
                ("display_name", "text"),
                ("sort_key", "text"),
                ("email", "text"),
                ("minutes_to_respond", "int"),
                ("can_sign_prescriptions", "bool"),
                ("active", "bool"),
            ),
        ),
    ),
    "delivery_types": (
        Table(
            "delivery_types",
            "delivery type",
            (("identifier", "text"), ("display_name", "text")),
            uniques=(
                Unique(
                    ("identifier",), _NOT_DELETED, "identifier", "delivery type {uid} has this identifier"
                ),
            ),
        ),
    ),
    "products": (
        Table("products", "product", (("display_name", "text"), ("sort_key", "text"), ("handle", "text"))),
        _child(
            "skus", "SKU", "skus.{j}.", "product_uid", "product", (("display_name", "text"), ("pzn", "text"))
        ),
        _child(
            "shop_products",
            "shop product",
            "shop_products.{j}.",
            "product_uid",
            "product",
            (("shop_uid", "uid"), ("external_id", "text")),
            references=(_OF_SHOP,),
        ),
        _child(
            "shop_skus",
            "shop SKU",
            "skus.{i}.shop_skus.{j}.",
            "sku_uid",
            "SKU",
            (("shop_uid", "uid"), ("external_id", "text")),
            references=(_OF_SHOP,),
            via=("skus", "product_uid"),
        ),
        _child(
            "pharmacy_skus",
            "pharmacy SKU",
            "skus.{i}.pharmacy_skus.{j}.",
            "sku_uid",
            "SKU",
            (("pharmacy_uid", "uid"), ("price", "int"), ("stock", "int"), ("external_id", "text")),
            references=(_PHARMACY,),
            times=("updated_at",),
            via=("skus", "product_uid"),
        ),
    ),
    "patients": (
        Table(
            "patients",
            "patient",
            (
                ("display_name", "text"),
                ("first_name", "text"),
                ("last_name", "text"),
                ("email", "text"),
                ("email_key", "text"),
                ("date_of_birth", "date"),
                ("profile", "json"),
            ),
        ),
        _child(
            "submissions",
            "submission",
            "submissions.{j}.",
            "patient_uid",
            "patient",
            (("intent", "text"), ("signed_at", "seconds")),
        ),
    ),
    "orders": (
        Table(
            "orders",
            "order",
            (
                ("status", "text"),
                ("name", "text"),
                ("patient_uid", "uid"),
                ("email", "text"),
                ("email_key", "text"),
                ("delivery_address", "json"),
                ("invoice_address", "json"),
                ("shipping_costs_amount", "int"),
                ("shipping_costs_currency", "text"),
                ("priority", "int"),
            ),
            references=(_PATIENT,),
        ),
        _child(
            "shop_orders",
            "shop order",
            "shop_orders.{j}.",
            "order_uid",
            "order",
            (("shop_uid", "uid"), ("external_id", "text")),
            references=(_OF_SHOP,),
        ),
        _child(
            "order_items",
            "order item",
            "items.{j}.",
            "order_uid",
            "order",
            (("sku_uid", "uid"), ("quantity", "int"), ("total_paid_amount", "int")),
            references=(Reference("sku_uid", "skus", "sku_uid", "SKU"),),
        ),
        _child(
            "fulfillment_orders", "fulfillment order", "fulfillment_orders.{j}.", "order_uid", "order", ()
        ),
        _child(
            "fulfillment_order_items",
            "fulfillment order item",
            "fulfillment_orders.{i}.items.{j}.",
            "order_uid",
            "order",
            (("fulfillment_order_uid", "uid"), ("order_item_uid", "uid")),
        ),
        _child(
            "prescriptions",
            "prescription",
            "prescriptions.{j}.",
            "order_uid",
            "order",
            (
                ("status", "text"),
                ("fulfillment_order_uid", "uid"),
                ("doctor_uid", "uid"),
                ("assigned_at", "seconds"),
                ("decided_at", "seconds"),
                ("rendered", "bool"),
            ),
            references=(_DOCTOR,),
            times=_TIMES,
        ),
        _child(
            "pharmacy_orders",
            "pharmacy order",
            "pharmacy_orders.{j}.",
            "order_uid",
            "order",
            (
                ("status", "text"),
                ("fulfillment_order_uid", "uid"),
                ("pharmacy_uid", "uid"),
                ("delivery_type_uid", "uid"),
                ("name", "text"),
                ("data", "json"),
                ("external_status", "text"),
            ),
            references=(
                _PHARMACY,
                Reference("delivery_type_uid", "delivery_types", "delivery_type_uid", "delivery type"),
            ),
            times=_TIMES,
        ),
    ),
    "waiting_room": (
        Table(
            "waiting_room_visits",
            "visit",
            (
                ("shop_uid", "uid"),
                ("patient_uid", "uid"),
                ("preferred_doctor_uid", "uid"),
                ("visit_reason", "text"),
                ("status", "text"),
                ("doctor_uid", "uid"),
                ("video_room_id", "text"),
                ("allocated_at", "seconds"),
                ("ended_at", "seconds"),
            ),
            parent="shop_uid",
            parent_noun="shop",
            references=(
                _OF_SHOP,
                _PATIENT,
                Reference("preferred_doctor_uid", "doctors", "preferred_doctor_uid", "doctor"),
                _DOCTOR,
            ),
            uniques=(
                Unique(
                    ("shop_uid", "patient_uid"),
                    "{row}.status IN ('waiting', 'allocated') AND {row}.deleted_at IS NULL",
                    "patient_profile_uid",
                    "visit {uid} of this patient is present in this shop's waiting room",
                ),
            ),
        ),
    ),
    "wallet_templates": (
        Table(
            "wallet_pass_templates",
            "template",
            (
                ("shop_uid", "uid"),
                ("display_name", "text"),
                ("sort_key", "text"),
                ("pass_type", "text"),
                ("fields", "names"),
                ("design", "kept"),
            ),
            references=(_OF_SHOP,),
        ),
    ),
    "wallet_passes": (
        Table(
            "wallet_passes",
            "pass",
            (
                ("wallet_pass_template_uid", "uid"),
                ("shop_customer_id", "text"),
                ("patient_uid", "uid"),
                ("status", "text"),
                ("expires_at", "seconds"),
                ("display_name", "text"),
                ("first_name", "text"),
                ("last_name", "text"),
                ("field_values", "json"),
            ),
            references=(
                Reference(
                    "wallet_pass_template_uid",
                    "wallet_pass_templates",
                    "wallet_pass_template_uid",
                    "template",
                ),
                _PATIENT,
            ),
            uniques=(
                Unique(
                    ("shop_customer_id", "wallet_pass_template_uid"),
                    _NOT_DELETED,
                    "shop_customer_id",
                    "pass {uid} is this customer's pass of this template",
                ),
            ),
        ),
    ),
}
