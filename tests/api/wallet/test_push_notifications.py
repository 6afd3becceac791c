"""POST /wallet-passes/push-notifications (contract, section 2, route 14)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import httpx
import pytest
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant
from tests.locking import until_waiting

from rxdesk.db import embedded

PATH = "/wallet-passes/push-notifications"


async def make_template(tenant: Tenant, *fields: str, **more: object) -> str:
    return await tenant.insert(
        "wallet_pass_templates", shop_uid=await tenant.insert("shops"), fields=list(fields), **more
    )


async def make_pass(tenant: Tenant, template: str | None = None, **more: object) -> str:
    return await tenant.insert(
        "wallet_passes",
        wallet_pass_template_uid=template or await make_template(tenant),
        **{"shop_customer_id": "cust-1", **more},
    )


async def push(client: httpx.AsyncClient, tenant: Tenant, body: object) -> httpx.Response:
    headers = await tenant.headers("wallet_pass_push_notification:write")
    return await client.post(PATH, json=body, headers=headers)


def message(uid: str, text: str = "Hallo") -> dict[str, str]:
    return {"wallet_pass_uid": uid, "message": text}


async def stored(tenant: Tenant) -> list[tuple[str, str]]:
    rows = await tenant.rows(
        "SELECT wallet_pass_uid, message FROM push_notifications WHERE organisation_id = $1 ORDER BY uid"
    )
    return sorted((row["wallet_pass_uid"], row["message"]) for row in rows)


async def outcome(client: httpx.AsyncClient, tenant: Tenant, uid: str, text: str) -> str:
    """The text that was stored for one message, or the error."""
    before = await stored(tenant)
    answer = await push(client, tenant, [message(uid, text)])
    assert answer.status_code == 200, answer.text
    [row] = answer.json()["data"]
    assert row["wallet_pass_uid"] == uid
    new = await stored(tenant)
    for one in before:
        new.remove(one)
    if row["status"] == "failed":
        assert new == []
        return str(row["error"])
    assert (row["status"], row["error"]) == ("queued", None)
    return new[0][1]


async def test_results_in_the_order_of_the_request(inside: InProcess, tenant: Tenant, other: Tenant) -> None:
    now = inside.clock.moment
    template = await make_template(tenant, "points")
    good = await make_pass(tenant, template, first_name="Zoë")
    second = await make_pass(tenant, shop_customer_id="cust-2")
    revoked = await make_pass(tenant, status="revoked")
    expired = await make_pass(tenant, status="expired")
    run_out = await make_pass(tenant, expires_at=now)
    revoked_and_run_out = await make_pass(tenant, status="revoked", expires_at=now)
    not_yet = await make_pass(tenant, expires_at=now + timedelta(seconds=1))
    deleted = await make_pass(tenant, deleted_at=LONG_AGO)
    of_a_deleted_template = await make_pass(tenant, await make_template(tenant, deleted_at=LONG_AGO))
    foreign = await make_pass(other, first_name="geheim")
    cases = (
        (foreign, "{first_name}", "not_found"),
        (good, "Hallo {first_name}!", None),
        (revoked, "x", "revoked"),
        (expired, "x", "expired"),
        (run_out, "x", "expired"),
        (revoked_and_run_out, "x", "revoked"),
        (not_yet, "x", None),
        (deleted, "x", "not_found"),
        (of_a_deleted_template, "x", "not_found"),
        ("wp-none", "x", "not_found"),
        ("", "x", "not_found"),
        ("y" * 5000, "x", "not_found"),
        (good, "{points}", "empty_placeholder:points"),
        (good, "{last_name}", "empty_placeholder:last_name"),
        (good, "{first_name} {email} {phone}", "unknown_placeholder:email"),
        (good, "{first_name}" * 41, None),
        (good, "{first_name}" * 41 + "12345678", None),
        (second, "Zweite", None),
        (good, "Noch einmal", None),
    )
    answer = await push(inside.client, tenant, [message(uid, text) for uid, text, _ in cases])
    assert answer.status_code == 200
    assert answer.json() == {
        "data": [
            {"wallet_pass_uid": uid, "status": "failed" if error else "queued", "error": error}
            for uid, _, error in cases
        ],
        "total": len(cases),
    }
    assert await stored(tenant) == sorted(
        [
            (good, "Hallo Zoë!"),
            (not_yet, "x"),
            (good, "Zoë" * 41),
            (good, "Zoë" * 41 + "12345678"),
            (second, "Zweite"),
            (good, "Noch einmal"),
        ]
    )
    assert await stored(other) == []


async def test_what_is_stored(inside: InProcess, tenant: Tenant) -> None:
    made = await tenant.new_key("wallet_pass_push_notification:write")
    uid = await make_pass(tenant, first_name="Anna")
    answer = await inside.client.post(
        PATH, json=[message(uid, "{first_name}, fertig")], headers={"X-API-Key": made.key}
    )
    assert answer.status_code == 200
    [row] = await tenant.rows("SELECT * FROM push_notifications WHERE organisation_id = $1")
    assert row.pop("uid").startswith("pn-")
    assert row == {
        "organisation_id": tenant.id,
        "wallet_pass_uid": uid,
        "message": "Anna, fertig",
        "unchanged": False,
        "status": "queued",
        "created_at": inside.clock.moment,
        "actor_kind": "key",
        "actor_uid": made.uid,
    }


async def test_the_pass_shows_the_last_message(inside: InProcess, tenant: Tenant) -> None:
    first, second, third = [await make_pass(tenant, shop_customer_id=f"c-{number}") for number in range(3)]
    messages = [message(first, "one"), message(second, "x"), message(first, "two"), message(third, "{no}")]
    assert (await push(inside.client, tenant, messages)).status_code == 200
    rows = await tenant.rows("SELECT uid, message, tag FROM wallet_passes WHERE organisation_id = $1")
    shown = {row["uid"]: (row["message"], row["tag"]) for row in rows}
    tag = int(inside.clock.moment.timestamp())
    assert shown == {first: ("two", tag), second: ("x", tag), third: (None, 0)}
    # Nothing that can be queued, and no pass changes.
    await push(inside.client, tenant, [message(third, "{no}")])
    assert await tenant.rows("SELECT uid, message, tag FROM wallet_passes WHERE organisation_id = $1") == rows
    await push(inside.client, tenant, [message(second, "y")])
    rows = await tenant.rows(
        "SELECT message, tag FROM wallet_passes WHERE organisation_id = $1 AND uid = $2", second
    )
    assert rows == [{"message": "y", "tag": tag + 2}]


async def unchanged(tenant: Tenant) -> dict[str, bool]:
    rows = await tenant.rows("SELECT message, unchanged FROM push_notifications WHERE organisation_id = $1")
    return {row["message"]: row["unchanged"] for row in rows}


async def test_of_several_in_one_call_the_last_is_compared_with_what_was_shown_before(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    """A device fetches the pass once, and tells what it shows then from what it showed before."""
    uid = await make_pass(tenant, message="A")
    await push(client, tenant, [message(uid, "B"), message(uid, "A")])
    assert await unchanged(tenant) == {"B": False, "A": True}


async def test_of_calls_at_once_with_the_same_message_one_changes_the_pass(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    uid = await make_pass(tenant)
    headers = await tenant.headers("wallet_pass_push_notification:write")
    await push(client, tenant, [message(uid, "before")])
    async with tenant.connection.transaction():  # which holds them until all have come
        await tenant.enter()
        await tenant.connection.execute(
            "UPDATE wallet_tags SET last_tag = last_tag WHERE organisation_id = $1", tenant.id
        )
        calls = [
            asyncio.create_task(client.post(PATH, json=[message(uid, "A")], headers=headers))
            for _ in range(2)
        ]
        await until_waiting(tenant.connection, len(calls))
    answers = await asyncio.gather(*calls)
    assert [answer.json()["data"][0]["status"] for answer in answers] == ["queued"] * len(calls)
    rows = await tenant.rows("SELECT unchanged FROM push_notifications WHERE organisation_id = $1")
    assert sorted(row["unchanged"] for row in rows) == [False, False, True]


async def test_the_holder_is_the_patient_where_there_is_one(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    names = {"display_name": "Frau Dr. Eva Groß", "first_name": "Eva", "last_name": "Groß"}
    own = {"display_name": "D", "first_name": "F", "last_name": "L"}
    text = "{display_name}|{first_name}|{last_name}"
    patient = await tenant.insert("patients", **names)
    uid = await make_pass(tenant, patient_uid=patient, **own)
    assert await outcome(client, tenant, uid, text) == "Frau Dr. Eva Groß|Eva|Groß"
    nameless = await tenant.insert("patients", display_name=None)
    assert (
        await outcome(client, tenant, await make_pass(tenant, patient_uid=nameless, **own), text) == "D|F|L"
    )
    deleted = await tenant.insert("patients", **names, deleted_at=LONG_AGO)
    assert await outcome(client, tenant, await make_pass(tenant, patient_uid=deleted, **own), text) == "D|F|L"
    assert await outcome(client, tenant, await make_pass(tenant, **own), text) == "D|F|L"


async def test_a_field_called_as_a_name_stands_in_for_it(client: httpx.AsyncClient, tenant: Tenant) -> None:
    """What the pass was given is not lost: it is told where the holder's own name is not known."""
    template = await make_template(tenant, "first_name", "last_name")
    values = {"first_name": "Eva", "last_name": ""}
    text = "Hallo {first_name}"
    uid = await make_pass(tenant, template, field_values=values)
    assert await outcome(client, tenant, uid, text) == "Hallo Eva"
    assert await outcome(client, tenant, uid, "{last_name}") == "empty_placeholder:last_name"
    named = await make_pass(tenant, template, field_values=values, first_name="Max", shop_customer_id="c2")
    assert await outcome(client, tenant, named, text) == "Hallo Max"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{points} Punkte", "120 Punkte"),
        ("{balance}", "-5"),
        ("{big}", "9007199254740993"),
        ("{decimal}", "12.50"),
        ("{city}", "Köln 💊"),
        # What a value holds is not looked at again, nor is a value put together with the text around it.
        ("{braces}", "{first_name} {points}"),
        ("{{braces}}", "{{first_name} {points}}"),
        ("{{points}}", "{120}"),
        ("{empty}", "empty_placeholder:empty"),
        ("{null}", "empty_placeholder:null"),
        ("{without_value}", "empty_placeholder:without_value"),
        ("{zero}", "0"),
        ("{other}", "unknown_placeholder:other"),
        ("{email}", "unknown_placeholder:email"),
        ("{Points}", "unknown_placeholder:Points"),
        ("{größe}", "unknown_placeholder:größe"),
        ("{first-name}", "unknown_placeholder:first-name"),
        ("{__class__}", "unknown_placeholder:__class__"),
        ("{points.real}", "unknown_placeholder:points.real"),
        ("{points!r}", "unknown_placeholder:points!r"),
        ("{0}", "unknown_placeholder:0"),
        ("{" + "x" * 490 + "}", "unknown_placeholder:" + "x" * 490),
        ("{ points }", "120"),
        ("{a b}", "unknown_placeholder:a b"),
        # No names, so no placeholders.
        ("{} {\t} }{ { }", "{} {\t} }{ { }"),
        ("100 % sicher \\1 $1 %s", "100 % sicher \\1 $1 %s"),
        ("{backslash}", "\\1\\g<0>\n"),
    ],
)
async def test_placeholders(client: httpx.AsyncClient, tenant: Tenant, text: str, expected: str) -> None:
    values = {
        "points": 120,
        "balance": -5,
        "big": 9007199254740993,
        "decimal": 12.5,
        "city": "Köln 💊",
        "braces": "{first_name} {points}",
        "empty": "",
        "null": None,
        "zero": 0,
        "backslash": "\\1\\g<0>\n",
    }
    template = await make_template(tenant, *values, "without_value")
    uid = await make_pass(tenant, template, field_values={**values, "other": "not a field of the template"})
    if "decimal" in text:
        await tenant.connection.execute(
            "UPDATE wallet_passes SET field_values = jsonb_set(field_values, '{decimal}', '12.50') "
            "WHERE organisation_id = $1 AND uid = $2",
            tenant.id,
            uid,
        )
    assert await outcome(client, tenant, uid, text) == expected


