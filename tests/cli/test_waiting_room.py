"""`rxdesk waiting-room`, beside a running server."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import Server, answer, environment, inside, refused

_numbers = itertools.count(1)


@pytest.fixture
def at(demo: Server, tmp_path: Path) -> list[str]:
    """The options for a fresh organisation of the running demo, with a shop, two doctors and who waits."""
    options = ["--data-dir", str(demo.ready["folder"])]
    slug = f"room-{next(_numbers)}"
    assert inside("organisations", "create", slug, *options).returncode == 0
    at = ["--organisation", slug, *options]
    doctor = {"can_sign_prescriptions": True, "active": True}
    files: dict[str, list[dict[str, Any]]] = {
        "shops": [{"uid": "shop-1", "identifier": "one", "display_name": "One"}],
        "patients": [{"uid": f"pp-{n}", "display_name": "Max Mustermann"} for n in range(3)],
        "doctors": [{"uid": f"doc-{n}", "display_name": f"Dr. {n}", **doctor} for n in (1, 2)],
        "waiting_room": [
            {"uid": f"q-{n}", "shop_uid": "shop-1", "patient_profile_uid": f"pp-{n}", "status": "waiting"}
            for n in range(3)
        ],
    }
    folder = tmp_path / "room"
    folder.mkdir()
    for kind, rows in files.items():
        (folder / f"{kind}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = inside("import", *at, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return at


def room(at: list[str], verb: str, *more: str) -> Any:
    return inside("waiting-room", verb, *at, *more)


def test_a_day_at_work(at: list[str]) -> None:
    assert refused(room(at, "call-next", "doc-1")) == "rxdesk: The doctor is off duty; allowed: on"
    for doctor in ("doc-1", "doc-2"):
        assert room(at, "on-duty", doctor, "--shop", "shop-1").stdout == f"{doctor}: on shop-1\n"
    assert room(at, "heartbeat", "doc-1").stdout == ""
    visit = answer(room(at, "call-next", "doc-1", "--json"))
    assert (visit["queue_uid"], visit["doctor_uid"]) == ("q-0", "doc-1")
    assert room(at, "call-next", "doc-1").stdout.startswith("q-1: pp-1 in vr-")
    assert f"has q-0 in {visit['video_room_id']}" in room(at, "duty", "doc-1").stdout
    by = ("--doctor", "doc-1")
    assert refused(room(at, "complete", "q-0", *by, "--outcome", "cured")) == (
        "rxdesk: outcome must be one of: treated, follow_up, referred, not_treated, other"
    )
    assert room(at, "complete", "q-0", *by, "--outcome", "treated").stdout == "q-0: completed\n"
    assert "allowed any more" in refused(room(at, "complete", "q-0", *by, "--outcome", "treated"))
    assert room(at, "hand-over", "q-1", *by, "--to", "doc-2").stdout == "q-1: allocated to doc-2\n"
    assert room(at, "no-show", "q-1", "--doctor", "doc-2").stdout == "q-1: waiting, no-show 1 of 3\n"
    shown = room(at, "show", "shop-1").stdout
    assert "2 waiting, 0 with doctors\n" in shown
    assert [line.split()[:2] for line in shown.splitlines()[-2:]] == [["1", "q-2"], ["2", "q-1"]]
    board = answer(room(at, "show", "shop-1", "--json"))
    assert [row["no_shows"] for row in board["data"]] == [0, 1]
    assert room(at, "cancel", "q-2", "--reason", "by phone").stdout == "q-2: cancelled\n"
    assert room(at, "call-next", "doc-2").stdout.startswith("q-1: ")
    assert room(at, "call-next", "doc-2").stdout == "nobody is due\n"
    assert refused(room(at, "off-duty", "doc-2")) == "rxdesk: The doctor still has a patient: q-1"
    assert room(at, "pause", "doc-1", "--minutes", "5").stdout == "doc-1: paused shop-1\n"
    assert room(at, "resume", "doc-1").stdout == "doc-1: on shop-1\n"
    assert room(at, "off-duty", "doc-1").stdout == "doc-1: off\n"
    lines = room(at, "history", "q-1").stdout.splitlines()
    assert lines[0].split() == ["AT", "WHAT", "OLD", "NEW", "BY", "REASON"]
    assert [row["new"] for row in answer(room(at, "history", "q-1", "--json"))] == [
        "allocated",
        "doc-2",
        "waiting",
        "allocated",
    ]
    duty = answer(room(at, "duty", "doc-1", "--history", "--json"))
    assert [row["new"] for row in duty] == ["on", "paused", "on", "off"]


def test_a_long_history_is_shown_whole(at: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxdesk.cli.api.HISTORY_ROWS", 2)
    room(at, "on-duty", "doc-1", "--shop", "shop-1")
    for verb in ("pause", "resume", "pause", "off-duty"):
        room(at, verb, "doc-1")
    shown = answer(room(at, "duty", "doc-1", "--history", "--json"))
    assert [row["new"] for row in shown] == ["on", "paused", "on", "paused", "off"]


def test_nobody_is_due_while_all_are_kept_for_another(at: list[str], tmp_path: Path) -> None:
    """And what becomes of one who is not there three times."""
    wants = {"shop_uid": "shop-2", "status": "waiting", "preferred_doctor_uid": "doc-1"}
    files: dict[str, list[dict[str, Any]]] = {
        "shops": [{"uid": "shop-2", "identifier": "two", "display_name": "Two"}],
        "waiting_room": [{"uid": f"q-1{n}", "patient_profile_uid": f"pp-{n}", **wants} for n in range(2)],
    }
    for kind, rows in files.items():
        (tmp_path / f"{kind}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert inside("import", *at, tmp_path).returncode == 0
    for doctor in ("doc-1", "doc-2"):
        room(at, "on-duty", doctor, "--shop", "shop-2")
    assert room(at, "call-next", "doc-2").stdout == "nobody is due; kept for another doctor: 2 (doc-1)\n"
    assert answer(room(at, "call-next", "doc-2", "--json")) is None
    room(at, "cancel", "q-10")
    assert room(at, "call-next", "doc-2").stdout == "nobody is due; kept for another doctor: 1 (doc-1)\n"
    told = []
    for _ in range(3):
        assert room(at, "call-next", "doc-1").stdout.startswith("q-11: ")
        told.append(room(at, "no-show", "q-11", "--doctor", "doc-1").stdout)
    assert told == [
        "q-11: waiting, no-show 1 of 3\n",
        "q-11: waiting, no-show 2 of 3\n",
        "q-11: cancelled, no-show 3 of 3\n",
    ]
    assert room(at, "call-next", "doc-2").stdout == "nobody is due\n"


def test_what_is_not_there(at: list[str]) -> None:
    assert refused(room(at, "show", "shop-0")) == "rxdesk: there is no such uid in this organisation"
    assert refused(room(at, "duty", "doc-0")) == "rxdesk: there is no such uid in this organisation"
    assert refused(room(at, "history", "q-9")) == "rxdesk: there is no such uid in this organisation"
    assert "no such shop_uids" in refused(room(at, "on-duty", "doc-1", "--shop", "shop-0"))
    assert "no such doctor_uid" in refused(room(at, "no-show", "q-0", "--doctor", "doc-0"))


def test_calibration(at: list[str]) -> None:
    """Imported visits were told no estimate."""
    found = answer(room(at, "calibration", "--json"))
    assert (found["days"], found["overall"]["count"], found["shops"]) == (30, 0, [])
    shown = room(at, "calibration").stdout.splitlines()
    assert shown[0].split()[:2] == ["SHOP", "WAITS"]
    assert shown[-2].split() == ["all", "0", "-", "-", "-", "0", "0", "0"]
    assert shown[-1] == "The last 30 days; the range is for 80 %."


@contextmanager
def watching(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rxdesk", "waiting-room", "watch", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_watching_a_shop(at: list[str]) -> None:
    assert "no such shop" in refused(room(at, "watch", "shop-none"))
    with watching(*at, "shop-1", "--json") as json_lines, watching(*at, "shop-1") as lines:
        assert json_lines.stdout is not None
        assert lines.stdout is not None
        before = json.loads(json_lines.stdout.readline())
        assert before["steps"] == []
        assert "waiting" in lines.stdout.readline()
        assert room(at, "cancel", "q-1").returncode == 0
        after = json.loads(json_lines.stdout.readline())
        assert [(step["uid"], step["status"]) for step in after["steps"]] == [("q-1", "cancelled")]
        assert after["position"] == before["position"] + 1
        assert after["board"] == answer(room(at, "show", "shop-1", "--json"))
        assert lines.stdout.readline() == "q-1: cancelled\n"
        assert " 0 with doctors; on duty: " in lines.stdout.readline()
        for process in (json_lines, lines):
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert "Traceback" not in (process.stderr.read() if process.stderr else "")
