"""What Google takes and what it says: its limits, what is cleared there, whom a status is about, who holds a pass."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.api.public.googling import GoogleWorld, change, points, redesign, saved
from tests.api.wallet.cards import put
from tests.wallet.test_png import png

from rxdesk.access import Access
from rxdesk.db import embedded
from rxdesk.wallet import templates
from rxdesk.wallet.design import Design, DesignedField, DesignedLink, Place
from rxdesk.wallet.emulator.google import Answer, fault
from rxdesk.wallet.google.client import MOST_MESSAGES

pytestmark = pytest.mark.usefixtures("queue")


def fields(count: int, value: str = "{points}") -> list[DesignedField]:
    return [
        DesignedField(key=f"f{number}", place="secondary", label=f"Field {number}", value=value)
        for number in range(count)
    ]


def rows(world: GoogleWorld, issued: dict[str, Any]) -> list[dict[str, Any]]:
    of_class = world.double.kept[world.object(issued)["classId"]]
    found: list[dict[str, Any]] = of_class["classTemplateInfo"]["cardTemplateOverride"][
        "cardRowTemplateInfos"
    ]
    return found


# ------------------------------------------------------------------------------------------ what a pass looks like
async def test_more_fields_than_three_rows_hold_are_among_the_details(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await saved(world, cluster, field_values={"points": 1})
    places: dict[Place, int] = {"header": 3, "secondary": 4, "auxiliary": 4}
    many = [
        DesignedField(key=f"{place}{number}", place=place, label="Points", value="{points}")
        for place, count in places.items()
        for number in range(count)
    ]
    design = Design(fields=many, barcode="none")
    await redesign(world, issued["wallet_pass_template_uid"], templates.Look(design=design))
    await world.work(cluster)
    assert [list(row) for row in rows(world, issued)] == [["threeItems"]] * 3
    assert len(world.object(issued)["textModulesData"]) == 12  # and the message


async def test_what_a_template_has_no_more_goes_at_google(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await saved(world, cluster, display_name="Max", expires_at=1798761600)
    template, image = issued["wallet_pass_template_uid"], png(40, 20)
    link = DesignedLink(key="help", label="Help", url="https://example.org")
    primary = DesignedField(key="name", place="primary", label="Name", value="{display_name}")
    full = Design(fields=[primary, *fields(2, "x")], links=[link], barcode_text="A-1")
    images: templates.Images = {("logo", 1): image, ("strip", 1): image}
    await redesign(world, template, templates.Look(design=full, images=images))
    await world.work(cluster)
    have = {
        "linksModuleData",
        "barcode",
        "heroImage",
        "logo",
        "subheader",
        "validTimeInterval",
        "textModulesData",
    }
    assert have <= world.object(issued).keys()
    await redesign(world, template, templates.Look(design=Design(fields=[], barcode="none")))
    await change(world, issued, expires_at=None)
    await world.work(cluster)
    assert world.object(issued).keys() & have == {"textModulesData"}
    assert [module["id"] for module in world.object(issued)["textModulesData"]] == ["message"]
    assert "classTemplateInfo" not in world.double.kept[world.object(issued)["classId"]]


async def test_what_a_pass_has_no_more_goes_at_google(world: GoogleWorld, cluster: embedded.Address) -> None:
    issued = await saved(world, cluster, field_values={"points": 5})
    assert points(world, issued) == "5"
    await change(world, issued, field_values={"points": None})
    await world.work(cluster)
    assert "field_points" not in {module["id"] for module in world.object(issued)["textModulesData"]}


async def test_the_layout_is_the_template_s_whoever_is_the_first(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    empty = await saved(world, cluster)  # neither a name nor points
    [row] = rows(world, empty)
    assert row["oneItem"]["item"]["firstValue"]["fields"] == [
        {"fieldPath": "object.textModulesData['field_points']"}
    ]
    assert world.object(empty)["header"]["defaultValue"]["value"] == "Card"
    template = empty["wallet_pass_template_uid"]
    full = await put(
        world.app.client, world.tenant, template, "d", display_name="Max", field_values={"points": 7}
    )
    await world.save(full.json())
    assert rows(world, full.json()) == [row]
    assert world.object(full.json())["header"]["defaultValue"]["value"] == "Max"


async def test_a_class_that_an_earlier_version_gave_is_given_anew(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await saved(world, cluster)
    world.double.kept[world.object(issued)["classId"]].pop("multipleDevicesAndHoldersAllowedStatus")
    await world.tenant.rows(
        "UPDATE wallet_pass_templates SET google_class = regexp_replace(google_class, ' [0-9]+$', '') "
        "WHERE organisation_id = $1 RETURNING uid"
    )
    await change(world, issued, display_name="Max")
    await world.work(cluster)
    of_class = world.double.kept[world.object(issued)["classId"]]
    assert of_class["multipleDevicesAndHoldersAllowedStatus"] == "ONE_USER_ALL_DEVICES"


# ---------------------------------------------------------------------------------------------------- the messages
async def test_the_newest_messages_stay_and_none_is_refused(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await saved(world, cluster)
    world.object(issued)["messages"] = [{"id": "theirs", "header": "Praxis", "body": "Closed on Monday"}]
    for number in range(MOST_MESSAGES + 3):
        await world.send(issued, f"number {number}")
        await world.work(cluster)
        world.clock.moment += timedelta(days=1)
    assert [one for [one] in await world.devices()] == [("google", "sent", None)] * (MOST_MESSAGES + 3)
    kept = [message["body"] for message in world.object(issued)["messages"]]
    assert kept == ["Closed on Monday", *(f"number {number}" for number in range(7, MOST_MESSAGES + 3))]


async def test_messages_in_one_call_are_all_told_and_counted(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await saved(world, cluster)
    await world.send(issued, *map(str, range(25)))
    await world.work(cluster)
    sent = [one for [one] in await world.devices()]
    assert sent.count(("google", "sent", None)) == 3
    assert sent.count(("google", "sent", "notification_limit")) == 22
    assert len(world.double.notified) == 3
    assert sent[:3] == [("google", "sent", None)] * 3


async def test_messages_of_one_call_are_told_in_its_order(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await saved(world, cluster)
    for number in range(10):
        texts = [f"{place} of call {number}" for place in ("first", "second", "third")]
        await world.send(issued, *texts)
        assert [row["message"] for row in await world.told()][-3:] == texts
        await world.work(cluster)
        world.clock.moment += timedelta(days=1)
        assert [message["body"] for message in world.object(issued)["messages"]][-3:] == texts


async def test_messages_of_calls_one_after_the_other_are_told_in_their_order(
    world: GoogleWorld, cluster: embedded.Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the later one is read while the earlier one is, and more quickly."""
    issued = await saved(world, cluster)
    await world.send(issued, "first")
    read, overtaken, begun = Access.rows, asyncio.Event(), 0

    async def slowly(access: Access, organisation_id: int, statement: str, *arguments: object) -> Any:
        nonlocal begun
        found = await read(access, organisation_id, statement, *arguments)
        if "AS message_uid" in statement:  # what passes show, and the messages to them
            begun += 1
            if begun == 1:
                await world.send(issued, "second")
                await asyncio.wait([asyncio.ensure_future(overtaken.wait())], timeout=1)
            overtaken.set()
        return found

    monkeypatch.setattr(Access, "rows", slowly)
    await world.work(cluster)
    assert [message["body"] for message in world.object(issued)["messages"]] == ["first", "second"]


