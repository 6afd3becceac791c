"""Passes that phones knew by their bare uid keep that name, unless it was another organisation's too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from rxdesk.db import embedded, migrate
from rxdesk.db.pool import Connection

_NOW = "'2026-03-01 12:00:00+00'"
_ACTOR = "'operator', 'test'"
_PASSES = [
    # organisation, uid, whether it was issued, whether it keeps its name
    (1, "wp-1", True, True),
    (1, "wp:2", True, True),
    (1, "shared", True, False),
    (2, "shared", True, False),
    (1, "once-issued", True, True),
    (2, "once-issued", False, False),
    (2, "codeone_x", True, False),  # else it could be taken for the first organisation's `x`
    (2, "_.wp_c2", True, False),  # and at Google for the other's `wp:2`
    (2, "codeone:x", True, True),
    (2, "codeone.x", True, True),
    (2, "new", False, False),
]


@pytest.fixture
async def before(cluster: embedded.Address) -> AsyncIterator[tuple[dict[str, Any], Connection]]:
    """A database as it was, with two organisations."""
    administrator = await asyncpg.connect(**cluster.connect_args(embedded.SUPERUSER))
    await administrator.execute(f"CREATE DATABASE names OWNER {embedded.OWNER}")
    arguments = {**cluster.connect_args(embedded.OWNER), "database": "names"}
    await migrate.migrate(arguments, to="0016")
    connection: Connection = await asyncpg.connect(**arguments)
    for number, code in ((1, "codeone"), (2, "codetwo")):
        await connection.execute(
            f"INSERT INTO organisations (id, uid, slug, public_code, display_name, actor_kind, actor_uid) "
            f"VALUES ({number}, '{code}', '{code}', '{code}', 'x', {_ACTOR})"
        )
        await connection.execute(
            f"INSERT INTO shops (organisation_id, uid, identifier, display_name, created_at, updated_at, "
            f"actor_kind, actor_uid) VALUES ({number}, 's', 's', 's', {_NOW}, {_NOW}, {_ACTOR})"
        )
    yield arguments, connection
    await connection.close()
    await administrator.execute("DROP DATABASE names WITH (FORCE)")
    await administrator.close()


async def add_template(connection: Connection, organisation: int, uid: str, given: str | None) -> None:
    await connection.execute(
        f"INSERT INTO wallet_pass_templates (organisation_id, uid, shop_uid, display_name, sort_key, pass_type, "
        f"google_class, created_at, updated_at, actor_kind, actor_uid) "
        f"VALUES ($1, $2, 's', 'x', 'x', 'generic', $3, {_NOW}, {_NOW}, {_ACTOR})",
        organisation,
        uid,
        given,
    )


async def test_names_that_are_on_phones_are_kept(before: tuple[dict[str, Any], Connection]) -> None:
    arguments, connection = before
    for organisation in (1, 2):
        await add_template(connection, organisation, "both", "mark")
        await add_template(
            connection, organisation, f"only-{organisation}", "mark" if organisation == 1 else None
        )
    for organisation, uid, issued, _ in _PASSES:
        await connection.execute(
            f"INSERT INTO wallet_passes (organisation_id, uid, wallet_pass_template_uid, shop_customer_id, status, "
            f"public_id, sealed_secret, created_at, updated_at, actor_kind, actor_uid) "
            f"VALUES ($1, $2, 'both', $2, 'active', $3, $4, {_NOW}, {_NOW}, {_ACTOR})",
            organisation,
            uid,
            uid if issued else None,
            b"x" if issued else None,
        )
        if issued:
            await connection.execute(
                f"INSERT INTO wallet_google_passes (organisation_id, wallet_pass_uid, saved_at, callback_ends_at, "
                f"callback_nonce) VALUES ($1, $2, {_NOW}, 1, 'x')",
                organisation,
                uid,
            )
    await migrate.migrate(arguments)
    rows = await connection.fetch(
        "SELECT p.organisation_id, p.uid, p.bare_serial, p.issued_tag, g.saved_at IS NOT NULL AS saved "
        "FROM wallet_passes p LEFT JOIN wallet_google_passes g "
        "ON g.organisation_id = p.organisation_id AND g.wallet_pass_uid = p.uid"
    )
    found = {(row["organisation_id"], row["uid"]): row for row in rows}
    assert {key: row["bare_serial"] for key, row in found.items()} == {
        (organisation, uid): kept for organisation, uid, _, kept in _PASSES
    }
    # What has another name at Google now is not saved there by it.
    assert all(row["saved"] == row["bare_serial"] for row in found.values())
    assert {row["issued_tag"] for row in rows} == {0}
    templates = await connection.fetch(
        "SELECT organisation_id, uid, bare_class, google_class FROM wallet_pass_templates ORDER BY 2, 1"
    )
    assert [tuple(row) for row in templates] == [
        (1, "both", False, None),
        (2, "both", False, None),
        (1, "only-1", True, "mark"),
        (2, "only-2", False, None),
    ]
