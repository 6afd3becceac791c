"""What goes into and comes out of the waiting room (contract, section 2, routes 9 to 11)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rxdesk.waiting_room.estimates.snapshot import Estimate

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


VisitStatus = Literal["waiting", "allocated", "completed", "cancelled"]
Range = Annotated[list[int], msgspec.Meta(min_length=2, max_length=2)]


class Status(msgspec.Struct, kw_only=True):
    """Where a visit stands.

    `position` and the estimate are null once it no longer waits; `video_room_id` and `allocated_at` (Unix seconds) are
    null until a doctor has it. The wait lies in `estimated_wait_range` (whole minutes, both ends included) in 8 of 10
    cases. The `estimate_reason` is `no_doctor_on_duty` where it is that of doctors who would have to come first.
    """

    queue_uid: str
    status: VisitStatus
    position: int | None
    estimated_wait_minutes: int | None
    video_room_id: str | None
    allocated_at: int | None
    estimated_wait_range: Range | None
    estimate_reason: Literal["no_doctor_on_duty"] | None


class Standing(msgspec.Struct, kw_only=True):
    """What is read of a visit in one statement: its status but for the estimate, and the room as of then."""

    queue_uid: str
    status: VisitStatus
    position: int | None
    video_room_id: str | None
    allocated_at: int | None
    shop_uid: str
    prefers: bool
    revision: int

    def with_estimate(self, estimate: Estimate | None) -> Status:
        """Give what is answered; the estimate is of one who waits."""
        return Status(
            queue_uid=self.queue_uid,
            status=self.status,
            position=self.position,
            estimated_wait_minutes=None if estimate is None else estimate.minutes,
            video_room_id=self.video_room_id,
            allocated_at=self.allocated_at,
            estimated_wait_range=None if estimate is None else [estimate.low, estimate.high],
            estimate_reason=None if estimate is None else estimate.reason,
        )


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
    estimated_wait_range=[9, 24],
    estimate_reason=None,
)
EVENTS_EXAMPLE = """retry: 2750

id: 4711
event: snapshot
data: {"queue_uid":"q-abc123","status":"waiting","position":3,"estimated_wait_minutes":15,"video_room_id":null,…}

id: 4718
event: step
data: {"uid":"q-abc123","status":"allocated","created_at":1711700000,"updated_at":1711700600}

"""
