"""What may become of a visit and of a doctor's duty: states, steps and limits, as data (docs/waiting-room.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rxdesk import errors
from rxdesk.settings import Settings
from rxdesk.waiting_room.desk_schemas import DutyStatus, VisitStatus

VISIT_STEPS: Final[Mapping[VisitStatus, tuple[VisitStatus, ...]]] = {
    "waiting": ("allocated", "cancelled"),
    "allocated": ("completed", "waiting", "cancelled"),
    "completed": (),
    "cancelled": (),
}
# `away` is no state of its own: who is away is on duty or pauses, and any sign of life ends it.
DUTY_STEPS: Final[Mapping[DutyStatus, tuple[DutyStatus, ...]]] = {
    "off": ("on",),
    "on": ("on", "paused", "off"),
    "paused": ("on", "paused", "off"),
}
# The third time that nobody is in the video room, the visit is cancelled.
NO_SHOWS: Final = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide who is due and who counts as vanished.

    `consultation_minutes` is for shops that set none.
    """

    consultation_minutes: int
    patience: timedelta
    heartbeat: timedelta
    grace: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Read them from the settings."""
        return cls(
            consultation_minutes=settings.consultation_minutes,
            patience=timedelta(minutes=settings.preferred_doctor_patience_minutes),
            heartbeat=timedelta(seconds=settings.doctor_heartbeat_seconds),
            grace=timedelta(seconds=settings.vanished_doctor_grace_seconds),
        )


def require_visit_step(status: VisitStatus, wanted: VisitStatus) -> None:
    """Raise the 409 that names the allowed steps, unless the wanted one is among them."""
    allowed = VISIT_STEPS[status]
    if wanted not in allowed:
        raise errors.not_allowed(f"A visit that is {status} cannot become {wanted}", allowed)


def require_duty_step(status: DutyStatus, wanted: DutyStatus) -> None:
    """Raise the 409 that names the allowed steps, unless the wanted one is among them."""
    allowed = DUTY_STEPS[status]
    if wanted not in allowed:
        raise errors.not_allowed(f"A doctor who is {status} duty cannot become {wanted}", allowed)
