"""Pushes that ended long ago are pruned."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.api.public.pushing import settings_of, statuses, world
from tests.api.wallet.cards import make_template
from tests.conftest import ENCRYPTION_KEYS, settings_for, start_live, stop_live
from tests.db.test_reads import explain
from tests.factories import LONG_AGO, Tenant
from tests.locking import waits_with_nothing
from tests.wallet.cards import PASS_TYPE, TEAM
from tests.webhooks.engine import command

from rxdesk import working
from rxdesk.access import Transaction, look
from rxdesk.db import embedded
from rxdesk.kit.clock import utc_now
from rxdesk.wallet import pushing, telling
from rxdesk.wallet.apple.trial import create_chain

pytestmark = pytest.mark.usefixtures("queue")


async def test_pushes_that_have_ended_are_not_kept_for_ever(
    cluster: embedded.Address, tenant: Tenant, tmp_path: Path
) -> None:
    today = create_chain(tmp_path, PASS_TYPE, TEAM, utc_now() - timedelta(days=1))
    serving = start_live(cluster, **settings_of(today))
    try:
        async with world(serving, cluster, tenant, today) as here:
            issued = await here.issue()
            await here.phone(issued)
            await here.send((issued["uid"], "x"))
            await here.until(lambda rows: statuses(rows) == ["delivered_to_device"])
    finally:
        stop_live(serving)
    kept = "SELECT 1 FROM wallet_pushes WHERE organisation_id = $1"
    notified = "SELECT 1 FROM push_notifications WHERE organisation_id = $1"
    settings = settings_for(event_retention_days=30)
    composed = working.compose(settings, cluster.connect_args(embedded.APP), ENCRYPTION_KEYS)
    await working.tidy(composed)
    assert (len(await tenant.rows(kept)), len(await tenant.rows(notified))) == (1, 1)
    later = working.compose(
        settings,
        cluster.connect_args(embedded.APP),
        ENCRYPTION_KEYS,
        clock=lambda: utc_now() + timedelta(days=31),
    )
    await working.tidy(later)
    assert (await tenant.rows(kept), await tenant.rows(notified)) == ([], [])
    for one in (composed, later):
        await one.pool.close()


_ENDED = """
INSERT INTO wallet_pushes (organisation_id, uid, wallet_pass_uid, device_identifier, tag, status, created_at,
  updated_at)
VALUES ($1, $2, $3, 'phone', 1, 'sent', $4, $4)"""


async def ended(tenant: Tenant, *pushes: tuple[str, datetime]) -> None:
    """Pushes of a pass of its own that were sent at those times."""
    held = await tenant.insert(
        "wallet_passes", wallet_pass_template_uid=await make_template(tenant), shop_customer_id="c"
    )
    await tenant.enter()
    for uid, moment in pushes:
        await tenant.connection.execute(_ENDED, tenant.id, uid, held, moment)


async def test_the_oldest_go_first(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "_PRUNED_AT_ONCE", 2)
    now = utc_now()
    ages = {"wpu-1": 40, "wpu-2": 43, "wpu-3": 41, "wpu-4": 42, "wpu-5": 29}
    await ended(tenant, *((uid, now - timedelta(days=days)) for uid, days in ages.items()))
    kept = "SELECT uid FROM wallet_pushes WHERE organisation_id = $1 ORDER BY uid"
    for left in (["wpu-1", "wpu-3", "wpu-5"], ["wpu-5"]):
        await command(tenant, lambda tx: pushing.prune(tx, now - timedelta(days=30)))
        assert [row["uid"] for row in await tenant.rows(kept)] == left


_NOTIFICATION = """
INSERT INTO push_notifications (organisation_id, uid, wallet_pass_uid, message, status, created_at, actor_kind,
  actor_uid)
VALUES ($1, $2, $3, 'x', 'queued', $4, 'operator', 'test')"""
_OF_NOTIFICATION = """
INSERT INTO wallet_pushes (organisation_id, uid, wallet_pass_uid, device_identifier, push_notification_uid, tag, status,
  created_at, updated_at)
