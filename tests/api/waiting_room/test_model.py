"""The code against the specification: whatever patients, doctors and time do, both say the same at each step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.api.waiting_room import model
from tests.api.waiting_room.model import Doctor, Model, RefusedError
from tests.api.waiting_room.room import Room
from tests.conftest import FixedClock, InProcess, in_process
from tests.factories import LONG_AGO, make_tenant

from rxdesk.access import Access
from rxdesk.db import embedded
from rxdesk.db.pool import Pool, connector
from rxdesk.kit.sealing import Sealer, new_keys, read_keys
from rxdesk.waiting_room.calling import return_vanished
from rxdesk.waiting_room.lifecycle import Rules

SHOPS, DOCTORS, PATIENTS = 2, 3, 8
RULES = Rules(
    consultation_minutes=model.CONSULTATION // 60,
    patience=timedelta(seconds=model.PATIENCE),
    heartbeat=timedelta(seconds=model.HEARTBEAT),
    grace=timedelta(seconds=model.GRACE),
)
_ROWS = """
SELECT uid, shop_uid, status, CASE status WHEN 'allocated' THEN doctor_uid END AS doctor, no_shows, video_room_id
FROM waiting_room_visits WHERE organisation_id = $1 ORDER BY turn"""
doctors = st.integers(0, DOCTORS - 1)
shops = st.integers(0, SHOPS - 1)


class World:
    """A loop, an application on a clock of ours, and what else all examples share."""

    def __init__(self, cluster: embedded.Address) -> None:
        self.runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.clock = FixedClock()
        self.cluster = cluster
        self.inside: InProcess = self.run(self._open())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def _open(self) -> InProcess:
        inside: InProcess = await self._stack.enter_async_context(
            in_process(
                self.cluster,
                self.clock,
                consultation_minutes=RULES.consultation_minutes,
                preferred_doctor_patience_minutes=model.PATIENCE // 60,
                doctor_heartbeat_seconds=model.HEARTBEAT,
                vanished_doctor_grace_seconds=model.GRACE,
            )
        )
        self.connection = await asyncpg.connect(**self.cluster.connect_args(embedded.APP))
        self._stack.push_async_callback(self.connection.close)
        connect = connector(self.cluster.connect_args(embedded.APP), statement_seconds=5, name="tests")
        pool = Pool(connect, size=1)
        self._stack.push_async_callback(pool.close)
        sealer = Sealer(read_keys(new_keys()))
        self.access = Access(pool, clock=self.clock, sealer=sealer, statement_seconds=5)
        return inside

    async def room(self) -> tuple[Room, list[str], list[str], list[str]]:
        """A fresh organisation: its room, shops, doctors and patients."""
        tenant = await make_tenant(self.connection)
        made = [
            [await tenant.insert(table) for _ in range(count)]
            for table, count in (("shops", SHOPS), ("doctors", DOCTORS), ("patients", PATIENTS))
        ]
        return Room(self.inside, tenant, await tenant.headers()), *made  # type: ignore[return-value] # three of them

    def close(self) -> None:
        self.run(self._stack.aclose())
        self.runner.close()


class Waiting(RuleBasedStateMachine):
    """What anybody may do, in any order."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.room, self.shops, self.doctors, self.patients = self.world.run(self.world.room())
        self.rooms: set[str] = set()
        self.model = Model(
            {uid: Doctor(uid) for uid in self.doctors}, {uid: [] for uid in sorted(self.shops)}
        )

    # Asking -----------------------------------------------------------------------------------------------------

    def ask(self, path: str, body: Any, expected: Callable[[], Any]) -> Any:
        """Ask the server and the model; both do it, or both refuse."""
        answer = self.world.run(self.room.post(path, body))
        try:
            wanted = expected()
        except RefusedError:
            assert answer.status_code == 409, answer.text
            return None
        assert answer.is_success, answer.text
        return wanted, answer

    def pick(self, number: int) -> str:
        uids = list(self.model.visits)
        return uids[number % len(uids)]

    # Patients ---------------------------------------------------------------------------------------------------

    @rule(shop=shops, patient=st.integers(0, PATIENTS - 1), doctor=st.none() | doctors)
    def register(self, shop: int, patient: int, doctor: int | None) -> None:
        body = {
            "shop_uid": self.shops[shop],
            "patient_profile_uid": self.patients[patient],
            "preferred_doctor_uid": None if doctor is None else self.doctors[doctor],
        }
        answer = self.world.run(
            self.world.inside.client.post("/waiting-room/register", json=body, headers=self.room.headers)
        )
        if self.model.is_there(self.shops[shop], self.patients[patient]):
            assert answer.status_code == 409
            return
        assert answer.status_code == 201
        waiting = len(self.model.waiting(self.shops[shop]))
        assert answer.json()["position"] == waiting + 1
        uid = answer.json()["queue_uid"]
        self.model.register(uid, self.shops[shop], self.patients[patient], body["preferred_doctor_uid"])

    @precondition(lambda self: self.model.visits)
    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        uid = self.pick(number)
        answer = self.world.run(
            self.world.inside.client.delete(f"/waiting-room/{uid}", headers=self.room.headers)
        )
        try:
            self.model.cancel(uid)
        except RefusedError:
            assert answer.status_code == 409
        else:
            assert answer.status_code == 204

    @initialize(wanted=st.lists(st.none() | doctors, min_size=3, max_size=PATIENTS))
    def begin(self, wanted: list[int | None]) -> None:
        """All doctors are on duty in all shops, and some patients wait."""
        for doctor in range(DOCTORS):
            self.go_on(doctor, set(range(SHOPS)))
        for patient, preferred in enumerate(wanted):
            self.register(patient % SHOPS, patient, preferred)
            self.wait(1)

    @rule(
        shop=shops,
        patient=st.integers(0, PATIENTS - 1),
        preferred=doctors,
        other=doctors,
        minutes=st.sampled_from([14, 15, 16]),
    )
    def be_patient(self, shop: int, patient: int, preferred: int, other: int, minutes: int) -> None:
        """Another doctor calls until nobody is due, and again when patience may have ended."""
        for doctor in (preferred, other):
            self.go_on(doctor, {shop})
        self.register(shop, patient, preferred)
        while self.called(other):
            pass
        self.wait(60 * minutes)
        self.call_next(other)

    # Duty -------------------------------------------------------------------------------------------------------

    @rule(doctor=doctors, named=st.sets(shops, min_size=1))
    def go_on(self, doctor: int, named: set[int]) -> None:
        uids = frozenset(self.shops[shop] for shop in named)
        uid = self.doctors[doctor]
        self.ask(f"/doctors/{uid}/on-duty", {"shop_uids": list(uids)}, lambda: self.model.go_on(uid, uids))

    @rule(doctor=doctors, minutes=st.sampled_from([None, 5, 20]))
    def pause(self, doctor: int, minutes: int | None) -> None:
        uid, seconds = self.doctors[doctor], None if minutes is None else minutes * 60
        self.ask(f"/doctors/{uid}/pause", {"minutes": minutes}, lambda: self.model.pause(uid, seconds))

    @rule(doctor=doctors)
    def resume(self, doctor: int) -> None:
        uid = self.doctors[doctor]
        self.ask(f"/doctors/{uid}/resume", None, lambda: self.model.resume(uid))

    @rule(doctor=doctors)
    def go_off(self, doctor: int) -> None:
        uid = self.doctors[doctor]
        self.ask(f"/doctors/{uid}/off-duty", None, lambda: self.model.go_off(uid))

    @rule(doctor=doctors)
    def heartbeat(self, doctor: int) -> None:
        uid = self.doctors[doctor]
        self.ask(f"/doctors/{uid}/heartbeat", None, lambda: self.model.heartbeat(uid))

    # Visits -----------------------------------------------------------------------------------------------------

    @rule(doctor=doctors)
    def call_next(self, doctor: int) -> None:
        self.called(doctor)

    def called(self, doctor: int) -> bool:
        """Call the next one; tells whether somebody was due."""
        uid = self.doctors[doctor]
        done = self.ask(f"/doctors/{uid}/call-next", None, lambda: (self.model.call(uid),))
        if done is None:
            return False
        ((expected,), answer) = done
        if expected is None:
            assert answer.status_code == 204
            return False
        visit = answer.json()
        assert visit["queue_uid"] == expected.uid
        assert visit["video_room_id"] not in self.rooms
        self.rooms.add(visit["video_room_id"])
        return True

    @rule(first=doctors, second=doctors)
    def call_both(self, first: int, second: int) -> None:
        for doctor in (first, second):
            self.call_next(doctor)

    def of(self, number: int, doctor: int | None) -> tuple[str, str]:
        """A visit, one that is allocated if there is any, and a doctor, who has it unless one is named."""
        allocated = [visit for visit in self.model.visits.values() if visit.status == "allocated"]
        visit = allocated[number % len(allocated)] if allocated else self.model.visits[self.pick(number)]
        uid = self.doctors[doctor] if doctor is not None else visit.doctor or self.doctors[0]
        return visit.uid, uid

    @precondition(lambda self: self.model.visits)
    @rule(number=st.integers(0, 99), doctor=st.none() | doctors)
    def complete(self, number: int, doctor: int | None) -> None:
        uid, by = self.of(number, doctor)
        body = {"doctor_uid": by, "outcome": "treated"}
        self.ask(f"/visits/{uid}/complete", body, lambda: self.model.complete(uid, by))

    @precondition(lambda self: self.model.visits)
    @rule(number=st.integers(0, 99), doctor=st.none() | doctors)
    def no_show(self, number: int, doctor: int | None) -> None:
        uid, by = self.of(number, doctor)
        self.ask(f"/visits/{uid}/no-show", {"doctor_uid": by}, lambda: self.model.no_show(uid, by))

    @precondition(lambda self: self.model.visits)
    @rule(number=st.integers(0, 99), doctor=st.none() | doctors, to=doctors)
    def hand_over(self, number: int, doctor: int | None, to: int) -> None:
        uid, by = self.of(number, doctor)
        other = self.doctors[to]
        body = {"doctor_uid": by, "to_doctor_uid": other}
        self.ask(f"/visits/{uid}/hand-over", body, lambda: self.model.hand_over(uid, by, other))

    @precondition(lambda self: self.model.visits)
    @rule(number=st.integers(0, 99))
    def cancel_by_doctor(self, number: int) -> None:
        uid = self.pick(number)
        self.ask(f"/visits/{uid}/cancel", None, lambda: self.model.cancel_by_doctor(uid))

    # Time -------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 60, 300, 301, 599, 600, 900, 901, 3600, 4201]))
    def wait(self, seconds: int) -> None:
        self.model.now += seconds
        self.world.clock.moment += timedelta(seconds=seconds)

    @rule()
    def tidy(self) -> None:
        """What the worker does now and then."""
        self.world.run(
            self.world.access.write_as_system(
                self.room.tenant.id, "worker", lambda tx: return_vanished(tx, RULES, LONG_AGO)
            )
        )
        self.model.bring_back(frozenset(self.shops))

    # Seeing -----------------------------------------------------------------------------------------------------

    @invariant()
    def both_are_the_same(self) -> None:
        rows = self.world.run(self.room.tenant.rows(_ROWS))
        shown = {(row["uid"], row["status"], row["doctor"], row["no_shows"]) for row in rows}
        assert shown == set(self.model.shown())
        for shop in self.shops:
            queue = [row["uid"] for row in rows if row["shop_uid"] == shop and row["status"] == "waiting"]
            assert queue == [visit.uid for visit in self.model.waiting(shop)]
        assert {row["video_room_id"] for row in rows if row["status"] == "waiting"} <= {None}


def _run(cluster: embedded.Address, examples: int, steps: int) -> None:
    world = World(cluster)
    machine = type("Running", (Waiting,), {"world": world})
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        phases=[
            Phase.generate
        ],  # a fault is shown as it was found: to shorten it takes longer than a test may
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)
    finally:
        world.close()


def test_the_code_is_the_specification(cluster: embedded.Address) -> None:
    _run(cluster, 25, 40)


@pytest.mark.proof
def test_the_code_is_the_specification_at_length(
    cluster: embedded.Address, share: Callable[[int], int]
) -> None:
    _run(cluster, share(1000), 80)
