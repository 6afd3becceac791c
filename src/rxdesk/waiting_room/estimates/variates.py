"""Random variates that all scenarios and all patients share: tables, drawn once for a seed.

The same tables serve every estimate, so that the same room gives the same estimate and a changed one an estimate
that differs by the change, not by the draw.
"""

from __future__ import annotations

import functools
import math
import random
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

SIZE: Final = 8192
MASK: Final = SIZE - 1
# Scenarios begin so far apart in the tables: odd, so that none begins where another does.
STRIDE: Final = 1237


@dataclass(frozen=True, slots=True)
class Variates:
    """Evenly spread quantiles in random order: `SIZE` of each. An index is taken modulo `SIZE` (`& MASK`)."""

    uniform: tuple[float, ...]
    normal: tuple[float, ...]
    exponential: tuple[float, ...]


@functools.lru_cache(maxsize=4)
def variates(seed: int) -> Variates:
    """Give the tables of a seed."""
    source = random.Random(seed)  # noqa: S311 (a simulation, not a secret)
    columns = []
    for _ in range(3):
        column = [(place + 0.5) / SIZE for place in range(SIZE)]
        source.shuffle(column)
        columns.append(column)
    inverse = NormalDist().inv_cdf
    return Variates(
        uniform=tuple(columns[0]),
        normal=tuple(map(inverse, columns[1])),
        exponential=tuple(-math.log(share) for share in columns[2]),
    )
