"""The documents of products: what triggers keep is what a query over the tables gives, whoever writes, and at once."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.factories import LONG_AGO, Tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection

STEPS = 400
SEED = 20261123
# Put together beside the triggers, and beside their function.
LIVE = """
SELECT p.uid, p.display_name,
  array(SELECT s.uid FROM skus s WHERE s.organisation_id = $1 AND s.product_uid = p.uid AND s.deleted_at IS NULL
    ORDER BY s.position, s.uid) AS skus,
  array(SELECT l.uid || ':' || coalesce(l.external_id, '') FROM shop_products l JOIN shops o
    ON o.organisation_id = $1 AND o.uid = l.shop_uid
    WHERE l.organisation_id = $1 AND l.product_uid = p.uid AND l.deleted_at IS NULL AND o.deleted_at IS NULL
    ORDER BY l.position, l.uid) AS shop_products,
  array(SELECT l.uid || ':' || coalesce(l.external_id, '') FROM skus s JOIN shop_skus l
    ON l.organisation_id = $1 AND l.sku_uid = s.uid JOIN shops o ON o.organisation_id = $1 AND o.uid = l.shop_uid
    WHERE s.organisation_id = $1 AND s.product_uid = p.uid AND s.deleted_at IS NULL AND l.deleted_at IS NULL
    AND o.deleted_at IS NULL ORDER BY s.position, s.uid, l.position, l.uid) AS shop_skus,
  array(SELECT l.uid || ':' || coalesce(l.stock::text, '') FROM skus s JOIN pharmacy_skus l
    ON l.organisation_id = $1 AND l.sku_uid = s.uid JOIN pharmacies o
    ON o.organisation_id = $1 AND o.uid = l.pharmacy_uid
    WHERE s.organisation_id = $1 AND s.product_uid = p.uid AND s.deleted_at IS NULL AND l.deleted_at IS NULL
    AND o.deleted_at IS NULL ORDER BY s.position, s.uid, l.position, l.uid) AS pharmacy_skus
