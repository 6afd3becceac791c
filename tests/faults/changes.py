"""Clients that make changes through every API, and a ledger of what they were told had been done."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.conftest import BASE
from tests.factories import Tenant

from rxdesk.routes import OPERATIONS, PHARMACY

STEPS = ("waiting for pharmacy", "pending review", "in-progress")
PHARMACIES = 4
_IN_PROGRESS = "still in progress"  # the same request, of a process that was killed a moment ago
_PAUSE_SECONDS = 0.02

Told = tuple[str, str, object]
"""An event's type, what it tells of, and the state (or stock) that it tells."""


class SurpriseError(Exception):
    """An answer that no client should get."""


@dataclass
class Ledger:
    """What clients were told: each change that was answered with a 2xx."""

    told: Counter[Told] = field(default_factory=Counter)
    answered: int = 0
    unanswered: int = 0  # requests whose connection was lost before the answer came
    surprises: Counter[str] = field(default_factory=Counter)

    def note(self, *told: Told) -> None:
        self.answered += 1
        self.told.update(told)


@dataclass(frozen=True)
class World:
    """An organisation in which changes can be made, and the keys of those who make them."""

    tenant: Tenant
    headers: dict[str, str]
    shop: str
    doctor: str
    sku: str
    pharmacies: tuple[tuple[str, dict[str, str], str], ...]  # uid, headers, the SKU that it offers


async def make_world(tenant: Tenant) -> World:
    product = await tenant.insert("products")
    sku = await tenant.insert("skus", product_uid=product)
    pharmacies = []
    for _ in range(PHARMACIES):
        uid = await tenant.insert("pharmacies")
        offer = await tenant.insert(
            "pharmacy_skus", sku_uid=sku, pharmacy_uid=uid, price=100, stock=1_000_000
        )
        pharmacies.append((uid, await tenant.pharmacy_headers(uid), offer))
    return World(
        tenant=tenant,
        headers=await tenant.headers(),
        shop=await tenant.insert("shops"),
        doctor=await tenant.insert("doctors"),
        sku=sku,
        pharmacies=tuple(pharmacies),
    )


class Client:
    """One who takes orders from their making to the pharmacy's end, and patients in and out of the waiting room."""

    def __init__(
        self, world: World, http: httpx.AsyncClient, ledger: Ledger, number: int, patient: str
    ) -> None:
        self.world = world
        self.http = http
        self.ledger = ledger
        self.number = number
        self.patient = patient
        self.chance = random.Random(number)
        self.pharmacy, self.at_pharmacy, self.offer = world.pharmacies[number % PHARMACIES]
        self.stocks = 0

    async def work(self, enough: int) -> None:
        """Make changes until the ledger holds enough."""
        while self.ledger.answered < enough:
            try:
                await self.chance.choice((self._order, self._order, self._visit, self._stock))()
            except SurpriseError:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: Any, wanted: str | None = None
    ) -> Any:
        """Ask until there is an answer. `wanted` is the state that a 409 may name, if the first try had come through.

        A POST bears the same Idempotency-Key each time, so that it is done once.
        """
        more = {"Idempotency-Key": secrets.token_hex(8)} if method == "POST" else {}
        unsure = False
        while True:
            try:
                answer = await self.http.request(method, path, json=body, headers={**headers, **more})
            except httpx.ConnectError:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            except httpx.TransportError:
                unsure = True
                self.ledger.unanswered += 1
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if answer.status_code == 503 or _IN_PROGRESS in answer.text:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if answer.is_success:
                return answer.json() if answer.content else None
            if unsure and wanted and answer.status_code == 409 and answer.json().get("status") == wanted:
                return None
            self.ledger.surprises[f"{method} {answer.status_code} {answer.text[:80]}"] += 1
            raise SurpriseError

    async def _operate(self, path: str, body: Any = None) -> Any:
        return await self._ask("POST", OPERATIONS.base + path, self.world.headers, body)

    async def _order(self) -> None:
        world, ledger = self.world, self.ledger
        items = [{"sku_uid": world.sku, "quantity": 1}]
        references = {
            "shop_uid": world.shop,
            "patient_profile_uid": self.patient,
            "pharmacy_uid": self.pharmacy,
        }
        made = await self._operate("/orders", {**references, "items": items, "prescriptions": 1})
        order, [prescription] = made["uid"], made["prescription_uids"]
        ledger.note(
            ("order_created", order, "init"), ("prescription_created", prescription, "waiting_for_doctor")
        )
        await self._step(prescription, "assign", "waiting_for_doctor", {"doctor_uid": world.doctor})
        if self.chance.random() < 0.2:
            await self._step(prescription, "hold", "on_hold", {"reason": "wait"})
            await self._step(prescription, "resume", "waiting_for_doctor")
        await self._step(prescription, "approve", "approved")
        if self.chance.random() < 0.2:
            await self._operate(f"/orders/{order}/cancel")
            ledger.note(
                ("order_updated", order, "cancelled"), ("prescription_updated", prescription, "cancelled")
            )
            return
        await self._step(prescription, "sign", "signed")
        await self._dispense(await self._placed(order))

    async def _step(self, prescription: str, verb: str, status: str, body: Any = None) -> None:
        await self._operate(f"/prescriptions/{prescription}/{verb}", body)
        self.ledger.note(("prescription_updated", prescription, status))

    async def _placed(self, order: str) -> str:
        path = f"{PHARMACY.base}/pharmacy_orders/?status=init"
        page = await self._ask("GET", path, self.at_pharmacy, None)
        found = [row["uid"] for row in page["data"] if row["order"]["uid"] == order]
        if not found:
            self.ledger.surprises["no pharmacy order"] += 1
            raise SurpriseError
        return str(found[0])

    async def _dispense(self, uid: str) -> None:
        path = f"{PHARMACY.base}/pharmacy_orders/{uid}"
        for status in STEPS:
            await self._ask("PATCH", path + "/status", self.at_pharmacy, {"status": status}, status)
            self.ledger.note(("pharmacy_order_updated", uid, status))
        await self._ask("PATCH", path + "/complete_order", self.at_pharmacy, None, "completed")
        self.ledger.note(("pharmacy_order_updated", uid, "completed"))

    async def _stock(self) -> None:
        """Set a stock that nobody else sets."""
        self.stocks += 1
        stock = 1_000_000 + self.number * 1_000_000 + self.stocks * 10_000
        path = f"{PHARMACY.base}/pharmacy_skus/{self.offer}/stock"
        await self._ask("PATCH", path, self.at_pharmacy, {"stock": stock})
        self.ledger.note(("pharmacy_sku_stock_updated", self.offer, stock))

    async def _visit(self) -> None:
        references = {"shop_uid": self.world.shop, "patient_profile_uid": self.patient}
        path = BASE + "/waiting-room/"
        visit = (await self._ask("POST", path + "register", self.world.headers, references))["queue_uid"]
        self.ledger.note(("waiting_room_updated", visit, "waiting"))
        await self._ask("DELETE", path + visit, self.world.headers, None)
        self.ledger.note(("waiting_room_updated", visit, "cancelled"))
