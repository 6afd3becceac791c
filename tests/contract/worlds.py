"""Organisations with a row in every table, whose every text carries a mark."""

# ruff: noqa: PLR0915 (columns are of any type; a world is one long list of rows)

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.conftest import ENCRYPTION_KEYS
from tests.factories import LONG_AGO, Tenant, make_tenant

from rxdesk import routes
from rxdesk.db.pool import Connection
from rxdesk.kit.sealing import Place, Sealer, read_keys
from rxdesk.permissions import ALL, ALL_OF_PHARMACY

# Nobody listens there, and the live server of the tests may reach loopback: refused at once.
TARGET = "https://127.0.0.1:9/{mark}"
OF_PHARMACY = "subscriptions of a pharmacy"
_numbers = itertools.count(1)


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


async def two_worlds(connection: Connection, *, patients_to_wait: int = 40) -> tuple[World, World]:
    """Fill two fresh organisations, each with a mark that no other run has."""
    first, second = [
        await make_world(
            await make_tenant(connection),
            "zq" + secrets.token_hex(5),
            ENCRYPTION_KEYS,
            patients_to_wait=patients_to_wait,
        )
        for _ in range(2)
    ]
    return first, second


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
