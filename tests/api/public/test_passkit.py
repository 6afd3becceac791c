"""The PassKit web service, request by request as Apple describes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from tests.api.public.conftest import BASE, Held, make_held
from tests.api.wallet.cards import put, token_of
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant
from tests.wallet.apple.test_package import document

from rxdesk.wallet.passkit import MAX_DEVICES

PUSH_TOKEN = "8f3c1b0a9d2e4f50"
DENIED = {"error": "The token is not valid"}


async def register(
    inside: InProcess, held: Held, device: str = "device-1", push_token: str = PUSH_TOKEN
) -> httpx.Response:
    body = {"pushToken": push_token}
    return await inside.client.post(held.registration(device), json=body, headers=held.authorization)


async def serials(
    inside: InProcess, held: Held, since: str | None = None, device: str = "device-1"
) -> tuple[list[str], str]:
    params = {} if since is None else {"passesUpdatedSince": since}
    answer = await inside.client.get(held.serials(device), params=params)
    if answer.status_code == 204:
        assert answer.content == b""
        return ([], since or "")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"serialNumbers", "lastUpdated"}
    return (body["serialNumbers"], body["lastUpdated"])


async def registered(tenant: Tenant) -> list[tuple[str, str, str]]:
    rows = await tenant.rows(
        "SELECT device_identifier, wallet_pass_uid, push_token FROM wallet_registrations "
        "WHERE organisation_id = $1 ORDER BY 1, 2"
    )
    return [(row["device_identifier"], row["wallet_pass_uid"], row["push_token"]) for row in rows]


async def test_register_again_and_unregister(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    assert (await register(signing, held)).status_code == 201
    assert (await register(signing, held)).status_code == 200
    assert (await register(signing, held, push_token="ab" * 32)).status_code == 200
    assert (await register(signing, held, "device-2")).status_code == 201
    assert await registered(tenant) == [
        ("device-1", held.uid, "ab" * 32),
        ("device-2", held.uid, PUSH_TOKEN),
    ]
    for _ in range(2):  # a device may ask twice
        gone = await signing.client.delete(held.registration(), headers=held.authorization)
        assert (gone.status_code, gone.content) == (200, b"")
    assert await registered(tenant) == [("device-2", held.uid, PUSH_TOKEN)]
    assert (await register(signing, held)).status_code == 201


async def test_two_at_once_register_one(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    answers = await asyncio.gather(*(register(signing, held) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]


async def test_a_device_learns_what_changed(signing: InProcess, tenant: Tenant) -> None:
    first, second = [await make_held(signing.client, tenant) for _ in range(2)]
    for held in (first, second):
        await register(signing, held)
    found, tag = await serials(signing, first)
    assert found == [first.serial, second.serial]
    assert await serials(signing, first, tag) == ([], tag)
    # A message, a change, a revocation, a new design: each is one, and each tag is higher.
    headers = await tenant.headers()
    push = [{"wallet_pass_uid": first.uid, "message": "Ready"}]
    revoke = f"/wallet-passes/{first.uid}/revoke"
    changes: tuple[tuple[Held, Callable[[], Awaitable[httpx.Response]]], ...] = (
        (first, lambda: signing.client.post("/wallet-passes/push-notifications", json=push, headers=headers)),
        (second, lambda: put(signing.client, tenant, second.template, field_values={"points": 5})),
        (first, lambda: signing.client.post(revoke, headers=headers)),
    )
    for changed, change in changes:
        before = tag
        assert (await change()).is_success
        found, tag = await serials(signing, first, before)
        assert found == [changed.serial]
        assert int(tag) > int(before)
        assert await serials(signing, first, tag) == ([], tag)
    await tenant.update("wallet_pass_templates", second.template, tag=int(tag) + 1)
    await tenant.enter()
    raise_tag = "UPDATE wallet_tags SET last_tag = last_tag + 1 WHERE organisation_id = $1"
    await tenant.connection.execute(raise_tag, tenant.id)
    assert await serials(signing, first, tag) == ([second.serial], str(int(tag) + 1))
    # What is deleted stays among them, since the device has to learn that it is good no more.
    await tenant.update("wallet_passes", second.uid, deleted_at=LONG_AGO)
    assert (await serials(signing, first))[0] == [first.serial, second.serial]


@pytest.mark.parametrize("since", ["99999999999999999", "x", "-1", "1.5", "", "9" * 30, "٣"])
async def test_a_tag_that_was_never_given_counts_as_none(
    signing: InProcess, tenant: Tenant, since: str
) -> None:
    held = await make_held(signing.client, tenant)
    await register(signing, held)
    assert (await serials(signing, held, since))[0] == [held.serial]


async def test_unknown_devices_and_other_pass_types_have_nothing(
    signing: InProcess, tenant: Tenant, other: Tenant
) -> None:
    held, theirs = await make_held(signing.client, tenant), await make_held(signing.client, other)
    await register(signing, held)
    assert await serials(signing, held, device="device-2") == ([], "")
    assert await serials(signing, theirs) == ([], "")  # the same device at another organisation
    answer = await signing.client.get(held.serials(pass_type="pass.of.others"))
    assert answer.status_code == 204
    assert (await signing.client.get(held.serials(device="a b"))).status_code == 404
    nowhere = f"{BASE}/nonesuch/v1/devices/device-1/registrations/x"
    assert (await signing.client.get(nowhere)).status_code == 404


async def test_the_newest_version(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant, field_values={"points": 1})
    first = await signing.client.get(held.newest(), headers=held.authorization)
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/vnd.apple.pkpass"
    assert parsedate_to_datetime(first.headers["last-modified"]) == signing.clock.moment
    assert document(first.content)["serialNumber"] == held.serial
    known = {**held.authorization, "If-Modified-Since": first.headers["last-modified"]}
    same = await signing.client.get(held.newest(), headers=known)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["last-modified"] == first.headers["last-modified"]
    # Changed within the same second, which no clock could tell.
    await put(signing.client, tenant, held.template, field_values={"points": 2})
    newer = await signing.client.get(held.newest(), headers=known)
    assert newer.status_code == 200
    assert newer.headers["last-modified"] != first.headers["last-modified"]
    shown = {field["value"] for field in document(newer.content)["generic"]["secondaryFields"]}
    assert shown == {"2"}
    for date in ("nonsense", "Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 +9999"):
        headers = {**held.authorization, "If-Modified-Since": date}
        assert (await signing.client.get(held.newest(), headers=headers)).status_code == 200


async def test_a_message_is_a_changed_field_that_the_device_shows(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    before = document((await signing.client.get(held.newest(), headers=held.authorization)).content)
    headers = await tenant.headers()
    push = [{"wallet_pass_uid": held.uid, "message": "Your prescription is ready"}]
    await signing.client.post("/wallet-passes/push-notifications", json=push, headers=headers)
    after = document((await signing.client.get(held.newest(), headers=held.authorization)).content)

    def message(found: dict[str, Any]) -> dict[str, str]:
        field: dict[str, str]
        [field] = [field for field in found["generic"]["backFields"] if field["key"] == "message"]
        return field

    assert message(before)["value"] == "–"
    assert message(after)["value"] == "Your prescription is ready"
    assert message(before)["changeMessage"] == message(after)["changeMessage"] == "%@"


async def test_a_revoked_pass_is_void(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    headers = await tenant.headers()
    await signing.client.post(f"/wallet-passes/{held.uid}/revoke", headers=headers)
    answer = await signing.client.get(held.newest(), headers=held.authorization)
    assert document(answer.content)["voided"] is True


@pytest.mark.parametrize("deleted", ["pass", "template"])
async def test_a_deleted_pass_is_void_to_whoever_holds_it(
    signing: InProcess, tenant: Tenant, deleted: str
) -> None:
    held, twin = [await make_held(signing.client, tenant) for _ in range(2)]
    table, uid = (
        ("wallet_passes", held.uid) if deleted == "pass" else ("wallet_pass_templates", held.template)
    )
    await tenant.update(table, uid, deleted_at=LONG_AGO)
    answer = await signing.client.get(held.newest(), headers=held.authorization)
    assert document(answer.content)["voided"] is True
    assert (await register(signing, held)).status_code == 201  # whose file was downloaded before
    gone = await signing.client.delete(held.registration(), headers=held.authorization)
    assert gone.status_code == 200
    # Nobody else learns of it.
    for url in (f"{BASE}/{held.landing}", f"{BASE}/{held.landing}/pass.pkpass"):
        assert (await signing.client.get(url)).status_code == 404
    answer = await signing.client.get(held.newest(), headers=twin.authorization)
    assert (answer.status_code, answer.json()) == (401, DENIED)


async def test_each_token_that_is_not_the_pass_s(signing: InProcess, tenant: Tenant, other: Tenant) -> None:
    held, twin = [await make_held(signing.client, tenant) for _ in range(2)]
    theirs = await make_held(signing.client, other)
    api_key = await tenant.key()
    tokens = (
        None,
        "",
        "ApplePass",
        "ApplePass ",
        f"Bearer {held.device}",
        held.device,
        f"ApplePass {twin.device}",
        f"ApplePass {theirs.device}",
        f"ApplePass {held.device[:-1]}",
        f"ApplePass {held.landing}",
        f"ApplePass {await token_of(tenant, held.uid, 'code')}",
        f"ApplePass {api_key}",
    )

    async def each(headers: dict[str, str], path: str, registration: str) -> None:
        body = {"pushToken": PUSH_TOKEN}
        for answer in (
            await signing.client.post(registration, json=body, headers=headers),
            await signing.client.delete(registration, headers=headers),
            await signing.client.get(path, headers=headers),
        ):
            assert (answer.status_code, answer.json()) == (401, DENIED), headers

    for token in tokens:
        headers = {} if token is None else {"Authorization": token}
        await each(headers, held.newest(), held.registration())
    await each({"X-API-Key": api_key}, held.newest(), held.registration())
    # The right token for what is not its own: another pass type, another organisation's code, no such pass.
    paths = held.newest(), held.registration()
    others = held.newest("pass.of.others"), held.registration(pass_type="pass.of.others")
    await each(held.authorization, *others)
    there, here = f"/w/{theirs.code}/", f"/w/{held.code}/"
    await each(held.authorization, *(path.replace(here, there) for path in paths))
    for serial in (f"{held.code}_wp-none", held.uid, twin.serial, f"{theirs.code}_{held.uid}", "_", "x" * 90):
        await each(held.authorization, *(path.replace(held.serial, serial) for path in paths))
    assert await registered(tenant) == []
    # And a device's token opens nothing of the API's.
    for key in (held.device, held.landing):
        refused = await signing.client.get("/health/", headers={"X-API-Key": key})
        assert refused.status_code == 401


async def test_no_certificate_no_web_service(inside: InProcess, tenant: Tenant) -> None:
    held = await make_held(inside.client, tenant)
    assert (await register(inside, held)).status_code == 401
    assert await serials(inside, held) == ([], "")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b'{"pushToken": ""}', 400),
        (b'{"pushToken": "xyz"}', 400),
        (b'{"pushToken": "../../3/device"}', 400),
        (b'{"pushToken": "' + b"ab" * 101 + b'"}', 400),
        (b'{"pushToken": "ab"}' + b" " * 16 * 1024, 413),
        (b'{"pushToken": "ab", "more": 1}', 201),  # a newer device may say more
    ],
)
async def test_bodies_of_registrations(signing: InProcess, tenant: Tenant, body: bytes, status: int) -> None:
    held = await make_held(signing.client, tenant)
    headers = {**held.authorization, "Content-Type": "application/json"}
    answer = await signing.client.post(held.registration(), content=body, headers=headers)
    assert answer.status_code == status, answer.text


async def test_a_pass_is_on_so_many_devices_at_most(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    for number in range(MAX_DEVICES):
        assert (await register(signing, held, f"device-{number}")).status_code == 201
    assert (await register(signing, held, "one-more")).status_code == 409
    assert (await register(signing, held, "device-0")).status_code == 200


async def test_logs_are_kept_and_limited(signing: InProcess, tenant: Tenant) -> None:
    path = f"{BASE}/{tenant.organisation.public_code}/v1/log"
    kept = "SELECT message FROM wallet_device_logs WHERE organisation_id = $1 ORDER BY uid"
    none: list[str] = []
    for said in (["first", " ", "x" * 600], none):
        answer = await signing.client.post(path, json={"logs": said})
        assert (answer.status_code, answer.content) == (200, b"")
    assert [row["message"] for row in await tenant.rows(kept)] == ["first", "x" * 500]
    for number in range(3):
        signing.clock.moment += timedelta(seconds=1)
        logs = [f"{number}-{line}" for line in range(100)]
        assert (await signing.client.post(path, json={"logs": logs})).status_code == 200
    rows = [row["message"] for row in await tenant.rows(kept)]
    assert len(rows) == 200
    assert {row.partition("-")[0] for row in rows} == {"1", "2"}
    faulty: tuple[dict[str, Any], ...] = ({}, {"logs": "x"}, {"logs": [1]}, {"logs": ["x"] * 101})
    for body in faulty:
        assert (await signing.client.post(path, content=json.dumps(body))).status_code == 400
    assert (await signing.client.post(f"{BASE}/nonesuch/v1/log", json={"logs": ["x"]})).status_code == 404
