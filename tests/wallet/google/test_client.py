"""The client of Google's API against the emulator's double: what is put in place, and every way to fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.wallet.cards import NOW, PATIENT
from tests.wallet.google.conftest import EMAIL

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.egress import Egress, Outcome
from rxdesk.wallet.card import Barcode, Card, Field, Text
from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.emulator.google import Answer, GoogleDouble, fault
from rxdesk.wallet.emulator.google_server import GoogleServer
from rxdesk.wallet.google.account import load_account
from rxdesk.wallet.google.client import MOST_MESSAGES, GoogleWallet, Object, Told, judge, notifications_left
from rxdesk.wallet.google.documents import class_document, object_document
from rxdesk.wallet.google.links import save_link

ISSUER = "3388000000022000000"
OBJECT = f"{ISSUER}.{PATIENT.serial}"
CLASS = f"{ISSUER}.{PATIENT.template}"
DONE = Told("done", 200, None, object=Object(OBJECT, CLASS))
LOOPBACK = AllowList.parse("http+127.0.0.1/32:*")


@dataclass
class World:
    server: GoogleServer
    google: GoogleWallet
    now: datetime = NOW
    answers: list[Answer] = field(default_factory=list)

    @property
    def double(self) -> GoogleDouble:
        return self.server.double

    async def ask(self, path: str) -> int | None:
        return (await Egress(LOOPBACK).request("GET", self.server.url + path, b"", {})).status


@pytest.fixture
async def world(account_file: Path, account_key: rsa.RSAPrivateKey) -> AsyncIterator[World]:
    double = GoogleDouble(ISSUER, EMAIL, account_key.public_key(), lambda: made.now)
    server = GoogleServer(double, CallbackSigner(NOW))
    url = server.start()
    account = msgspec.structs.replace(load_account(account_file), token_url=f"{url}/token")
    google = GoogleWallet(Egress(LOOPBACK), account, ISSUER, lambda: made.now, url)
    made = World(server, google)
    double.trouble = lambda _: made.answers.pop(0) if made.answers else None
    yield made
    server.stop()


def revoked() -> Card:
    return msgspec.structs.replace(PATIENT, voided=True)


async def test_classes_and_objects_are_made_and_then_changed(world: World) -> None:
    assert await world.google.put_class(PATIENT) == Told("done", 200, None)
    assert await world.google.put_object(PATIENT) == DONE
    assert world.double.kept[OBJECT]["state"] == "ACTIVE"
    assert await world.google.put_class(PATIENT, "https://example.com/c") == Told("done", 200, None)
    assert await world.google.put_object(revoked()) == DONE
    assert world.double.kept[OBJECT]["state"] == "INACTIVE"
    assert (
        world.double.kept[f"{ISSUER}.{PATIENT.template}"]["callbackOptions"]["url"] == "https://example.com/c"
    )
    assert len(world.double.tokens) == 1  # one access token for all of it


async def test_an_object_without_its_class_and_a_change_without_its_object(world: World) -> None:
    assert await world.google.put_object(PATIENT) == Told("retry", 404, "classNotFound")
    await world.google.put_class(PATIENT)
    assert await world.google.change_object(PATIENT) == Told("gone", 404, "resourceNotFound")
    await world.google.put_object(PATIENT)
    assert await world.google.change_object(revoked()) == DONE


async def test_a_link_saves_and_a_message_notifies(world: World, account_file: Path) -> None:
    await world.google.put_class(PATIENT)
    await world.google.put_object(PATIENT)
    link = save_link(
        PATIENT, ISSUER, load_account(account_file), NOW, save_url=f"{world.server.url}/gp/v/save"
    )
    assert await world.ask(link.url.removeprefix(world.server.url)) == 200
    assert world.double.saved == {OBJECT}
    assert (await world.google.add_message(PATIENT, "pn-1", "Praxis", "Hello")).verdict == "done"
    assert (
        await world.google.add_message(PATIENT, "pn-2", "Praxis", "Quiet", notify=False)
    ).verdict == "done"
    assert world.double.notified == [(OBJECT, "Praxis", "Hello")]
    assert [message["id"] for message in world.double.kept[OBJECT]["messages"]] == ["pn-1", "pn-2"]


async def test_a_link_that_was_changed_saves_nothing(world: World, account_file: Path) -> None:
    await world.google.put_class(PATIENT)
    link = save_link(
        PATIENT, ISSUER, load_account(account_file), NOW, save_url=f"{world.server.url}/gp/v/save"
    )
    assert not link.whole
    path = link.url.removeprefix(world.server.url)
    assert await world.ask(path) == 400  # by its id only, and the object is not there yet
    await world.google.put_object(PATIENT)
    assert await world.ask(path[:-1] + ("A" if path[-1] != "A" else "B") * 2) == 400
    assert await world.ask(path) == 200


async def test_the_fourth_message_of_a_day_notifies_nobody(world: World) -> None:
    await world.google.put_class(PATIENT)
    await world.google.put_object(PATIENT)
    world.double.holders[OBJECT] = {"holder"}
    sent: list[datetime] = []
    for number in range(3):
        assert notifications_left(sent, world.now) == 3 - number
        assert (await world.google.add_message(PATIENT, f"pn-{number}", "a", "b")).verdict == "done"
        sent.append(world.now)
    assert notifications_left(sent, world.now) == 0
    assert await world.google.add_message(PATIENT, "pn-3", "a", "b") == Told("limited", 403, "quotaExceeded")
    assert (await world.google.add_message(PATIENT, "pn-3", "a", "b", notify=False)).verdict == "done"
    world.now += timedelta(days=1)
    assert notifications_left(sent, world.now) == 3
    assert (await world.google.add_message(PATIENT, "pn-4", "a", "b")).verdict == "done"
    assert len(world.double.notified) == 4


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (fault(400, "invalid"), Told("refused", 400, "invalid")),
        (fault(403, "forbidden"), Told("retry", 403, "forbidden")),
        (fault(403, "permissionDenied"), Told("retry", 403, "permissionDenied")),
        (fault(403, "quotaExceeded"), Told("limited", 403, "quotaExceeded")),
        (fault(401, "authError"), DONE),
        (fault(403, "rateLimitExceeded"), Told("retry", 403, "rateLimitExceeded")),
        (fault(403, "userRateLimitExceeded"), Told("retry", 403, "userRateLimitExceeded")),
        (fault(404, "resourceNotFound"), Told("gone", 404, "resourceNotFound")),
        (fault(404, "classNotFound"), Told("retry", 404, "classNotFound")),
        (fault(404, "notFound"), Told("retry", 404, "notFound")),
        ((404, {}), Told("retry", 404, "http_404")),
        (fault(410, "gone"), Told("refused", 410, "gone")),
        (fault(429, "rateLimitExceeded"), Told("retry", 429, "rateLimitExceeded")),
        (fault(500, "backendError"), Told("retry", 500, "backendError")),
        (fault(503, "backendError"), Told("retry", 503, "backendError")),
        ((302, {}), Told("retry", 302, "redirect")),
        ((500, {}), Told("retry", 500, "http_500")),
        ((400, {"error": {"status": "INVALID_ARGUMENT"}}), Told("refused", 400, "INVALID_ARGUMENT")),
        ((400, {"error": {"errors": 5}}), Told("refused", 400, "http_400")),
    ],
)
async def test_every_answer_is_judged(world: World, answer: Answer, told: Told) -> None:
    await world.google.put_class(PATIENT)
    world.answers = [answer]
    assert await world.google.put_object(PATIENT) == told


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"id":"\xff"}', b'{"id":' + b"[" * 15_000])
def test_an_answer_that_is_no_object(answer: bytes) -> None:
    assert judge(Outcome(200, None, 1, answer)) == Told("done", 200, None)
    assert judge(Outcome(400, "status", 1, answer)) == Told("refused", 400, "http_400")


async def test_a_token_that_is_not_taken_is_had_anew_once(world: World) -> None:
    await world.google.put_class(PATIENT)
    world.double.tokens.clear()
    assert (await world.google.put_class(PATIENT)).verdict == "done"
    world.answers = [fault(401, "authError"), fault(401, "authError")]
    assert await world.google.put_class(PATIENT) == Told("retry", 401, "authError")


async def test_a_token_is_had_anew_before_its_end(world: World) -> None:
    await world.google.put_class(PATIENT)
    world.now += timedelta(minutes=58)
    await world.google.put_class(PATIENT)
    assert len(world.double.tokens) == 1
    world.now += timedelta(minutes=1, seconds=1)
    assert (await world.google.put_class(PATIENT)).verdict == "done"
    assert len(world.double.tokens) == 2


async def test_an_account_that_google_does_not_know(world: World) -> None:
    world.double.email = "somebody@example.com"
    assert await world.google.put_class(PATIENT) == Told("retry", 400, "token: invalid_grant")
    world.double.email = EMAIL
    assert (await world.google.put_class(PATIENT)).verdict == "done"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((400, {"error": "invalid_grant", "error_description": "x"}), "token: invalid_grant"),
        ((401, {"error": "invalid_client"}), "token: invalid_client"),
        ((403, {}), "token: http_403"),
        ((404, {}), "token: http_404"),
        (fault(404, "resourceNotFound"), "token: resourceNotFound"),
        ((429, {}), "token: http_429"),
        ((500, {}), "token: http_500"),
        ((200, {}), "token: unreadable"),
        ((301, {}), "token: redirect"),
    ],
)
async def test_whatever_the_token_s_place_says_the_pass_is_not_at_fault(
    world: World, answer: Answer, reason: str
) -> None:
    world.double.token_answer = answer
    assert await world.google.change_object(PATIENT) == Told("retry", answer[0], reason)
    world.double.token_answer = None
    assert (await world.google.put_class(PATIENT)).verdict == "done"


async def test_what_a_card_does_not_hold_any_more_is_cleared(world: World) -> None:
    urls = {"logo": "https://example.com/l.png", "strip": "https://example.com/s.png"}
    full = msgspec.structs.replace(PATIENT, image_urls=urls)
    await world.google.put_class(full, "https://example.com/c")
    await world.google.put_object(full)
    bare = msgspec.structs.replace(
        PATIENT,
        **dict.fromkeys(("header", "primary", "secondary", "auxiliary", "back", "links"), ()),
        barcode=Barcode(content="RX1.abc"),
        expires_at=None,
    )
    await world.google.put_class(bare)
    assert world.double.kept[CLASS] == class_document(bare, ISSUER)
    await world.google.change_object(bare)
    assert world.double.kept[OBJECT] == object_document(bare, ISSUER)
    await world.google.put_object(msgspec.structs.replace(bare, barcode=None))
    assert "barcode" not in world.double.kept[OBJECT]


async def test_a_translation_that_went_is_cleared(world: World) -> None:
    primary = (Field(key="name", label=Text("Name", {"de": "Name"}), value=Text("A", {"de": "B"})),)
    await world.google.put_class(PATIENT)
    await world.google.put_object(msgspec.structs.replace(PATIENT, primary=primary))
    assert "translatedValues" in world.double.kept[OBJECT]["header"]
    await world.google.put_object(PATIENT)
    assert world.double.kept[OBJECT] == object_document(PATIENT, ISSUER)


async def test_messages_stay_when_the_rest_changes_and_there_are_ten_at_most(world: World) -> None:
    await world.google.put_class(PATIENT)
    await world.google.put_object(PATIENT)
    for number in range(MOST_MESSAGES):
        told = await world.google.add_message(PATIENT, f"pn-{number}", "a", "b", notify=False)
        assert told.verdict == "done"
    told = await world.google.add_message(PATIENT, "pn-10", "a", "b", notify=False)
    assert (told.verdict, told.status, told.reason) == ("refused", 400, "invalid")
    told = await world.google.change_object(revoked())
    assert told.object is not None
    assert [one["id"] for one in told.object.messages] == [f"pn-{number}" for number in range(MOST_MESSAGES)]
    await world.google.keep_messages(PATIENT, told.object.messages[-2:])
    assert [one["id"] for one in world.double.kept[OBJECT]["messages"]] == ["pn-8", "pn-9"]
    assert world.double.kept[OBJECT]["state"] == "INACTIVE"


async def test_a_message_with_the_same_id_is_one_more(world: World) -> None:
    """Google says that ids may be there twice, so nothing but what an object has tells that a message came."""
    await world.google.put_class(PATIENT)
    await world.google.put_object(PATIENT)
    world.double.holders[OBJECT] = {"holder"}
    for _ in range(2):
        assert (await world.google.add_message(PATIENT, "pn-1", "a", "b")).verdict == "done"
    assert len(world.double.notified) == len(world.double.kept[OBJECT]["messages"]) == 2


async def test_an_object_that_is_as_long_as_a_megabyte_is_read(world: World) -> None:
    await world.google.put_class(PATIENT)
    await world.google.put_object(PATIENT)
    world.double.kept[OBJECT] |= {"messages": [{"id": "pn-1", "header": "a", "body": "x" * 200_000}]}
    told = await world.google.change_object(PATIENT)
    assert told.object is not None
    assert [one["id"] for one in told.object.messages] == ["pn-1"]


async def test_one_holder_saves_a_pass_and_nobody_beside(world: World, account_file: Path) -> None:
    await world.google.put_class(PATIENT)
    await world.google.put_object(PATIENT)
    account, save_url = load_account(account_file), f"{world.server.url}/gp/v/save"
    link = save_link(PATIENT, ISSUER, account, NOW, save_url=save_url)
    path = link.url.removeprefix(world.server.url)
    assert [await world.ask(path), await world.ask(path), await world.ask(f"{path}?authuser=b")] == [
        200,
        200,
        403,
    ]
    told = await world.google.look_at(PATIENT)
    assert told.object == Object(OBJECT, CLASS, has_users=True)
    assert world.double.forget(OBJECT)
    told = await world.google.look_at(PATIENT)
    assert told.object == Object(OBJECT, CLASS)


async def test_nobody_there(world: World) -> None:
    await world.google.put_class(PATIENT)
    world.server.stop()
    assert await world.google.put_class(PATIENT) == Told("retry", None, "connect")
    world.server.start()
