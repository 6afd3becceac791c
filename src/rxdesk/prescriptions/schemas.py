"""What the prescription routes give (contract, section 2, route 2)."""

from __future__ import annotations

from typing import Literal

import msgspec

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


EXAMPLE = Prescription(
    uid="px-abc123",
    status="signed",
    doctor=DoctorSummary(uid="doc-456", display_name="Dr. Schmidt"),
    rendered=True,
)
