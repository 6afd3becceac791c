"""Organisations whose every text carries a mark, and requests for every operation of every API's document."""

# ruff: noqa: PLR0915 (columns are of any type; a world is one long list of rows)

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from tests.factories import LONG_AGO, Tenant

from rxdesk import routes
from rxdesk.kit.sealing import Place, Sealer, read_keys
from rxdesk.permissions import ALL, ALL_OF_PHARMACY
from rxdesk.web import openapi
from rxdesk.web.api import Api

Build: TypeAlias = Callable[["World"], "Asked"]

DOCUMENTS: dict[str, dict[str, Any]] = {api.base: openapi.document(api) for api in routes.APIS}
# Nobody listens there, and the live server of the tests may reach loopback: refused at once.
TARGET = "https://127.0.0.1:9/{mark}"
FORBIDDEN_TARGET = "https://10.0.0.1/{mark}"
OF_PHARMACY = "subscriptions of a pharmacy"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Documented:
    """One operation as the OpenAPI document of its API describes it; `path` is below `base`."""

    name: str
    base: str
    method: str
    path: str
    permission: str | None
    status: int
    described: dict[str, Any] = field(repr=False, compare=False)

    @property
    def has_body(self) -> bool:
        return "requestBody" in self.described

    @property
    def streams(self) -> bool:
        """Whether its answer has no end."""
        return (
            "text/event-stream" in self.described["responses"]["200"].get("content", {})
            if self.status == 200
            else False
        )


def operations(*apis: Api) -> list[Documented]:
    """Every operation of these APIs' documents; of all, if none is named."""
    return [
        Documented(
            described["operationId"],
            base,
            method.upper(),
            path,
            described["x-permission"],
            next(int(status) for status in described["responses"] if status.startswith("2")),
            described,
        )
        for base in (api.base for api in apis or routes.APIS)
        for path, methods in DOCUMENTS[base]["paths"].items()
        for method, described in methods.items()
    ]


@dataclass(frozen=True)
class Asked:
    """A request less its key, and what an authorised caller gets: a status and, for errors, the body."""

    method: str
    url: str
    json: Any = None
    status: int = 200
    body: dict[str, Any] | None = None


@dataclass(frozen=True)
class World:
    """An organisation with a row in every table, or a second pharmacy of one; each of its texts holds `mark`."""

    tenant: Tenant
    mark: str
    uids: dict[str, str]
    deleted: dict[str, str]
    waiting: Iterator[str] = field(repr=False)

    @property
    def email(self) -> str:
        return f"{self.mark}@example.com"

    @property
    def customer(self) -> str:
        return f"cust-{self.mark}"

    @property
    def target(self) -> str:
        return TARGET.format(mark=self.mark)

    async def full_key(self, base: str) -> str:
        """A key that may do everything of the API at that base path."""
        if base == routes.PHARMACY.base:
            return await self.tenant.key(*ALL_OF_PHARMACY, pharmacy_uid=self.uids["pharmacies"])
        return await self.tenant.key(*ALL)


async def put(tenant: Tenant, table: str, **columns: Any) -> None:
    """Insert a row into a table that the factories do not know."""
    await tenant.enter()
    names = ", ".join(columns)
    places = ", ".join(f"${position}" for position in range(2, len(columns) + 2))
    await tenant.connection.execute(
        f"INSERT INTO {table} (organisation_id, {names}) VALUES ($1, {places})", tenant.id, *columns.values()
    )


