"""Passes in Google Wallet: from the link over the holder's tap to every change and message, and all that fails."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
import structlog
from tests.api.public.googling import PUBLIC, GoogleWorld, change, points, redesign
from tests.api.wallet.cards import make_template, put, token_of
from tests.factories import Tenant
from tests.wallet.test_png import png

from rxdesk.db import embedded
from rxdesk.wallet import templates
from rxdesk.wallet.design import Design, DesignedField
from rxdesk.wallet.emulator.google import Answer, fault
from rxdesk.wallet.tokens import Purpose

pytestmark = pytest.mark.usefixtures("queue")

ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/130.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)"


# ---------------------------------------------------------------------------------------------------- the link
async def test_the_link_leads_to_google_and_saves_the_pass(world: GoogleWorld) -> None:
    issued = await world.issue(display_name="Max", field_values={"points": 7})
    assert issued["links"]["google_wallet"] == issued["links"]["landing_page"] + "/google"
    assert world.double.requests == 0  # Google learns of a pass when its holder wants it there
    answer = await world.visit(issued["links"]["google_wallet"])
    assert answer.status_code == 303
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"].startswith(world.server.url + "/gp/v/save/")
    assert list(world.double.kept) == [world.google_id(issued["wallet_pass_template_uid"])]
    await world.save(issued)
    assert world.object(issued)["state"] == "ACTIVE"
    assert world.object(issued)["header"]["defaultValue"]["value"] == "Max"
    url = f"{PUBLIC}/w/{world.tenant.organisation.public_code}/v1/google"
    assert world.double.kept[world.object(issued)["classId"]]["callbackOptions"] == {"url": url}
    assert world.double.requests == 1  # one class, one request: it was there the second time


async def test_a_pass_that_is_too_long_for_a_link_is_made_before(world: GoogleWorld) -> None:
    issued = await world.issue(display_name="M" * 255, field_values={"points": "9" * 500})
    answer = await world.visit(issued["links"]["google_wallet"])
    assert answer.status_code == 303
    assert len(answer.headers["Location"].rpartition("/")[2]) < 1800
    assert world.object(issued)["header"]["defaultValue"]["value"] == "M" * 255
    await world.save(issued)


async def test_the_page_offers_it_to_all_but_iphones(world: GoogleWorld) -> None:
    issued = await world.issue()
    page, link = issued["links"]["landing_page"], f'href="{issued["links"]["google_wallet"]}"'
    shown = await world.visit(page, **{"User-Agent": ANDROID, "Accept-Language": "de"})
    assert link in shown.text
    assert "In Google Wallet speichern" in shown.text
    assert "Save to Google Wallet" in (await world.visit(page)).text
    assert link not in (await world.visit(page, **{"User-Agent": IPHONE})).text


async def test_where_there_is_none_the_link_says_so(world: GoogleWorld, tenant: Tenant) -> None:
    issued = await world.issue()
    link = issued["links"]["google_wallet"]
    assert (await world.visit(link.replace("/google", "x/google"))).status_code == 404
    purposes: tuple[Purpose, ...] = ("code", "device")
    for purpose in purposes:  # tokens of other purposes open nothing here
        token = await token_of(tenant, issued["uid"], purpose)
        assert (await world.visit(f"/w/{token}/google")).status_code == 404
    headers = await tenant.headers("wallet_pass:write")
    await world.app.client.post(f"/wallet-passes/{issued['uid']}/revoke", headers=headers)
    gone = await world.visit(link)
    assert (gone.status_code, "no such card" in gone.text) == (404, True)
    card = await world.issue(kind="storeCard")  # Google wants a logo of those
    assert card["links"]["google_wallet"] is None
    assert (await world.visit(card["links"]["landing_page"] + "/google")).status_code == 404
    assert world.double.requests == 0


@pytest.mark.parametrize("trouble", [fault(500, "backendError"), fault(403, "permissionDenied")])
async def test_the_link_while_google_refuses(world: GoogleWorld, trouble: Answer) -> None:
    issued = await world.issue()
    world.troubles.append(trouble)
    with structlog.testing.capture_logs() as lines:
        answer = await world.visit(issued["links"]["google_wallet"], **{"Accept-Language": "de"})
    assert (answer.status_code, "nicht erreichbar" in answer.text) == (503, True)
    # The operator is told why, as a push would be.
    [said] = [line for line in lines if line["event"] == "google_not_given"]
    assert (said["organisation"], said["status"]) == (world.tenant.id, trouble[0])
    assert said["reason"] == trouble[1]["error"]["errors"][0]["reason"]
    assert (await world.visit(issued["links"]["google_wallet"])).status_code == 303


async def test_images_have_addresses_that_google_can_fetch(
    world: GoogleWorld, tenant: Tenant, other: Tenant
) -> None:
    template, logo = await make_template(tenant, pass_type="storeCard"), png(40, 20)
    await redesign(world, template, templates.Look(images={("logo", 1): logo}))
    made = await put(world.app.client, tenant, template)
    issued = made.json()
    await world.save(issued)
    uri = world.double.kept[world.google_id(template)]["programLogo"]["sourceUri"]["uri"]
    answer = await world.visit(uri)
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, "image/png", logo)
    foreign = uri.replace(tenant.organisation.public_code, other.organisation.public_code)
    for wrong in (uri.replace("logo", "strip"), uri.replace(template, "wpt-none"), uri + "x", foreign):
        assert (await world.visit(wrong)).status_code == 404


# ------------------------------------------------------------------------------------------------- what changes
async def test_each_change_reaches_google_while_the_pass_is_saved(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue(field_values={"points": 1})
    await change(world, issued, field_values={"points": 2})  # nobody has saved it
    assert await world.tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1") == []
    await world.save(issued)
    await change(world, issued, field_values={"points": 3})
    await world.work(cluster)
    assert points(world, issued) == "3"
    headers = await world.tenant.headers("wallet_pass:write")
    await world.app.client.post(f"/wallet-passes/{issued['uid']}/revoke", headers=headers)
    await world.work(cluster)
    assert world.object(issued)["state"] == "INACTIVE"
    await change(world, issued)
    await world.work(cluster)
    assert world.object(issued)["state"] == "ACTIVE"
    await world.delete(issued)
    before = world.double.requests
    await change(world, issued, field_values={"points": 4})
    await world.work(cluster)
    assert world.double.requests == before
    assert points(world, issued) == "3"


async def test_what_changed_between_the_link_and_the_tap_is_caught_up(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue(field_values={"points": 1})
    assert await world.follow(issued) == 200  # Google has it from the link, and has not told us yet
    await change(world, issued, field_values={"points": 2})
    assert await world.hear() == [200]
    await world.work(cluster)
    assert points(world, issued) == "2"


async def test_a_new_look_reaches_the_class_and_the_object(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue(field_values={"points": 5})
    await world.save(issued)
    field = DesignedField(key="field_points", place="header", label="Now", value="{points}")
    await redesign(world, issued["wallet_pass_template_uid"], templates.Look(design=Design(fields=[field])))
    await world.work(cluster)
    rows = world.double.kept[world.object(issued)["classId"]]["classTemplateInfo"]
    assert "field_points" in json.dumps(rows)
    assert world.object(issued)["textModulesData"][0]["header"] == "Now"


# ------------------------------------------------------------------------------------------------- the messages
async def test_a_message_is_told_by_google(world: GoogleWorld, cluster: embedded.Address) -> None:
    issued = await world.issue(first_name="Max")
    await world.send(issued, "before")
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "{first_name}, your prescription is ready")
    assert await world.devices() == [[], [("google", "queued", None)]]
    await world.work(cluster)
    name = world.object(issued)["cardTitle"]["defaultValue"]["value"]
    text = "Max, your prescription is ready"
    assert world.double.notified == [(world.object_id(issued), name, text)]
    [_, row] = await world.told()
    assert [row["status"], row["devices"][0]["attempts"]] == ["sent", 1]
    assert await world.devices() == [[], [("google", "sent", None)]]


async def test_a_message_that_is_shown_already_is_not_told_again(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    """As on other devices, and it uses up none of the three a day."""
    issued = await world.issue()
    await world.save(issued)
    await world.send(issued, "1", "2", "3")
    await world.work(cluster)
    for text in ("3", "3"):
        await world.send(issued, text)
    await world.work(cluster)
    assert sorted(one[2] for one in world.double.notified) == ["1", "2", "3"]
    assert [[one[2] for one in devices] for devices in await world.devices()] == [[None]] * 3 + [
        ["unchanged"]
    ] * 2
    world.clock.moment += timedelta(days=1)
    await world.send(issued, "3", "4", "5", "6")
    await world.work(cluster)
    assert sorted(one[2] for one in world.double.notified) == ["1", "2", "3", "4", "5", "6"]


async def test_the_fourth_message_of_a_day_is_known_to_be_quiet(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "1", "2", "3", "4", "5")
    before = world.double.requests
    await world.work(cluster)
    assert world.double.requests == before + 10  # none was refused: a change and a message each
    assert len(world.double.notified) == 3
    assert len(world.object(issued)["messages"]) == 5
    limited = ("google", "sent", "notification_limit")
    sent = [one for [one] in await world.devices()]
    assert sorted(map(str, sent)) == sorted(map(str, [("google", "sent", None)] * 3 + [limited] * 2))
    await world.send(issued, "6")
    await world.work(cluster)
    assert (await world.devices())[-1] == [limited]
    world.clock.moment += timedelta(days=1)
    await world.send(issued, "7")
    await world.work(cluster)
    assert (await world.devices())[-1] == [("google", "sent", None)]
    assert world.double.notified[-1][2] == "7"


async def test_what_others_told_the_holder_counts_too(world: GoogleWorld, cluster: embedded.Address) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "x")
    world.troubles += [None, fault(403, "quotaExceeded")]
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", "notification_limit")]]
    assert world.double.notified == []
    assert [message["body"] for message in world.object(issued)["messages"]] == ["x"]


@pytest.mark.parametrize(
    "trouble",
    [
        fault(403, "rateLimitExceeded"),
        fault(429, "rateLimitExceeded"),
        fault(500, "backendError"),
        fault(503, "backendError"),
    ],
)
@pytest.mark.parametrize("number", [0, 1])  # of the change, and of the message after it
async def test_what_google_puts_off_is_tried_again(
    world: GoogleWorld, cluster: embedded.Address, trouble: Answer, number: int
) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "x")
    world.troubles += [*[None] * number, trouble]
    await world.work(cluster)
    reason = trouble[1]["error"]["errors"][0]["reason"]
    assert await world.devices() == [[("google", "queued", reason)]]
    world.clock.moment += timedelta(seconds=10)
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", None)]]
    assert len(world.double.notified) == 1


async def test_a_pass_that_was_deleted_before_its_message(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "x")
    await world.delete(issued)
    await world.work(cluster)
    assert await world.devices() == [[("google", "failed", "unregistered")]]
    assert world.double.notified == []


async def test_a_message_whose_answer_was_lost_is_told_once(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "x")
    await world.work(cluster)
    again = (
        "WITH p AS (UPDATE wallet_pushes SET status = 'queued' WHERE organisation_id = $1 "
        "AND push_notification_uid IS NOT NULL RETURNING uid) INSERT INTO jobs (organisation_id, uid, kind, lane, "
        "endpoint, due_at) SELECT $1, uid, 'google_push', 'first', 1, now() - interval '1 hour' FROM p"
    )
    await world.tenant.rows(again)
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", None)]]
    assert len(world.double.notified) == 1


async def test_a_change_during_the_work_is_given_after_it(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    """Google must not be left with what an earlier change said, whichever of two arrives last."""
    issued = await world.issue(field_values={"points": 1})
    await world.save(issued)
    await world.work(cluster)
    await change(world, issued, field_values={"points": 2})
    loop, asked = asyncio.get_running_loop(), world.double.requests

    def meanwhile(number: int) -> None:
        if number == asked + 1:
            later = change(world, issued, field_values={"points": 3})
            asyncio.run_coroutine_threadsafe(later, loop).result()

    world.double.trouble = meanwhile
    await world.work(cluster)
    assert points(world, issued) == "3"
    of_tags = (
        "SELECT count(*) FROM wallet_pushes WHERE organisation_id = $1 AND device_identifier = 'google' "
        "GROUP BY tag ORDER BY tag"
    )
    # When saved, points 2, and points 3 twice: for itself, and for what was given while it came.
    assert [row["count"] for row in await world.tenant.rows(of_tags)] == [1, 1, 2]


async def test_no_device_is_called_google(world: GoogleWorld) -> None:
    issued = await world.issue()
    code = world.tenant.organisation.public_code
    path = f"http://test/w/{code}/v1/devices/google/registrations/pass.x/{issued['uid']}"
    answer = await world.app.client.post(path, json={"pushToken": "ab"})
    assert answer.status_code == 404
