"""From a push notification over the API to the lock screen of simulated iPhones, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.public.pushing import document, statuses, until, world
from tests.api.wallet.cards import register
from tests.conftest import Live
from tests.factories import Tenant
from tests.webhooks.engine import eventually

from rxdesk.db import embedded
from rxdesk.wallet.apple.trial import TrialFiles
from rxdesk.wallet.emulator.apns import Refusal
from rxdesk.wallet.emulator.apns_server import Trouble

pytestmark = pytest.mark.usefixtures("queue")
# In the midst of a millisecond.
_REGISTERED_AT = """
UPDATE wallet_registrations SET updated_at = date_trunc('milliseconds', updated_at) + interval '500 microseconds'
WHERE organisation_id = $1 RETURNING updated_at"""


async def test_a_message_reaches_every_device_of_the_pass(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, today) as here:
        issued = await here.issue(first_name="Max")
        phones = [await here.phone(issued, seed) for seed in (1, 2, 3)]
        await here.send((issued["uid"], "{first_name}, your prescription is ready"))
        [row] = await here.until(
            lambda rows: (
                [(one["status"], one["attempts"]) for one in rows[0]["devices"]]
                == [("delivered_to_device", 1)] * 3
            )
        )
        for phone in phones:
            await phone.settled()
            assert phone.screen == ["Max, your prescription is ready"]
            assert phone.complaints == []
        assert row["wallet_pass_uid"] == issued["uid"]
        assert row["message"] == "Max, your prescription is ready"
        assert row["status"] == "delivered_to_device"
        assert {one["device"] for one in row["devices"]} == {phone.identifier for phone in phones}
        assert {one["reason"] for one in row["devices"]} == {None}
        assert await here.told(wallet_pass_uid=issued["uid"]) == [row]
        assert await here.told(wallet_pass_uid="wp-none") == []
        # The same text again is no change that a device would show.
        await here.send((issued["uid"], "{first_name}, your prescription is ready"))
        rows = await here.until(lambda rows: statuses(rows) == ["delivered_to_device"] * 2)
        assert [one["unchanged"] for one in rows] == [True, False]
        await phones[0].settled()
        assert phones[0].screen == ["Max, your prescription is ready"]
        # A device may have fetched the pass before the worker has recorded its push.
        await here.quiet()


async def test_a_pass_that_is_on_no_device_says_so(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, today) as here:
        issued = await here.issue()
        await here.send((issued["uid"], "x"))
        [row] = await here.told()
        assert (row["status"], row["devices"]) == ("no_device", [])


async def test_a_changed_field_and_a_revocation_reach_the_device(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, today) as here:
        issued = await here.issue(field_values={"points": 1})
        phone = await here.phone(issued)
        members = {"wallet_pass_template_uid": issued["wallet_pass_template_uid"], "shop_customer_id": "c"}
        headers = await tenant.headers()
        body = {**members, "field_values": {"points": 2}}
        assert (await here.client.post("/wallet-passes", json=body, headers=headers)).status_code == 200
        await until(lambda: document(phone)["generic"]["secondaryFields"][0]["value"] == "2")
        await here.client.post(f"/wallet-passes/{issued['uid']}/revoke", headers=headers)
        await until(lambda: document(phone).get("voided") is True)
        assert phone.screen == []


async def test_of_two_devices_only_the_one_that_fetched_counts_as_delivered_to(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, today) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        token = "0b" * 32
        here.devices.know(token, lambda _: None)  # it is pushed, and does nothing
        await register(tenant, issued["uid"], "asleep", token)
        await here.send((issued["uid"], "x"))

        def of_each(rows: list[dict[str, Any]]) -> dict[str, str]:
            return {one["device"]: one["status"] for one in rows[0]["devices"]}

        wanted = {phone.identifier: "delivered_to_device", "asleep": "sent"}
        [row] = await here.until(lambda rows: of_each(rows) == wanted)
        assert row["status"] == "delivered_to_device"


async def test_a_device_that_is_gone_is_forgotten(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, today) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        here.devices.forget(phone.push_token)  # wiped: it said no goodbye to us
        await here.send((issued["uid"], "x"))
        [row] = await here.until(lambda rows: statuses(rows) == ["failed"])
        assert [(one["status"], one["reason"]) for one in row["devices"]] == [("failed", "Unregistered")]
        registered = "SELECT 1 FROM wallet_registrations WHERE organisation_id = $1"

        async def forgotten() -> bool:
            return await tenant.rows(registered) == []

        await eventually(forgotten)
        await here.send((issued["uid"], "y"))
        assert statuses(await here.told()) == ["no_device", "failed"]


@pytest.mark.parametrize(("milliseconds", "kept"), [(0, 0), (-1, 1)])
async def test_a_device_is_forgotten_that_did_not_register_after_it_was_gone(
    serving: Live,
    cluster: embedded.Address,
    tenant: Tenant,
    today: TrialFiles,
    milliseconds: int,
    kept: int,
) -> None:
    """Apple tells whole milliseconds, and the same ones at each push: those of a registration count as after it."""
    since: list[int] = []
    async with world(
        serving, cluster, tenant, today, lambda _: Refusal("Unregistered", since[0] + milliseconds)
    ) as here:
        issued = await here.issue()
        await here.phone(issued)
        await tenant.enter()
        registered = await tenant.connection.fetchval(_REGISTERED_AT, tenant.id)
        since.append(int(registered.timestamp() * 1000))
        await here.send((issued["uid"], "x"))
        await here.until(lambda rows: statuses(rows) == ["failed"])
    # The worker has ended, and with it what it had to do.
    left = await tenant.rows("SELECT 1 FROM wallet_registrations WHERE organisation_id = $1")
    assert len(left) == kept


@pytest.mark.parametrize("timestamp", [-1, 0, 10**15, 10**30, True], ids=str)
async def test_a_time_that_apple_cannot_mean_counts_as_now(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles, timestamp: int
) -> None:
    async with world(serving, cluster, tenant, today, lambda _: Refusal("Unregistered", timestamp)) as here:
        issued = await here.issue()
        await here.phone(issued)
        await here.send((issued["uid"], "x"))
        await here.until(lambda rows: statuses(rows) == ["failed"])
    # The worker has ended, and with it what it had to do.
    assert await tenant.rows("SELECT 1 FROM wallet_registrations WHERE organisation_id = $1") == []
    assert await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1") == []


@pytest.mark.parametrize("trouble", ["reset", Refusal("TooManyRequests")])
async def test_what_fails_is_tried_again(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles, trouble: Trouble
) -> None:
    async with world(
        serving, cluster, tenant, today, lambda number: trouble if number == 1 else None
    ) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        await here.send((issued["uid"], "x"))
        [row] = await here.until(lambda rows: statuses(rows) == ["delivered_to_device"])
        await phone.settled()
        assert phone.screen == ["x"]
        assert row["devices"][0]["reason"] is None


async def test_a_refused_push_fails_with_apple_s_reason(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    refusal = Refusal("TopicDisallowed")
    async with world(serving, cluster, tenant, today, lambda _: refusal) as here:
        issued = await here.issue()
        await here.phone(issued)
        await here.send((issued["uid"], "x"))
        [row] = await here.until(lambda rows: statuses(rows) == ["failed"])
        assert [(one["reason"], one["attempts"]) for one in row["devices"]] == [("TopicDisallowed", 1)]


async def test_a_device_that_unregistered_before_its_push(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    """It is not pushed, and the notification says why."""
    async with world(serving, cluster, tenant, today, lambda _: Refusal("ServiceUnavailable")) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        await here.send((issued["uid"], "x"))
        await here.until(lambda rows: rows[0]["devices"][0]["attempts"] == 1)
        await phone.remove(document(phone)["serialNumber"])
        [row] = await here.until(lambda rows: statuses(rows) == ["failed"])
        assert (row["devices"][0]["reason"], row["devices"][0]["attempts"]) == ("unregistered", 1)