async def test_a_message_is_not_sent_where_it_cannot_be_told_whether_it_was(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await saved(world, cluster)
    await world.send(issued, "x")
    world.troubles.append((200, {"id": "longer than what is read"}))
    await world.work(cluster)
    assert await world.devices() == [[("google", "queued", "unreadable")]]
    assert world.double.notified == []
    world.clock.moment += timedelta(seconds=10)
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", None)]]
    assert len(world.double.notified) == 1


async def test_a_long_answer_does_not_double_a_message(world: GoogleWorld, cluster: embedded.Address) -> None:
    issued = await saved(world, cluster)
    world.object(issued)["messages"] = [{"id": "theirs", "header": "a", "body": "x" * 100_000}]
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
    assert (len(world.double.notified), len(world.object(issued)["messages"])) == (1, 2)


# ------------------------------------------------------------------------------------------- whom a status is about
@pytest.mark.parametrize(
    "trouble",
    [
        fault(403, "permissionDenied"),
        fault(404, "notFound"),
        (404, {}),  # of whoever stands where Google should
        fault(401, "authError"),
    ],
)
async def test_what_is_of_the_account_forgets_no_pass(
    world: GoogleWorld, cluster: embedded.Address, trouble: Answer
) -> None:
    issued = await saved(world, cluster)
    await world.send(issued, "x")
    world.double.trouble = lambda _: trouble
    await world.work(cluster)
    [[(_, status, reason)]] = await world.devices()
    errors = trouble[1].get("error", {}).get("errors", [{"reason": "http_404"}])
    assert (status, reason) == ("queued", errors[0]["reason"])
    world.double.trouble = None
    world.clock.moment += timedelta(seconds=10)
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", None)]]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((400, {"error": "invalid_grant"}), "token: invalid_grant"),
        ((401, {"error": "invalid_client"}), "token: invalid_client"),
        (fault(404, "resourceNotFound"), "token: resourceNotFound"),
        ((404, {}), "token: http_404"),
        ((429, {}), "token: http_429"),
        ((503, {}), "token: http_503"),
    ],
)
async def test_whatever_keeps_an_access_token_from_being_had_the_pass_stays_saved(
    world: GoogleWorld, cluster: embedded.Address, answer: Answer, reason: str
) -> None:
    issued = await saved(world, cluster)
    await world.send(issued, "x")
    world.double.token_answer = answer
    await world.work(cluster)
    assert await world.devices() == [[("google", "queued", reason)]]
    world.double.token_answer = None
    world.clock.moment += timedelta(seconds=10)
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", None)]]
    await world.send(issued, "y")
    assert (await world.told())[-1]["status"] == "queued"