async def make_world(tenant: Tenant, mark: str, encryption_keys: str, *, patients_to_wait: int = 40) -> World:
    """Fill a fresh organisation: a living and a deleted row of whatever has a uid in a path."""
    actor = {"actor_uid": f"actor-{mark}"}
    kept: dict[str, str] = {}
    deleted: dict[str, str] = {}

    async def row(table: str, **columns: Any) -> str:
        columns.setdefault("uid", f"{table[:4]}-{mark}-{next(_numbers)}")
        kept[table] = await tenant.insert(table, **columns)
        return kept[table]

    async def twice(table: str, **columns: Any) -> str:
        deleted[table] = await row(table, **columns, deleted_at=LONG_AGO)
        return await row(table, **columns)

    shop = await row("shops", identifier=f"shop-{mark}", display_name=f"Shop {mark}", **actor)
    pharmacy = await row("pharmacies", display_name=f"Pharmacy {mark}", **actor)
    delivery = await row("delivery_types", identifier=f"dt-{mark}", display_name=f"Type {mark}", **actor)
    doctor = await twice("doctors", display_name=f"Dr. {mark}", email=f"doc-{mark}@example.com", **actor)
    product = await row("products", display_name=f"Product {mark}", handle=f"handle-{mark}", **actor)
    sku = await row("skus", product_uid=product, display_name=f"SKU {mark}", pzn="12345678")
    external = {"external_id": f"ext-{mark}"}
    await row("shop_products", product_uid=product, shop_uid=shop, **external)
    await row("shop_skus", sku_uid=sku, shop_uid=shop, **external)
    await twice("pharmacy_skus", sku_uid=sku, pharmacy_uid=pharmacy, price=100, stock=1, **external)
    names = {"display_name": f"Max {mark}", "first_name": f"Max{mark}", "last_name": f"M{mark}"}
    person: dict[str, Any] = {
        **names,
        "email": f"{mark}@example.com",
        "profile": {f"field_{mark}": mark},
        **actor,
    }
    gone = {**person, "email": f"gone-{mark}@example.com", "deleted_at": LONG_AGO}
    deleted["patients"] = await row("patients", **gone)
    patient = await row("patients", **person)
    await row("submissions", patient_uid=patient, intent=f"intent-{mark}", signed_at=datetime.now(UTC))
    await put(tenant, "intent_windows", uid=f"intent-{mark}", valid_days=10)
    order = {
        "patient_uid": patient,
        "name": f"#{mark}",
        "email": f"order-{mark}@example.com",
        "delivery_address": {"city": mark},
        "invoice_address": {"city": mark},
        "shipping_costs_currency": "EUR",
        "status": "cancelled",  # so that no step of the matrix changes it
        "pharmacy_uid": pharmacy,
        "delivery_type_uid": delivery,
        **actor,
    }
    await twice("orders", **order)
    of = {"order_uid": kept["orders"]}
    await row("shop_orders", shop_uid=shop, **of, **external)
    item = await row("order_items", sku_uid=sku, **of)
    part = await row("fulfillment_orders", **of)
    await row("fulfillment_order_items", fulfillment_order_uid=part, order_item_uid=item, **of)
    prescribed: dict[str, Any] = {
        "fulfillment_order_uid": part,
        "doctor_uid": doctor,
        "status": "signed",
        **of,
        **actor,
    }
    prescribed["decided_at"] = LONG_AGO
    await twice("prescriptions", **prescribed)
    await twice(
        "pharmacy_orders",
        pharmacy_uid=pharmacy,
        delivery_type_uid=delivery,
        fulfillment_order_uid=part,
        name=f"#{mark}",
        data={"note": mark},
        external_status=f"open {mark}",
        **of,
        **actor,
    )
    by = {"actor_kind": "key", **actor, "created_at": LONG_AGO, "updated_at": LONG_AGO}
    await put(tenant, "doctor_duties", uid=doctor, status="off", seen_at=LONG_AGO, **by)
    await put(tenant, "doctor_duty_shops", doctor_uid=doctor, shop_uid=shop)
    visit = {"shop_uid": shop, "visit_reason": f"reason {mark}", "preferred_doctor_uid": doctor, **actor}
    visit |= {"doctor_uid": doctor, "video_room_id": f"room-{mark}", "status": "allocated"}
    await put(tenant, "waiting_rooms", uid=shop, last_turn=2)
    lengths = {"weight": 1.0, "total": 2.0, "square_total": 4.0, "updated_at": LONG_AGO}
    await put(tenant, "consultation_lengths", shop_uid=shop, doctor_uid=doctor, **lengths)
    await put(
        tenant, "waiting_room_habits", uid=shop, revision=0, learned=json.dumps({"hours": {doctor: {}}})
    )
    deleted["waiting_room_visits"] = await row(
        "waiting_room_visits", turn=1, patient_uid=patient, deleted_at=LONG_AGO, **visit
    )
    await row("waiting_room_visits", turn=2, patient_uid=patient, allocated_at=LONG_AGO, **visit)
    template = await row(
        "wallet_pass_templates",
        shop_uid=shop,
        display_name=f"Card {mark}",
        fields=[f"field_{mark}"],
        design={"title": f"Card {mark}"},
        **actor,
    )
    holder = {"shop_customer_id": f"cust-{mark}", "patient_uid": patient, "field_values": {"a": mark}}
    holder["message"] = f"Hello {mark}"
    wallet_pass = await twice("wallet_passes", wallet_pass_template_uid=template, **holder, **names, **actor)
    kinds = {"actor_kind": "key", **actor}
    await _fill_wallet(tenant, mark, template, wallet_pass)
    await put(
        tenant,
        "push_notifications",
        uid=f"pn-{mark}",
        wallet_pass_uid=wallet_pass,
        message=f"Hello {mark}",
        status="queued",
        created_at=LONG_AGO,
        **kinds,
    )
    pushed = {
        "wallet_pass_uid": wallet_pass,
        "push_notification_uid": f"pn-{mark}",
        "tag": 1,
        "status": "failed",
    }
    pushed |= {"device_identifier": f"device-{mark}", "reason": f"reason {mark}"}
    await put(tenant, "wallet_pushes", uid=f"wpu-{mark}", created_at=LONG_AGO, updated_at=LONG_AGO, **pushed)
    sealer = Sealer(read_keys(encryption_keys))
    uid = f"ns-{mark}"
    place = Place(tenant.id, uid, "notification_subscriptions.sealed_signing_secret")
    await put(
        tenant,
        "notification_subscriptions",
        uid=uid,
        notification_type="order_created",
        target=TARGET.format(mark=mark),
        target_key=TARGET.format(mark=mark),
        payload_version="1",
        meta_data=json.dumps({"team": mark}),
        header_key=f"X-{mark}",
        sealed_signing_secret=sealer.seal(f"whsec_{mark}", place),
        full_data=True,
        created_at=LONG_AGO,
        **kinds,
    )
    kept[OF_PHARMACY], deleted[OF_PHARMACY] = await _subscribe_pharmacy(tenant, mark, pharmacy)
    await put(
        tenant,
        "changes",
        uid=f"chg-{mark}",
        subject_kind="order",
        subject_uid=kept["orders"],
        what="status",
        old_value=f"old {mark}",
        new_value=f"new {mark}",
        reason=f"reason {mark}",
        changed_at=LONG_AGO,
        **kinds,
    )
    event = f"evt-{mark}"
    await put(
        tenant,
        "events",
        uid=event,
        position=1,
        event_type="pharmacy_order_created",
        subject_uid=kept["pharmacy_orders"],
        pharmacy_uid=pharmacy,
        occurred_at=LONG_AGO,
        body=json.dumps({"data": mark}).encode(),
        **kinds,
    )
    await put(tenant, "event_streams", uid="all", last_position=1)
    delivery_uid = f"dlv-{mark}"
    await put(
        tenant,
        "deliveries",
        uid=delivery_uid,
        subscription_uid=uid,
        event_uid=event,
        status="delivered",
        attempts=1,
        attempted=1,
        created_at=LONG_AGO,
        ended_at=LONG_AGO,
    )
    await put(
        tenant,
        "delivery_attempts",
        delivery_uid=delivery_uid,
        number=1,
        started_at=LONG_AGO,
        duration_ms=5,
        status_code=200,
        answer=mark.encode(),
    )
    kept |= {"events": event, "deliveries": delivery_uid, "notification_subscriptions": uid}
    fresh = [
        await tenant.insert("patients", uid=f"wait-{mark}-{number}", **{**person, "email": None})
        for number in range(patients_to_wait)
    ]
    return World(tenant, mark, kept, deleted, iter(fresh))


