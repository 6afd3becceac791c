"""What goes into and comes out of the doctor's side of the waiting room (docs/waiting-room.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rxdesk.history import Actor, Change, ChangePage

VisitStatus = Literal["waiting", "allocated", "completed", "cancelled"]
DutyStatus = Literal["on", "paused", "away", "off"]
Outcome = Literal["treated", "follow_up", "referred", "not_treated", "other"]
EndReason = Literal["no_show", "doctor"]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, description="Kept in the history")]

MAX_SHOPS = 100
MAX_PAUSE_MINUTES = 1440


class OfShop(msgspec.Struct, kw_only=True):
    """Whose waiting room."""

    shop_uid: Annotated[str, msgspec.Meta(description="Uid of the shop")]


class Shops(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The shops whose patients the doctor takes."""

    shop_uids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_SHOPS)]


class Pause(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How long it is meant to last, if that is known: patients who want this doctor may wait for the end of it."""

    minutes: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAUSE_MINUTES)] | None = None


class Completion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who ends the consultation, and with what."""

    doctor_uid: str
    outcome: Outcome


class Absence(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who found nobody in the video room."""

    doctor_uid: str


class HandOver(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who hands the patient over, and to whom."""

    doctor_uid: str
    to_doctor_uid: str
    reason: Reason | None = None


class Cancellation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who cancels, if it is a doctor, and why."""

    doctor_uid: str | None = None
    reason: Reason | None = None


class Visit(msgspec.Struct, kw_only=True):
    """A visit as its doctor sees it; times in Unix seconds.

    `video_room_id`, `doctor_uid` and `allocated_at` are null while it waits, `outcome` until it is completed;
    `end_reason` says of a cancelled one that it was not the patient who cancelled.
    """

    queue_uid: str
    shop_uid: str
    status: VisitStatus
    patient_profile_uid: str
    preferred_doctor_uid: str | None
    visit_reason: str | None
    doctor_uid: str | None
    video_room_id: str | None
    no_shows: int
    created_at: int
    allocated_at: int | None
    ended_at: int | None
    outcome: Outcome | None
    end_reason: EndReason | None


class Duty(msgspec.Struct, kw_only=True):
    """A doctor's duty and the patients that the doctor has; times in Unix seconds.

    `away` is who is on duty or pauses and has given no sign of life for a while. `seen_at` is null for one who was
    never on duty; `paused_until` is when a pause is meant to end, if that was said.
    """

    doctor_uid: str
    status: DutyStatus
    shop_uids: list[str]
    seen_at: int | None
    paused_until: int | None
    visits: list[Visit]


class DoctorOnBoard(msgspec.Struct, kw_only=True):
    """A doctor on duty in the shop; `queue_uids` are the visits that the doctor has, of any shop."""

    uid: str
    display_name: str
    status: Literal["on", "paused", "away"]
    paused_until: int | None
    queue_uids: list[str]


class VisitOnBoard(msgspec.Struct, kw_only=True):
    """A visit that waits, with its position, or that a doctor has; times in Unix seconds."""

    queue_uid: str
    status: Literal["waiting", "allocated"]
    position: int | None
    patient_profile_uid: str
    preferred_doctor_uid: str | None
    doctor_uid: str | None
    no_shows: int
    created_at: int
    allocated_at: int | None


class Board(
    msgspec.Struct,
    kw_only=True,
    rename={"total_registries": "totalRegistries", "total_pages": "totalPages"},
):
    """A shop's waiting room: its doctors on duty, whom they have, and a page of those who wait, first one first."""

    shop_uid: str
    doctors: list[DoctorOnBoard]
    allocated: list[VisitOnBoard]
    data: list[VisitOnBoard]
    total_registries: int
    total_pages: int


SHOPS_EXAMPLE = Shops(shop_uids=["shop-456"])
PAUSE_EXAMPLE = Pause(minutes=15)
COMPLETION_EXAMPLE = Completion(doctor_uid="doc-456", outcome="treated")
ABSENCE_EXAMPLE = Absence(doctor_uid="doc-456")
HAND_OVER_EXAMPLE = HandOver(doctor_uid="doc-456", to_doctor_uid="doc-789")
CANCELLATION_EXAMPLE = Cancellation(doctor_uid="doc-456", reason="Asked for by telephone")
VISIT_EXAMPLE = Visit(
    queue_uid="q-abc123",
    shop_uid="shop-456",
    status="allocated",
    patient_profile_uid="pp-abc123",
    preferred_doctor_uid=None,
    visit_reason="Follow-up prescription",
    doctor_uid="doc-456",
    video_room_id="vr-8mXhb0pXJc3v1n0s7QqkZJm1u2bq9d4T",
    no_shows=0,
    created_at=1711700000,
    allocated_at=1711700600,
    ended_at=None,
    outcome=None,
    end_reason=None,
)
DUTY_EXAMPLE = Duty(
    doctor_uid="doc-456",
    status="on",
    shop_uids=["shop-456"],
    seen_at=1711700610,
    paused_until=None,
    visits=[VISIT_EXAMPLE],
)
BOARD_EXAMPLE = Board(
    shop_uid="shop-456",
    doctors=[
        DoctorOnBoard(
            uid="doc-456", display_name="Dr. Schmidt", status="on", paused_until=None, queue_uids=["q-abc123"]
        )
    ],
    allocated=[
        VisitOnBoard(
            queue_uid="q-abc123",
            status="allocated",
            position=None,
            patient_profile_uid="pp-abc123",
            preferred_doctor_uid=None,
            doctor_uid="doc-456",
            no_shows=0,
            created_at=1711700000,
            allocated_at=1711700600,
        )
    ],
    data=[
        VisitOnBoard(
            queue_uid="q-def456",
            status="waiting",
            position=1,
            patient_profile_uid="pp-def456",
            preferred_doctor_uid="doc-456",
            doctor_uid=None,
            no_shows=0,
            created_at=1711700100,
            allocated_at=None,
        )
    ],
    total_registries=1,
    total_pages=1,
)
BOARD_EVENTS_EXAMPLE = """retry: 2750

id: 4711
event: snapshot
data: {"shop_uid":"shop-456","doctors":[],"allocated":[],"data":[],"totalRegistries":0,"totalPages":0}

id: 4712
event: step
data: {"uid":"q-abc123","status":"waiting","created_at":1711700000,"updated_at":1711700000}

"""
CHANGES_EXAMPLE = ChangePage(
    data=[
        Change(
            uid="chg-abc123",
            what="status",
            old="waiting",
            new="allocated",
            reason="doc-456",
            at=1711700600,
            actor=Actor(kind="key", uid="key-abc123"),
        )
    ],
    total_registries=1,
    total_pages=1,
)


def visit_example(status: VisitStatus, **members: object) -> Visit:
    """Give a sample of what a step with a visit answers."""
    return msgspec.structs.replace(VISIT_EXAMPLE, status=status, **members)
