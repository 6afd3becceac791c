"""Of operations without an answer, those that the rows show to have done nothing are left out, and no others."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.conftest import Live
from tests.factories import Tenant
from tests.linear.calls import CALLS, Known, go_on_duty
from tests.linear.history import Operation
from tests.linear.room import Answer
from tests.linear.settling import settled

LAST_LOOK = -1  # the client that looks at the end


class Client:
    """A client of one shop that asks for real, and writes down what it chooses to."""

    def __init__(self, http: httpx.AsyncClient, shop: str) -> None:
        self.http, self.shop = http, shop
        self._times = itertools.count(0, 2)
        self.told: list[Operation] = []
        self.lost: list[Operation] = []
        self.never: list[Operation] = []

    async def _ask(self, kind: str, *arguments: str) -> Answer:
        call = CALLS[kind]
        request = call.request(self.shop, *arguments)
        answer = await self.http.request(request.method, request.path, json=request.body)
        return call.answer(answer.status_code, answer.json() if answer.content else None)

    def _operation(self, kind: str, *arguments: str) -> Operation:
        return Operation(0, self.shop, kind, arguments, next(self._times))

    async def tell(self, kind: str, *arguments: str) -> Answer:
        """Do it, and hear of it."""
        operation = self._operation(kind, *arguments)
        answer = await self._ask(kind, *arguments)
        self.told.append(operation._replace(returned=operation.invoked + 1, answer=answer))
        return answer

    async def lose(self, kind: str, *arguments: str) -> None:
        """Do it; the answer is lost."""
        self.lost.append(self._operation(kind, *arguments))
        await self._ask(kind, *arguments)

    def fail(self, kind: str, *arguments: str) -> None:
        """Ask, and never be heard."""
        self.never.append(self._operation(kind, *arguments))

    async def waiting(self) -> list[str]:
        return [str(part) for part in (await self._ask("list"))[1:]]

    async def called(self, patient: str, doctor: str) -> str:
        """Register a patient whom the doctor then has, as the only one who waits; all of it answered."""
        uid = str((await self.tell("register", patient))[1])
        assert await self.tell("call_next", doctor) == (200, uid)
        return uid


@pytest.fixture
async def client(live: Live, tenant: Tenant) -> AsyncIterator[Client]:
    headers = await tenant.headers()
    async with httpx.AsyncClient(base_url=live.url, trust_env=False, timeout=15, headers=headers) as http:
        yield Client(http, await tenant.insert("shops"))


@pytest.fixture
async def doctors(client: Client, tenant: Tenant) -> list[str]:
    uids = [await tenant.insert("doctors") for _ in range(3)]
    for uid in uids:
        duty = go_on_duty(Known(client.shop, [], uid))
        assert (await client.http.request(duty.method, duty.path, json=duty.body)).status_code == 200
    return uids


async def check(client: Client, live: Live, tenant: Tenant) -> None:
    history = (*client.told, *client.lost, *client.never)
    kept = [one for one in await settled(history, tenant, live.url) if one.client != LAST_LOOK]
    assert kept == [*client.told, *client.lost]


async def test_registrations_and_cancellations(client: Client, live: Live, tenant: Tenant) -> None:
    one, two, three = [await tenant.insert("patients") for _ in range(3)]
    uid = str((await client.tell("register", one))[1])
    client.fail("register", one)
    await client.lose("register", two)
    [_, lost] = await client.waiting()
    client.fail("register", three)
    client.fail("cancel", uid)
    await client.lose("cancel", lost)
    await client.tell("cancel", lost)  # again, so that the answer does not tell who did it
    await check(client, live, tenant)


async def test_calls(client: Client, live: Live, tenant: Tenant, doctors: list[str]) -> None:
    answered, lost, unheard = doctors
    for _ in range(2):
        await client.called(await tenant.insert("patients"), answered)
    client.fail("call_next", answered)
    await client.called(await tenant.insert("patients"), lost)
    await client.tell("register", await tenant.insert("patients"))
    await client.lose("call_next", lost)
    await client.tell("call_next", unheard)  # nobody waits
    client.fail("call_next", unheard)
    await check(client, live, tenant)


async def test_ends_of_consultations(client: Client, live: Live, tenant: Tenant, doctors: list[str]) -> None:
    doctor = doctors[0]
    told, lost, kept = [await client.called(await tenant.insert("patients"), doctor) for _ in range(3)]
    assert await client.tell("complete", told, doctor) == (200,)
    client.fail("complete", told, doctor)
    await client.lose("complete", lost, doctor)
    client.fail("complete", kept, doctor)
    client.fail("no_show", kept, doctor)
    await check(client, live, tenant)


async def test_no_shows(client: Client, live: Live, tenant: Tenant, doctors: list[str]) -> None:
    """The third one cancels the visit: no patient did."""
    doctor = doctors[0]
    uid = await client.called(await tenant.insert("patients"), doctor)
    assert await client.tell("no_show", uid, doctor) == (200,)
    await client.tell("call_next", doctor)
    await client.lose("no_show", uid, doctor)
    await client.tell("call_next", doctor)
    await client.lose("no_show", uid, doctor)
    client.fail("cancel", uid)
    other = await client.called(await tenant.insert("patients"), doctor)
    assert await client.tell("no_show", other, doctor) == (200,)
    client.fail("no_show", other, doctor)
    await check(client, live, tenant)