async def _fill_wallet(tenant: Tenant, mark: str, template: str, wallet_pass: str) -> None:
    """A row of each table behind passes."""
    await put(tenant, "wallet_tags", last_tag=1)
    image = {"name": "logo", "scale": 1, "png": mark.encode()}
    await put(tenant, "wallet_template_images", wallet_pass_template_uid=template, **image)
    registration = {"device_identifier": f"device-{mark}", "push_token": f"token-{mark}"}
    made = {"created_at": LONG_AGO, "updated_at": LONG_AGO}
    await put(tenant, "wallet_registrations", wallet_pass_uid=wallet_pass, **registration, **made)
    callback = {"saved_at": LONG_AGO, "callback_ends_at": 1, "callback_nonce": f"nonce-{mark}"}
    await put(tenant, "wallet_google_passes", wallet_pass_uid=wallet_pass, **callback)
    await put(tenant, "wallet_device_logs", uid=f"wdl-{mark}", message=f"log {mark}", logged_at=LONG_AGO)
    by = {"actor_kind": "key", "actor_uid": f"actor-{mark}", "checked_at": LONG_AGO}
    await put(tenant, "wallet_checks", uid=f"wpc-{mark}", result="valid", wallet_pass_uid=wallet_pass, **by)


async def _subscribe_pharmacy(tenant: Tenant, mark: str, pharmacy: str) -> tuple[str, str]:
    """An active subscription of a pharmacy and one that is removed."""
    uids = (f"ns-{mark}-of-pharmacy", f"ns-{mark}-removed")
    for uid, removed in zip(uids, (None, LONG_AGO), strict=True):
        await put(
            tenant,
            "notification_subscriptions",
            uid=uid,
            notification_type="pharmacy_order_created",
            target=TARGET.format(mark=mark),
            target_key=TARGET.format(mark=mark),
            payload_version="1",
            meta_data="{}",
            sealed_signing_secret=b"x",
            full_data=True,
            pharmacy_uid=pharmacy,
            created_at=LONG_AGO,
            deactivated_at=removed,
            actor_kind="key",
            actor_uid=f"actor-{mark}",
        )
    return uids


