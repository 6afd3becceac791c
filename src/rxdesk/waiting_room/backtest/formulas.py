"""The usual formulas for a wait, each in its better form: what an estimate must beat.

They are given the same that the estimate knows, and more: the fixed minutes of a position are chosen after the fact,
as those that suit the judged waits best. Where a formula looks back at waits, what the patient has waited already is
taken off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

LAST: Final = 10
POSITION_FIXED: Final = "position_times_fixed"
QUEUE_OVER_DOCTORS: Final = "queue_times_mean_over_doctors"
LAST_WAIT: Final = "last_wait"
MEAN_OF_LAST: Final = "mean_of_last_10"
NAMES: Final = (POSITION_FIXED, QUEUE_OVER_DOCTORS, LAST_WAIT, MEAN_OF_LAST)
# Minutes of a position among which the best is chosen.
FIXED: Final = tuple(quarters / 4 for quarters in range(2, 61))


@dataclass(slots=True)
class Formulas:
    """What the formulas remember: the waits of the last who were called, in minutes."""

    waits: deque[float] = field(default_factory=lambda: deque(maxlen=LAST))

    def called(self, waited: float) -> None:
        """Take in the wait, in minutes, of one who was called."""
        self.waits.append(waited)

    def minutes(self, position: int, waited: float, mean: float, doctors: int) -> Mapping[str, float]:
        """Give what each says to the patient at a 1-based position who has waited so many minutes.

        That of fixed minutes is given as for one minute.
        """
        last = self.waits[-1] if self.waits else 0.0
        mean_of_last = sum(self.waits) / len(self.waits) if self.waits else 0.0
        return {
            POSITION_FIXED: float(position),
            QUEUE_OVER_DOCTORS: (position - 1) * mean / max(doctors, 1),
            LAST_WAIT: max(last - waited, 0.0),
            MEAN_OF_LAST: max(mean_of_last - waited, 0.0),
        }
