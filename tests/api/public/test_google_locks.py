"""What Google says, while passes are changed and pushes recorded: nothing is missed, and no two wait for each other."""

from __future__ import annotations

import pytest
from tests.api.public.googling import GoogleWorld, redesign
from tests.locking import made_to_wait

from rxdesk.db import embedded
from rxdesk.wallet import templates
from rxdesk.wallet.design import Design
from rxdesk.wallet.emulator.google import fault

pytestmark = pytest.mark.usefixtures("queue")


_OF_PASS = "UPDATE wallet_passes SET tag = 9000000000 WHERE organisation_id = $1 AND uid = $2"
_OF_TEMPLATE = """
UPDATE wallet_pass_templates t SET tag = 9000000000 FROM wallet_passes p
WHERE t.organisation_id = $1 AND p.organisation_id = $1 AND p.uid = $2 AND t.uid = p.wallet_pass_template_uid"""


@pytest.mark.parametrize("change", [_OF_PASS, _OF_TEMPLATE])
async def test_a_change_at_the_same_time_as_a_callback_is_not_missed(
    world: GoogleWorld, cluster: embedded.Address, change: str
) -> None:
    issued = await world.issue()
    assert await world.follow(issued) == 200

    async def hearing() -> None:
        assert await world.hear() == [200]

    async with made_to_wait(cluster, change, (world.tenant.id, issued["uid"]), hearing):
        pass
    pushes = "SELECT tag FROM wallet_pushes WHERE organisation_id = $1"
    assert [row["tag"] for row in await world.tenant.rows(pushes)] == [9000000000]


async def test_templates_are_locked_before_what_google_has(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    """As by a callback, where a worker notes that a class was given and that Google has the pass no more."""
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    template = issued["wallet_pass_template_uid"]
    await redesign(world, template, templates.Look(design=Design(title="New")))

    world.troubles += [None, None, fault(404, "resourceNotFound")]  # the class is there, and is changed first

    async def working() -> None:
        await world.work(cluster)

    lock = "SELECT FROM wallet_pass_templates WHERE organisation_id = $1 AND uid = $2 FOR NO KEY UPDATE"
    had = "SELECT FROM wallet_google_passes WHERE organisation_id = $1 AND wallet_pass_uid = $2 FOR UPDATE NOWAIT"
    async with made_to_wait(cluster, lock, (world.tenant.id, template), working) as other:
        await other.fetch(had, world.tenant.id, issued["uid"])
    gone = "SELECT saved_at FROM wallet_google_passes WHERE organisation_id = $1"
    assert [row["saved_at"] for row in await world.tenant.rows(gone)] == [None]
