"""GET /doctors/{doctor_uid}/statistics (contract, section 2, route 5): form and rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.api.doctors.live_aggregate import STATUSES
from tests.api.doctors.work import DAY, berlin, decide, get, unix
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

from rxdesk.db.pool import Connection

HOUR = timedelta(hours=1)
NO_WORK = {"total": 0, "by_status": dict.fromkeys(STATUSES, 0)}


async def test_the_contracts_example(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    # 120 prescriptions: 12 of them, 10 signed and 1 declined, on the first day; 115 decided.
    start, end = 1_711_700_000, 1_714_300_000
    first, second = berlin(2024, 3, 29, 12), berlin(2024, 4, 2, 9)
    for one in (tenant, other):
        await one.insert("doctors", uid="doc-456")
    await decide(other, "doc-456", "signed", first, 10)
    await decide(tenant, await tenant.insert("doctors"), "signed", first, 10)
    await decide(tenant, "doc-456", "signed", first, 840, 10)
    await decide(tenant, "doc-456", "declined", first, 840)
    await decide(tenant, "doc-456", "waiting_for_doctor", first)
    # 115 times: 100 of 840 s, 14 of 5,400 s, and one that brings the mean to 1,710 s.
    await decide(tenant, "doc-456", "signed", second, 840, 77)
    await decide(tenant, "doc-456", "signed", second, 5_400, 14)
    await decide(tenant, "doc-456", "declined", second, 840, 8)
    await decide(tenant, "doc-456", "declined", second, 115 * 1_710 - 96 * 840 - 14 * 5_400 - 4 * 840)
    await decide(tenant, "doc-456", "approved", second, 840, 2)
    await decide(tenant, "doc-456", "non_qes_signed", second, 840, 2)
    await decide(tenant, "doc-456", "waiting_for_doctor", second, None, 2)
    await decide(tenant, "doc-456", "cancelled", second)
    await decide(tenant, "doc-456", "on_hold", second)
    # Before, after and at the end of the period: not in it.
    for moment in (start - 1, end, end + 1):
        await decide(tenant, "doc-456", "signed", datetime.fromtimestamp(moment, UTC), 1)
    headers = await tenant.headers("doctor_statistics:read")
    for path in ("/doctors/doc-456/statistics", "/doctors/doc-456/statistics/"):
        answer = await client.get(path, params={"from": start, "to": end}, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        body = answer.json()
        took = body["decision_seconds"]
        assert abs(took["median"] - 840) <= 8.4
        assert abs(took["p90"] - 5_400) <= 54
        assert {name: type(value) for name, value in took.items()} == dict.fromkeys(
            ("median", "p90", "mean"), int
        )
        assert body == {
            "doctor_uid": "doc-456",
            "from": start,
            "to": end,
            "prescriptions": {
                "total": 120,
                "by_status": {
                    "waiting_for_doctor": 3,
                    "approved": 2,
                    "signed": 101,
                    "declined": 10,
                    "cancelled": 1,
                    "on_hold": 1,
                    "non_qes_signed": 2,
                    "externally_signed": 0,
                },
            },
            "approval_rate": 0.91,
            "decision_seconds": {**took, "mean": 1710},
            "daily": [
                {"date": "2024-03-29", "total": 12, "signed": 10, "declined": 1},
                {"date": "2024-04-02", "total": 108, "signed": 91, "declined": 9},
            ],
        }
        assert [*body] == [
            "doctor_uid", "from", "to", "prescriptions", "approval_rate", "decision_seconds", "daily"
        ]  # fmt: skip


async def test_a_doctor_without_work(client: httpx.AsyncClient, tenant: Tenant) -> None:
    doctor = await tenant.insert("doctors", active=False)
    nothing: dict[str, Any] = {
        "prescriptions": NO_WORK,
        "approval_rate": None,
        "decision_seconds": None,
        "daily": [],
    }
    for query, start, end in (
        ("", None, None),
        ("?from=0", 0, None),
        ("?to=9999999999", None, 9_999_999_999),
        ("?from=0000000000&to=1", 0, 1),
        ("?to=0", None, 0),
        ("?x=1&x=2&from=5", 5, None),
    ):
        body = {"doctor_uid": doctor, "from": start, "to": end, **nothing}
        assert await get(client, tenant, doctor, query) == (200, body)


async def test_nothing_decided(client: httpx.AsyncClient, tenant: Tenant) -> None:
    doctor = await tenant.insert("doctors")
    for status in ("waiting_for_doctor", "cancelled", "on_hold"):
        await decide(tenant, doctor, status, berlin(2026, 1, 5, 10))
    _, body = await get(client, tenant, doctor)
    assert body == {
        "doctor_uid": doctor,
        "from": None,
        "to": None,
        "prescriptions": {
            "total": 3,
            "by_status": {**NO_WORK["by_status"], "waiting_for_doctor": 1, "cancelled": 1, "on_hold": 1},  # type: ignore[dict-item]
        },
        "approval_rate": None,
        "decision_seconds": None,
        "daily": [{"date": "2026-01-05", "total": 3, "signed": 0, "declined": 0}],
    }


@pytest.mark.parametrize(
    ("approved", "declined", "rate"),
    [
        (1, 0, b"1"),
        (0, 1, b"0"),
        (1, 7, b"0.13"),  # 0.125
        (7, 1, b"0.88"),  # 0.875
        (1, 199, b"0.01"),  # 0.005
        (199, 1, b"1"),  # 0.995
        (3, 37, b"0.08"),  # 0.075
        (29, 171, b"0.15"),  # 0.145, which is less than that in binary
        (57, 143, b"0.29"),  # 0.285
        (2, 1, b"0.67"),
        (1, 2, b"0.33"),
        (100, 1, b"0.99"),
    ],
)
async def test_the_rate_is_rounded_half_up(
    client: httpx.AsyncClient, tenant: Tenant, approved: int, declined: int, rate: bytes
) -> None:
    doctor = await tenant.insert("doctors")
    order = await tenant.insert("orders")
    kinds = ("approved", "signed", "non_qes_signed", "externally_signed")
    statuses = [kinds[n % 4] for n in range(approved)] + ["declined"] * declined
    await tenant.connection.execute(
        "INSERT INTO prescriptions (organisation_id, uid, order_uid, position, status, doctor_uid, "
        "assigned_at, rendered, created_at, updated_at, actor_kind, actor_uid) "
        "SELECT $1, 'px-' || gen_random_uuid(), $2, 0, s, $3, $5, false, $5, $5, 'system', 'test' "
        "FROM unnest($4::text[]) s",
        tenant.id,
        order,
        doctor,
        statuses,
        LONG_AGO,
    )
    status, body = await get(client, tenant, doctor)
    assert status == 200
    assert Decimal(str(body["approval_rate"])) == Decimal(rate.decode())


@pytest.mark.parametrize(
    ("seconds", "mean"),
    [
        ([0], 0),
        ([0.999_999], 0),  # whole seconds count
        ([1, 2], 2),  # 1.5
        ([2, 3], 3),  # 2.5: half up, not to even
        ([1, 1, 2], 1),
        ([0, 0, 0, 2], 1),  # 0.5
        ([100, 101, 102], 101),
        ([10**9], 10**9),
    ],
)
async def test_mean_and_quantiles(
    client: httpx.AsyncClient, tenant: Tenant, seconds: list[float], mean: int
) -> None:
    doctor = await tenant.insert("doctors")
    for one in seconds:
        await decide(tenant, doctor, "signed", LONG_AGO, one)
    _, body = await get(client, tenant, doctor)
    took = body["decision_seconds"]
    ranked = sorted(int(s) for s in seconds)
    assert took["mean"] == mean
    assert abs(took["median"] - ranked[(len(ranked) - 1) // 2]) <= ranked[(len(ranked) - 1) // 2] / 100
    assert abs(took["p90"] - ranked[-1]) <= ranked[-1] / 100


async def test_the_histogram_is_within_one_percent_everywhere(app_connection: Connection) -> None:
    worst = await app_connection.fetchval(
        "SELECT max(abs(decision_bucket_seconds(decision_bucket(s)) - s)::float8 / greatest(s, 1)) FROM ("
        "SELECT s FROM generate_series(0, 50000) s "
        "UNION ALL SELECT (exp(e / 4000.0))::bigint FROM generate_series(40000, 92000) e) t (s)"
    )
    assert 0 < worst <= 0.01
    whole = await app_connection.fetchval(
        "SELECT bool_and(decision_bucket_seconds(decision_bucket(s)) = s) FROM generate_series(0, 100) s"
    )
    assert whole is True


@pytest.mark.parametrize(
    "query",
    [
        "from=2&to=1",
        "from=1&to=1",
        "from=0&to=0",
        "from=-1",
        "from=1.5",
        "from=1e9",
        "from=",
        "from=abc",
        "from=10000000000",
        "from=+1",
        "from=1&from=1",
        "from=2024-01-01",
        "from=%D9%A1",
    ],
)
async def test_bounds_that_are_refused(client: httpx.AsyncClient, tenant: Tenant, query: str) -> None:
    doctor = await tenant.insert("doctors")
    for path in (f"/doctors/{doctor}/statistics?{query}", f"/doctors/none/statistics?{query}"):
        answer = await client.get(path, headers=await tenant.headers("doctor_statistics:read"))
        assert answer.status_code == 400
        assert answer.json()["error"] == "Validation failed"
        assert [(d["field"], d["location"]) for d in answer.json()["details"]] == [("from", "query")]
        denied = await client.get(path, headers=await tenant.headers("doctor:read"))
        assert (denied.status_code, denied.json()["code"]) == (403, "permission_denied")
        assert (await client.get(path)).status_code == 401
    if "&" not in query:
        assert (await get(client, tenant, doctor, "?" + query.replace("from", "to")))[0] == 400


async def test_deleted_unknown_foreign_and_malformed_are_the_same(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    deleted = await tenant.insert("doctors", deleted_at=LONG_AGO)
    foreign = await other.insert("doctors")
    headers = await tenant.headers("doctor_statistics:read")
    denied = await tenant.headers("doctor:read")
    refused = await client.get(f"/doctors/{deleted}/statistics", headers=denied)
    assert refused.status_code == 403
    for uid in (deleted, foreign, "none", "%00", "a" * 10_000, "%F0%9F%92%8A", "'--"):
        path = f"/doctors/{uid}/statistics"
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')
        assert (await client.get(path, headers=denied)).content == refused.content


async def test_both_changes_of_the_hour(client: httpx.AsyncClient, tenant: Tenant) -> None:
    # 2024-03-31 has 23 hours in Berlin, 2024-10-27 has 25.
    doctor = await tenant.insert("doctors")
    spring, autumn = berlin(2024, 3, 31), berlin(2024, 10, 27)
    for start, hours in ((spring, 23), (autumn, 25)):
        for hour in range(-1, hours + 1):
            await decide(tenant, doctor, "signed", start + hour * HOUR)
    for start, hours, date in ((spring, 23, "2024-03-31"), (autumn, 25, "2024-10-27")):
        _, body = await get(client, tenant, doctor, f"?from={unix(start)}&to={unix(start + hours * HOUR)}")
        assert body["prescriptions"]["total"] == hours
        assert body["daily"] == [{"date": date, "total": hours, "signed": hours, "declined": 0}]
        # One second less at either side.
        _, body = await get(
            client, tenant, doctor, f"?from={unix(start) + 1}&to={unix(start + hours * HOUR)}"
        )
        assert body["prescriptions"]["total"] == hours - 1
        _, body = await get(
            client, tenant, doctor, f"?from={unix(start)}&to={unix(start + hours * HOUR) + 1}"
        )
        assert body["prescriptions"]["total"] == hours + 1
        assert [day["total"] for day in body["daily"]] == [hours, 1]
    # Both two o'clocks of October are there, and can be told apart.
    first, second = berlin(2024, 10, 27, 2), berlin(2024, 10, 27, 2, fold=1)
    assert second - first == HOUR
    for start in (first, second):
        _, body = await get(client, tenant, doctor, f"?from={unix(start)}&to={unix(start + HOUR)}")
        assert body["prescriptions"]["total"] == 1


async def test_daily_is_the_last_366_days(inside: InProcess, tenant: Tenant) -> None:
    doctor = await tenant.insert("doctors")
    today = berlin(2026, 3, 4, 10)
    for days in (0, 364, 365, 366, 367, 800):
        await decide(tenant, doctor, "signed", today - days * DAY)
    inside.clock.moment = today

    async def dates(query: str) -> list[str]:
        _, body = await get(inside.client, tenant, doctor, query)
        return [day["date"] for day in body["daily"]]

    assert await dates("") == ["2025-03-04", "2025-03-05", "2026-03-04"]
    _, body = await get(inside.client, tenant, doctor)
    assert body["prescriptions"]["total"] == 6
    # The end of a period that is not over yet is today.
    assert await dates(f"?to={unix(today + 3_650 * DAY)}") == ["2025-03-04", "2025-03-05", "2026-03-04"]
    assert await dates(f"?to={unix(today)}") == ["2025-03-04", "2025-03-05"]
    # A period that ended counts back from its own end: the last day before midnight is the day before.
    end = berlin(2026, 3, 4)
    assert await dates(f"?to={unix(end)}") == ["2025-03-03", "2025-03-04", "2025-03-05"]
    inside.clock.moment = today + 366 * DAY
    assert await dates("") == []
    assert await dates(f"?to={unix(today + DAY)}") == ["2025-03-05", "2026-03-04"]


async def test_work_that_was_taken_back_moves_no_day(inside: InProcess, tenant: Tenant) -> None:
    doctor = await tenant.insert("doctors")
    inside.clock.moment = today = berlin(2026, 3, 4, 10)
    await decide(tenant, doctor, "signed", today)
    mistake = await tenant.insert(
        "prescriptions",
        order_uid=await tenant.insert("orders"),
        doctor_uid=doctor,
        assigned_at=today + 3_650 * DAY,
    )
    await tenant.update("prescriptions", mistake, deleted_at=today)
    _, body = await get(inside.client, tenant, doctor)
    assert [day["date"] for day in body["daily"]] == ["2026-03-04"]


async def test_a_reassigned_prescription_counts_for_its_present_doctor(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    first, second = await tenant.insert("doctors"), await tenant.insert("doctors")
    uid = await tenant.insert(
        "prescriptions",
        order_uid=await tenant.insert("orders"),
        doctor_uid=first,
        assigned_at=berlin(2026, 1, 5, 10),
    )
    await tenant.update("prescriptions", uid, doctor_uid=second, assigned_at=berlin(2026, 2, 6, 10))
    await tenant.update("prescriptions", uid, status="declined", decided_at=berlin(2026, 2, 6, 10, 1))
    _, before = await get(client, tenant, first)
    assert before["prescriptions"] == NO_WORK
    assert before["daily"] == []
    _, now = await get(client, tenant, second)
    assert (now["prescriptions"]["total"], now["approval_rate"]) == (1, 0)
    assert now["decision_seconds"] == {"median": 60, "p90": 60, "mean": 60}
    assert now["daily"] == [{"date": "2026-02-06", "total": 1, "signed": 0, "declined": 1}]
    await tenant.update("prescriptions", uid, doctor_uid=None, assigned_at=None, decided_at=None)
    _, free = await get(client, tenant, second)
    assert (free["prescriptions"], free["decision_seconds"], free["daily"]) == (NO_WORK, None, [])