async def test_length_is_counted_in_code_points_once_filled(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    for name in ("Ä", "💊", "e\u0301", "👩\u200d⚕\ufe0f"):
        uid = await make_pass(tenant, first_name=name)
        rest = 500 - len(name)
        assert await outcome(client, tenant, uid, "{first_name}" + "x" * rest if rest < 489 else "x") == "x"
        fits = "{first_name}" * 2 + "ß" * (500 - 2 * len(name) - 40)
        filled = name * 2 + "ß" * (500 - 2 * len(name) - 40)
        assert await outcome(client, tenant, uid, fits) == filled
    long = await make_pass(tenant, first_name="ä" * 100)
    assert await outcome(client, tenant, long, "{first_name}" * 5) == "ä" * 500
    assert await outcome(client, tenant, long, "{first_name}" * 5 + "!") == "too_long"
    # A message of 500 characters as sent may become shorter, or stay at 500.
    short = await make_pass(tenant, first_name="J")
    assert await outcome(client, tenant, short, "{first_name}" + "x" * 488) == "J" + "x" * 488
    assert await outcome(client, tenant, short, "💊" * 500) == "💊" * 500


@pytest.mark.parametrize("text", ["", "x" * 501, "💊" * 501])
async def test_a_message_of_wrong_length(client: httpx.AsyncClient, tenant: Tenant, text: str) -> None:
    uid = await make_pass(tenant)
    answer = await push(client, tenant, [message(uid), message(uid, text)])
    bound = "length >= 1" if not text else "length <= 500"
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "error": "Validation failed",
            "details": [
                {"field": "1.message", "location": "body", "message": f"must be a string of {bound}"}
            ],
        },
    )
    assert await stored(tenant) == []