async def test_what_is_never_put_right_fails_with_its_reason(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await saved(world, cluster)
    await world.send(issued, "x")
    world.double.token_answer = (400, {"error": "invalid_grant"})
    for _ in range(12):
        await world.work(cluster)
        world.clock.moment += timedelta(days=1)
    assert await world.devices() == [[("google", "failed", "token: invalid_grant")]]


async def test_a_token_that_is_not_taken_is_had_anew(world: GoogleWorld, cluster: embedded.Address) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "x")
    world.troubles.append(fault(401, "authError"))
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", None)]]
    await world.send(issued, "y")
    world.troubles += [fault(401, "authError")] * 2
    await world.work(cluster)
    assert (await world.devices())[-1] == [("google", "queued", "authError")]


async def test_what_google_refuses_fails_with_its_reason(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "x")
    world.troubles.append(fault(400, "invalid"))
    await world.work(cluster)
    assert await world.devices() == [[("google", "failed", "invalid")]]


async def test_a_pass_that_google_does_not_have_is_forgotten(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "x")
    world.troubles.append(fault(404, "resourceNotFound"))
    await world.work(cluster)
    assert await world.devices() == [[("google", "failed", "resourceNotFound")]]
    await world.send(issued, "y")
    assert (await world.told())[-1]["status"] == "no_device"


async def test_a_class_that_google_lost_is_given_again(world: GoogleWorld, cluster: embedded.Address) -> None:
    issued = await world.issue()
    await world.save(issued)
    await world.work(cluster)
    await world.send(issued, "x")
    world.troubles.append(fault(404, "classNotFound"))
    await world.work(cluster)
    assert await world.devices() == [[("google", "sent", None)]]


# --------------------------------------------------------------------------------------------- who holds a pass