async def make_neighbour(world: World, mark: str) -> World:
    """Open a second pharmacy in a world's organisation, with rows of whatever a pharmacy has."""
    tenant, kept, deleted = world.tenant, dict(world.uids), dict(world.deleted)
    kept["pharmacies"] = pharmacy = await tenant.insert(
        "pharmacies", uid=f"phar-{mark}", display_name=f"Pharmacy {mark}"
    )
    product = await tenant.insert("products", uid=f"prod-{mark}", display_name=f"Product {mark}")
    sku = await tenant.insert("skus", uid=f"skus-{mark}", product_uid=product, display_name=f"SKU {mark}")
    order = await tenant.insert("orders", uid=f"orde-{mark}", delivery_address={"city": mark})
    of = {"pharmacy_uid": pharmacy}
    for uids, end, gone in ((deleted, "gone", LONG_AGO), (kept, "kept", None)):
        uids["pharmacy_skus"] = await tenant.insert(
            "pharmacy_skus", uid=f"psku-{mark}-{end}", sku_uid=sku, price=100, stock=1, deleted_at=gone, **of
        )
        uids["pharmacy_orders"] = await tenant.insert(
            "pharmacy_orders", uid=f"po-{mark}-{end}", order_uid=order, deleted_at=gone, **of
        )
    kept[OF_PHARMACY], deleted[OF_PHARMACY] = await _subscribe_pharmacy(tenant, mark, pharmacy)
    return World(tenant, mark, kept, deleted, world.waiting)


