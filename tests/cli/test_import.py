"""`rxdesk import`, beside a running server."""

from __future__ import annotations

import itertools
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli.processes import Server, answer, environment, inside, refused

from rxdesk.cli import importing
from rxdesk.importing.report import Progress

SHOP = {"uid": "shop-1", "identifier": "one", "display_name": "One"}
DOCTOR = {"uid": "doc-1", "display_name": "Dr. Eins", "can_sign_prescriptions": True, "active": True}
_numbers = itertools.count(1)
Files = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Write files by kind; give their folder."""

    def write(**rows: list[dict[str, object]]) -> Path:
        folder = tmp_path / f"files-{next(_numbers)}"
        folder.mkdir()
        for kind, lines in rows.items():
            (folder / f"{kind}.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


@pytest.fixture
def at(demo: Server) -> list[str]:
    """The options for a fresh organisation of the running demo."""
    slug = f"imports-{next(_numbers)}"
    options = ["--data-dir", str(demo.ready["folder"])]
    assert inside("organisations", "create", slug, *options).returncode == 0
    return ["--organisation", slug, *options]


def test_what_is_imported_is_served(demo: Server, at: list[str], files: Files) -> None:
    done = inside("import", *at, files(shops=[SHOP], doctors=[DOCTOR, DOCTOR | {"uid": "doc-2"}]))
    assert done.returncode == 0, done.stderr
    assert "doctors: 2 new, 0 changed, 0 removed" in done.stdout
    assert "shops.ndjson: 1 line, 1 row in " in done.stdout
    assert "rows/s" not in done.stdout  # of a moment, a rate says nothing
    assert done.stdout.splitlines()[-1].startswith("Imported in ")
    key = answer(inside("keys", "create", *at, "--name", "x", "--permission", "doctor:read", "--json"))
    assert demo.get("/doctors", key["api_key"]) == 200


def test_faults_by_file_line_and_field(at: list[str], files: Files) -> None:
    folder = files(shops=[SHOP], doctors=[DOCTOR, {"uid": "\x1b[31m", "display_name": "x", "\x1b[31m": 1}])
    done = inside("import", *at, folder)
    assert done.returncode == 1
    assert done.stderr == ""
    *faults, last = done.stdout.splitlines()
    place = f"{folder / 'doctors.ndjson'}:2: "
    assert [line.removeprefix(place) for line in faults if line.startswith(place)] == [
        "\N{REPLACEMENT CHARACTER}[31m: unknown member",
        "active: required, but missing",
        "can_sign_prescriptions: required, but missing",
        "uid: not of its form: 1–64 of A–Z a–z 0–9 . _ : -",
    ]
    assert "\x1b" not in done.stdout
    assert last == "Nothing was imported: 4 faults."
    done = inside("import", *at, folder, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (1, False)
    assert [file["fault_count"] for file in report["files"]] == [0, 4]
    assert set(report["files"][1]["faults"][0]) == {"line", "field", "reason"}
    report = answer(inside("import", *at, files(shops=[SHOP]), "--json"))
    assert report["files"][0]["written"] == {"shops": {"added": 1, "changed": 0, "removed": 0}}


def test_a_file_that_is_passed_over_is_named(at: list[str], files: Files) -> None:
    folder = files(shops=[SHOP], order=[])
    (folder / "notes.txt").touch()
    done = inside("import", *at, folder)
    assert done.returncode == 0
    ignored = f"ignored: {folder / 'order.ndjson'} (its name says no kind; name it like orders-2.ndjson)"
    assert done.stdout.splitlines()[0] == ignored
    assert "notes.txt" not in done.stdout
    report = answer(inside("import", *at, folder, "--json"))
    assert report["ignored"] == [str(folder / "order.ndjson")]
    assert answer(inside("import", *at, folder / "shops.ndjson", "--json"))["ignored"] == []


def test_what_is_called_wrongly(at: list[str], files: Files, tmp_path: Path) -> None:
    folder = files(shops=[SHOP])
    other = folder / "dump.txt"
    (folder / "shops.ndjson").rename(other)
    assert "name it like orders.ndjson, or give --kind" in refused(inside("import", *at, other))
    assert "there is no such kind" in refused(inside("import", *at, other, "--kind", "shop"))
    assert "there is no such file" in refused(inside("import", *at, tmp_path / "absent.ndjson"))
    assert "no organisation 'nobody'" in refused(
        inside("import", "--organisation", "nobody", *at[2:], other, "--kind", "shops")
    )
    assert inside("import", *at, other, "--kind", "shops").returncode == 0


def test_a_bar_on_a_terminal(at: list[str], files: Files) -> None:
    folder = files(doctors=[DOCTOR | {"uid": f"doc-{n}"} for n in range(200)])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rxdesk", "import", *at, str(folder)],
        env=environment({"TERM": "xterm", "COLUMNS": "110"}),
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other side of a terminal has closed
        pass
    finally:
        os.close(ours)
        printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0, shown
    assert "200 lines" in printed
    text = shown.decode()
    assert "doctors.ndjson: writing" in text
    assert "rows/s" in text
    assert "100 %" in text


def test_plain_lines_elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr(importing, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    with importing.shown_progress() as progress:
        _run(progress)
    assert capsys.readouterr().err.splitlines() == [
        "orders.ndjson: reading, 50 %, 700 rows",
        "orders.ndjson: writing, 100 %, 1000 rows",
    ]


def _run(progress: Progress) -> None:
    progress("reading", "orders.ndjson", 10, 200, 100)
    progress("reading", "orders.ndjson", 100, 200, 700)
    progress("checking", "orders.ndjson", 0, 7, 1000)
    progress("writing", "orders.ndjson", 50, 50, 1000)


def test_events_are_stored_when_they_are_asked_for(at: list[str], files: Files) -> None:
    order = {"uid": "ord-1", "status": "init"}
    done = inside("import", *at, files(orders=[order]), "--json")
    assert answer(done)["events"] == 0
    changed = inside("import", *at, files(orders=[order | {"status": "started"}]), "--emit-events")
    assert changed.returncode == 0, changed.stderr
    assert changed.stdout.splitlines()[-1].endswith(" 1 event.")
