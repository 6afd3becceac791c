"""Requests for every operation of every API's document, of an organisation's own rows and of foreign ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from tests.contract.documented import Documented
from tests.contract.worlds import OF_PHARMACY, World
from tests.factories import LONG_AGO

Build: TypeAlias = Callable[["World"], "Asked"]
FORBIDDEN_TARGET = "https://10.0.0.1/{mark}"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Asked:
    """A request less its key, and what an authorised caller gets: a status and, for errors, the body."""

    method: str
    url: str
    json: Any = None
    status: int = 200
    body: dict[str, Any] | None = None


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
