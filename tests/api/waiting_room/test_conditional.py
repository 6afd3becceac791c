"""The status route's entity tag, and 304 for a client that has the answer already (RFC 9110, section 13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.api.waiting_room.room import Room
from tests.conftest import InProcess
from tests.factories import Tenant

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def uid(room: Room) -> str:
    return await room.patient(await room.shop())


@pytest.fixture
def ask(room: Room, uid: str) -> Ask:
    async def status(*given: str, of: str = uid) -> httpx.Response:
        headers = [*room.headers.items(), *(("If-None-Match", one) for one in given)]
        return await room.inside.client.get(f"/waiting-room/{of}/status", headers=headers)

    return status


async def test_the_same_answer_is_not_sent_again(room: Room, uid: str, ask: Ask) -> None:
    whole = await ask()
    tag = whole.headers["etag"]
    assert tag.startswith('"')
    assert tag.endswith('"')
    assert (await ask()).headers["etag"] == tag
    same = await ask(tag)
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert same.headers["cache-control"] == "no-store"
    assert "content-type" not in same.headers
    assert "content-length" not in same.headers
    await room.inside.client.delete(f"/waiting-room/{uid}", headers=room.headers)
    other = await ask(tag)
    assert (other.status_code, other.json()["status"]) == (200, "cancelled")
    assert other.headers["etag"] != tag


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "W/{}",
        " {} ",
        '"a", {}',
        '{},"b"',
        'W/"a",W/{}',
        ",{},",
        '"", {}',
        '"a,b", {}',
        '"\\", {}',
        "*",
        " * ",
    ],
)
async def test_forms_that_match(ask: Ask, form: str) -> None:
    tag = (await ask()).headers["etag"]
    assert (await ask(form.format(tag))).status_code == 304


@pytest.mark.parametrize(
    "form",
    [
        "",
        '"a"',
        '"',
        "{}x",
        "{},x",
        "x,{}",
        "{} {}",
        "w/{}",
        "W/ {}",
        '"{}"',
        "*,{}",
        "{},*",
        "**",
        '"' * 5001,
        ",",
    ],
)
async def test_forms_that_do_not(ask: Ask, form: str) -> None:
    """Another tag, and what is no list of tags."""
    tag = (await ask()).headers["etag"]
    for given in (form.format(tag, tag), form.format(tag.strip('"'), tag)):
        if given != tag:
            assert (await ask(given)).status_code == 200


async def test_two_headers_are_one_list(ask: Ask) -> None:
    tag = (await ask()).headers["etag"]
    assert (await ask('"a"', tag)).status_code == 304
    assert (await ask('"a"', '"b"')).status_code == 200


async def test_errors_have_no_tag(room: Room, ask: Ask, other: Tenant) -> None:
    for headers, status in (
        ({}, 401),
        (await other.headers(), 404),
        (await room.tenant.headers("order:read"), 403),
    ):
        answer = await room.inside.client.get(
            f"/waiting-room/{await room.patient(await room.shop())}/status",
            headers={**headers, "If-None-Match": "*"},
        )
        assert answer.status_code == status
        assert "etag" not in answer.headers
    assert (await ask("*", of="q-none")).status_code == 404


async def test_one_statement(room: Room, inside: InProcess, ask: Ask) -> None:
    tag = (await ask()).headers["etag"]
    inside.statements.clear()
    assert (await ask(tag)).status_code == 304
    assert len(inside.statements) == 1