async def test_a_fault_of_type_refuses_the_whole_array(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await make_pass(tenant)
    for item, fields in (
        ({}, ["1.wallet_pass_uid", "1.message"]),
        ({"wallet_pass_uid": uid}, ["1.message"]),
        ({"wallet_pass_uid": 5, "message": None}, ["1.wallet_pass_uid", "1.message"]),
        ({**message(uid), "title": "x"}, ["1.title"]),
        ("text", ["1"]),
        (None, ["1"]),
        ([], ["1"]),
    ):
        answer = await push(client, tenant, [message(uid), item, message(uid)])
        assert answer.status_code == 400
        assert [detail["field"] for detail in answer.json()["details"]] == fields
    for body in (message(uid), {"messages": [message(uid)]}, "x", 1, True):
        answer = await push(client, tenant, body)
        assert (answer.status_code, answer.json()["error"]) == (400, "Validation failed")
    assert await stored(tenant) == []


async def test_how_many(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await make_pass(tenant)
    for count in (0, 1001):
        answer = await push(client, tenant, [message(uid)] * count)
        assert (answer.status_code, answer.json()["error"]) == (400, "Validation failed")
        assert await stored(tenant) == []
    template = await make_template(tenant)
    uids = [
        await make_pass(tenant, template, shop_customer_id=f"c-{number}", first_name=f"N{number}")
        for number in range(1000)
    ]
    answer = await push(client, tenant, [message(uid, "Für {first_name}: " + "ä" * 480) for uid in uids])
    assert answer.status_code == 200
    assert answer.json() == {
        "data": [{"wallet_pass_uid": uid, "status": "queued", "error": None} for uid in uids],
        "total": 1000,
    }
    assert await stored(tenant) == sorted(
        (uid, f"Für N{number}: " + "ä" * 480) for number, uid in enumerate(uids)
    )


async def test_statements_do_not_grow_with_the_array(inside: InProcess, tenant: Tenant) -> None:
    uids = [await make_pass(tenant, shop_customer_id=f"c-{number}") for number in range(50)]
    await push(inside.client, tenant, [message(uids[0])])
    counts = []
    for some in (uids[:1], uids):
        inside.statements.clear()
        assert (await push(inside.client, tenant, [message(uid) for uid in some])).status_code == 200
        counts.append(len(inside.statements))
    assert counts[0] == counts[1]


async def test_all_or_nothing(cluster: embedded.Address, inside: InProcess, tenant: Tenant) -> None:
    """An insert that fails after the look at the passes undoes the whole array."""
    uids = [await make_pass(tenant, shop_customer_id=f"c-{number}") for number in range(2)]
    owner = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    try:
        # The insert's foreign key has to wait for the row lock: the lock timeout ends it.
        async with owner.transaction():
            await owner.execute(
                "SELECT FROM wallet_passes WHERE organisation_id = $1 AND uid = $2 FOR UPDATE",
                tenant.id,
                uids[1],
            )
            answer = await push(inside.client, tenant, [message(uid) for uid in uids])
        assert answer.status_code == 503
        assert await stored(tenant) == []
        assert (await push(inside.client, tenant, [message(uid) for uid in uids])).status_code == 200
        assert len(await stored(tenant)) == 2
    finally:
        await owner.close()


async def test_the_permission(client: httpx.AsyncClient, tenant: Tenant) -> None:
    for permission in ("wallet_pass:read", "wallet_pass_template:read"):
        headers = await tenant.headers(permission)
        assert (await client.post(PATH, json=[], headers=headers)).status_code == 403