# The path and query parameters of the documents, and the row of a world that each names.
PATH_ROWS = {
    "order_uid": "orders",
    "prescription_uid": "prescriptions",
    "doctor_uid": "doctors",
    "patient_uid": "patients",
    "queue_uid": "waiting_room_visits",
    "shop_uid": "shops",
    "pharmacy_order_uid": "pharmacy_orders",
    "pharmacy_sku_uid": "pharmacy_skus",
    "subscription_uid": OF_PHARMACY,
    "wallet_pass_uid": "wallet_passes",
    "event_uid": "events",
    "delivery_uid": "deliveries",
}
# What is sent to an operation with a uid in its path: a body, and what it gets where that is no success. Each leaves
# the row as it was, or the matrix puts it back.
BODIES: dict[str, dict[str, Any]] = {
    "rotate_secret": {"overlap_seconds": 0},
    "set_pharmacy_order_status": {"status": "init"},
    "set_pharmacy_sku_price": {"price": 100},
    "set_pharmacy_sku_stock": {"stock": 1},
    "set_pharmacy_sku_external_id": {"external_id": "x"},
    "move_order": {"status": "started"},
    "assign_prescription": {"doctor_uid": "none-1"},
    "decline_prescription": {"reason": "x"},
    "hold_prescription": {"reason": "x"},
    "go_on_duty": {"shop_uids": ["none-1"]},
    "complete_visit": {"doctor_uid": "none-1", "outcome": "treated"},
    "note_no_show": {"doctor_uid": "none-1"},
    "hand_over_visit": {"doctor_uid": "none-1", "to_doctor_uid": "none-1"},
    "cancel_visit_of_doctor": {"doctor_uid": "none-1"},
}
STATUSES = {
    "set_pharmacy_order_status": 409,  # of an order that is `init`
    "complete_pharmacy_order": 409,
    "move_order": 409,  # of one that is cancelled
    "cancel_order": 409,
    "switch_secret": 409,  # no overlap lasts
    "assign_prescription": 404,  # the doctor
    "go_on_duty": 404,  # the shop
    **dict.fromkeys(
        ("pause_duty", "resume_duty", "go_off_duty", "send_heartbeat", "call_next"), 409
    ),  # off duty
    **dict.fromkeys(("complete_visit", "note_no_show", "hand_over_visit", "cancel_visit_of_doctor"), 404),
    **{f"{verb}_prescription": 409 for verb in ("approve", "decline", "hold", "resume", "sign", "cancel")},
}
NOT_FOUND = {"error": "Resource not found"}


def _path(operation: Documented, uid: str, world: World) -> str:
    path = operation.path
    for name, table in PATH_ROWS.items():
        path = path.replace(f"{{{name}}}", quote(uid or world.uids[table], safe=""))
    return path.replace("{intent}", f"intent-{world.mark}")


def _get(url: str, status: int = 200, body: dict[str, Any] | None = None, **query: object) -> Asked:
    return Asked("GET", f"{url}?{urlencode(query)}" if query else url, None, status, body)


def asked(operation: Documented, own: World, foreign: World) -> list[tuple[str, Build]]:
    """Name what is asked of an operation by a caller of `own`: its own, and all that is not its own.

    Each builder makes one request; those with an effect take a fresh patient or put back what they changed.
    """
    named: list[tuple[str, Build]] = []
    missing = {"status": 404, "body": NOT_FOUND}

    def add(what: str, request: Asked | Build) -> None:
        named.append((what, request if callable(request) else lambda _: request))

    row = next((table for name, table in PATH_ROWS.items() if f"{{{name}}}" in operation.path), None)
    if row is not None:
        method, body = operation.method, BODIES.get(operation.name)
        status = STATUSES.get(operation.name, operation.status)
        add("own", Asked(method, _path(operation, "", own), body, status))
        gone = (
            {"deleted": own.deleted[row], "foreign, deleted": foreign.deleted[row]}
            if row in own.deleted
            else {}
        )
        if operation.name in ("enable_subscription", "disable_subscription"):
            # One that was removed is a 409 here, or stays so, which its own tests look at.
            gone = {name: uid for name, uid in gone.items() if name != "deleted"}
        another = own.uids["shops" if row != "shops" else "patients"]
        others = {"absent": "none-1", "foreign": foreign.uids[row], "of another kind": another}
        for what, uid in {**others, **gone}.items():
            add(what, Asked(method, _path(operation, uid, own), body, **missing))  # type: ignore[arg-type]
        return named
    build = _BY_NAME.get(operation.name)
    assert build is not None, f"{operation.name} is new: say here what its requests are"
    for what, request in build(own, foreign):
        add(what, request)
    return named


