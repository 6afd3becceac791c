"""The authorisation matrix: every operation of every API × every kind of key × own and foreign rows.

A key of a pharmacy and one of the organisation are tried on each other's operations too.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from tests.contract.asking import Asked, asked
from tests.contract.documented import DOCUMENTS, Documented, operations
from tests.contract.worlds import OF_PHARMACY, World, make_neighbour, two_worlds

from rxdesk.db.pool import Connection
from rxdesk.kit.clock import utc_now
from rxdesk.kit.keys import new_key
from rxdesk.permissions import ALL, ALL_OF_PHARMACY
from rxdesk.routes import PHARMACY

MISSING = {"code": "authorization_header_missing", "description": "Authorization header is expected"}
INVALID_HEADER = {
    "code": "invalid_header",
    "description": "X-API-Key must be sent once, as 1 to 256 printable ASCII characters",
}
INVALID_KEY = {"code": "invalid_api_key", "description": "The API key is not valid"}
DENIED = {"code": "permission_denied", "description": "The API key lacks the permission for this operation"}
OPERATIONS = operations()
_COUNTED: dict[str, int] = {}


@dataclass(frozen=True)
class Credential:
    """What is sent as X-API-Key, and what it is worth: permissions, or the body of its 401."""

    name: str
    headers: tuple[tuple[str, str], ...]
    permissions: frozenset[str] = frozenset()
    refusal: dict[str, str] | None = None
    of_pharmacy: bool = False

    def may(self, operation: Documented) -> bool:
        if operation.permission is None:
            return not self.of_pharmacy
        return operation.permission in self.permissions


@pytest.fixture(scope="module")
async def worlds(app_connection: Connection) -> tuple[World, World]:
    return await two_worlds(app_connection, patients_to_wait=150)


@pytest.fixture(scope="module")
async def neighbour(worlds: tuple[World, World]) -> World:
    """Another pharmacy of the first organisation."""
    return await make_neighbour(worlds[0], "zq" + secrets.token_hex(5))


def _header(key: str) -> tuple[tuple[str, str], ...]:
    return (("X-API-Key", key),)


def _other_end(key: str) -> str:
    return key[:-1] + ("A" if key[-1] != "A" else "B")


@pytest.fixture(scope="module")
async def credentials(worlds: tuple[World, World]) -> list[Credential]:
    tenant = worlds[0].tenant
    valid = await tenant.key(*ALL)
    expired = await tenant.key(*ALL, expires_at=utc_now() - timedelta(seconds=1))
    revoked = await tenant.new_key(*ALL)
    await tenant.update("api_keys", revoked.uid, revoked_at=utc_now() - timedelta(seconds=1))
    elsewhere = new_key(tenant.id + 1_000_000)
    found = [
        Credential("no key", (), refusal=MISSING),
        Credential("in Authorization", (("Authorization", f"Bearer {valid}"),), refusal=MISSING),
        Credential("empty header", _header(""), refusal=INVALID_HEADER),
        Credential("257 bytes", _header("x" * 257), refusal=INVALID_HEADER),
        Credential("not ASCII", (("X-API-Key", "schlüssel"),), refusal=INVALID_HEADER),
        Credential("twice", _header(valid) * 2, refusal=INVALID_HEADER),
        Credential("malformed", _header("not-a-key"), refusal=INVALID_KEY),
        Credential("wrong checksum", _header(_other_end(valid)), refusal=INVALID_KEY),
        Credential("unknown", _header(new_key(tenant.id)), refusal=INVALID_KEY),
        Credential("of no organisation", _header(elsewhere), refusal=INVALID_KEY),
        Credential("expired", _header(expired), refusal=INVALID_KEY),
        Credential("revoked", _header(revoked.key), refusal=INVALID_KEY),
        Credential("without permissions", _header(await tenant.key())),
        Credential("all", _header(valid), frozenset(ALL)),
    ]
    for permission in ALL:
        rest = frozenset(ALL) - {permission}
        found.append(
            Credential(f"only {permission}", _header(await tenant.key(permission)), frozenset({permission}))
        )
        found.append(Credential(f"all but {permission}", _header(await tenant.key(*rest)), rest))
    return [*found, *await _of_pharmacy(worlds[0])]


async def _of_pharmacy(world: World) -> list[Credential]:
    """Keys of the world's pharmacy."""
    tenant, pharmacy = world.tenant, world.uids["pharmacies"]
    every = frozenset(ALL_OF_PHARMACY)

    async def header(*permissions: str) -> tuple[tuple[str, str], ...]:
        return _header(await tenant.key(*permissions, pharmacy_uid=pharmacy))

    closed = await tenant.insert("pharmacies")
    dead = await tenant.key(*every, pharmacy_uid=closed)
    await tenant.update("pharmacies", closed, deleted_at=utc_now())
    found = [
        Credential("of a deleted pharmacy", _header(dead), refusal=INVALID_KEY),
        Credential("of a pharmacy, without permissions", await header(), of_pharmacy=True),
        Credential("of a pharmacy, all", await header(*every), every, of_pharmacy=True),
    ]
    for permission in ALL_OF_PHARMACY:
        for name, permitted in (("only", {permission}), ("all but", every - {permission})):
            headers = await header(*permitted)
            found.append(Credential(f"{name} {permission}", headers, frozenset(permitted), of_pharmacy=True))
    return found


