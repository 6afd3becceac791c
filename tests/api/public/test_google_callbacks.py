"""What Google says of passes that holders save and delete: believed once, in its order, and from Google alone."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import structlog
from tests.api.public.googling import ISSUER, GoogleWorld
from tests.factories import Tenant

from rxdesk.wallet.emulator.callbacks import CallbackSigner

pytestmark = pytest.mark.usefixtures("queue")


async def saved(world: GoogleWorld) -> list[bool]:
    rows = await world.tenant.rows(
        "SELECT saved_at IS NOT NULL AS saved FROM wallet_google_passes WHERE organisation_id = $1"
    )
    return [row["saved"] for row in rows]


async def test_a_callback_twice_and_an_older_one_change_nothing(world: GoogleWorld) -> None:
    issued = await world.issue()
    assert await world.follow(issued) == 200
    [(_, body)] = world.callbacks
    path = f"/w/{world.tenant.organisation.public_code}/v1/google"
    assert await world.hear() == [200]
    assert await world.call_back(path, body) == 200
    jobs = "SELECT 1 FROM jobs WHERE organisation_id = $1"
    assert (await saved(world), len(await world.tenant.rows(jobs))) == ([True], 1)
    world.clock.moment += timedelta(seconds=1)
    await world.delete(issued)
    assert await world.call_back(path, body) == 200
    assert await saved(world) == [False]


async def test_a_callback_of_anybody_else_is_refused(world: GoogleWorld, other: Tenant) -> None:
    issued = await world.issue()
    now, uid = world.clock(), world.object_id(issued)
    own, foreign = (f"/w/{one.organisation.public_code}/v1/google" for one in (world.tenant, other))
    good = world.server.signer.callback("save", f"{ISSUER}.x", uid, ISSUER, now)
    strange = CallbackSigner(now).callback("save", f"{ISSUER}.x", uid, ISSUER, now)
    another = world.server.signer.callback("save", "1.x", uid, "3388000000022000001", now)
    with structlog.testing.capture_logs() as lines:
        assert await world.call_back(own, another) == 401
    [said] = [line for line in lines if line["event"] == "callback_refused"]
    assert said["reason"] == "the message is not signed for this issuer"
    assert said["organisation"] == world.tenant.id
    for body in (
        strange,
        another,
        good.replace(b"save", b"SAVE"),
        b"{}",
        b"",
        b"\xff",
        b'{"x":' + b"[" * 15_000,
    ):
        assert await world.call_back(own, body) == 401
    assert await world.call_back(own, good + b" " * 17000) == 413
    assert await world.call_back(foreign, good) == 404  # of an organisation that has no such pass
    assert await world.call_back("/w/nobody12/v1/google", good) == 404
    none = world.server.signer.callback("save", f"{ISSUER}.x", f"{ISSUER}.wp-none", ISSUER, now)
    assert await world.call_back(own, none) == 404
    assert await saved(world) == []
    await other.enter()
    assert await other.rows("SELECT 1 FROM wallet_google_passes WHERE organisation_id = $1") == []
    world.clock.moment += timedelta(hours=2)
    assert await world.call_back(own, good) == 401  # too old


@pytest.mark.parametrize("members", [{"expTimeMillis": 2**63}, {"nonce": "a\0b"}, {"nonce": ""}])
async def test_a_signed_callback_that_cannot_be_kept_is_refused(
    world: GoogleWorld, members: dict[str, object]
) -> None:
    uid = world.object_id(await world.issue())
    own = f"/w/{world.tenant.organisation.public_code}/v1/google"
    signer = world.server.signer
    for event in ("save", "del"):
        said = signer.callback(event, f"{ISSUER}.x", uid, ISSUER, world.clock())
        message = json.loads(json.loads(said)["signedMessage"]) | members
        assert await world.call_back(own, signer.envelope(json.dumps(message), ISSUER)) == 401
    assert await saved(world) == []


async def test_an_object_of_a_callback_is_named_with_its_issuer(world: GoogleWorld) -> None:
    uid = world.object_id(await world.issue())
    own = f"/w/{world.tenant.organisation.public_code}/v1/google"
    name = uid.removeprefix(f"{ISSUER}.")
    for another in (name, f".{name}", f"1.{name}", f"{ISSUER}.{uid}", f"{ISSUER}{name}"):
        body = world.server.signer.callback("save", f"{ISSUER}.x", another, ISSUER, world.clock())
        assert await world.call_back(own, body) == 404, another
    assert await saved(world) == []


async def test_without_google_s_keys_a_callback_is_for_later(world: GoogleWorld) -> None:
    issued = await world.issue()
    assert await world.follow(issued) == 200
    world.server.stop()
    with structlog.testing.capture_logs() as lines:
        assert await world.hear() == [503]
    [said] = [line for line in lines if line["event"] == "callback_not_verified"]
    assert said["reason"] == "the keys of Google's callbacks cannot be had: connect"
    assert await saved(world) == []