def _lists(path: str) -> Callable[[World, World], list[tuple[str, Asked]]]:
    return lambda *_: [("own", _get(path)), ("page beyond the end", _get(path, page=9, limit=1))]


def _plain(path: str) -> Callable[[World, World], list[tuple[str, Asked]]]:
    return lambda *_: [("own", _get(path))]


def _boards(own: World, foreign: World) -> list[tuple[str, Asked]]:
    path = "/waiting-room/events"
    return [
        ("own", _get(path, shop_uid=own.uids["shops"])),
        ("absent", _get(path, 404, NOT_FOUND, shop_uid="none-1")),
        ("foreign", _get(path, 404, NOT_FOUND, shop_uid=foreign.uids["shops"])),
    ]


def _patients(own: World, foreign: World) -> list[tuple[str, Asked]]:
    path = "/patients"
    return [
        ("own", _get(path, email=own.email)),
        ("own order's", _get(path, email=f"order-{own.mark}@example.com")),
        ("deleted", _get(path, 404, NOT_FOUND, email=f"gone-{own.mark}@example.com")),
        ("foreign", _get(path, 404, NOT_FOUND, email=foreign.email)),
        ("foreign order's", _get(path, 404, NOT_FOUND, email=f"order-{foreign.mark}@example.com")),
    ]


def _templates(own: World, foreign: World) -> list[tuple[str, Asked]]:
    path = "/wallet-passes/templates"
    return [
        ("own", _get(path, shop_identifier=f"shop-{own.mark}")),
        ("foreign", _get(path, 404, NOT_FOUND, shop_identifier=f"shop-{foreign.mark}")),
        ("foreign uid", _get(path, 404, NOT_FOUND, shop_identifier=foreign.uids["shops"])),
    ]


def _passes(own: World, foreign: World) -> list[tuple[str, Asked]]:
    path = "/wallet-passes"
    shop, other_shop = f"shop-{own.mark}", f"shop-{foreign.mark}"
    none = {"data": [], "total": 0}
    return [
        ("own", _get(path, shop_identifier=shop, shop_customer_id=own.customer)),
        ("foreign customer", _get(path, 200, none, shop_identifier=shop, shop_customer_id=foreign.customer)),
        (
            "foreign template",
            _get(
                path,
                200,
                none,
                shop_identifier=shop,
                shop_customer_id=own.customer,
                wallet_pass_template_uid=foreign.uids["wallet_pass_templates"],
            ),
        ),
        (
            "foreign shop",
            _get(path, 404, NOT_FOUND, shop_identifier=other_shop, shop_customer_id=own.customer),
        ),
        (
            "all foreign",
            _get(path, 404, NOT_FOUND, shop_identifier=other_shop, shop_customer_id=foreign.customer),
        ),
    ]