@pytest.fixture(scope="module")
async def session(live: object) -> AsyncIterator[httpx.AsyncClient]:
    url = live.url  # type: ignore[attr-defined]
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=15) as client:
        yield client


async def _answer(
    session: httpx.AsyncClient, operation: Documented, request: Asked, headers: list[tuple[bytes, bytes]]
) -> httpx.Response:
    """Ask, and of a stream read what it begins with."""
    url = operation.base + request.url
    if not operation.streams:
        return await session.request(request.method, url, json=request.json, headers=headers)
    async with session.stream(request.method, url, headers=headers) as answer:
        text = await anext(answer.aiter_bytes(), b"")
        return httpx.Response(answer.status_code, headers=answer.headers, content=text)


async def _put_back(operation: Documented, own: World, answer: httpx.Response) -> None:
    """Undo what an operation has done to a row that is asked for again."""
    if answer.status_code == 201 and "signing_secret" in answer.text:
        # Keep the list small, as a page of 1,000 would only be slow.
        await own.tenant.update("notification_subscriptions", answer.json()["uid"], deactivated_at=utc_now())
    if operation.name in ("remove_webhook", "disable_subscription") and answer.status_code == 204:
        uid = own.uids[OF_PHARMACY]
        active = {"deactivated_at": None, "deactivated_reason": None}
        await own.tenant.update("notification_subscriptions", uid, **active)
    if operation.name == "revoke_wallet_pass" and answer.status_code == 200:
        await own.tenant.update("wallet_passes", own.uids["wallet_passes"], status="active")


async def _check(
    session: httpx.AsyncClient,
    operation: Documented,
    credential: Credential,
    own: World,
    foreign: World,
) -> int:
    """Ask all of one operation with one key; give the number of cells."""
    cells = 0
    for what, build in asked(operation, own, foreign):
        cell = f"{operation.name}, {credential.name}, {what}"
        # A refused registration leaves no patient waiting: any request will do.
        request = build(own)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in credential.headers]
        answer = await _answer(session, operation, request, headers)
        cells += 1
        expected, body = request.status, request.body
        if credential.refusal is not None:
            expected, body = 401, credential.refusal
        elif not credential.may(operation):
            expected, body = 403, DENIED
        assert answer.status_code == expected, f"{cell}: {answer.status_code} {answer.text}"
        if body is not None:
            assert answer.json() == body, cell
        # What was asked may be named in an answer (push results do); nothing else of theirs may.
        sent = [foreign.uids["wallet_passes"]] if operation.name == "send_push_notifications" else []
        text = answer.text + str(answer.headers.multi_items())
        for uid in sent:
            text = text.replace(uid, "")
        assert foreign.mark not in text, cell
        if expected in (401, 403):
            assert own.mark not in text, cell
        await _put_back(operation, own, answer)
        if operation.name == "get_order" and answer.status_code == 200:
            seen = "prescription:read" in credential.permissions
            order = answer.json()
            assert bool(order["prescriptions"]) is seen, cell
            assert bool(order["fulfillment_orders"][0]["prescriptions"]) is seen, cell
    return cells


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_key_on_every_operation(
    operation: Documented,
    session: httpx.AsyncClient,
    worlds: tuple[World, World],
    neighbour: World,
    credentials: list[Credential],
) -> None:
    mine, theirs = worlds
    for world in worlds:  # another operation may have ended it
        visit = world.uids["waiting_room_visits"]
        await world.tenant.update("waiting_room_visits", visit, status="allocated", ended_at=None)
    cells = 0
    for credential in credentials:
        cells += await _check(session, operation, credential, mine, theirs)
    pairs = [("theirs, all", theirs, mine)]
    if operation.base == PHARMACY.base:
        pairs += [("the neighbour's", neighbour, mine), ("mine, and the neighbour's rows", mine, neighbour)]
    for name, own, foreign in pairs:
        key = await own.full_key(operation.base)
        everything = Credential(name, _header(key), frozenset((*ALL, *ALL_OF_PHARMACY)))
        cells += await _check(session, operation, everything, own, foreign)
    _COUNTED[operation.name] = cells


