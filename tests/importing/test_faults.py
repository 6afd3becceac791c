"""What is refused, how it is named, and that nothing is changed by it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tests.factories import Tenant
from tests.importing.conftest import Import
from tests.importing.rows import (
    DELIVERY_TYPE,
    DOCTOR,
    ORDER,
    PASS,
    PATIENT,
    PHARMACY,
    PRODUCT,
    SHOP,
    TEMPLATE,
    VISIT,
    Row,
    T,
    world,
)

from rxdesk.importing.decoding import decode
from rxdesk.importing.files import MAX_LINE_BYTES
from rxdesk.importing.formats import Kind
from rxdesk.importing.report import FileReport


def changed(row: Row, path: str, value: object) -> bytes:
    """Give the line with the member at the dotted path set, or with `...` taken out."""
    made = copy.deepcopy(row)
    inner: Any = made
    *way, last = path.split(".")
    for step in way:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    if isinstance(inner, list):
        inner[int(last)] = value
    elif value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(made).encode()


LINES: list[tuple[Kind, Row, str, Any, str]] = [
    ("orders", ORDER, "uid", ..., "required, but missing"),
    ("orders", ORDER, "uid", "a b", "not of its form: 1–64 of A–Z a–z 0–9 . _ : -"),
    ("orders", ORDER, "uid", "a\n", "not of its form: 1–64 of A–Z a–z 0–9 . _ : -"),
    ("orders", ORDER, "uid", "x" * 65, "not of its form: 1–64 of A–Z a–z 0–9 . _ : -"),
    ("orders", ORDER, "uid", None, "must be a string, not null"),
    ("orders", ORDER, "status", "shipped", "invalid enum value 'shipped'; one of: init, started, "),
    ("orders", ORDER, "colour", "red", "unknown member"),
    ("orders", ORDER, "created_at", "2026-01-01", "must be an integer or null, not a string"),
    ("orders", ORDER, "created_at", 1.5, "must be an integer or null, not a number"),
    ("orders", ORDER, "created_at", -1, "must be an integer >= 0"),
    ("orders", ORDER, "created_at", 10**10, "must be an integer <= 9999999999"),
    ("orders", ORDER, "updated_at", T - 1, "before created_at"),
    ("orders", ORDER, "email", "m", "must be a string of length >= 3"),
    ("orders", ORDER, "email", "max at example.com", "not an e-mail address"),
    ("orders", ORDER, "shipping_costs_currency", "euro", "not of its form: ISO 4217"),
    ("orders", ORDER, "items", {}, "must be an array, not an object"),
    ("orders", ORDER, "items.1", 7, "must be an object, not an integer"),
    ("orders", ORDER, "items.1.quantity", 0, "must be an integer >= 1"),
    ("orders", ORDER, "items.1.quantity", True, "must be an integer, not a boolean"),
    ("orders", ORDER, "items.1.quantity", 2**31, "must be an integer <= 2147483647"),
    ("orders", ORDER, "items.0.price", 1, "unknown member"),
    ("orders", ORDER, "fulfillment_orders.1.items.0.order_item_uid", "oi-9", 'no item "oi-9" in this order'),
    (
        "orders",
        ORDER,
        "prescriptions.0.fulfillment_order_uid",
        "fo-9",
        'no fulfillment order "fo-9" in this order',
    ),
    (
        "orders",
        ORDER,
        "pharmacy_orders.0.fulfillment_order_uid",
        "fo-9",
        'no fulfillment order "fo-9" in this order',
    ),
    ("orders", ORDER, "prescriptions.0.assigned_at", ..., "required beside doctor_uid"),
    ("orders", ORDER, "prescriptions.0.doctor_uid", ..., "required beside assigned_at"),
    ("orders", ORDER, "prescriptions.0.decided_at", T, "before assigned_at"),
    ("orders", ORDER, "prescriptions.1.decided_at", T, "decided, but not assigned"),
    ("orders", ORDER, "delivery_address", {"city": 7}, "must be a string or null, not an integer"),
    ("products", PRODUCT, "skus.0.pzn", "90000312", 'the check digit of "90000312" is wrong'),
    ("products", PRODUCT, "skus.0.pzn", "9000031", "not of its form: Pharmazentralnummer"),
    ("products", PRODUCT, "skus.0.pharmacy_skus.0.price", -1, "must be an integer >= 0"),
    ("products", PRODUCT, "display_name", "\ufdfa" * 255, "too long once its ligatures are spelt out"),
    ("products", PRODUCT, "display_name", "", "must be a string of length >= 1"),
    ("patients", PATIENT, "date_of_birth", "15.01.1990", "must be a date, as YYYY-MM-DD"),
    ("patients", PATIENT, "date_of_birth", "1990-02-30", "must be a date, as YYYY-MM-DD"),
    ("patients", PATIENT, "profile.email", "a@b.de", "stands beside profile, not in it"),
    ("doctors", DOCTOR, "active", ..., "required, but missing"),
    ("waiting_room", VISIT, "ended_at", T, "given, but the visit is still waiting"),
    ("waiting_room", VISIT, "visit_reason", "x" * 501, "must be a string of length <= 500"),
    ("wallet_templates", TEMPLATE, "design.background", "blue", "not of its form"),
    ("wallet_templates", TEMPLATE, "design.colour", "#000000", "unknown member"),
    (
        "wallet_templates",
        TEMPLATE,
        "design.fields.0.place",
        "top",
        "invalid enum value 'top'; one of: header, ",
    ),
    ("wallet_templates", TEMPLATE, "design.links.0.label", ..., "required, but missing"),
    ("wallet_templates", TEMPLATE, "design", 7, "must be an object or null, not an integer"),
    (
        "wallet_templates",
        TEMPLATE,
        "design.links",
        [{"key": f"k{n}", "label": "x", "url": "https://example.org"} for n in range(11)],
        "must be an array of length <= 10",
    ),
    ("wallet_passes", PASS, "status", "lost", "invalid enum value 'lost'; one of: active, revoked, expired"),
]


def test_a_decision_stands_beside_a_decided_status() -> None:
    faults = decode("orders", changed(ORDER, "prescriptions.0.status", "waiting_for_doctor"))
    assert isinstance(faults, list)
    assert [tuple(fault) for fault in faults] == [
        ("prescriptions.0.decided_at", "decided, but still waiting for the doctor")
    ]


@pytest.mark.parametrize(("kind", "row", "path", "value", "reason"), LINES)
def test_a_fault_is_named(kind: Kind, row: Row, path: str, value: object, reason: str) -> None:
    faults = decode(kind, changed(row, path, value))
    assert isinstance(faults, list)
    assert [fault.field for fault in faults][:1] == [path]
    assert faults[0].reason.startswith(reason)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"uid": "a", "uid": "b"}', "a member name stands twice"),
        (b'{"uid": "\xff"}', "not UTF-8"),
        (b'{"uid": "\\ud800"}', "a string holds a lone surrogate"),
        (b'{"uid": "a\\u0000"}', "a string holds NUL"),
        (b'{"uid": NaN}', "NaN is not JSON"),
        (b'{"uid": 1e999}', "a number is too large"),
        (b'{"uid": 9007199254740993}', "an integer is outside"),
        (b"[" * 100_000, "nested deeper than 32 levels"),
        (b"[]", "must be an object, not an array"),
        (b"null", "must be an object, not null"),
    ],
)
def test_a_line_that_is_no_strict_json(line: bytes, reason: str) -> None:
    faults = decode("orders", line)
    assert isinstance(faults, list)
    assert (len(faults), faults[0].field) == (1, "")
    assert faults[0].reason.startswith(reason)


def test_a_report_repeats_little_of_a_line() -> None:
    faults = decode("orders", json.dumps(ORDER | {"status": "x" * 10_000, "y" * 10_000: 1}).encode())
    assert isinstance(faults, list)
    assert len(faults) == 2
    assert all(len(fault.field) < 100 and len(fault.reason) < 700 for fault in faults)


def test_all_faults_of_a_line_are_named() -> None:
    line = {"uid": "a b", "status": 1, "items": [{"uid": "oi", "sku_uid": "sku", "quantity": 0}, {}], "x": 1}
    faults = decode("orders", json.dumps(line).encode())
    assert isinstance(faults, list)
    assert sorted(fault.field for fault in faults) == [
        "items.0.quantity",
        "items.1.quantity",
        "items.1.sku_uid",
        "items.1.uid",
        "status",
        "uid",
        "x",
    ]


def found(file: FileReport) -> list[tuple[int, str, str]]:
    return [(fault.line, fault.field, fault.reason) for fault in file.faults]


async def empty(tenant: Tenant) -> bool:
    tables = ("shops", "doctors", "patients", "orders", "prescriptions", "waiting_rooms")
    counts = [
        await tenant.connection.fetchval(
            f"SELECT count(*) FROM {table} WHERE organisation_id = $1", tenant.id
        )
        for table in tables
    ]
    return not any(counts)


async def test_the_lines_of_a_file(importing: Import, tenant: Tenant) -> None:
    good = json.dumps(PHARMACY).encode()
    lines = [
        b"\xef\xbb\xbf" + good,
        b"",
        b" \t",
        good + b"\r",
        b"{}",
        b" " * (MAX_LINE_BYTES + 1),
        b"{",
        good,
    ]
    report = await importing(pharmacies=b"\n".join(lines))
    file = report.files[0]
    assert found(file) == [
        (1, "", "the file begins with a byte order mark; save it as UTF-8 without one"),
        (4, "uid", 'the pharmacy "ph-1" stands on line 1 already'),
        (5, "display_name", "required, but missing"),
        (5, "uid", "required, but missing"),
        (6, "", "longer than 1,048,576 bytes"),
        (7, "", file.faults[5].reason),
        (8, "uid", 'the pharmacy "ph-1" stands on line 1 already'),
    ]
    assert not report.ok
    assert await empty(tenant)


async def test_a_long_line_does_not_hide_the_next(importing: Import) -> None:
    report = await importing(pharmacies=b'{"a":"' + b"x" * (3 * MAX_LINE_BYTES) + b'"}\r\n{}\r\n')
    assert [fault.line for fault in report.files[0].faults] == [1, 2, 2]


async def test_an_empty_file_is_fine(importing: Import) -> None:
    assert (await importing(orders=b"")).ok


async def test_references_are_named_with_their_place(importing: Import, tenant: Tenant) -> None:
    order = copy.deepcopy(ORDER)
    order["patient_profile_uid"] = "pp-9"
    order["items"][1]["sku_uid"] = "sku-9"
    order["prescriptions"][0]["doctor_uid"] = "doc-9"
    order["pharmacy_orders"][0]["delivery_type_uid"] = "dt-9"
    product = copy.deepcopy(PRODUCT)
    product["skus"][0]["pharmacy_skus"][0]["pharmacy_uid"] = "ph-9"
    report = await importing(**world(products=[product], orders=[ORDER | {"uid": "a", **_emptied()}, order]))
    by_kind = {file.kind: found(file) for file in report.files}
    assert by_kind["products"] == [
        (1, "skus.0.pharmacy_skus.0.pharmacy_uid", 'no pharmacy "ph-9" in this organisation')
    ]
    # The product was refused, so that its SKUs are not found is no fault of the order.
    assert by_kind["orders"] == [
        (2, "patient_profile_uid", 'no patient "pp-9" in this organisation'),
        (2, "pharmacy_orders.0.delivery_type_uid", 'no delivery type "dt-9" in this organisation'),
        (2, "prescriptions.0.doctor_uid", 'no doctor "doc-9" in this organisation'),
    ]
    assert await empty(tenant)
    report = await importing(**world(orders=[order]))
    assert (1, "items.1.sku_uid", 'no SKU "sku-9" in this organisation') in found(report.files[6])


def _emptied() -> Row:
    return {
        name: []
        for name in ("shop_orders", "items", "fulfillment_orders", "prescriptions", "pharmacy_orders")
    }


async def test_what_refers_to_a_refused_file_is_checked_and_not_written(
    importing: Import, tenant: Tenant
) -> None:
    twice = [DELIVERY_TYPE, DELIVERY_TYPE | {"uid": "dt-2"}]
    visit = VISIT | {"preferred_doctor_uid": "doc-9"}
    report = await importing(**world(delivery_types=twice, waiting_room=[visit]))
    by_kind = {file.kind: found(file) for file in report.files if file.fault_count}
    # The order names a delivery type that was refused: it is not written, and that is no fault of its own.
    assert by_kind == {
        "delivery_types": [(2, "identifier", "taken on line 1 already")],
        "waiting_room": [(1, "preferred_doctor_uid", 'no doctor "doc-9" in this organisation')],
    }
    assert await empty(tenant)


async def test_a_uid_twice_in_a_file(importing: Import) -> None:
    second = ORDER | {"uid": "ord-2", "fulfillment_orders": [], "prescriptions": [], "pharmacy_orders": []}
    third = ORDER | _emptied() | {"shop_orders": [{"uid": "so-2", "shop_uid": "shop-1"}] * 2}
    report = await importing(**world(orders=[ORDER, second, third]))
    assert found(report.files[6]) == [
        (2, "items.0.uid", 'the order item "oi-1" stands on line 1 already'),
        (2, "items.1.uid", 'the order item "oi-2" stands on line 1 already'),
        (2, "shop_orders.0.uid", 'the shop order "so-1" stands on line 1 already'),
        (3, "shop_orders.1.uid", 'the shop order "so-2" stands on line 3 already'),
        (3, "uid", 'the order "ord-1" stands on line 1 already'),
    ]


async def test_a_refused_line_does_not_hide_what_else_is_wrong_with_it(importing: Import) -> None:
    """Of a rule that speaks against it, or of its form: its duplicates and references are named as well."""
    await importing(**world())
    by_rule = ORDER | _emptied() | {"uid": "ord-2", "patient_profile_uid": "pp-9", "email": "max at example"}
    by_form = copy.deepcopy(ORDER | {"uid": "ord-2", "status": 7, "delivery_address": "Köln"})
    by_form["items"][1] = {"uid": "oi-1", "sku_uid": "sku-9", "quantity": "2"}
    by_form["shop_orders"] = [7, {"uid": "a b", "shop_uid": "shop-9"}]
    by_form["fulfillment_orders"][1]["items"][0]["uid"] = "foi-1"
    by_form["prescriptions"] = {"doctor_uid": "doc-9"}
    third = ORDER | _emptied() | {"uid": "ord-2"}
    report = await importing(orders=[by_rule, by_form, third])
    assert found(report.files[0]) == [
        (1, "email", "not an e-mail address"),
        (1, "patient_profile_uid", 'no patient "pp-9" in this organisation'),
        (2, "delivery_address", "must be an object, not a string"),
        (
            2,
            "fulfillment_orders.1.items.0.uid",
            'the fulfillment order item "foi-1" stands on line 2 already',
        ),
        (2, "items.1.quantity", "must be an integer, not a string"),
        (2, "items.1.sku_uid", 'no SKU "sku-9" in this organisation'),
        (2, "items.1.uid", 'the order item "oi-1" stands on line 2 already'),
        (2, "prescriptions", "must be an array, not an object"),
        (2, "shop_orders.0", "must be an object, not an integer"),
        (2, "shop_orders.1.shop_uid", 'no shop "shop-9" in this organisation'),
        (2, "shop_orders.1.uid", "not of its form: 1–64 of A–Z a–z 0–9 . _ : -"),
        (2, "status", report.files[0].faults[11].reason),
        (2, "uid", 'the order "ord-2" stands on line 1 already'),
        (3, "uid", 'the order "ord-2" stands on line 1 already'),
    ]


async def test_a_line_that_is_not_of_its_form_takes_nothing_that_is_unique(importing: Import) -> None:
    report = await importing(shops=[SHOP | {"display_name": 1}, SHOP | {"uid": "shop-2", "display_name": 1}])
    assert [fault.field for fault in report.files[0].faults] == ["display_name", "display_name"]


async def test_a_child_of_another_parent(importing: Import, tenant: Tenant) -> None:
    await importing(**world())
    report = await importing(
        orders=[
            ORDER | _emptied() | {"uid": "ord-2", "prescriptions": [{"uid": "px-1", "status": "on_hold"}]}
        ]
    )
    assert found(report.files[0]) == [
        (1, "prescriptions.0.uid", 'the prescription "px-1" belongs to the order "ord-1"')
    ]
    second = SHOP | {"uid": "shop-2", "identifier": "two"}
    report = await importing(shops=[second], waiting_room=[VISIT | {"shop_uid": "shop-2"}])
    assert found(report.files[1]) == [(1, "uid", 'the visit "q-1" belongs to the shop "shop-1"')]
    assert not await tenant.rows("SELECT uid FROM shops WHERE organisation_id = $1 AND uid = 'shop-2'")


async def test_what_is_unique(importing: Import) -> None:
    await importing(**world())
    report = await importing(
        shops=[
            SHOP | {"uid": "shop-2"},
            SHOP | {"uid": "shop-3", "identifier": "x"},
            SHOP | {"uid": "4", "identifier": "x"},
        ],
        waiting_room=[VISIT | {"uid": "q-2"}],
        wallet_passes=[PASS | {"uid": "wp-2"}],
    )
    assert [found(file) for file in report.files] == [
        [
            (1, "identifier", 'taken: shop "shop-1" has this identifier'),
            (3, "identifier", "taken on line 2 already"),
        ],
        [(1, "shop_customer_id", 'taken: pass "wp-1" is this customer\'s pass of this template')],
        [
            (
                1,
                "patient_profile_uid",
                'taken: visit "q-1" of this patient is present in this shop\'s waiting room',
            )
        ],
    ]
    twice = [VISIT, VISIT | {"uid": "q-2"}]
    report = await importing(waiting_room=twice)
    assert found(report.files[0]) == [(2, "patient_profile_uid", "taken on line 1 already")]


async def test_the_first_thousand_and_the_count(importing: Import, tenant: Tenant) -> None:
    bad = [b"{", json.dumps(ORDER | _emptied() | {"uid": "x"}).encode()]
    rows = [
        json.dumps(_emptied() | {"uid": f"o-{n}", "status": "init", "patient_profile_uid": "no"}).encode()
        for n in range(1500)
    ]
    report = await importing(**{**world(), "orders": b"\n".join([*rows, *bad])})
    file = report.files[6]
    assert (len(file.faults), file.fault_count) == (1000, 1501)
    assert [fault.line for fault in file.faults] == list(range(1, 1001))
    report = await importing(doctors=b"{\n" * 2500)
    assert (len(report.files[0].faults), report.files[0].fault_count) == (1000, 2500)
    assert report.as_json()["files"][0]["faults"][0]["line"] == 1
    assert await empty(tenant)
