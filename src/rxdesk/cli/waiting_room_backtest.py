"""`rxdesk waiting-room backtest`: how far off the estimated waits are, and the usual formulas."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    CliError,
    counted,
    named_path,
    print_json,
    print_table,
    printable,
)

if TYPE_CHECKING:
    from rxdesk.waiting_room.backtest.replay import Judged
    from rxdesk.waiting_room.backtest.scores import Scores
    from rxdesk.waiting_room.estimates.room import Row

# Estimates were tuned on the seeds 1 to 30.
_UNSEEN_SEED = 1001
_WORDS = {
    "position_times_fixed": "position × fixed minutes, the best in hindsight",
    "queue_times_mean_over_doctors": "queue length × mean length ÷ doctors",
    "last_wait": "the last wait",
    "mean_of_last_10": "the mean of the last 10 waits",
}

_EPILOG = (
    EPILOG
    + "rxdesk waiting-room backtest\n\nrxdesk waiting-room backtest --days 10 --seed 7 --json\n\n"
    + "rxdesk waiting-room backtest --history rows.ndjson"
)


def register(app: typer.Typer) -> None:
    """Add the verb to its group."""
    app.command(epilog=_EPILOG)(backtest)


def backtest(
    *,
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, max=366, help="So many days are generated.")
    ] = 30,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="S", min=0, help="Which shop and days; estimates were tuned on 1 to 30."
        ),
    ] = _UNSEEN_SEED,
    history: Annotated[
        Path | None,
        typer.Option(
            "--history",
            parser=named_path,
            metavar="FILE",
            show_default=False,
            help="Replay this history in place of generated days: NDJSON, as docs/waiting-room-estimates.md says.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay days of a waiting room and compare estimated waits with those that came.

    Estimates are made at each registration and every ten minutes while patients wait, from what was known
    then. Needs no database. Prints the mean absolute error in minutes, ours and of the usual formulas, and how
    many waits lay inside the range that is given for 80 % of them.
    """
    from rxdesk.waiting_room.backtest import days as generated
    from rxdesk.waiting_room.backtest.replay import replay
    from rxdesk.waiting_room.backtest.scores import scores

    source: Iterable[list[Row]]
    if history is None:
        source, count = generated.days(seed, days), days
    else:
        source = _days_of(history)
        count = len(source)
    judged: list[Judged] = []
    with _shown_progress(count) as step:
        for state in replay(source):
            judged = state.judged
            step()
    found = scores(judged)
    if as_json:
        print_json(found.as_json())
    else:
        _print(found, count)


def _days_of(file: Path) -> list[list[Row]]:
    from rxdesk.waiting_room.backtest.history import by_day, read
    from rxdesk.waiting_room.estimates.room import HistoryError

    try:
        with file.open("rb") as lines:
            return by_day(read(lines))
    except HistoryError as error:
        raise CliError(printable(f"{file}: {error}")) from error


def _print(found: Scores, days: int) -> None:
    if found.mae_minutes is None or found.coverage is None:
        print(f"No wait was judged in {counted(days, 'day')}.")
        return
    rows = [("RxDesk", f"{found.mae_minutes:.2f}", f"{100 * found.coverage:.1f} %")]
    rows += [(_WORDS[name], f"{error:.2f}", "") for name, error in found.usual.items() if error is not None]
    print_table(("ESTIMATE", "ERROR (MINUTES)", "IN RANGE"), rows)
    ratio = "" if found.ratio is None else f" Our error is {found.ratio:.2f} of the best formula's."
    print(f"{found.estimates} estimates over {counted(days, 'day')}; the range is for 80 %.{ratio}")


@contextmanager
def _shown_progress(days: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal, on standard error."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Replaying days", total=days)
        yield lambda: bar.advance(task)
