"""What an import writes, and what it leaves alone."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from scripts import sql_rules
from tests.factories import Tenant
from tests.importing.conftest import NOW, Import
from tests.importing.rows import DOCTOR, ORDER, PASS, PATIENT, PRODUCT, SHOP, TEMPLATE, VISIT, Row, T, world

from rxdesk.db import embedded
from rxdesk.importing import showing, statements, telling
from rxdesk.importing.files import find_files
from rxdesk.importing.load import ImportBusyError, import_files
from rxdesk.importing.tables import TABLES

ALL_TABLES = [table.name for tables in TABLES.values() for table in tables]


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def test_the_calendar_s_ends_are_dates(importing: Import, tenant: Tenant) -> None:
    """Registers fill them in for «unknown»; the driver would make infinities of them."""
    days = ["0001-01-01", "0001-01-02", "1990-01-15", "9999-12-30", "9999-12-31"]
    patients = [{"uid": f"pp-{day}", "date_of_birth": day} for day in days]
    assert (await importing(patients=patients)).ok
    report = await importing(patients=patients)
    assert report.files[0].written["patients"].changed == 0
    rows = await tenant.rows(
        "SELECT date_of_birth::text AS day FROM patients WHERE organisation_id = $1 ORDER BY uid"
    )
    assert [row["day"] for row in rows] == days


async def versions(tenant: Tenant) -> dict[str, list[tuple[str, int, str]]]:
    """Which transaction wrote each row last."""
    return {
        table: [
            (row["uid"], row["xmin"], row["ctid"])
            for row in await tenant.rows(
                f"SELECT uid, xmin::text, ctid::text FROM {table} WHERE organisation_id = $1 ORDER BY uid"
            )
        ]
        for table in ALL_TABLES
    }


async def one(tenant: Tenant, table: str, uid: str) -> Row:
    rows = await tenant.rows(f"SELECT * FROM {table} WHERE organisation_id = $1 AND uid = $2", uid)
    assert len(rows) == 1
    return rows[0]


async def test_every_column_of_every_kind(importing: Import, tenant: Tenant) -> None:
    report = await importing(**world())
    assert report.ok
    assert [file.kind for file in report.files] == list(world())
    assert all(file.lines == 1 for file in report.files)
    assert {table for file in report.files for table in file.written} == set(ALL_TABLES)

    actor = {"actor_kind": "operator", "actor_uid": "import"}
    times = {"created_at": at(T), "updated_at": at(T), "deleted_at": None}
    base = {"organisation_id": tenant.id}
    assert await one(tenant, "shops", "shop-1") == base | times | actor | {
        "uid": "shop-1",
        "identifier": "one",
        "display_name": "One",
        "consultation_minutes": None,
        "doctors_on_duty": None,
    }
    assert await one(tenant, "doctors", "doc-1") == base | times | actor | {
        "uid": "doc-1",
        "display_name": "Dr. Ärmel",
        "sort_key": "dr. armel",
        "email": "Doc@example.com",
        "minutes_to_respond": 30,
        "can_sign_prescriptions": True,
        "active": True,
    }
    assert await one(tenant, "pharmacy_skus", "psku-1") == base | {
        "uid": "psku-1",
        "sku_uid": "sku-1",
        "pharmacy_uid": "ph-1",
        "position": 0,
        "price": 1299,
        "stock": 5,
        "external_id": "E1",
        "updated_at": at(T),
        "deleted_at": None,
    }
    patient = await one(tenant, "patients", "pp-1")
    assert json.loads(patient.pop("profile")) == PATIENT["profile"]
    assert patient == base | times | actor | {
        "uid": "pp-1",
        "display_name": "Max Mustermann",
        "first_name": "Max",
        "last_name": "Mustermann",
        "email": "Max@Example.com",
        "email_key": "max@example.com",
        "date_of_birth": datetime(1990, 1, 15, tzinfo=UTC).date(),
    }
    assert (await one(tenant, "submissions", "sub-1"))["signed_at"] == at(T)
    assert (await one(tenant, "submissions", "sub-2"))["position"] == 1
    order = await one(tenant, "orders", "ord-1")
    assert json.loads(order["delivery_address"]) == ORDER["delivery_address"]
    assert (order["patient_uid"], order["email_key"], order["priority"]) == ("pp-1", "max@example.com", 1)
    assert order["updated_at"] == at(T + 700)
    item = await one(tenant, "fulfillment_order_items", "foi-2")
    assert (item["order_uid"], item["fulfillment_order_uid"], item["order_item_uid"]) == (
        "ord-1",
        "fo-2",
        "oi-2",
    )
    assert await one(tenant, "prescriptions", "px-1") == base | actor | {
        "uid": "px-1",
        "order_uid": "ord-1",
        "fulfillment_order_uid": "fo-1",
        "position": 0,
        "status": "signed",
        "doctor_uid": "doc-1",
        "assigned_at": at(T + 60),
        "decided_at": at(T + 660),
        "rendered": True,
        "created_at": at(T + 30),
        "updated_at": at(T + 660),
        "deleted_at": None,
    }
    made = await one(tenant, "pharmacy_orders", "po-1")
    assert (made["created_at"], json.loads(made["data"])) == (at(T), {"note": "x"})  # the order's time
    template = await one(tenant, "wallet_pass_templates", "wpt-1")
    assert (template["fields"], json.loads(template["design"])) == (["points"], TEMPLATE["design"])
    assert (await one(tenant, "wallet_passes", "wp-1"))["expires_at"] == at(T + 100)
    assert (await one(tenant, "waiting_room_visits", "q-1"))["turn"] == 1


async def test_the_same_again_writes_no_row(importing: Import, tenant: Tenant) -> None:
    await importing(**world())
    before = await versions(tenant)
    report = await importing(NOW + timedelta(days=1), **world())
    assert report.ok
    assert await versions(tenant) == before
    for file in report.files:
        assert all((w.added, w.changed, w.removed) == (0, 0, 0) for w in file.written.values())


async def test_times_that_are_left_out(importing: Import, tenant: Tenant) -> None:
    bare = {"uid": "shop-1", "identifier": "one", "display_name": "One"}
    await importing(shops=[bare])
    shop = await one(tenant, "shops", "shop-1")
    assert (shop["created_at"], shop["updated_at"]) == (NOW, NOW)
    later = NOW + timedelta(hours=1)
    await importing(later, shops=[bare])
    assert await one(tenant, "shops", "shop-1") == shop
    await importing(later, shops=[bare | {"display_name": "Eins"}])
    shop = await one(tenant, "shops", "shop-1")
    assert (shop["display_name"], shop["created_at"], shop["updated_at"]) == ("Eins", NOW, later)
    await importing(later, shops=[SHOP])  # a time that is given counts
    shop = await one(tenant, "shops", "shop-1")
    assert (shop["created_at"], shop["updated_at"]) == (at(T), later)


async def test_what_is_left_out_becomes_null(importing: Import, tenant: Tenant) -> None:
    await importing(**world())
    bare = {"uid": "pp-1", "created_at": T}
    report = await importing(patients=[bare])
    assert report.files[0].written["patients"].changed == 1
    assert report.files[0].written["submissions"].removed == 2
    patient = await one(tenant, "patients", "pp-1")
    assert (patient["email"], patient["email_key"], patient["display_name"], patient["profile"]) == (
        None,
        None,
        None,
        "{}",
    )


async def test_children_that_are_not_listed_any_more(importing: Import, tenant: Tenant) -> None:
    await importing(**world())
    order = copy.deepcopy(ORDER)
    del order["items"][1], order["fulfillment_orders"][1], order["prescriptions"][1]
    report = await importing(orders=[order])
    assert {name: w.removed for name, w in report.files[0].written.items()} == {
        "orders": 0,
        "shop_orders": 0,
        "order_items": 1,
        "fulfillment_orders": 1,
        "fulfillment_order_items": 1,
        "prescriptions": 1,
        "pharmacy_orders": 0,
    }
    gone = await one(tenant, "prescriptions", "px-2")
    assert (gone["deleted_at"], gone["updated_at"]) == (NOW, NOW)
    assert (await one(tenant, "fulfillment_order_items", "foi-2"))["deleted_at"] == NOW
    assert (await one(tenant, "order_items", "oi-1"))["deleted_at"] is None
    await importing(orders=[ORDER])  # listed again
    for table, uid in (
        ("prescriptions", "px-2"),
        ("fulfillment_order_items", "foi-2"),
        ("order_items", "oi-2"),
    ):
        assert (await one(tenant, table, uid))["deleted_at"] is None


async def test_links_of_a_sku_that_is_gone_go_too(importing: Import, tenant: Tenant) -> None:
    await importing(**world())
    await importing(products=[PRODUCT | {"skus": PRODUCT["skus"][1:]}])
    for table, uid in (("skus", "sku-1"), ("shop_skus", "ssku-1"), ("pharmacy_skus", "psku-1")):
        assert (await one(tenant, table, uid))["deleted_at"] == NOW
    assert (await one(tenant, "skus", "sku-2"))["position"] == 0


async def test_deleted_and_revived_with_its_children(importing: Import, tenant: Tenant) -> None:
    await importing(**world())
    await importing(orders=[ORDER | {"deleted_at": T + 5}])
    for table, uid in (("orders", "ord-1"), ("prescriptions", "px-1"), ("order_items", "oi-1")):
        assert (await one(tenant, table, uid))["deleted_at"] == at(T + 5)
    count = (
        "SELECT count(*) FROM doctor_statistics WHERE organisation_id = $1 AND span = 'all' AND signed = 1"
    )
    assert await tenant.connection.fetchval(count, tenant.id) == 0
    await importing(orders=[ORDER])
    assert (await one(tenant, "prescriptions", "px-1"))["deleted_at"] is None
    assert await tenant.connection.fetchval(count, tenant.id) == 1


async def test_two_swap_what_is_unique(importing: Import, tenant: Tenant) -> None:
    one_, two = SHOP, SHOP | {"uid": "shop-2", "identifier": "two"}
    await importing(shops=[one_, two])
    report = await importing(shops=[one_ | {"identifier": "two"}, two | {"identifier": "one"}])
    assert report.ok
    assert (await one(tenant, "shops", "shop-1"))["identifier"] == "two"
    assert (await one(tenant, "shops", "shop-2"))["deleted_at"] is None


async def test_one_takes_over_what_another_gives_up(importing: Import, tenant: Tenant) -> None:
    await importing(**world())
    report = await importing(
        shops=[SHOP | {"uid": "shop-0"}, SHOP | {"deleted_at": T}],
        waiting_room=[VISIT | {"uid": "q-0"}, VISIT | {"status": "completed", "ended_at": T + 9}],
        wallet_passes=[PASS | {"uid": "wp-0"}, PASS | {"deleted_at": T}],
    )
    assert report.ok, report
    assert (await one(tenant, "shops", "shop-1"))["deleted_at"] == at(T)
    assert (await one(tenant, "waiting_room_visits", "q-1"))["deleted_at"] is None
    assert (await one(tenant, "wallet_passes", "wp-1"))["deleted_at"] == at(T)


async def test_turns_follow_the_file_behind_who_is_there(importing: Import, tenant: Tenant) -> None:
    patients = [{"uid": f"pp-{n}"} for n in range(1, 8)]
    second = SHOP | {"uid": "shop-2", "identifier": "two"}

    def visit(number: int, shop: int = 1) -> Row:
        return {
            "uid": f"q-{number}",
            "shop_uid": f"shop-{shop}",
            "patient_profile_uid": f"pp-{number}",
            "status": "waiting",
        }

    first = [visit(3), visit(1), visit(4, 2)]
    report = await importing(**world(shops=[SHOP, second], patients=patients, orders=[], waiting_room=first))
    assert report.ok, report
    turns = "SELECT uid, turn FROM waiting_room_visits WHERE organisation_id = $1 ORDER BY turn, uid"
    assert [tuple(row.values()) for row in await tenant.rows(turns)] == [("q-3", 1), ("q-4", 1), ("q-1", 2)]
    report = await importing(waiting_room=[visit(7), visit(1) | {"visit_reason": "neu"}, visit(2)])
    assert report.ok, report
    assert [tuple(row.values()) for row in await tenant.rows(turns)] == [
        ("q-3", 1),
        ("q-4", 1),
        ("q-1", 2),
        ("q-7", 3),
        ("q-2", 4),
    ]
    rooms = "SELECT uid, last_turn FROM waiting_rooms WHERE organisation_id = $1 ORDER BY uid"
    assert [tuple(row.values()) for row in await tenant.rows(rooms)] == [("shop-1", 4), ("shop-2", 1)]


async def test_organisations_may_use_the_same_uids(importing: Import, tenant: Tenant, other: Tenant) -> None:
    await other.insert("shops", uid="shop-1", identifier="one", display_name="Theirs")
    await other.insert("patients", uid="pp-1", display_name="Theirs")
    theirs = await versions(other)
    assert (await importing(**world())).ok
    assert await versions(other) == theirs
    refused = await importing(orders=[ORDER | {"patient_profile_uid": (await other.insert("patients"))}])
    assert not refused.ok
    assert refused.files[0].faults[0].field == "patient_profile_uid"


async def test_order_of_files_does_not_matter(importing: Import) -> None:
    report = await importing(**dict(reversed(world().items())))
    assert report.ok
    assert [file.kind for file in report.files] == list(world())


async def test_statistics_follow(importing: Import, tenant: Tenant) -> None:
    await importing(**world())
    await importing(orders=[ORDER | {"prescriptions": [ORDER["prescriptions"][0] | {"status": "declined"}]}])
    rows = await tenant.rows(
        "SELECT signed, declined, decided, decision_seconds FROM doctor_statistics "
        "WHERE organisation_id = $1 AND span = 'all'"
    )
    assert rows == [{"signed": 0, "declined": 1, "decided": 1, "decision_seconds": 600}]


async def test_no_two_at_once(importing: Import, tenant: Tenant, cluster: embedded.Address) -> None:
    second = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    try:
        async with second.transaction():
            await second.execute("SELECT pg_advisory_xact_lock($1, $2)", 0x52784465, tenant.id)
            with pytest.raises(ImportBusyError):
                await importing(doctors=[DOCTOR])
    finally:
        await second.close()
    assert (await importing(doctors=[DOCTOR])).ok


async def test_the_connection_is_left_as_it_was(importing: Import, tenant: Tenant) -> None:
    before = await tenant.connection.fetchval("SHOW statement_timeout")
    await importing(doctors=[DOCTOR])
    await importing(doctors=[DOCTOR | {"email": "x"}])
    assert await tenant.connection.fetchval("SHOW statement_timeout") == before
    assert not tenant.connection.is_in_transaction()
    assert (
        await tenant.connection.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE 'import\\_%'") == 0
    )


def test_every_statement_keeps_to_its_organisation() -> None:
    migrations = (Path(sql_rules.__file__).parents[1] / "src/rxdesk/db/migrations").rglob("*.up.sql")
    tenants = sql_rules.tenant_tables(path.read_text("utf-8") for path in migrations)
    assert set(ALL_TABLES) <= tenants
    made = 0
    for tables in TABLES.values():
        for table in tables:
            texts = [statements.is_used(table)]
            told = (showing.NOTING | telling.NOTING).get(table.name, "")
            texts += [statements.upsert(table, used=used) for used in (False, True)]
            texts += [statements.upsert(table, used=used, told=told) for used in (False, True)]
            texts += [statements.missing(table, reference) for reference in table.references]
            texts += [statements.taken(table, unique) for unique in table.uniques]
            shown = showing.NOTING.get(table.name, "")
            texts += [
                statements.park(table, unique, told) for unique in table.uniques for told in ("", shown)
            ]
            texts += [statements.other_parent(table)] if table.parent else []
            if table.is_child:
                texts += [statements.remove_unlisted(table, tables[0], told) for told in ("", told)]
            for text in texts:
                made += 1
                assert sql_rules.check_statement(text, tenants) == [], text
    assert made > 80


async def test_of_two_files_of_a_kind_the_later_counts(tenant: Tenant, tmp_path: Path) -> None:
    for name, title in (("1-shops.ndjson", "First"), ("2-shops.ndjson", "Second")):
        (tmp_path / name).write_text(json.dumps(SHOP | {"display_name": title}))
    await tenant.enter()
    report = await import_files(tenant.connection, tenant.id, find_files([tmp_path]), now=NOW)
    assert [file.written["shops"].added for file in report.files] == [1, 0]
    assert (await one(tenant, "shops", "shop-1"))["display_name"] == "Second"


async def test_its_own_organisation_whatever_the_connection_is_set_to(
    tenant: Tenant, other: Tenant, tmp_path: Path
) -> None:
    (tmp_path / "shops.ndjson").write_text(json.dumps(SHOP))
    await other.enter()
    report = await import_files(tenant.connection, tenant.id, find_files([tmp_path]), now=NOW)
    assert report.ok
    assert await other.connection.fetchval("SHOW rxdesk.organisation_id") == str(other.id)
    assert await other.rows("SELECT uid FROM shops WHERE organisation_id = $1") == []
    assert len(await tenant.rows("SELECT uid FROM shops WHERE organisation_id = $1")) == 1
