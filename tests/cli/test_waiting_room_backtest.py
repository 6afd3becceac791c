"""`rxdesk waiting-room backtest`: what it prints, of generated days and of a history, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.processes import inside, refused, rxdesk

from rxdesk.waiting_room.backtest.days import days
from rxdesk.waiting_room.backtest.formulas import NAMES
from rxdesk.waiting_room.backtest.history import write

VERB = ("waiting-room", "backtest")


def test_json_of_generated_days() -> None:
    done = inside(*VERB, "--days", 2, "--seed", 1001, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    body = json.loads(done.stdout)
    assert set(body) == {"ours", "usual", "ratio_to_best_usual", "estimates"}
    assert set(body["ours"]) == {"mae_minutes", "coverage"}
    assert set(body["usual"]) == set(NAMES)
    best = min(one["mae_minutes"] for one in body["usual"].values())
    assert body["ratio_to_best_usual"] == pytest.approx(body["ours"]["mae_minutes"] / best, abs=0.001)
    assert inside(*VERB, "--days", 2, "--seed", 1001, "--json").stdout == done.stdout
    assert inside(*VERB, "--days", 2, "--seed", 1002, "--json").stdout != done.stdout


def test_a_table_for_people() -> None:
    done = rxdesk(*VERB, "--days", 1)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ESTIMATE", "ERROR", "(MINUTES)", "IN", "RANGE"]
    assert lines[1].startswith("RxDesk ")
    assert len(lines) == 2 + len(NAMES) + 1
    assert "over 1 day;" in lines[-1]


def test_a_history_is_replayed_like_the_days_that_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    file.write_bytes(b"".join(write(row for day in days(1001, 2) for row in day)))
    of_file = inside(*VERB, "--history", file, "--json")
    assert of_file.stdout == inside(*VERB, "--days", 2, "--seed", 1001, "--json").stdout


def test_a_history_in_which_nobody_waited(tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    file.write_bytes(b"")
    assert inside(*VERB, "--history", file).stdout == "No wait was judged in 0 days.\n"
    assert json.loads(inside(*VERB, "--history", file, "--json").stdout)["ours"]["mae_minutes"] is None


def test_a_faulty_history_is_refused_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    file.write_text(
        '{"at": 1, "kind": "on_duty", "doctor": "a"}\n{"at": 2, "kind": "completed", "visit": "v"}\n'
    )
    assert f"{file}: line 2: the visit v has not been called" in refused(inside(*VERB, "--history", file))
    file.write_text('{"at": 1, "kind": "arrived", "visit": "v"}\n')
    assert refused(inside(*VERB, "--history", file)) == (
        f"rxdesk: {file}: line 1: kind 'arrived' is not known; it is one of: registered, called, completed, "
        "no_show, cancelled, returned, on_duty, paused, resumed, off_duty"
    )
    file.write_text('{"at": "1", "kind": "on_duty", "doctor": "a"}\n')
    assert "line 1: must be a number, not a string - at '$.at'" in refused(inside(*VERB, "--history", file))
    assert "No such file" in refused(inside(*VERB, "--history", tmp_path / "absent"))


@pytest.mark.parametrize(
    ("option", "value"), [("--days", 0), ("--days", 367), ("--seed", -1), ("--seed", "x")]
)
def test_a_wrong_number_is_refused(option: str, value: object) -> None:
    done = inside(*VERB, option, value)
    assert done.returncode == 2
    assert option in done.stderr
