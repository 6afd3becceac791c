"""`rxdesk orders` and `rxdesk prescriptions`, beside a running server."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.processes import Server, answer, inside, refused

from rxdesk.access import Transaction
from rxdesk.cli.common import on_organisation, settings_of
from rxdesk.routes import MANAGEMENT, PHARMACY

Made = dict[str, Any]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def at(demo: Server, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options for a fresh organisation of the running demo that has what an order needs."""
    options = ["--data-dir", str(demo.ready["folder"])]
    slug = f"by-hand-{next(_numbers)}"
    assert inside("organisations", "create", slug, *options).returncode == 0
    at = ["--organisation", slug, *options]
    rows: dict[str, Made] = {
        "shops": {"uid": "shop-1", "identifier": "one", "display_name": "One"},
        "pharmacies": {"uid": "ph-1", "display_name": "Pharmacy"},
        "patients": {"uid": "pp-1", "display_name": "Max Mustermann"},
        "doctors": {
            "uid": "doc-1",
            "display_name": "Dr. Eins",
            "can_sign_prescriptions": True,
            "active": True,
        },
        "products": {
            "uid": "prod-1",
            "display_name": "X",
            "skus": [
                {
                    "uid": "sku-1",
                    "display_name": "X 1",
                    "pharmacy_skus": [{"uid": "psku-1", "pharmacy_uid": "ph-1", "price": 100, "stock": 9}],
                }
            ],
        },
    }
    folder: Path = tmp_path_factory.mktemp("by-hand")
    for kind, row in rows.items():
        (folder / f"{kind}.ndjson").write_text(json.dumps(row) + "\n")
    done = inside("import", *at, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return at


def made(at: list[str], *more: str) -> Made:
    done = inside(
        "orders", "create", *at, "--shop", "shop-1", "--patient", "pp-1", "--item", "sku-1:2", "--json", *more
    )
    order: Made = answer(done)
    return order


def test_an_order_s_whole_way(demo: Server, at: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    key = answer(
        inside(
            *("keys", "create", *at, "--name", "x", "--permission", "order:read"),
            *("--permission", "prescription:read", "--json"),
        )
    )["api_key"]
    order = made(at, "--prescriptions", "1", "--name", "#1", "--delivery-address", '{"city": "Berlin"}')
    [uid] = order["prescription_uids"]
    assert order["status"] == "init"
    assert inside("prescriptions", "assign", *at, uid, "doc-1").stdout == f"{uid}: waiting_for_doctor\n"
    held = inside("prescriptions", "hold", *at, uid, "--reason", "waits for a value")
    assert held.stdout == f"{uid}: on_hold\n"
    assert inside("prescriptions", "resume", *at, uid).stdout == f"{uid}: waiting_for_doctor\n"
    assert answer(inside("prescriptions", "approve", *at, uid, "--json"))["status"] == "approved"
    assert inside("prescriptions", "sign", *at, uid, "--non-qes").stdout == f"{uid}: non_qes_signed\n"
    shown = answer(inside("orders", "show", *at, order["uid"], "--json"))
    assert shown["status"] == "waiting for pharmacy"
    assert shown["prescriptions"] == [{"uid": uid, "status": "non_qes_signed"}]
    assert f"{uid}" in inside("orders", "show", *at, order["uid"]).stdout
    with httpx.Client(trust_env=False, headers={"X-API-Key": key}) as client:
        assert client.get(f"{demo.url}/orders/{order['uid']}").json() == shown
    history = answer(inside("prescriptions", "history", *at, uid, "--json"))
    assert [one["new"] for one in history if one["what"] == "status"] == [
        "on_hold",
        "waiting_for_doctor",
        "approved",
        "non_qes_signed",
    ]
    assert {(one["actor"]["kind"], one["actor"]["uid"]) for one in history} == {("operator", "cli")}
    monkeypatch.setattr("rxdesk.cli.api.HISTORY_ROWS", 2)
    assert answer(inside("prescriptions", "history", *at, uid, "--json")) == history
    lines = inside("orders", "history", *at, order["uid"]).stdout.splitlines()
    assert lines[0].split() == ["AT", "WHAT", "OLD", "NEW", "BY", "REASON"]
    assert "operator cli" in lines[-1]


def test_steps_that_are_refused(at: list[str]) -> None:
    order = made(at, "--prescriptions", "1")
    [uid] = order["prescription_uids"]
    assert refused(inside("orders", "move", *at, order["uid"], "completed")) == (
        "rxdesk: An order that is init cannot become completed now; allowed: started, waiting for doctor, paused, "
        "waiting for manual input, waiting for clearance, waiting for payment, cancelled"
    )
    nowhere = refused(inside("orders", "move", *at, order["uid"], "nowhere"))
    assert nowhere.startswith("rxdesk: status must be one of: ")
    assert "waiting for doctor" in nowhere
    assert "No doctor has this prescription" in refused(inside("prescriptions", "approve", *at, uid))
    assert "there is no such doctor_uid" in refused(inside("prescriptions", "assign", *at, uid, "doc-0"))
    assert (
        refused(inside("orders", "show", *at, "ord-0")) == "rxdesk: there is no such uid in this organisation"
    )
    assert inside("orders", "move", *at, order["uid"], "paused", "--reason", "x").stdout.endswith(
        ": paused\n"
    )
    inside("prescriptions", "assign", *at, uid, "doc-1")
    done = inside("prescriptions", "decline", *at, uid, "--reason", "contraindicated")
    assert done.stdout == f"{uid}: declined\n"
    assert "allowed any more" in refused(inside("prescriptions", "cancel", *at, uid))
    assert inside("orders", "cancel", *at, order["uid"]).stdout == f"{order['uid']}: cancelled\n"


def test_what_is_called_wrongly(at: list[str]) -> None:
    create = ["orders", "create", *at, "--shop", "shop-1", "--patient", "pp-1"]
    assert "give a SKU's uid" in refused(inside(*create, "--item", "sku-1"))
    assert "must be an integer >= 1" in refused(inside(*create, "--item", "sku-1:0"))
    assert "is not JSON" in refused(inside(*create, "--item", "sku-1:1", "--delivery-address", "x"))
    for address, said in (
        ('{"city": "\\ud800"}', "a lone surrogate"),
        ('{"city": "\\u0000"}', "holds NUL"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        ('{"city": "\udcff"}', "not UTF-8"),
        ('{"city": "a", "city": "b"}', "twice"),
    ):
        wrong = [*create, "--item", "sku-1:1", "--delivery-address", address]
        assert said in refused(inside(*wrong)), said
    for option in ("--name", "--external-id"):
        for text in ("a\udcff", "a\x00"):
            line = refused(inside(*create, "--item", "sku-1:1", option, text))
            assert "is not UTF-8, or holds NUL" in line
    assert "the member 'town', which is not known here" in refused(
        inside(*create, "--item", "sku-1:1", "--delivery-address", '{"town": "x"}')
    )
    assert "there is no such items" in refused(inside(*create, "--item", "sku-0:1"))


async def _told(tx: Transaction) -> list[tuple[str, str, str, str]]:
    rows = await tx.connection.fetch(
        "SELECT event_type, subject_uid, actor_kind, actor_uid FROM events WHERE organisation_id = $1 "
        "ORDER BY position",
        tx.organisation_id,
    )
    return [tuple(row) for row in rows]


def test_a_verb_stores_what_it_tells_of(demo: Server, at: list[str]) -> None:
    settings = settings_of(Path(demo.ready["folder"]), None).settings
    before = on_organisation(settings, "tests", at[1], _told)
    order = made(at, "--prescriptions", "1")
    refused(inside("orders", "move", *at, order["uid"], "completed"))
    by = ("operator", "cli")
    assert on_organisation(settings, "tests", at[1], _told)[len(before) :] == [
        ("order_created", order["uid"], *by),
        ("prescription_created", order["prescription_uids"][0], *by),
    ]


def test_what_changed_of_a_pharmacy_s_order_and_sku(at: list[str], demo: Server) -> None:
    order = made(at)
    for status in ("started", "waiting for pharmacy"):
        assert inside("orders", "move", *at, order["uid"], status).returncode == 0
    placed = answer(inside("events", "list", *at, "--type", "pharmacy_order_created", "--json"))["data"]
    uid = placed[-1]["subject_uid"]
    [created] = answer(inside("pharmacy-orders", "history", *at, uid, "--json"))
    assert (created["what"], created["new"], created["actor"]["uid"]) == ("created", "init", "cli")
    lines = inside("pharmacy-orders", "history", *at, uid).stdout.splitlines()
    assert lines[0].split() == ["AT", "WHAT", "OLD", "NEW", "BY", "REASON"]
    key = answer(
        inside(
            "keys",
            "create",
            *at,
            "--name",
            "x",
            "--pharmacy",
            "ph-1",
            "--permission",
            "stock_write",
            "--json",
        )
    )
    url = demo.url.removesuffix(MANAGEMENT.base) + PHARMACY.base + "/pharmacy_skus/psku-1/stock"
    with httpx.Client(trust_env=False, headers={"X-API-Key": key["api_key"]}) as client:
        assert client.patch(url, json={"stock": 8}).status_code == 200
    changed = answer(inside("pharmacy-skus", "history", *at, "psku-1", "--json"))[-1]
    assert (changed["what"], changed["new"], changed["actor"]["kind"]) == ("stock", "8", "key")
    assert (
        refused(inside("pharmacy-skus", "history", *at, uid))
        == "rxdesk: there is no such uid in this organisation"
    )
