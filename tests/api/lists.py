"""What every paged list does (contract, section 1), checked for the list that a test names."""

from __future__ import annotations

from typing import Any

import httpx
from tests.factories import LONG_AGO, Tenant

from rxdesk.kit.text import sort_key

# Names as they come, in an order that is none; several have one sort key, and then the uid decides.
NAMES = (
    "Zoë", "zoe", "ZOE", "Ärzte", "Arzt", "arzt", "Äther", "Ather", "Öl", "Ofen", "über", "Uber",
    "Straße", "STRASSE", "Strasse", "Éclair", "eclair", "e\u0301clair", "💊 Pille", "1 Test",
    "10 Test", "2 Test", "ﬁn", "fin", "\uff26in", " spaced", "spaced ", "İzmir", "izmir", "Ißt", "isst",
    "Αθήνα", "αθηνα", "Яна", "яна", "中", "", "-", "_", "a b", "ab", "a-b",
)  # fmt: skip


async def check_order_and_pages(
    client: httpx.AsyncClient, tenant: Tenant, path: str, table: str, key: str, permission: str
) -> None:
    """Insert rows with all NAMES (each twice) and walk over the list in pages of several sizes."""
    rows = []
    for position, name in enumerate([*NAMES, *NAMES]):
        # uids that do not rise with the time of insertion
        uid = f"u-{position * 37 % 101:03}"
        await tenant.insert(table, uid=uid, display_name=name)
        rows.append((sort_key(name).encode(), uid, name))
    expected = [(uid, name) for _, uid, name in sorted(rows)]
    headers = await tenant.headers(permission)
    for limit in (1, 7, 50, 84, 200):
        pages = -(-len(rows) // limit)
        seen: list[tuple[str, str]] = []
        # A few pages of one row are enough.
        for page in range(pages) if limit > 1 else (0, 1, 2):
            answer = await client.get(path, params={"page": page, "limit": limit}, headers=headers)
            assert answer.status_code == 200
            body = answer.json()
            assert (body["totalRegistries"], body["totalPages"]) == (len(rows), pages)
            assert len(body[key]) == min(limit, len(rows) - page * limit)
            seen += [(row["uid"], row["display_name"]) for row in body[key]]
        assert seen == expected[: len(seen)]
        assert limit == 1 or seen == expected


async def check_paging(
    client: httpx.AsyncClient, tenant: Tenant, path: str, table: str, key: str, permission: str
) -> None:
    """Check defaults, the cap, what is beyond the end, and what is refused."""
    headers = await tenant.headers(permission)

    async def get(query: str) -> tuple[int, Any]:
        answer = await client.get(f"{path}{query}", headers=headers)
        return answer.status_code, answer.json()

    empty = {key: [], "totalRegistries": 0, "totalPages": 0}
    assert await get("") == (200, empty)
    assert await get("?page=3") == (200, empty)
    for number in range(205):
        await tenant.insert(table, uid=f"u-{number:03}", display_name=f"N{number:03}")
    await tenant.insert(table, uid="u-gone", display_name="N", deleted_at=LONG_AGO)

    async def uids(query: str) -> tuple[list[str], int, int]:
        status, body = await get(query)
        assert status == 200, body
        assert [*body] == [key, "totalRegistries", "totalPages"]
        return [row["uid"] for row in body[key]], body["totalRegistries"], body["totalPages"]

    def rows(first: int, last: int) -> list[str]:
        return [f"u-{number:03}" for number in range(first, last)]

    assert await uids("") == (rows(0, 50), 205, 5)
    assert await uids("/") == (rows(0, 50), 205, 5)
    assert await uids("?page=4") == (rows(200, 205), 205, 5)
    assert await uids("?page=0&limit=205") == (rows(0, 200), 205, 2)
    assert await uids("?page=1&limit=201") == (rows(200, 205), 205, 2)
    assert await uids("?limit=9999999999") == (rows(0, 200), 205, 2)
    assert await uids("?limit=41&page=4") == (rows(164, 205), 205, 5)
    assert await uids("?page=5") == ([], 205, 5)
    assert await uids("?page=9999999999&limit=200") == ([], 205, 2)
    assert await uids("?page=0000000001&limit=0000000002") == (rows(2, 4), 205, 103)
    assert await uids("?page=%31&limit=2") == (rows(2, 4), 205, 103)
    # Unknown parameters are ignored, also twice, also when they are not even text.
    assert await uids("?limit=2&offset=9&x=1&x=2&y=%FF&=&&Page=7&page%00=3") == (rows(0, 2), 205, 103)
    refused = {
        "limit": [
            "0",
            "-1",
            "abc",
            "",
            "1.5",
            "1e2",
            "10000000000",
            "+5",
            "%205",
            "5%20",
            "%D9%A1",
            "0x5",
            "%FF",
            "%00",
        ],
        "page": ["-1", "abc", "", "1.0", "1e9", "99999999999", "%2B1", "%C2%B9", "null"],
    }
    for name, values in refused.items():
        for value in values:
            status, body = await get(f"?{name}={value}")
            assert status == 400, (name, value)
            assert body["error"] == "Validation failed"
            assert [(d["field"], d["location"]) for d in body["details"]] == [(name, "query")]
    for query, fields in (
        ("?page=1&page=1", ["page"]),
        ("?limit=1&limit=2", ["limit"]),
        ("?p%61ge=1&page=1", ["page"]),
        ("?page=1&page=1&limit=0", ["page", "limit"]),
        ("?page=x&limit=x", ["page", "limit"]),
    ):
        status, body = await get(query)
        assert (status, sorted(d["field"] for d in body["details"])) == (400, sorted(fields)), query
    # 401 and 403 come before what is wrong with the input.
    denied = await client.get(f"{path}?page=x", headers=await tenant.headers("waiting_room:write"))
    assert (denied.status_code, denied.json()["code"]) == (403, "permission_denied")
    assert (await client.get(f"{path}?page=x")).status_code == 401
