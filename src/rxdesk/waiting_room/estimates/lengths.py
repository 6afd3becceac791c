"""Lengths of consultations, learned per doctor and shop.

Lengths are taken as log-normal. What is kept are sums over their logarithms (`Lengths`), what is drawn from is
their posterior (`LogNormal`). A doctor of whom little is known is shrunk towards the shop, a shop of which little is
known towards `PRIOR`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from rxdesk.waiting_room.estimates.sums import Sums

# So many consultations' worth is the prior: of the shop for a doctor, of everybody for a shop.
DOCTOR_WEIGHT: Final = 6.0
SHOP_WEIGHT: Final = 8.0
# A click by mistake and a form left open over lunch are no consultations.
SHORTEST_MINUTES: Final = 0.5
LONGEST_MINUTES: Final = 120.0

_NORMAL = NormalDist()
# So many deviations above the middle so few are left that they cannot be counted: what has lasted for longer still is
# taken as if it stood there.
_FARTHEST = 30.0
# A share of all, and no number is closer to it.
_NEARLY_ALL = math.nextafter(1.0, 0.0)
# How far doctors of one shop differ, in the logarithm.
_BETWEEN_DOCTORS = 0.25


class Lengths(Sums, kw_only=True):
    """Sums over the natural logarithms of lengths in minutes: `total / weight` is their recency-weighted mean."""

    def add(self, value: float, at: float) -> None:
        """Add a length in minutes that was seen at the Unix second `at`."""
        super().add(math.log(min(max(value, SHORTEST_MINUTES), LONGEST_MINUTES)), at)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A log-normal length in minutes: `mu` and `sigma` of its logarithm, `doubt` the standard error of `mu`."""

    mu: float
    sigma: float
    doubt: float = 0.0

    @property
    def mean(self) -> float:
        """The mean, in minutes."""
        return math.exp(self.mu + self.sigma**2 / 2)

    def with_mean(self, minutes: float) -> LogNormal:
        """Give the same of another mean."""
        return LogNormal(mu=math.log(minutes) - self.sigma**2 / 2, sigma=self.sigma, doubt=self.doubt)

    def learned(self, lengths: Lengths, prior_weight: float) -> LogNormal:
        """Give the posterior of `lengths`, with this as the prior, worth `prior_weight` lengths."""
        mu, sigma = lengths.shrunk(self.mu, self.sigma, prior_weight, 0.1)
        return LogNormal(mu=mu, sigma=sigma, doubt=sigma / math.sqrt(lengths.weight + prior_weight))

    def remaining(self, elapsed: float, share: float) -> float:
        """Give the quantile `share` (0 to 1) of the minutes that are left after `elapsed` minutes."""
        if elapsed <= 0:
            return math.exp(self.mu + self.sigma * _NORMAL.inv_cdf(share))
        place = math.log(elapsed)
        stands = min((place - self.mu) / self.sigma, _FARTHEST)
        # By the share that lasts longer and not by the one that has ended, which rounds to all of them.
        longer = math.erfc(stands / math.sqrt(2)) / 2 * (1 - share)
        ends = -_NORMAL.inv_cdf(min(longer, _NEARLY_ALL))
        return max(math.exp(place + self.sigma * (ends - stands)) - elapsed, 0.0)


# A video consultation for a prescription: 8 minutes, two of three within 5 to 13.
PRIOR: Final = LogNormal(mu=math.log(8.0), sigma=0.5, doubt=0.35)


def of_shop(shop: Lengths, prior: LogNormal = PRIOR) -> LogNormal:
    """Give the lengths of a shop's consultations, whoever holds them; `prior` is what is assumed of a new shop."""
    return prior.learned(shop, SHOP_WEIGHT)


def of_doctor(doctor: Lengths | None, shop: Lengths, prior: LogNormal = PRIOR) -> LogNormal:
    """Give the lengths of a doctor's consultations in a shop; None for one who has held none there."""
    usual = of_shop(shop, prior)
    if doctor is None:
        return LogNormal(mu=usual.mu, sigma=usual.sigma, doubt=math.hypot(usual.doubt, _BETWEEN_DOCTORS))
    return usual.learned(doctor, DOCTOR_WEIGHT)
