"""Random commands, one after the other: an order and its children always fit, and all is noted and told."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, get_args

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.doctors.live_aggregate import STATUSES, Work
from tests.factories import Tenant, make_tenant

from rxdesk.access import Transaction, run_command
from rxdesk.db import embedded
from rxdesk.errors import ApiError
from rxdesk.kit.sealing import Sealer, new_keys, read_keys
from rxdesk.orders import commands as orders
from rxdesk.orders.lifecycle import ENDED, HELD
from rxdesk.orders.schemas import Move, NewItem, NewOrder, OrderStatus
from rxdesk.pharmacies import commands as pharmacies
from rxdesk.pharmacies.schemas import PharmacyOrderStatus
from rxdesk.prescriptions import commands as prescriptions
from rxdesk.prescriptions.lifecycle import OPEN, SIGNED
from rxdesk.prescriptions.schemas import Assignment, Because, Explained, Signature

Step = tuple[str, int, str]
SEALER = Sealer(read_keys(new_keys()))
BECAUSE, EXPLAINED = Because(), Explained(reason="why")
BODIES: dict[str, Any] = {
    "approve": BECAUSE,
    "decline": EXPLAINED,
    "hold": EXPLAINED,
    "resume": BECAUSE,
    "sign": Signature(),
    "cancel": BECAUSE,
}
# Decisions and the pharmacy's steps are drawn more often: they are what moves an order.
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["approve", "sign", "approve", "sign", *BODIES]), st.integers(0, 1), st.just("")
        ),
        st.tuples(st.just("assign"), st.integers(0, 1), st.sampled_from(["first", "second", "idle"])),
        st.tuples(st.just("move"), st.just(0), st.sampled_from(get_args(OrderStatus))),
        st.tuples(st.just("pharmacy"), st.integers(0, 1), st.sampled_from(get_args(PharmacyOrderStatus))),
        st.tuples(st.just("cancel_order"), st.just(0), st.just("")),
        st.tuples(st.just("stock"), st.just(0), st.sampled_from(["0", "5"])),
    ),
    min_size=8,
    max_size=30,
)


@dataclass
class World:
    """One order on its way, and the time of the next command."""

    tenant: Tenant
    doctors: dict[str, str]
    offers: list[str]
    order: str = ""
    prescribed: tuple[str, ...] = ()
    now: datetime = datetime(2026, 5, 1, tzinfo=UTC)

    async def run(self, command: Callable[[Transaction], Awaitable[Any]]) -> Any:
        """Run a command as the API does; None when it is refused, and then nothing is left of it."""
        self.now += timedelta(seconds=37)
        tx = Transaction(self.tenant.connection, self.tenant.id, "key", "key-1", self.now, SEALER)
        try:
            async with self.tenant.connection.transaction():
                return await run_command(tx, command)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return None

    async def take(self, step: Step) -> None:
        what, which, value = step
        if what == "move":
            await self.run(lambda tx: orders.move(tx, self.order, Move(status=value)))  # type: ignore[arg-type]
        elif what == "cancel_order":
            await self.run(lambda tx: orders.cancel(tx, self.order, BECAUSE))
        elif what == "stock":
            offer = self.offers[0]
            await self.run(lambda tx: pharmacies.change_sku(tx, offer, "stock", int(value)))
        elif what == "pharmacy":
            await self._pharmacy(which, value)
        elif self.prescribed:
            uid = self.prescribed[which % len(self.prescribed)]
            body = Assignment(doctor_uid=self.doctors[value]) if what == "assign" else BODIES[what]
            await self.run(lambda tx: getattr(prescriptions, what)(tx, uid, body))

    async def _pharmacy(self, which: int, status: str) -> None:
        placed = await self.tenant.rows(
            "SELECT uid FROM pharmacy_orders WHERE organisation_id = $1 ORDER BY position DESC"
        )
        if placed:
            uid = placed[which % len(placed)]["uid"]
            if status == "completed":
                await self.run(lambda tx: pharmacies.complete_order(tx, uid))
            else:
                await self.run(lambda tx: pharmacies.move_order(tx, uid, status))

    async def check(self) -> None:
        """What holds after every command."""
        tenant = self.tenant
        [order] = await tenant.rows("SELECT status FROM orders WHERE organisation_id = $1")
        status = order["status"]
        wanted = await self._statuses("prescriptions")
        placed = await self._statuses("pharmacy_orders")
        live = {one for one in wanted.values() if one != "cancelled"}
        with_pharmacy = [one for one in placed.values() if one != "cancelled"]
        told = (status, wanted, placed)
        if status == "cancelled":
            assert not live & OPEN, told
            assert set(with_pharmacy) <= {"completed"}, told
        if status == "completed":
            assert not live & OPEN, told
            assert set(with_pharmacy) <= {"completed"}, told
        if status == "waiting for pharmacy":
            assert live <= SIGNED, told
            assert with_pharmacy, told
            assert set(with_pharmacy) != {"completed"}, told
        if status not in ENDED:
            assert ("declined" in live) is (status == "prescription declined"), told
            assert len(with_pharmacy) <= 1, told
            if status not in HELD and live and live <= SIGNED:
                assert status in {"waiting for pharmacy", "pharmacy not found"}, told
        await self._check_noted({self.order: status, **wanted, **placed})
        await self._check_statistics()

    async def _statuses(self, table: str) -> dict[str, str]:
        rows = await self.tenant.rows(f"SELECT uid, status FROM {table} WHERE organisation_id = $1")
        return {row["uid"]: row["status"] for row in rows}

    async def _check_noted(self, statuses: dict[str, str]) -> None:
        """History is a chain that ends where the row stands, and there is an event for each of its links."""
        changes = await self.tenant.rows(
            "SELECT subject_uid, what, old_value, new_value FROM changes WHERE organisation_id = $1 "
            "AND subject_kind <> 'pharmacy_sku' ORDER BY changed_at, uid"
        )
        events = await self.tenant.rows(
            "SELECT subject_uid, body FROM events WHERE organisation_id = $1 "
            "AND event_type <> 'pharmacy_sku_stock_updated' ORDER BY position"
        )
        for uid, status in statuses.items():
            links = [row for row in changes if row["subject_uid"] == uid]
            chain = [row for row in links if row["what"] != "doctor_uid"]
            assert chain[0]["what"] == "created"
            for before, after in itertools.pairwise(chain):
                assert after["old_value"] == before["new_value"]
            assert chain[-1]["new_value"] == status
            bodies = [json.loads(row["body"])["data"] for row in events if row["subject_uid"] == uid]
            assert len(bodies) == len(links)
            assert bodies[-1]["status"] == status

    async def _check_statistics(self) -> None:
        rows = await self.tenant.rows(
            "SELECT doctor_uid, status, assigned_at, decided_at FROM prescriptions "
            "WHERE organisation_id = $1 AND doctor_uid IS NOT NULL"
        )
        await same_rollup(self.tenant, [Work(**row) for row in rows])


async def same_rollup(tenant: Tenant, works: list[Work]) -> None:
    """The kept counts are those of the rows: by doctor and status, and with their decisions."""
    kept = await tenant.rows(
        "SELECT doctor_uid, waiting_for_doctor, approved, signed, declined, cancelled, on_hold, non_qes_signed, "
        "externally_signed, decided, decision_seconds FROM doctor_statistics "
        "WHERE organisation_id = $1 AND span = 'all'"
    )
    found = {row.pop("doctor_uid"): row for row in kept}
    for doctor in found.keys() | {work.doctor_uid for work in works}:
        mine = [work for work in works if work.doctor_uid == doctor]
        seconds = [work.seconds for work in mine if work.seconds is not None]
        counts = {name: sum(work.status == name for work in mine) for name in STATUSES}
        wanted = {**counts, "decided": len(seconds), "decision_seconds": sum(seconds)}
        assert found.get(doctor, dict.fromkeys(wanted, 0)) == wanted


async def make_world(connection: asyncpg.Connection[Any], count: int, stocked: int) -> World:
    tenant = await make_tenant(connection)
    product = await tenant.insert("products")
    sku = await tenant.insert("skus", product_uid=product)
    offers = []
    for _ in range(2):
        pharmacy = await tenant.insert("pharmacies")
        offers.append(
            await tenant.insert("pharmacy_skus", sku_uid=sku, pharmacy_uid=pharmacy, price=1, stock=stocked)
        )
    doctors = {
        "first": await tenant.insert("doctors"),
        "second": await tenant.insert("doctors", can_sign_prescriptions=False),
        "idle": await tenant.insert("doctors", active=False),
    }
    world = World(tenant, doctors, offers)
    body = NewOrder(
        shop_uid=await tenant.insert("shops"),
        patient_profile_uid=await tenant.insert("patients"),
        items=[NewItem(sku_uid=sku, quantity=2)],
        prescriptions=count,
    )
    made = await world.run(lambda tx: orders.create(tx, body))
    world.order, world.prescribed = made.uid, tuple(made.prescription_uids)
    for number in range(count):
        await world.take(("assign", number, "first"))
    return world


# Where a walk begins: random steps alone would seldom come to a pharmacy.
BEGINNINGS: dict[str, tuple[str, ...]] = {"new": (), "approved": ("approve",), "signed": ("approve", "sign")}


@given(
    begins=st.sampled_from(sorted(BEGINNINGS)),
    steps=STEPS,
    count=st.integers(0, 2),
    stocked=st.sampled_from([5, 5, 0]),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_random_commands(
    cluster: embedded.Address, begins: str, steps: list[Step], count: int, stocked: int
) -> None:
    async def walk() -> None:
        connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
        try:
            world = await make_world(connection, count, stocked)
            before = [(verb, number, "") for number in range(count) for verb in BEGINNINGS[begins]]
            for step in [*before, *steps]:
                await world.take(step)
                await world.check()
        finally:
            await connection.close()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(walk())
    finally:
        loop.close()
