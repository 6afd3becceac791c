"""The life of a pharmacy order: which status may follow which (contract, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from rxdesk import errors
from rxdesk.pharmacies.schemas import PharmacyOrderStatus

# A parcel is not picked up by its patient, so what is in progress may be completed at once.
STEPS: Mapping[str, tuple[PharmacyOrderStatus, ...]] = {
    "init": ("waiting for pharmacy", "cancelled"),
    "waiting for pharmacy": ("pending review", "cancelled"),
    "pending review": ("on-hold", "in-progress", "cancelled"),
    "on-hold": ("in-progress", "cancelled"),
    "in-progress": ("ready_for_pickup", "completed", "cancelled"),
    "ready_for_pickup": ("completed", "cancelled"),
    "completed": (),
    "cancelled": (),
}
STATUSES: tuple[str, ...] = get_args(PharmacyOrderStatus)


def check_step(old: str, new: str) -> None:
    """Let a step of the lifecycle pass; raise the 409 that names those that are allowed for any other."""
    allowed = STEPS[old]
    if new in allowed:
        return
    ways = f"it may become: {', '.join(allowed)}" if allowed else "nothing follows that"
    error = f"A pharmacy order that is '{old}' cannot become '{new}'; {ways}"
    raise errors.ApiError(409, {"error": error, "status": old, "allowed": list(allowed)})
