"""Sums in which older values count less: what is kept of history, added to value by value, never read anew."""

from __future__ import annotations

import math
from typing import Final

import msgspec

HALF_LIFE_DAYS: Final = 21.0
_HALF_LIFE = HALF_LIFE_DAYS * 86400.0


class Sums(msgspec.Struct, kw_only=True):
    """Number, sum and sum of squares of values as of the Unix second `updated_at`, halved every `HALF_LIFE_DAYS`.

    A row of a table holds it: four columns, or the JSON of this object.
    """

    weight: float = 0.0
    total: float = 0.0
    square_total: float = 0.0
    updated_at: float = 0.0

    def add(self, value: float, at: float) -> None:
        """Add a value that was seen at the Unix second `at`."""
        if at > self.updated_at:
            fade = 0.5 ** ((at - self.updated_at) / _HALF_LIFE)
            self.weight *= fade
            self.total *= fade
            self.square_total *= fade
            self.updated_at = at
        self.weight += 1.0
        self.total += value
        self.square_total += value * value

    def shrunk(self, mean: float, deviation: float, weight: float, least: float) -> tuple[float, float]:
        """Give mean and standard deviation, shrunk to a prior that is worth `weight` values.

        `least` is the smallest deviation that is believed.
        """
        both = self.weight + weight
        middle = (self.total + weight * mean) / both
        seen = self.square_total - 2 * middle * self.total + self.weight * middle * middle
        prior = weight * (deviation**2 + (mean - middle) ** 2)
        return middle, math.sqrt(max((seen + prior) / both, least**2))


class Rate(msgspec.Struct, kw_only=True):
    """Events and what they were counted over (minutes or occasions), each halved every `HALF_LIFE_DAYS`."""

    events: float = 0.0
    exposure: float = 0.0
    updated_at: float = 0.0

    def add(self, events: float, exposure: float, at: float) -> None:
        """Count events over an exposure, at the Unix second `at`."""
        if at > self.updated_at:
            fade = 0.5 ** ((at - self.updated_at) / _HALF_LIFE)
            self.events *= fade
            self.exposure *= fade
            self.updated_at = at
        self.events += events
        self.exposure += exposure

    def value(self, prior: float, prior_exposure: float) -> float:
        """Give events over exposure, shrunk to a prior that is worth `prior_exposure`."""
        return (self.events + prior * prior_exposure) / (self.exposure + prior_exposure)
