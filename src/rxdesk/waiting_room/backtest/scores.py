"""How far off estimates were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rxdesk.waiting_room.backtest.formulas import FIXED, NAMES, POSITION_FIXED
from rxdesk.waiting_room.backtest.replay import Judged

_FACTORS = {name: FIXED if name == POSITION_FIXED else (1.0,) for name in NAMES}


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean absolute errors in minutes, and the share of waits inside the range; None if nothing was judged."""

    estimates: int
    mae_minutes: float | None
    coverage: float | None
    usual: dict[str, float | None]

    @property
    def ratio(self) -> float | None:
        """Our error over that of the best usual formula."""
        best = min((error for error in self.usual.values() if error is not None), default=None)
        return None if not best or self.mae_minutes is None else self.mae_minutes / best

    def as_json(self) -> dict[str, object]:
        """Give the answer of `rxdesk waiting-room backtest --json`."""
        return {
            "ours": {"mae_minutes": _rounded(self.mae_minutes), "coverage": _rounded(self.coverage)},
            "usual": {name: {"mae_minutes": _rounded(error)} for name, error in self.usual.items()},
            "ratio_to_best_usual": _rounded(self.ratio),
            "estimates": self.estimates,
        }


def scores(judged: Sequence[Judged]) -> Scores:
    """Judge estimates as they were shown, in whole minutes; the formulas' as they come."""
    count = len(judged)
    if not count:
        return Scores(0, None, None, dict.fromkeys(NAMES))
    return Scores(
        estimates=count,
        mae_minutes=sum(abs(one.made.ours.minutes - one.minutes) for one in judged) / count,
        coverage=sum(one.made.ours.low <= one.minutes <= one.made.ours.high for one in judged) / count,
        usual={name: min(_error(judged, name, factor) for factor in _FACTORS[name]) for name in NAMES},
    )


def _error(judged: Sequence[Judged], name: str, factor: float) -> float:
    return sum(abs(factor * one.made.usual[name] - one.minutes) for one in judged) / len(judged)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