def _register(own: World, foreign: World) -> list[tuple[str, Asked | Build]]:
    path = "/waiting-room/register"
    uids = {"shop_uid": own.uids["shops"], "patient_profile_uid": own.uids["patients"]}

    def fresh(_: World) -> Asked:
        body = {**uids, "patient_profile_uid": next(own.waiting), "preferred_doctor_uid": own.uids["doctors"]}
        return Asked("POST", path, body, 201)

    def wrong(field_: str, uid: str) -> Asked:
        return Asked("POST", path, {**uids, field_: uid}, 404, {**NOT_FOUND, "field": field_})

    waits = {"error": "Patient is already waiting", "queue_uid": own.uids["waiting_room_visits"]}
    return [
        ("own", fresh),
        ("already there", Asked("POST", path, uids, 409, waits)),
        ("foreign shop", wrong("shop_uid", foreign.uids["shops"])),
        ("foreign patient", wrong("patient_profile_uid", foreign.uids["patients"])),
        ("deleted patient", wrong("patient_profile_uid", own.deleted["patients"])),
        ("foreign doctor", wrong("preferred_doctor_uid", foreign.uids["doctors"])),
    ]


def _order(own: World, foreign: World) -> list[tuple[str, Asked]]:
    uids = {"shop_uid": own.uids["shops"], "patient_profile_uid": own.uids["patients"]}
    body = {**uids, "items": [{"sku_uid": own.uids["skus"], "quantity": 1}]}

    def wrong(field_: str, value: object) -> Asked:
        return Asked("POST", "/orders", {**body, field_: value}, 404, {**NOT_FOUND, "field": field_})

    return [
        ("own", Asked("POST", "/orders", body, 201)),
        ("foreign shop", wrong("shop_uid", foreign.uids["shops"])),
        ("foreign patient", wrong("patient_profile_uid", foreign.uids["patients"])),
        ("foreign pharmacy", wrong("pharmacy_uid", foreign.uids["pharmacies"])),
        ("foreign delivery type", wrong("delivery_type_uid", foreign.uids["delivery_types"])),
        ("foreign SKU", wrong("items", [{"sku_uid": foreign.uids["skus"], "quantity": 1}])),
    ]


def _notifications(own: World, foreign: World) -> list[tuple[str, Asked]]:
    path = "/wallet-passes/push-notifications"
    none = {"data": [], "totalRegistries": 0, "totalPages": 0}
    return [
        ("own", _get(path)),
        ("of its own pass", _get(path, wallet_pass_uid=own.uids["wallet_passes"])),
        ("of a foreign pass", _get(path, 200, none, wallet_pass_uid=foreign.uids["wallet_passes"])),
    ]


def _put_pass(own: World, foreign: World) -> list[tuple[str, Asked]]:
    path, uids = "/wallet-passes", {"wallet_pass_template_uid": own.uids["wallet_pass_templates"]}
    body = {**uids, "shop_customer_id": own.customer}

    def wrong(field_: str, uid: str) -> Asked:
        return Asked("POST", path, {**body, field_: uid}, 404, {**NOT_FOUND, "field": field_})

    return [
        ("own", Asked("POST", path, body, 200)),
        ("foreign template", wrong("wallet_pass_template_uid", foreign.uids["wallet_pass_templates"])),
        ("foreign patient", wrong("patient_profile_uid", foreign.uids["patients"])),
        ("deleted patient", wrong("patient_profile_uid", own.deleted["patients"])),
    ]


def _pushes(own: World, foreign: World) -> list[tuple[str, Asked]]:
    path = "/wallet-passes/push-notifications"

    def push(uid: str, status: str, error: str | None) -> Asked:
        body = {"data": [{"wallet_pass_uid": uid, "status": status, "error": error}], "total": 1}
        return Asked("POST", path, [{"wallet_pass_uid": uid, "message": "Hello {first_name}"}], 200, body)

    return [
        ("own", push(own.uids["wallet_passes"], "queued", None)),
        ("foreign", push(foreign.uids["wallet_passes"], "failed", "not_found")),
        ("absent", push("none-1", "failed", "not_found")),
    ]


