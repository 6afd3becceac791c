"""What may become of a prescription: its states and the steps between them, as data (docs/lifecycle.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rxdesk import errors
from rxdesk.prescriptions.schemas import PrescriptionStatus

# A decision stands: what is approved can be declined only after it was put on hold. From on hold it goes back to
# where it was held: the place is not a choice of whoever resumes it (see `resumed`).
STEPS: Final[Mapping[PrescriptionStatus, tuple[PrescriptionStatus, ...]]] = {
    "waiting_for_doctor": ("approved", "declined", "on_hold", "cancelled"),
    "approved": ("signed", "non_qes_signed", "externally_signed", "on_hold", "cancelled"),
    "on_hold": ("waiting_for_doctor", "approved", "declined", "cancelled"),
    "signed": (),
    "non_qes_signed": (),
    "externally_signed": (),
    "declined": (),
    "cancelled": (),
}
SIGNED: Final[frozenset[str]] = frozenset({"signed", "non_qes_signed", "externally_signed"})
OPEN: Final[frozenset[str]] = frozenset(status for status, steps in STEPS.items() if steps)
# What a doctor decides; the first of them since the assignment is the decision's time.
DECISIONS: Final[frozenset[str]] = SIGNED | {"approved", "declined"}
# A doctor may be given while nobody has decided, or while it is held: what the one before decided is void then.
ASSIGNABLE: Final[frozenset[str]] = frozenset({"waiting_for_doctor", "on_hold"})


def resumed(*, decided: bool) -> PrescriptionStatus:
    """Give the state to which one on hold goes back: `decided` tells whether its doctor had approved it."""
    return "approved" if decided else "waiting_for_doctor"


def require_step(status: PrescriptionStatus, wanted: PrescriptionStatus, *, decided: bool) -> None:
    """Raise the 409 that names the allowed steps, unless the wanted one is among them."""
    allowed = steps_from(status, decided=decided)
    if wanted not in allowed:
        raise errors.not_allowed(f"A prescription that is {status} cannot become {wanted}", allowed)


def steps_from(status: PrescriptionStatus, *, decided: bool) -> tuple[PrescriptionStatus, ...]:
    """Give the allowed steps of a prescription; from on hold, back only to where it was held."""
    if status != "on_hold":
        return STEPS[status]
    elsewhere = resumed(decided=not decided)
    return tuple(step for step in STEPS[status] if step != elsewhere)
