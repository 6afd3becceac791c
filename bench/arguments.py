"""What the benchmark is asked for, and how much it then measures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import workloads
from bench.measuring import Plan
from bench.servers import CONTESTANTS, RXDESK

DELIVERIES, STREAMS, WAITING, WALLET = "deliveries", "streams", "waiting", "wallet"
APART = (DELIVERIES, STREAMS, WAITING, WALLET)
_WORK = (*workloads.READS, *workloads.WRITES)


@dataclass(frozen=True, slots=True)
class Options:
    """`only` and `contestants` are empty where all are meant."""

    quick: bool
    rounds: int
    only: tuple[str, ...]
    contestants: tuple[str, ...]
    results: Path

    @property
    def chosen(self) -> list[str]:
        """Give the work to be compared."""
        return [*(self.only or _WORK)]

    @property
    def whole(self) -> bool:
        """Tell whether everything is measured, and the results are kept."""
        return not (self.only or self.contestants)

    def plan(self, cores: Sequence[int]) -> Plan:
        """Say how much is measured, on these cores."""
        rounds = self.rounds or 5
        return Plan(
            rounds=rounds if self.only else max(5, rounds),
            # wrk looks every tenth of a second whether it shall end.
            seconds=0.1 if self.quick else 1.5,
            tail_seconds=0.1 if self.quick else 2.0,
            warm_up=0.1 if self.quick else 0.5,
            check_seconds=0.1 if self.quick else 1.0,
            least=4 if self.quick else 50,
            connections=4 if self.quick else 8,
            servers={cores[0]} if len(cores) > 1 else None,
            client={cores[1]} if len(cores) > 1 else None,
        )


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        found = tuple(name for name in text.split(",") if name)
        if unknown := [name for name in found if name not in known]:
            message = f"there is no {unknown[0]!r}; there are {', '.join(known)}"
            raise argparse.ArgumentTypeError(message)
        return found

    return read


def options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; `QUICK=1` in the environment is `--quick`."""
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measure RxDesk beside what people would otherwise write, and beside the limit.",
    )
    parser.add_argument("--quick", action="store_true", help="under three minutes: shorter rounds, less data")
    parser.add_argument("--rounds", type=int, default=0, help="at least 5, or any number with --only")
    parser.add_argument(
        "--only",
        type=_names((*_WORK, *APART)),
        default=(),
        help="compare only these, divided by commas, and no extras: " + ", ".join((*_WORK, *APART)),
    )
    parser.add_argument(
        "--contestants",
        type=_names([one.name for one in CONTESTANTS]),
        default=(),
        help=f"compare {RXDESK} only with these, divided by commas",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path(__file__).parent / "results",
        help="the folder of latest.md and latest.json, which a whole run writes",
    )
    found = parser.parse_args(arguments)
    return Options(
        quick=found.quick or os.environ.get("QUICK") == "1",
        rounds=found.rounds,
        only=found.only,
        contestants=found.contestants,
        results=found.results,
    )
