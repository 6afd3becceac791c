"""A waiting room with doctors, seen from the doctor's side: the application in this process, on a clock of ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from tests.conftest import InProcess
from tests.factories import Tenant

BASE = "http://test/v1/operations/waiting-room"


@dataclass
class Room:
    """One organisation, with a key that may do all."""

    inside: InProcess
    tenant: Tenant
    headers: dict[str, str]

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.inside.client.post(BASE + path, json=body, headers={**self.headers, **headers})

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.inside.client.get(BASE + path, headers=self.headers, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def done(self, path: str, body: Any = None) -> Any:
        """Expect success; give the answer, None for 204."""
        answer = await self.post(path, body)
        assert answer.is_success, answer.text
        return None if answer.status_code == 204 else answer.json()

    async def refused(self, path: str, body: Any = None, status: int = 409) -> Any:
        """Expect a refusal; give its body."""
        answer = await self.post(path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def later(self, **duration: float) -> None:
        """Let time pass."""
        self.inside.clock.moment += timedelta(**duration)

    async def shop(self, **columns: Any) -> str:
        return await self.tenant.insert("shops", **columns)

    async def doctor(self, *shops: str, **columns: Any) -> str:
        """A doctor, on duty if shops are named."""
        uid = await self.tenant.insert("doctors", **columns)
        if shops:
            await self.done(f"/doctors/{uid}/on-duty", {"shop_uids": list(shops)})
        return uid

    async def patient(self, shop: str, doctor: str | None = None, patient: str | None = None) -> str:
        """Register a patient, who may want a doctor; gives the queue_uid."""
        body = {
            "shop_uid": shop,
            "patient_profile_uid": patient or await self.tenant.insert("patients"),
            "preferred_doctor_uid": doctor,
        }
        answer = await self.inside.client.post("/waiting-room/register", json=body, headers=self.headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["queue_uid"])

    async def call(self, doctor: str) -> str | None:
        """Call the next patient; gives the queue_uid."""
        visit = await self.done(f"/doctors/{doctor}/call-next")
        return None if visit is None else str(visit["queue_uid"])

    async def status(self, uid: str) -> Any:
        """What the patient sees."""
        answer = await self.inside.client.get(f"/waiting-room/{uid}/status", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def history(self, uid: str) -> list[tuple[str, str | None, str | None, str | None]]:
        rows = await self.tenant.rows(
            "SELECT what, old_value, new_value, reason FROM changes WHERE organisation_id = $1 AND subject_uid = $2 "
            "ORDER BY changed_at, uid",
            uid,
        )
        return [(row["what"], row["old_value"], row["new_value"], row["reason"]) for row in rows]

    async def told(self, uid: str) -> list[str]:
        """The statuses that events told of a visit, in order."""
        rows = await self.tenant.rows(
            "SELECT convert_from(body, 'UTF8')::jsonb #>> '{data,status}' AS status FROM events "
            "WHERE organisation_id = $1 AND subject_uid = $2 AND event_type = 'waiting_room_updated' ORDER BY position",
            uid,
        )
        return [row["status"] for row in rows]
