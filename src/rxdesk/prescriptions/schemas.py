"""What the prescription routes give (contract, section 2, route 2)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rxdesk.history import Actor, Change, ChangePage
from rxdesk.kit.text import SEEN_IN_SCHEMAS

PrescriptionStatus = Literal[
    "waiting_for_doctor",
    "approved",
    "signed",
    "declined",
    "cancelled",
    "on_hold",
    "non_qes_signed",
    "externally_signed",
]


Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, description="Kept in the history")]


class DoctorSummary(msgspec.Struct, kw_only=True):
    """A doctor as other resources name one."""

    uid: str
    display_name: str


class Prescription(msgspec.Struct, kw_only=True):
    """A prescription: its status, its doctor once one is assigned, and whether a PDF of it exists."""

    uid: str
    status: PrescriptionStatus
    doctor: DoctorSummary | None
    rendered: bool


class PrescriptionState(msgspec.Struct, kw_only=True):
    """Where a prescription stands; times in Unix seconds. What a command answers, and the data of its event."""

    uid: str
    status: PrescriptionStatus
    created_at: int
    updated_at: int


class Because(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why, if there is something to say."""

    reason: Reason | None = None


class Explained(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why; to be said."""

    # The commands look whether anything of it can be seen.
    reason: Annotated[Reason, msgspec.Meta(extra_json_schema={"pattern": SEEN_IN_SCHEMAS})]


class Signature(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How it is signed: `non_qes` is without a qualified electronic signature."""

    non_qes: bool = False
    reason: Reason | None = None


class Assignment(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The doctor who is to decide."""

    doctor_uid: str


EXAMPLE = Prescription(
    uid="px-abc123",
    status="signed",
    doctor=DoctorSummary(uid="doc-456", display_name="Dr. Schmidt"),
    rendered=True,
)


def state_example(status: PrescriptionStatus) -> PrescriptionState:
    """Give a sample of what a command answers."""
    return PrescriptionState(uid="px-abc123", status=status, created_at=1711700000, updated_at=1711700900)


BECAUSE_EXAMPLE = Because(reason="Asked for by the patient")
DECLINE_EXAMPLE = Explained(reason="Contraindicated with another medicine")
HOLD_EXAMPLE = Explained(reason="Waiting for a laboratory value")
SIGNATURE_EXAMPLE = Signature(non_qes=False)
ASSIGNMENT_EXAMPLE = Assignment(doctor_uid="doc-456")
CHANGES_EXAMPLE = ChangePage(
    data=[
        Change(
            uid="chg-abc123",
            what="status",
            old="waiting_for_doctor",
            new="approved",
            reason=None,
            at=1711700900,
            actor=Actor(kind="key", uid="key-abc123"),
        )
    ],
    total_registries=1,
    total_pages=1,
)
