"""What goes into and comes out of the waiting room (contract, section 2, routes 9 to 11)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

MAX_VISIT_REASON = 500


class Registration(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A patient who takes a place in a shop's queue."""

    shop_uid: str
    patient_profile_uid: str
    preferred_doctor_uid: str | None = None
    visit_reason: Annotated[str, msgspec.Meta(max_length=MAX_VISIT_REASON)] | None = None


class Place(msgspec.Struct, kw_only=True):
    """A place in the queue; `position` is 1-based, the wait is in whole minutes."""

    queue_uid: str
    position: int
    estimated_wait_minutes: int


class Status(msgspec.Struct, kw_only=True):
    """Where a visit stands.

    `position` and `estimated_wait_minutes` are null once it no longer waits; `video_room_id` and
    `allocated_at` (Unix seconds) are null until a doctor has it.
    """

    queue_uid: str
    status: Literal["waiting", "allocated", "completed", "cancelled"]
    position: int | None
    estimated_wait_minutes: int | None
    video_room_id: str | None
    allocated_at: int | None


REGISTRATION_EXAMPLE = Registration(
    shop_uid="shop-456",
    patient_profile_uid="pp-abc123",
    visit_reason="Follow-up prescription",
)
PLACE_EXAMPLE = Place(queue_uid="q-abc123", position=3, estimated_wait_minutes=15)
STATUS_EXAMPLE = Status(
    queue_uid="q-abc123",
    status="waiting",
    position=3,
    estimated_wait_minutes=15,
    video_room_id=None,
    allocated_at=None,
)