def test_no_two_operations_have_one_name() -> None:
    """Answers are kept for an Idempotency-Key by the operation's name."""
    names = [operation.name for operation in OPERATIONS]
    assert sorted(names) == sorted(set(names))


async def test_there_are_a_thousand_cells(capsys: pytest.CaptureFixture[str]) -> None:
    if len(_COUNTED) < len(OPERATIONS):
        pytest.skip("only some operations were run")
    with capsys.disabled():
        print(f"\nauthorisation matrix: {sum(_COUNTED.values())} cells over {len(OPERATIONS)} operations")  # noqa: T201
    assert sum(_COUNTED.values()) >= 1000


@pytest.mark.parametrize("base", DOCUMENTS)
async def test_the_matrix_is_that_of_the_served_document(session: httpx.AsyncClient, base: str) -> None:
    served = (await session.get(f"{base}/openapi.json")).json()
    assert served == DOCUMENTS[base]
    there = {*ALL_OF_PHARMACY} if base == PHARMACY.base else {None, *ALL}
    for methods in served["paths"].values():
        for described in methods.values():
            assert described["x-permission"] in there


# Words of ours, numbers in disguise, or digests: nothing that a customer wrote.
_NO_FREE_TEXT = {
    "api_keys": {"*"},
    "idempotency_keys": {"*"},
    "jobs": {"*"},
    "event_streams": {"*"},
    "changes": {"subject_kind", "what"},
    "events": {"event_type"},
    "delivery_attempts": {"error"},
    "doctor_statistics": {"span", "day_json"},
    "doctor_decision_times": {"span"},
    "doctor_decision_blocks": {"span"},
    "skus": {"pzn"},
    "orders": {"shipping_costs_currency"},
    "notification_subscriptions": {"notification_type", "payload_version", "deactivated_reason"},
    "wallet_pass_templates": {"pass_type", "google_class"},
    "wallet_passes": {"public_id"},
    "wallet_template_images": {"name"},
    "wallet_checks": {"result"},
    "waiting_room_visits": {"outcome", "end_reason"},
}


async def test_each_text_of_the_other_organisation_is_marked(worlds: tuple[World, World]) -> None:
    """A text column that is new must be marked too, or the matrix would not see it leak."""
    for world in worlds:
        # Of a shop in which nobody waits, as in this one before anybody is registered, there are no blocks.
        who = {"shop_uid": world.uids["shops"], "patient_uid": next(world.waiting)}
        waits = await world.tenant.insert("waiting_room_visits", turn=0, actor_uid=world.mark, **who)
        columns = await world.tenant.connection.fetch(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT a.attisdropped "
            "AND a.atttypid = ANY ('{text,jsonb,text[]}'::regtype[]) AND c.relname IN ("
            "SELECT c2.relname FROM pg_class c2 JOIN pg_attribute a2 ON a2.attrelid = c2.oid "
            "WHERE a2.attname = 'organisation_id')"
        )
        bare = []
        for table, column in columns:
            without = _NO_FREE_TEXT.get(table, set())
            if "*" in without or column in without | {"status", "actor_kind"}:
                continue
            rows = await world.tenant.rows(
                f"SELECT 1 FROM {table} WHERE organisation_id = $1 "
                f"AND lower({column}::text) LIKE '%' || $2 || '%'",
                world.mark,
            )
            if not rows:
                bare.append(f"{table}.{column}")
        await world.tenant.update("waiting_room_visits", waits, status="cancelled")
        assert bare == []
