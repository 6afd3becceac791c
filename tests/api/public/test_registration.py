"""A change of a pass between its download and its registration reaches the device that downloaded it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.public.conftest import BASE, Held, make_held
from tests.api.public.pushing import document, idle_world, until, world
from tests.api.public.test_passkit import PUSH_TOKEN, register, serials
from tests.api.wallet.cards import make_template, put
from tests.conftest import InProcess, Live
from tests.factories import Tenant
from tests.locking import made_to_wait, waits_with_nothing

from rxdesk.db import embedded
from rxdesk.wallet.apple.trial import TrialFiles
from rxdesk.wallet.emulator.phone import Phone

pytestmark = pytest.mark.usefixtures("queue")


async def pushes(tenant: Tenant) -> list[tuple[str, str]]:
    """The pushes of changes, as (device, pass)."""
    rows = await tenant.rows(
        "SELECT device_identifier, wallet_pass_uid FROM wallet_pushes WHERE organisation_id = $1 ORDER BY uid"
    )
    return [(row["device_identifier"], row["wallet_pass_uid"]) for row in rows]


async def send(inside: InProcess, held: Held, text: str) -> None:
    headers = await held.tenant.headers()
    body = [{"wallet_pass_uid": held.uid, "message": text}]
    answer = await inside.client.post("/wallet-passes/push-notifications", json=body, headers=headers)
    assert answer.json()["data"][0]["status"] == "queued"


async def test_the_phone_shows_it_once(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, today) as here:
        issued = await here.issue()
        file = await here.file(issued)
        await here.send((issued["uid"], "Ready"))
        phones = [await here.phone(issued, seed, file) for seed in (1, 2)]
        for phone in phones:
            await until(lambda phone=phone: phone.screen == ["Ready"])  # type: ignore[misc]
        # A later message is shown once too, and the first one not again.
        await here.send((issued["uid"], "Really"))
        await here.until(lambda rows: rows[0]["status"] == "delivered_to_device")
        for phone in phones:
            await until(lambda phone=phone: phone.screen == ["Ready", "Really"])  # type: ignore[misc]
            await phone.settled()
            assert (phone.screen, phone.complaints) == (["Ready", "Really"], [])


async def test_who_has_the_newest_is_pushed_and_shows_nothing(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    """The file was downloaded after the change, which no one can know: it may have been one from before."""
    async with world(serving, cluster, tenant, today) as here:
        issued = await here.issue()
        await here.send((issued["uid"], "Ready"))
        phone = await here.phone(issued)
        await here.quiet()
        await phone.settled()
        assert (phone.screen, phone.complaints) == ([], [])
        assert document(phone)["generic"]["backFields"][0]["value"] == "Ready"


async def test_a_pass_that_is_as_it_was_issued_needs_no_push(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    for device in ("device-1", "device-2", "device-1"):
        assert (await register(signing, held, device)).is_success
    assert await pushes(tenant) == []
    # So it is with a pass that was imported, changed and only then issued.
    uid = await tenant.insert(
        "wallet_passes", wallet_pass_template_uid=held.template, shop_customer_id="c-2", tag=7
    )
    await put(signing.client, tenant, held.template, "c-2", first_name="Max")
    [row] = await tenant.rows(
        "SELECT tag, issued_tag FROM wallet_passes WHERE organisation_id = $1 AND uid = $2", uid
    )
    assert row["tag"] == row["issued_tag"]


@pytest.mark.parametrize("change", ["message", "field", "design"])
async def test_a_new_registration_after_a_change_is_pushed_once(
    signing: InProcess, tenant: Tenant, change: str
) -> None:
    held = await make_held(signing.client, tenant)
    if change == "message":
        await send(signing, held, "Ready")
    elif change == "field":
        await put(signing.client, tenant, held.template, field_values={"points": 5})
    else:
        await tenant.update("wallet_pass_templates", held.template, tag=2**40)
    for status in (201, 200, 200):  # a device may register once more
        assert (await register(signing, held)).status_code == status
    assert await pushes(tenant) == [("device-1", held.uid)]
    jobs = await tenant.rows("SELECT kind FROM jobs WHERE organisation_id = $1")
    assert [job["kind"] for job in jobs] == ["wallet_push"]


async def test_a_new_push_token_is_pushed_what_the_old_one_may_have_lost(
    signing: InProcess, tenant: Tenant
) -> None:
    held = await make_held(signing.client, tenant)
    await register(signing, held)
    await send(signing, held, "Ready")
    assert len(await pushes(tenant)) == 1
    assert (await register(signing, held, push_token="ab" * 32)).status_code == 200
    assert len(await pushes(tenant)) == 2
    _, tag = await serials(signing, held)  # it has asked, and knows
    assert (await register(signing, held, push_token=PUSH_TOKEN)).status_code == 200
    assert await serials(signing, held, tag) == ([], tag)
    assert len(await pushes(tenant)) == 2


async def test_a_change_at_the_same_time_is_not_missed(signing: InProcess, tenant: Tenant) -> None:
    """Whichever is first: the change sees the registration, or the registration the change."""
    for number in range(12):
        held = await make_held(signing.client, tenant)
        headers = await tenant.headers()
        body = [{"wallet_pass_uid": held.uid, "message": str(number)}]
        path = "/wallet-passes/push-notifications"
        await asyncio.gather(
            signing.client.post(path, json=body, headers=headers), register(signing, held, f"d-{number}")
        )
        assert (f"d-{number}", held.uid) in await pushes(tenant)


async def test_a_registration_locks_the_template_before_the_pass(
    signing: InProcess, cluster: embedded.Address, tenant: Tenant
) -> None:
    """As an import does that changes both, and whoever tells devices of it."""
    held = await make_held(signing.client, tenant)

    async def registering() -> None:
        assert (await register(signing, held)).status_code == 201

    first, second = ("wallet_pass_templates", held.template), ("wallet_passes", held.uid)
    await waits_with_nothing(cluster, tenant, first, second, registering)


async def test_a_pass_may_get_another_template_while_a_device_registers(
    signing: InProcess, cluster: embedded.Address, tenant: Tenant
) -> None:
    held = await make_held(signing.client, tenant)
    other = await make_template(tenant, "points", display_name="Other")

    async def registering() -> None:
        assert (await register(signing, held)).status_code == 201

    change = "UPDATE wallet_passes SET wallet_pass_template_uid = $3 WHERE organisation_id = $1 AND uid = $2"
    async with made_to_wait(cluster, change, (tenant.id, held.uid, other), registering):
        pass


async def test_many_at_once_are_no_more_than_may_be(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    for number in range(48):
        await register(signing, held, f"device-{number}")
    answers = await asyncio.gather(*(register(signing, held, f"more-{number}") for number in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [409] * 4


async def test_a_fetch_without_asking_counts_where_one_device_can_have_fetched(
    serving: Live, tenant: Tenant, today: TrialFiles
) -> None:
    """Who pulls a pass down in the wallet has it fetched without the list of what is newer."""
    async with idle_world(serving, tenant, today) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        await here.send((issued["uid"], "Ready"))
        await fetch(phone)
        [row] = await here.told()
        assert [one["status"] for one in row["devices"]] == ["delivered_to_device"]
        # Of two devices it cannot be told which.
        second = await here.phone(issued, 2)
        await here.send((issued["uid"], "Really"))
        await fetch(phone)
        [row, _] = await here.told()
        assert {one["status"] for one in row["devices"]} == {"queued"}
        # One asks and fetches as it should; then the other is the only one that lacks it.
        await phone.catch_up(str(document(phone)["passTypeIdentifier"]))
        statuses = await of_devices(here)
        assert statuses == {phone.identifier: "delivered_to_device", second.identifier: "queued"}
        await fetch(phone)  # which has it: it is answered that nothing changed
        assert await of_devices(here) == statuses
        await fetch(second)
        assert set((await of_devices(here)).values()) == {"delivered_to_device"}


async def of_devices(here: Any) -> dict[str, str]:
    """The states of the newest notification, by device."""
    rows = await here.told()
    return {one["device"]: one["status"] for one in rows[0]["devices"]}


async def fetch(phone: Phone) -> None:
    [key] = phone.passes
    assert await phone.refresh(key)


async def test_a_look_by_head_is_no_fetch(signing: InProcess, tenant: Tenant) -> None:
    """Whoever looks so has got nothing: neither the list of what is newer, nor the pass."""
    held = await make_held(signing.client, tenant)
    await register(signing, held)
    await send(signing, held, "Ready")
    landing = f"{BASE}/{held.landing}"
    states = (
        "SELECT w.status, r.told_tag FROM wallet_pushes w JOIN wallet_registrations r ON r.organisation_id = $1 "
        "WHERE w.organisation_id = $1"
    )
    for url in (held.serials(), held.newest(), landing, f"{landing}/pass.pkpass"):
        answer = await signing.client.head(url, headers=held.authorization)
        assert (answer.status_code, answer.content) == (200, b""), url
        assert await tenant.rows(states) == [{"status": "queued", "told_tag": 0}]
    assert (await serials(signing, held))[0] == [held.serial]
    answer = await signing.client.get(held.newest(), headers=held.authorization)
    assert answer.status_code == 200
    [row] = await tenant.rows(states)
    assert row["status"] == "delivered_to_device"
    assert row["told_tag"] > 0


async def test_a_message_in_whose_place_a_later_one_was_fetched(
    serving: Live, tenant: Tenant, today: TrialFiles
) -> None:
    async with idle_world(serving, tenant, today) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        await here.send((issued["uid"], "first"))
        await here.send((issued["uid"], "second"), (issued["uid"], "third"))
        assert {one["status"] for row in await here.told() for one in row["devices"]} == {"queued"}
        await phone.catch_up(str(document(phone)["passTypeIdentifier"]))
        assert phone.screen == ["third"]
        states = {
            row["message"]: (row["status"], row["devices"][0]["status"], row["devices"][0]["reason"])
            for row in await here.told()
        }
        assert states == {
            "first": ("failed", "failed", "superseded"),
            "second": ("failed", "failed", "superseded"),
            "third": ("delivered_to_device", "delivered_to_device", None),
        }


async def test_a_change_of_another_kind_leaves_the_message_delivered(
    serving: Live, tenant: Tenant, today: TrialFiles
) -> None:
    async with idle_world(serving, tenant, today) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        await here.send((issued["uid"], "first"))
        template = issued["wallet_pass_template_uid"]
        await put(here.client, tenant, template, "c", field_values={"points": 3})
        await phone.catch_up(str(document(phone)["passTypeIdentifier"]))
        assert [row["status"] for row in await here.told()] == ["delivered_to_device"]


async def test_a_fetch_locks_pushes_in_the_order_of_their_uids(
    signing: InProcess, cluster: embedded.Address, tenant: Tenant
) -> None:
    """As the worker does that records them, whichever was made first."""
    held = await make_held(signing.client, tenant)
    assert (await register(signing, held)).is_success
    made = (
        "INSERT INTO wallet_pushes (organisation_id, uid, wallet_pass_uid, device_identifier, tag, status, created_at, "
        "updated_at) SELECT $1, n.uid, $2, 'device-1', n.tag, 'sent', now(), now() "
        "FROM (VALUES ('wpu-2', 1), ('wpu-1', 2)) AS n (uid, tag)"
    )
    await tenant.connection.execute(made, tenant.id, held.uid)

    async def fetch() -> None:
        answer = await signing.client.get(held.newest(), headers=held.authorization)
        assert answer.status_code == 200

    first, second = ("wallet_pushes", "wpu-1"), ("wallet_pushes", "wpu-2")
    await waits_with_nothing(cluster, tenant, first, second, fetch)
    states = "SELECT status FROM wallet_pushes WHERE organisation_id = $1"
    assert {row["status"] for row in await tenant.rows(states)} == {"delivered_to_device"}