FROM products p WHERE p.organisation_id = $1 ORDER BY p.uid"""
KEPT = "SELECT uid, document FROM product_documents WHERE organisation_id = $1 ORDER BY uid"
LINKS = {
    "shop_products": ("product_uid", "products", "shop_uid", "shops"),
    "shop_skus": ("sku_uid", "skus", "shop_uid", "shops"),
    "pharmacy_skus": ("sku_uid", "skus", "pharmacy_uid", "pharmacies"),
}


async def live(tenant: Tenant) -> list[dict[str, object]]:
    return await tenant.rows(LIVE)


async def kept(tenant: Tenant) -> list[dict[str, object]]:
    """The documents, in the form of the live query."""
    found = []
    for row in await tenant.rows(KEPT):
        document = json.loads(row["document"])
        skus = document["skus"]
        assert document["uid"] == row["uid"]
        found.append(
            {
                "uid": document["uid"],
                "display_name": document["display_name"],
                "skus": [sku["uid"] for sku in skus],
                "shop_products": [
                    f"{one['uid']}:{one['external_id'] or ''}" for one in document["shop_products"]
                ],
                "shop_skus": [
                    f"{one['uid']}:{one['external_id'] or ''}" for sku in skus for one in sku["shop_skus"]
                ],
                "pharmacy_skus": [
                    f"{one['uid']}:{'' if one['stock'] is None else one['stock']}"
                    for sku in skus
                    for one in sku["pharmacy_skus"]
                ],
            }
        )
    return found


async def link(tenant: Tenant, table: str, of: str, place: str, **more: object) -> str:
    column, _, place_column, _ = LINKS[table]
    return await tenant.insert(table, **{column: of, place_column: place}, **more)


async def test_any_course_of_changes(tenant: Tenant) -> None:
    chance = random.Random(SEED)
    uids: dict[str, list[str]] = {
        "shops": [await tenant.insert("shops", identifier=f"s{number}") for number in range(3)],
        "pharmacies": [await tenant.insert("pharmacies") for _ in range(2)],
        "products": [await tenant.insert("products") for _ in range(3)],
        "skus": [],
        **{table: [] for table in LINKS},
    }
    uids["skus"] = [
        await tenant.insert("skus", product_uid=chance.choice(uids["products"]), position=chance.randrange(3))
        for _ in range(5)
    ]
    for step in range(STEPS):
        table = chance.choice(list(uids))
        action = chance.choice(["insert", "change", "change", "delete", "revive", "remove"])
        if action == "insert" and table in LINKS:
            _, parents, _, places = LINKS[table]
            uids[table].append(
                await link(
                    tenant,
                    table,
                    chance.choice(uids[parents]),
                    chance.choice(uids[places]),
                    position=chance.randrange(3),
                )
            )
        elif not uids[table]:
            continue
        elif action == "change":
            column = {"shop_products": "external_id", "shop_skus": "external_id", "pharmacy_skus": "stock"}
            value = step if table == "pharmacy_skus" else f"n{step}"
            uid = chance.choice(uids[table])
            await tenant.update(table, uid, **{column.get(table, "display_name"): value})
        elif action == "delete":
            await tenant.update(table, chance.choice(uids[table]), deleted_at=LONG_AGO)
        elif action == "revive":
            await tenant.update(table, chance.choice(uids[table]), deleted_at=None)
        elif action == "remove" and table in LINKS:
            uid = uids[table].pop(chance.randrange(len(uids[table])))
            await tenant.rows(f"DELETE FROM {table} WHERE organisation_id = $1 AND uid = $2", uid)
        if step % 5 == 0:
            assert await kept(tenant) == await live(tenant), (step, table, action)
    assert await kept(tenant) == await live(tenant)


async def test_of_many_organisations_at_once(
    cluster: embedded.Address, tenant: Tenant, other: Tenant
) -> None:
    """What an operator does as the owner, who sees all rows."""
    for one in (tenant, other):
        shop = await one.insert("shops", identifier="x")
        await link(one, "shop_products", await one.insert("products"), shop)
    owner = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    await owner.execute(
        "UPDATE shop_products SET external_id = 'changed' WHERE organisation_id = ANY ($1)",
        [tenant.id, other.id],
    )
    for one in (tenant, other):
        [row] = await kept(one)
        assert str(row["shop_products"]).endswith(":changed']")
    await owner.execute("DELETE FROM shop_products WHERE organisation_id = $1", other.id)
    await owner.execute("DELETE FROM products WHERE organisation_id = $1", other.id)
    await owner.close()
    assert await kept(other) == []
    assert len(await kept(tenant)) == 1


@pytest.fixture
async def second(cluster: embedded.Address, tenant: Tenant) -> AsyncIterator[Connection]:
    connection: Connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    await connection.execute(f"SET rxdesk.organisation_id = '{tenant.id}'")
    yield connection
    await connection.close()


async def _meanwhile(tenant: Tenant, second: Connection, mine: str, theirs: str, *arguments: object) -> None:
    """Let the second connection write while our transaction has written and not ended."""
    transaction = tenant.connection.transaction()
    await transaction.start()
    await tenant.connection.execute(mine, tenant.id, *arguments)
    writing = asyncio.create_task(second.execute(theirs, tenant.id, *arguments))
    waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')"
    pid = second.get_server_pid()
    while not (writing.done() or await tenant.connection.fetchval(waits, pid)):  # noqa: ASYNC110 (a process ends it)
        await asyncio.sleep(0)
    await transaction.commit()
    await writing


SHOP_ENDS = "UPDATE shops SET deleted_at = now() WHERE organisation_id = $1 AND uid = $2 AND $3::text > ''"
LINK_COMES = (
    "INSERT INTO shop_products (organisation_id, uid, product_uid, shop_uid, position) "
    "VALUES ($1, 'sp-new', $3, $2, 0)"
)


@pytest.mark.parametrize(("mine", "theirs"), [(SHOP_ENDS, LINK_COMES), (LINK_COMES, SHOP_ENDS)])
async def test_a_shop_that_ends_while_it_is_linked(
    tenant: Tenant, second: Connection, mine: str, theirs: str
) -> None:
    shop = await tenant.insert("shops", identifier="x")
    await _meanwhile(tenant, second, mine, theirs, shop, await tenant.insert("products"))
    assert await kept(tenant) == await live(tenant)
    assert [row["shop_products"] for row in await kept(tenant)] == [[]]


async def test_two_parts_of_one_product_at_once(tenant: Tenant, second: Connection) -> None:
    product = await tenant.insert("products")
    first = await tenant.insert("skus", product_uid=product, position=1)
    other = await tenant.insert("skus", product_uid=product, position=2)
    rename = "UPDATE skus SET deleted_at = now() WHERE organisation_id = $1 AND uid = ${} AND ${}::text > ''"
    await _meanwhile(tenant, second, rename.format(2, 3), rename.format(3, 2), first, other)
    assert [row["skus"] for row in await kept(tenant)] == [[]]
    assert await kept(tenant) == await live(tenant)
