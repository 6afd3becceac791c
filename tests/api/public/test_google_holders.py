"""Who holds a pass in Google Wallet, as its callbacks tell."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.api.public.googling import GoogleWorld, saved

from rxdesk.db import embedded
from rxdesk.wallet.emulator.google import fault

pytestmark = pytest.mark.usefixtures("queue")


async def test_the_deletion_by_one_of_several_ends_nothing_for_the_other(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    """Of a class that was given before it had one holder: the callback does not say who has deleted the pass."""
    issued = await saved(world, cluster)
    object_id = world.object(issued)["id"]
    world.double.holders[object_id].add("another")
    await world.delete(issued)
    await world.send(issued, "x")
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", None)]]
    world.clock.moment += timedelta(seconds=1)
    world.double.forget(object_id, "another")
    body = world.server.signer.callback("del", "x", object_id, world.double.issuer, world.clock())
    assert await world.call_back(f"/w/{world.tenant.organisation.public_code}/v1/google", body) == 200
    await world.send(issued, "y")
    assert (await world.told())[-1]["status"] == "no_device"


async def test_a_deletion_is_heard_later_while_google_cannot_be_asked(world: GoogleWorld) -> None:
    issued = await world.issue()
    await world.save(issued)
    world.clock.moment += timedelta(seconds=1)
    object_id, code = world.object(issued)["id"], world.tenant.organisation.public_code
    world.double.forget(object_id)
    body = world.server.signer.callback("del", "x", object_id, world.double.issuer, world.clock())
    for trouble in (fault(500, "backendError"), fault(403, "permissionDenied"), (200, {})):
        world.troubles.append(trouble)
        assert await world.call_back(f"/w/{code}/v1/google", body) == 503
    await world.send(issued, "x")
    assert (await world.told())[-1]["status"] == "queued"
    assert await world.call_back(f"/w/{code}/v1/google", body) == 200
    await world.send(issued, "y")
    assert (await world.told())[-1]["status"] == "no_device"


async def test_a_deletion_of_what_google_does_not_have_is_one(world: GoogleWorld) -> None:
    issued = await world.issue()
    await world.save(issued)
    world.troubles.append(fault(404, "resourceNotFound"))
    world.clock.moment += timedelta(seconds=1)
    await world.delete(issued)
    await world.send(issued, "x")
    assert (await world.told())[-1]["status"] == "no_device"


async def test_a_callback_that_comes_again_with_a_later_end_changes_nothing(world: GoogleWorld) -> None:
    issued = await world.issue()
    await world.save(issued)
    object_id, code = world.object(issued)["id"], world.tenant.organisation.public_code
    world.clock.moment += timedelta(seconds=1)
    await world.delete(issued)
    [row] = await world.tenant.rows(
        "SELECT callback_nonce FROM wallet_google_passes WHERE organisation_id = $1"
    )
    again = world.server.signer.callback(
        "save",
        "x",
        object_id,
        world.double.issuer,
        world.clock() + timedelta(minutes=1),
        row["callback_nonce"],
    )
    assert await world.call_back(f"/w/{code}/v1/google", again) == 200
    await world.send(issued, "x")
    assert (await world.told())[-1]["status"] == "no_device"
