"""A doctor's work, put into rows, and its statistics asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from tests.factories import Tenant

BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)


def unix(moment: datetime) -> int:
    return int(moment.timestamp())


def berlin(*parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=BERLIN, fold=fold).astimezone(UTC)  # type: ignore[arg-type,misc] # year to second


async def decide(
    tenant: Tenant, doctor: str, status: str, assigned: datetime, seconds: float | None = None, count: int = 1
) -> None:
    """Insert prescriptions of an order of their own."""
    order = await tenant.insert("orders")
    for _ in range(count):
        await tenant.insert(
            "prescriptions",
            order_uid=order,
            status=status,
            doctor_uid=doctor,
            assigned_at=assigned,
            decided_at=None if seconds is None else assigned + timedelta(seconds=seconds),
        )


async def get(client: httpx.AsyncClient, tenant: Tenant, doctor: str, query: str = "") -> tuple[int, Any]:
    headers = await tenant.headers("doctor_statistics:read")
    answer = await client.get(f"/doctors/{doctor}/statistics{query}", headers=headers)
    return answer.status_code, answer.json()