def _create(path: str, kind: str) -> Callable[[World, World], list[tuple[str, Asked | Build]]]:
    again = {"error": "There is an active subscription of this type for this target"}

    def subscribe(target: str) -> Asked:
        return Asked("POST", path, {"notification_type": kind, "target": target}, 201)

    return lambda own, _: [
        ("own", lambda _: subscribe(f"{own.target}/{next(_numbers)}")),
        ("already there", replace(subscribe(own.target), status=409, body=again)),
    ]


def _remove(own: World, foreign: World) -> list[tuple[str, Asked | Build]]:
    path = "/notification-subscriptions"

    def remove(target: str, *, as_body: bool = False) -> Asked:
        named = {"notification_type": "order_created", "target": target}
        if as_body:
            return Asked("DELETE", path, named, 404, NOT_FOUND)
        return Asked("DELETE", f"{path}?{urlencode(named)}", None, 404, NOT_FOUND)

    return [
        ("absent", remove(own.target + "/none")),
        ("foreign", remove(foreign.target)),
        ("foreign, in the body", remove(foreign.target, as_body=True)),
    ]


def _test(own: World, foreign: World) -> list[tuple[str, Asked]]:
    # Forbidden targets, so that no cell waits for the second between two test deliveries.
    body = {"error": "The target is, or resolves to, an address that is not allowed", "field": "target_url"}
    return [
        (
            f"forbidden, {world.mark}",
            Asked(
                "POST",
                "/notification-subscriptions/test",
                {"target_url": FORBIDDEN_TARGET.format(mark=world.mark)},
                422,
                body,
            ),
        )
        for world in (own, foreign)
    ]


def _log(path: str, name: str) -> Callable[[World, World], list[tuple[str, Asked]]]:
    missing = {**NOT_FOUND, "field": "after"}

    def build(own: World, foreign: World) -> list[tuple[str, Asked]]:
        table = PATH_ROWS[name]
        return [
            ("own", _get(path)),
            ("after its own", _get(path, after=own.uids[table])),
            ("after a foreign one", _get(path, 404, missing, after=foreign.uids[table])),
        ]

    return build


def _replay(own: World, foreign: World) -> list[tuple[str, Asked]]:
    path, moment = "/deliveries/replay", int(LONG_AGO.timestamp())
    missing = {**NOT_FOUND, "field": "subscription_uid"}

    def of(uid: str) -> dict[str, object]:
        return {"since": moment, "subscription_uid": uid}

    return [
        ("own", Asked("POST", path, of(own.uids["notification_subscriptions"]), 202)),
        ("foreign", Asked("POST", path, of(foreign.uids["notification_subscriptions"]), 404, missing)),
        ("absent", Asked("POST", path, of("ns-none"), 404, missing)),
    ]


_BY_NAME: dict[str, Callable[[World, World], Any]] = {
    "list_products": _lists("/products"),
    "list_doctors": _lists("/doctors"),
    "find_patient": _patients,
    "follow_board": _boards,
    "list_wallet_templates": _templates,
    "list_wallet_passes": _passes,
    "put_wallet_pass": _put_pass,
    "list_push_notifications": _notifications,
    "verify_wallet_pass": lambda *_: [("unknown", Asked("POST", "/wallet-passes/verify", {"code": "x"}))],
    "register_visit": _register,
    "create_order": _order,
    "send_push_notifications": _pushes,
    "list_subscriptions": _plain("/notification-subscriptions"),
    "create_subscription": _create("/notification-subscriptions", "order_created"),
    "remove_subscription": _remove,
    "send_test": _test,
    "get_health": _plain("/health/"),
    "list_pharmacy_orders": _lists("/pharmacy_orders/"),
    "list_pharmacy_skus": _lists("/pharmacy_skus/"),
    "list_events": _log("/events", "event_uid"),
    "list_deliveries": _lists("/deliveries"),
    "list_all_subscriptions": _lists("/subscriptions"),
    "replay_deliveries": _replay,
    "list_webhooks": _plain("/webhooks/"),
    "get_calibration": _plain("/waiting-room/calibration"),
    "create_webhook": _create("/webhooks/", "pharmacy_order_created"),
}
