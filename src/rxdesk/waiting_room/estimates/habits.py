"""What a shop's waiting room is used to besides the lengths of consultations, resolved for the present moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

from rxdesk.waiting_room.estimates.lengths import LogNormal

# Minutes of having waited at which the rate of giving up changes.
GIVE_UP_STEPS: Final = (10.0, 20.0, 40.0, 60.0)

_NORMAL = NormalDist()
_HIGHEST_SHARE = 0.999


@dataclass(frozen=True, slots=True)
class Habits:
    """Rates of a shop. Each default is what is assumed of a shop of which nothing is known.

    `no_show`: the probability that a called patient does not come, for one who has missed no call and for one
    who has. `give_up`: a minute's probability of giving up, by `GIVE_UP_STEPS` of having waited. `gap_minutes`:
    between the end of a consultation and the next call. `pause`: the probability of a pause after a consultation.
    `stay_minutes`: how much longer a doctor stays on duty whose hours are not known, on average. `newcomers`: how
    many doctors whose hours are not known come on duty in a minute.
    """

    no_show: tuple[float, float] = (0.05, 0.5)
    no_show_minutes: float = 3.0
    give_up: tuple[float, ...] = (0.003, 0.006, 0.01, 0.008, 0.006)
    gap_minutes: float = 0.7
    pause: float = 0.04
    pause_length: LogNormal = field(default=LogNormal(mu=2.4, sigma=0.5))
    stay_minutes: float = 300.0
    newcomers: float = 0.0


@dataclass(frozen=True, slots=True)
class Hour:
    """When a doctor usually comes or goes today: mean as a Unix second, standard deviation in minutes.

    `chance` is how far it is to be believed: for one who goes, that it will be at this hour rather than at any;
    for one who comes, that it will be today at all.
    """

    at: float
    deviation: float
    chance: float

    def passed(self, now: float) -> float:
        """Give the share of such days on which it has happened by now."""
        return min(_NORMAL.cdf((now - self.at) / (60 * self.deviation)), _HIGHEST_SHARE)

    def ahead(self, now: float, share: float) -> float:
        """Give the quantile `share` (0 to 1) of the minutes from now, as it has not happened yet."""
        passed = self.passed(now)
        return max(
            (self.at - now) / 60 + self.deviation * _NORMAL.inv_cdf(passed + (1 - passed) * share), 0.0
        )

    def still(self, now: float) -> float:
        """Give the chance that it will happen, as it has not happened by now."""
        left = self.chance * (1 - self.passed(now))
        return left / (left + (1 - self.chance)) if left else 0.0


def exponential(mean: float, share: float) -> float:
    """Give the quantile `share` (0 to 1) of an exponential time."""
    return -mean * math.log(1 - share)
