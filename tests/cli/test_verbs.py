"""The operator's verbs, beside a running server and without one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.processes import Server, answer, inside, refused, rxdesk

from rxdesk import routes
from rxdesk.permissions import ALL, ALL_OF_PHARMACY
from rxdesk.settings import options

VERBS = [
    ["demo"],
    ["serve"],
    ["migrate"],
    ["import"],
    ["config"],
    ["check"],
    ["version"],
    ["organisations", "create"],
    ["organisations", "list"],
    ["organisations", "intent-window"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "rotate"],
    ["keys", "revoke"],
    *(["orders", verb] for verb in ("create", "show", "move", "cancel", "history")),
    *(
        ["prescriptions", verb]
        for verb in ("assign", "approve", "decline", "hold", "resume", "sign", "cancel", "history")
    ),
    ["pharmacy-orders", "history"],
    ["pharmacy-skus", "history"],
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_teaches(verb: list[str]) -> None:
    done = inside(*verb, "--help", NO_COLOR="1", COLUMNS="110")
    assert done.returncode == 0
    assert "Usage: rxdesk " + " ".join(verb) in done.stdout
    assert "Examples" in done.stdout
    assert "rxdesk " + " ".join(verb) in done.stdout.split("Examples")[1]


def test_keys_live_and_die(demo: Server) -> None:
    slug = demo.ready["organisations"][0]["slug"]
    at = ("--organisation", slug, "--data-dir", demo.ready["folder"], "--json")
    made = answer(
        inside(
            "keys",
            "create",
            *at,
            "--name",
            " ERP ",
            "--permission",
            "order:read",
            "--permission",
            "patient:read",
            "--expires",
            "90d",
            "--rate-limit-per-second",
            5,
        )
    )
    assert set(made) == {
        "uid",
        "api_key",
        "organisation",
        "pharmacy_uid",
        "name",
        "permissions",
        "expires_at",
        "rate_limit_per_second",
        "rate_limit_per_minute",
    }
    assert made["organisation"] == slug
    assert made["pharmacy_uid"] is None
    assert made["name"] == "ERP"
    assert made["permissions"] == ["order:read", "patient:read"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["expires_at"])
    assert (made["rate_limit_per_second"], made["rate_limit_per_minute"]) == (5, 600)
    assert demo.order(made["api_key"]) == 200
    assert demo.get("/prescriptions/px-none", made["api_key"]) == 403

    # The old key dies at once without an overlap, and lives on with one.
    second = answer(inside("keys", "rotate", *at, made["uid"], "--overlap", "0h"))
    assert second["permissions"] == made["permissions"]
    assert second["expires_at"] == made["expires_at"]
    assert demo.order(made["api_key"]) == 401
    assert demo.order(second["api_key"]) == 200
    third = answer(inside("keys", "rotate", *at, second["uid"]))
    assert third["rotated_from"]["uid"] == second["uid"]
    # It was rotated: a second successor would end with the overlap, unlike the first one.
    assert f"rotated already, to {third['uid']}" in refused(
        inside("keys", "rotate", *(part for part in at if part != "--json"), second["uid"])
    )
    assert demo.order(second["api_key"]) == 200
    assert demo.order(third["api_key"]) == 200

    revoked = answer(inside("keys", "revoke", *at, third["uid"]))
    assert revoked == {"uid": third["uid"], "organisation": slug, "status": "revoked"}
    assert demo.order(third["api_key"]) == 401

    listed = {key["uid"]: key for key in answer(inside("keys", "list", *at))}
    assert listed[made["uid"]]["status"] == "expired"
    assert listed[second["uid"]]["status"] == "active"
    assert listed[third["uid"]]["status"] == "revoked"
    assert listed[third["uid"]]["rotated_from"] == second["uid"]
    for key in (made, second, third):
        assert key["api_key"] not in json.dumps(listed)


def test_a_key_with_everything_and_a_test_key(demo: Server) -> None:
    at = (
        "--organisation",
        demo.ready["organisations"][1]["slug"],
        "--data-dir",
        demo.ready["folder"],
        "--json",
    )
    made = answer(inside("keys", "create", *at, "--name", "all", "--all-permissions", "--test"))
    assert made["permissions"] == list(ALL)
    assert made["expires_at"] is None
    assert made["api_key"].startswith("rxd_test_")
    # It is the other organisation's: this one's order is not there for it.
    assert demo.order(made["api_key"]) == 404


def test_a_key_of_a_pharmacy(demo: Server) -> None:
    slug = demo.ready["organisations"][0]["slug"]
    at = ("--organisation", slug, "--data-dir", demo.ready["folder"])
    none = inside("keys", "create", *at, "--name", "x", "--pharmacy", "ph-none", "--all-permissions")
    said = refused(none)
    assert "no pharmacy 'ph-none' in this organisation; there are: " in said
    pharmacy = said.partition("there are: ")[2].partition(" (")[0]
    of = (*at, "--name", "till", "--pharmacy", pharmacy)
    made = answer(inside("keys", "create", *of, "--all-permissions", "--json"))
    assert (made["pharmacy_uid"], made["permissions"]) == (pharmacy, list(ALL_OF_PHARMACY))
    told = inside("keys", "create", *of, "--permission", "orders_read").stdout
    assert f"created for pharmacy {pharmacy} of {slug}" in told
    # It is for the pharmacy's API, and for nothing of the organisation's.
    url = demo.url.replace(routes.MANAGEMENT.base, routes.PHARMACY.base) + "/pharmacy_orders/"
    orders = httpx.get(url, headers={"X-API-Key": made["api_key"]}, trust_env=False)
    assert orders.status_code == 200
    assert {order["pharmacy"]["uid"] for order in orders.json()["data"]} == {pharmacy}
    assert demo.order(made["api_key"]) == 403
    second = answer(inside("keys", "rotate", *at, made["uid"], "--json"))
    assert (second["pharmacy_uid"], second["permissions"]) == (
        pharmacy,
        sorted(ALL_OF_PHARMACY),
    )
    listed = {key["uid"]: key["pharmacy_uid"] for key in answer(inside("keys", "list", *at, "--json"))}
    assert listed[second["uid"]] == listed[made["uid"]] == pharmacy
    assert set(listed.values()) == {None, pharmacy}
    table = inside("keys", "list", *at).stdout.splitlines()
    assert "PHARMACY" in table[0]
    assert any(made["uid"] in line and pharmacy in line for line in table)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--permission", "orders_read"],
            "orders_read is a permission of a pharmacy's key: name the pharmacy",
        ),
        (
            ["--permission", "order:read", "--pharmacy", "ph-1"],
            "order:read is a permission of an organisation's key: leave --pharmacy out",
        ),
        (["--permission", "order_read", "--pharmacy", "ph-1"], "did you mean orders_read?"),
        (["--permission", "orders_read", "--pharmacy", "ph-none"], "no pharmacy 'ph-none'"),
        (["--permission", "order:reed"], "did you mean order:read?"),
        (["--permission", "nonsense"], "There are: order:read, order:write"),
        (["--expires", "tomorrow"], "is no expiry: write a length of time (12h, 90d, 2w) or a date"),
        (["--expires", "0d"], "not in the future"),
        (["--expires", "2020-01-01"], "not in the future"),
        (["--expires", "2026-13-01"], "is no time"),
        (["--expires", "999999w"], "too far away"),
        (["--expires", "9999-12-31T23:59:59-23:59"], "too far away"),
        (["--permission", "order:read,patient:read"], "is more than one: repeat --permission for each"),
        (["--name", ""], "a key needs a name"),
        (["--name", "\x1b[31mred"], "without control characters"),
        (["--all-permissions"], "give --permission or --all-permissions, not both"),
        (["--organisation", "nobody"], "no organisation 'nobody'"),
    ],
)
def test_a_wrong_key_is_refused(demo: Server, arguments: list[str], said: str) -> None:
    slug = demo.ready["organisations"][0]["slug"]
    done = inside(
        "keys",
        "create",
        "--organisation",
        slug,
        "--name",
        "x",
        *(arguments if "--permission" in arguments else ["--permission", "order:read", *arguments]),
        "--data-dir",
        demo.ready["folder"],
    )
    assert said in refused(done)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rotate", "key-none"], "no active key key-none"),
        (["rotate", "key-none", "--overlap", "8d"], "the overlap is from 0 to 7 days"),
        (["rotate", "key-none", "--overlap", "-1h"], "is no length of time"),
        (["revoke", "key-none"], "no key key-none"),
    ],
)
def test_a_key_that_is_not_there(demo: Server, arguments: list[str], said: str) -> None:
    slug = demo.ready["organisations"][0]["slug"]
    assert said in refused(
        inside("keys", *arguments, "--organisation", slug, "--data-dir", demo.ready["folder"])
    )


def test_a_wrong_flag_is_a_usage_error() -> None:
    done = rxdesk("keys", "create", "--organisation", "x", "--name", "x", "--rate-limit-per-second", "-1")
    assert done.returncode == 2
    assert done.stderr.startswith("rxdesk: ")


def test_organisations(copy: Path) -> None:
    """On a folder whose server does not run."""
    made = answer(
        rxdesk(
            "organisations",
            "create",
            "third",
            "--name",
            "Third GmbH",
            "--time-zone",
            "Europe/Vienna",
            "--data-dir",
            copy,
            "--json",
        )
    )
    assert set(made) == {"number", "uid", "slug", "display_name", "public_code", "time_zone"}
    assert made["number"] == 3
    assert made["time_zone"] == "Europe/Vienna"
    listed = answer(inside("organisations", "list", "--json", RXDESK_DATA_DIR=str(copy)))
    assert made in listed
    assert len(listed) == 3
    table = inside("organisations", "list", "--data-dir", copy).stdout.splitlines()
    assert table[0].split()[:3] == ["NUMBER", "SLUG", "NAME"]
    assert any(line.split()[:2] == ["3", "third"] for line in table)
    assert "the slug third is taken" in refused(
        inside("organisations", "create", "third", "--name", "x", "--data-dir", copy)
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "Not A Slug", "--name", "x"], "a slug is 1–63 of"),
        (["create", "fourth", "--name", "x", "--time-zone", "Mars/Base"], "unknown time zone 'Mars/Base'"),
        (["intent-window", "nobody", "asthma", "10"], "no organisation 'nobody'"),
    ],
)
def test_a_wrong_organisation_is_refused(demo: Server, arguments: list[str], said: str) -> None:
    assert said in refused(inside("organisations", *arguments, "--data-dir", demo.ready["folder"]))


def test_an_intent_window_counts_at_once(demo: Server) -> None:
    first = demo.ready["organisations"][1]
    done = answer(
        inside(
            "organisations",
            "intent-window",
            first["slug"],
            first["samples"]["intent"],
            0,
            "--data-dir",
            demo.ready["folder"],
            "--json",
        )
    )
    assert done == {"organisation": first["slug"], "intent": first["samples"]["intent"], "days": 0}


def test_a_folder_without_a_database_is_not_filled(tmp_path: Path) -> None:
    assert "there is no database in" in refused(
        inside("organisations", "list", "--data-dir", tmp_path / "typo")
    )
    assert not (tmp_path / "typo").exists()


def test_config_names_every_setting_and_hides_secrets(tmp_path: Path) -> None:
    file = tmp_path / "rxdesk.toml"
    file.write_text("workers = 3\n")
    rows = answer(
        inside(
            "config",
            "--json",
            "--config",
            file,
            RXDESK_REDIS_URL="redis://:hidden-word@cache",
            RXDESK_DATABASE_URL="postgresql://a:hidden-word@db/x",
            RXDESK_PORT="99",
        )
    )
    assert [row["name"] for row in rows] == [option.name for option in options()]
    by_name: dict[str, dict[str, Any]] = {row["name"]: row for row in rows}
    assert by_name["redis_url"]["value"] == by_name["database_url"]["value"] == "(hidden)"
    assert by_name["port"] == {"name": "port", "value": 99, "origin": "variable RXDESK_PORT"}
    assert by_name["workers"] == {"name": "workers", "value": 3, "origin": f"file {file}"}
    assert by_name["address"]["origin"] == "default"
    text = rxdesk("config", RXDESK_ENCRYPTION_KEYS="k1:hidden-word")
    assert text.returncode == 0
    assert "hidden-word" not in text.stdout + text.stderr
    assert "(hidden)" in text.stdout


@pytest.mark.parametrize(
    ("env", "value", "said"),
    [
        ({}, 0, "0 (8 a worker, 8 for deliveries)"),
        ({"RXDESK_WORKERS": "3"}, 0, "0 (4 a worker, 8 for deliveries)"),
        ({"RXDESK_WORKERS": "3", "RXDESK_DATABASE_POOL_SIZE": "5"}, 5, "5"),
    ],
)
def test_config_says_how_many_connections_the_default_is(env: dict[str, str], value: int, said: str) -> None:
    lines = inside("config", **env).stdout.splitlines()
    line = next(line for line in lines if line.startswith("database_pool_size "))
    assert re.split(r"\s{2,}", line)[1] == said
    rows: list[dict[str, Any]] = answer(inside("config", "--json", **env))
    assert next(row["value"] for row in rows if row["name"] == "database_pool_size") == value


def test_version() -> None:
    found = answer(inside("version", "--json"))
    assert set(found) == {"rxdesk", "python", "embedded_postgresql"}
    assert found["rxdesk"] in inside("version").stdout