SELECT $1, $2, n.wallet_pass_uid, $3, n.uid, 1, $4, $5, $5 FROM push_notifications n
WHERE n.organisation_id = $1 AND n.uid = $6"""


async def test_a_notification_goes_whole_and_with_its_devices(tenant: Tenant) -> None:
    """Else it would say that the pass was on no device, or be as far as the device that is left."""
    now = utc_now()
    held = await tenant.insert(
        "wallet_passes", wallet_pass_template_uid=await make_template(tenant), shop_customer_id="c"
    )
    pushes = {
        "pn-1": [("delivered_to_device", 40), ("failed", 37)],
        "pn-2": [("delivered_to_device", 40), ("failed", 29)],
        "pn-3": [("delivered_to_device", 40), ("queued", 40)],
        "pn-4": [],  # the pass was on no device
        "pn-5": [],
    }
    for uid, of_devices in pushes.items():
        sent = now - timedelta(days=29 if uid == "pn-5" else 40)
        await tenant.connection.execute(_NOTIFICATION, tenant.id, uid, held, sent)
        for number, (status, age) in enumerate(of_devices):
            moment = now - timedelta(days=age)
            arguments = f"wpu-{uid}-{number}", f"phone{number}", status, moment, uid
            await tenant.connection.execute(_OF_NOTIFICATION, tenant.id, *arguments)
    await command(tenant, lambda tx: pushing.prune(tx, now - timedelta(days=30)))
    left = await look(tenant.connection, tenant.id, telling.NOTIFICATIONS, None, 50, 0)
    assert left is not None
    found = {one["uid"]: (one["status"], len(one["devices"])) for one in json.loads(left)["data"]}
    assert found == {
        "pn-2": ("delivered_to_device", 2),
        "pn-3": ("delivered_to_device", 2),
        "pn-5": ("no_device", 0),
    }


async def test_notifications_go_a_few_at_a_time(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "_NOTIFICATIONS_AT_ONCE", 2)
    now = utc_now()
    held = await tenant.insert(
        "wallet_passes", wallet_pass_template_uid=await make_template(tenant), shop_customer_id="c"
    )
    for number in range(3):
        sent = now - timedelta(days=40 + number)
        await tenant.connection.execute(_NOTIFICATION, tenant.id, f"pn-{number}", held, sent)
    kept = "SELECT uid FROM push_notifications WHERE organisation_id = $1"
    for left, more in ((["pn-0"], True), ([], False)):
        assert await command(tenant, lambda tx: pushing.prune(tx, now - timedelta(days=30))) is more
        assert [row["uid"] for row in await tenant.rows(kept)] == left


async def test_they_are_locked_in_the_order_of_their_uids(cluster: embedded.Address, tenant: Tenant) -> None:
    """As by whoever records what became of them, whichever is the oldest and however they are found."""
    now = utc_now()
    await ended(tenant, ("wpu-2", now - timedelta(days=50)), ("wpu-1", now - timedelta(days=40)))

    async def found_as_they_lie(tx: Transaction) -> None:
        await tx.connection.execute("SET LOCAL enable_indexscan = off")
        await pushing.prune(tx, now - timedelta(days=30))

    async def prune() -> None:
        await command(tenant, found_as_they_lie)

    first, second = ("wallet_pushes", "wpu-1"), ("wallet_pushes", "wpu-2")
    await waits_with_nothing(cluster, tenant, first, second, prune)
    assert await tenant.rows("SELECT 1 FROM wallet_pushes WHERE organisation_id = $1") == []


async def test_old_notifications_are_found_without_a_look_at_all(tenant: Tenant) -> None:
    plan = await explain(tenant, pushing.OLD, (tenant.id, LONG_AGO, 100), "force_generic_plan")
    [scan] = [node for node in plan.nodes() if node.get("Relation Name") == "push_notifications"]
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "push_notifications_newest")
    assert "created_at" in scan["Index Cond"]
