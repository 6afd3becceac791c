"""Rows for tests: a tenant, and one function that inserts a row with plain defaults."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rxdesk.db.pool import Connection
from rxdesk.kit.text import email_key, sort_key
from rxdesk.organisations import commands
from rxdesk.permissions import ALL, ALL_OF_PHARMACY

_numbers = itertools.count(1)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

_ACTOR = {"actor_kind": "operator", "actor_uid": "test"}
_TIMES = {"created_at": LONG_AGO, "updated_at": LONG_AGO}
_DEFAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "shops": ("shop", {"display_name": "Shop", **_TIMES, **_ACTOR}),
    "pharmacies": ("ph", {"display_name": "Pharmacy", **_TIMES, **_ACTOR}),
    "delivery_types": ("dt", {"display_name": "Standard", **_TIMES, **_ACTOR}),
    "doctors": (
        "doc",
        {"display_name": "Dr. Test", "can_sign_prescriptions": True, "active": True, **_TIMES, **_ACTOR},
    ),
    "products": ("prod", {"display_name": "Product", **_TIMES, **_ACTOR}),
    "skus": ("sku", {"display_name": "SKU", "position": 0}),
    "shop_products": ("sp", {"position": 0}),
    "shop_skus": ("ssku", {"position": 0}),
    "pharmacy_skus": ("psku", {"position": 0, "updated_at": LONG_AGO}),
    "patients": ("pp", {"display_name": "Max Mustermann", **_TIMES, **_ACTOR}),
    "submissions": ("sub", {"position": 0}),
    "orders": ("ord", {"status": "init", **_TIMES, **_ACTOR}),
    "shop_orders": ("so", {"position": 0}),
    "order_items": ("oi", {"position": 0, "quantity": 1}),
    "fulfillment_orders": ("fo", {"position": 0}),
    "fulfillment_order_items": ("foi", {"position": 0}),
    "prescriptions": (
        "px",
        {"position": 0, "status": "waiting_for_doctor", "rendered": False, **_TIMES, **_ACTOR},
    ),
    "pharmacy_orders": ("po", {"position": 0, "status": "init", **_TIMES, **_ACTOR}),
    "wallet_pass_templates": (
        "wpt",
        {"display_name": "Card", "pass_type": "generic", **_TIMES, **_ACTOR},
    ),
    "wallet_passes": ("wp", {"status": "active", **_TIMES, **_ACTOR}),
    "waiting_room_visits": ("q", {"status": "waiting", **_TIMES, **_ACTOR}),
}


@dataclass(frozen=True)
class Tenant:
    """An organisation, and a connection that arranges its rows."""

    organisation: commands.Organisation
    connection: Connection

    @property
    def id(self) -> int:
        return self.organisation.id

    async def enter(self) -> None:
        await commands.enter(self.connection, self.id)

    async def key(self, *permissions: str, per_second: int = 0, per_minute: int = 0, **more: Any) -> str:
        """A key with these permissions, without rate limits unless they are given."""
        return (await self.new_key(*permissions, per_second=per_second, per_minute=per_minute, **more)).key

    async def new_key(
        self, *permissions: str, per_second: int = 0, per_minute: int = 0, **more: Any
    ) -> commands.NewKey:
        await self.enter()
        return await commands.create_key(
            self.connection,
            self.id,
            name="test",
            permissions=list(permissions),
            per_second=per_second,
            per_minute=per_minute,
            **more,
        )

    async def headers(self, *permissions: str) -> dict[str, str]:
        """The header of a key with these permissions; with none named, all."""
        return {"X-API-Key": await self.key(*(permissions or ALL))}

    async def pharmacy_headers(self, pharmacy_uid: str, *permissions: str) -> dict[str, str]:
        """The header of a pharmacy's key with these permissions; with none named, all that there are for one."""
        key = await self.key(*(permissions or ALL_OF_PHARMACY), pharmacy_uid=pharmacy_uid)
        return {"X-API-Key": key}

    async def insert(self, table: str, **columns: Any) -> str:
        """Insert one row and give its uid."""
        await self.enter()
        prefix, defaults = _DEFAULTS[table]
        row: dict[str, Any] = {"uid": f"{prefix}-{next(_numbers)}", **defaults, **columns}
        if table in {"doctors", "products", "wallet_pass_templates"}:
            row.setdefault("sort_key", sort_key(row["display_name"]))
        if table in {"shops", "delivery_types"}:
            row.setdefault("identifier", row["uid"])
        if table in {"patients", "orders"} and row.get("email"):
            row.setdefault("email_key", email_key(row["email"]))
        if table == "prescriptions" and row.get("doctor_uid"):
            row.setdefault("assigned_at", LONG_AGO)
        row = {name: json.dumps(v) if isinstance(v, dict) else v for name, v in row.items()}
        names = ", ".join(row)
        places = ", ".join(f"${position}" for position in range(2, len(row) + 2))
        await self.connection.execute(
            f"INSERT INTO {table} (organisation_id, {names}) VALUES ($1, {places})", self.id, *row.values()
        )
        return str(row["uid"])

    async def update(self, table: str, uid: str, **columns: Any) -> None:
        """Change one row."""
        await self.enter()
        sets = ", ".join(f"{name} = ${position}" for position, name in enumerate(columns, start=3))
        await self.connection.execute(
            f"UPDATE {table} SET {sets} WHERE organisation_id = $1 AND uid = $2",
            self.id,
            uid,
            *columns.values(),
        )

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        """Look at rows; $1 is the organisation."""
        await self.enter()
        return [dict(row) for row in await self.connection.fetch(query, self.id, *arguments)]


async def make_tenant(connection: Connection, **more: Any) -> Tenant:
    """Create an organisation."""
    organisation = await commands.create_organisation(
        connection, slug=f"tenant-{next(_numbers)}", display_name="Tenant", **more
    )
    return Tenant(organisation, connection)
