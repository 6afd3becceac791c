"""What the database says of changes and events, against each other and against what clients were told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields

from tests.factories import Tenant
from tests.faults.changes import Ledger, Told

SUBSCRIBED = "order_updated"
_STATES = {
    "orders": "status",
    "prescriptions": "status",
    "pharmacy_orders": "status",
    "waiting_room_visits": "status",
    "pharmacy_skus": "stock",
}


@dataclass(frozen=True)
class Reckoning:
    """How often the books do not agree; `answered` and `events` are how much there is in them."""

    answered: int
    unanswered: int
    events: int
    told_without_row: int  # a 2xx whose change is not there
    told_without_event: int  # a 2xx whose event is not there
    row_without_event: int  # a change that nobody tells of
    event_without_row: int  # an event of a change that is not there
    done_twice: int  # more of a change than clients asked for
    state_not_as_told: int  # a row that is not as its last event says
    positions_missing: int
    undelivered: int  # an event that a subscription wants, without its delivery or its job
    surprises: int

    @property
    def faults(self) -> dict[str, int]:
        counts = {one.name: getattr(self, one.name) for one in fields(self)[3:]}
        return {name: count for name, count in counts.items() if count}


async def _changes(tenant: Tenant) -> Counter[Told]:
    """The changes that events must tell of, from the history and, for a visit's beginning, from the row itself."""
    found: Counter[Told] = Counter()
    for row in await tenant.rows(
        "SELECT subject_kind AS kind, subject_uid AS uid, what, new_value AS new FROM changes "
        "WHERE organisation_id = $1"
    ):
        kind, what = row["kind"], row["what"]
        if kind == "pharmacy_sku":
            if what == "stock":
                found["pharmacy_sku_stock_updated", row["uid"], int(row["new"])] += 1
        elif kind == "visit":
            found["waiting_room_updated", row["uid"], row["new"]] += 1
        elif what == "doctor_uid":
            found["prescription_updated", row["uid"], "waiting_for_doctor"] += 1
        else:
            found[f"{kind}_{'created' if what == 'created' else 'updated'}", row["uid"], row["new"]] += 1
    for row in await tenant.rows("SELECT uid FROM waiting_room_visits WHERE organisation_id = $1"):
        found["waiting_room_updated", row["uid"], "waiting"] += 1
    return found


async def _events(tenant: Tenant) -> tuple[Counter[Told], dict[str, object], int]:
    """The events; the state that the last one of each subject tells; how many positions are missing."""
    found: Counter[Told] = Counter()
    last: dict[str, object] = {}
    rows = await tenant.rows(
        "SELECT event_type, subject_uid, position, body FROM events WHERE organisation_id = $1 ORDER BY position"
    )
    for row in rows:
        data = json.loads(row["body"])["data"]
        state = data["stock"] if row["event_type"] == "pharmacy_sku_stock_updated" else data["status"]
        found[row["event_type"], row["subject_uid"], state] += 1
        last[row["subject_uid"]] = state
    [stream] = await tenant.rows("SELECT last_position FROM event_streams WHERE organisation_id = $1")
    positions = [row["position"] for row in rows]
    missing = len({*range(1, stream["last_position"] + 1)} ^ {*positions})
    return found, last, missing


async def _states(tenant: Tenant) -> dict[str, object]:
    found: dict[str, object] = {}
    for table, column in _STATES.items():
        rows = await tenant.rows(f"SELECT uid, {column} AS state FROM {table} WHERE organisation_id = $1")
        found.update({row["uid"]: row["state"] for row in rows})
    return found


async def _undelivered(tenant: Tenant) -> int:
    rows = await tenant.rows(
        "SELECT 1 FROM events e WHERE e.organisation_id = $1 AND e.event_type = $2 AND NOT EXISTS ("
        "SELECT FROM deliveries d JOIN jobs j ON j.organisation_id = $1 AND j.uid = d.uid "
        "WHERE d.organisation_id = $1 AND d.event_uid = e.uid)",
        SUBSCRIBED,
    )
    return len(rows)


async def reckon(tenant: Tenant, ledger: Ledger) -> Reckoning:
    """Compare all of it."""
    changes = await _changes(tenant)
    events, last, missing = await _events(tenant)
    states = await _states(tenant)
    asked = {(kind, uid) for kind, uid, _ in ledger.told if kind.endswith("_created")}
    made = {(kind, uid) for kind, uid, _ in changes if kind in {"order_created", "prescription_created"}}
    return Reckoning(
        answered=ledger.answered,
        unanswered=ledger.unanswered,
        events=events.total(),
        told_without_row=(ledger.told - changes).total(),
        told_without_event=(ledger.told - events).total(),
        row_without_event=(changes - events).total(),
        event_without_row=(events - changes).total(),
        done_twice=len(made - asked),
        state_not_as_told=sum(1 for uid, state in last.items() if states.get(uid) != state),
        positions_missing=missing,
        undelivered=await _undelivered(tenant),
        surprises=ledger.surprises.total(),
    )
