"""The lines of the docs, run as they stand at a running demo."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.cli.processes import Server, serving, until


def lines_of(page: str, before: str) -> str:
    """The lines of the first console block after a text of a page of the docs."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text("utf-8")
    block = text.split(before + "```console\n")[1].split("```")[0]
    return re.sub("^[$] ", "", block, flags=re.MULTILINE)


def run_lines(script: str, demo: Server, folder: Path) -> str:
    """Run lines of the docs where the demo's ready file is; what they print."""
    (folder / ".rxdesk").mkdir()
    (folder / ".rxdesk" / "ready.json").write_bytes(demo.ready_file.read_bytes())
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", script.replace("curl ", "curl --noproxy '*' ")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quickstart_s_lines_work(demo: Server, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here, which the quickstart's lines call")
    script = lines_of("quickstart.md", "## Try\n")
    assert script.count("curl -H") == 2
    # Who waits already, as of another test's making, is told the `queue_uid` by a 409.
    said = run_lines(script.replace("curl -H", "curl -sS -H"), demo, tmp_path)
    assert '"products"' in said
    assert '"queue_uid"' in said


def test_the_quickstart_s_push_notification_arrives(demo: Server, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here, which the quickstart's lines call")
    variables = lines_of("quickstart.md", "## Try\n").split("curl -H")[0]
    steps = lines_of("quickstart.md", "With the\nvariables of above:\n\n")
    said = run_lines(variables + steps.replace("curl -H", "curl -fsS -H"), demo, tmp_path)
    assert '"queued"' in said
    assert ", Ihr Rezept ist fertig." in said
    shown = r"phone [12] shows: \S.*, Ihr Rezept ist fertig[.]\n"
    until(lambda: len(re.findall(shown, demo.output.read_text())) == 2, 40, "both lock screens")


def test_a_doctor_s_steps_of_the_docs_work(copy: Path, tmp_path: Path) -> None:
    """In a waiting room that no other test fills: the lines register a patient who must not wait already."""
    if shutil.which("curl") is None:
        pytest.skip("no curl here, which the lines call")
    variables = lines_of("quickstart.md", "## Try\n").split("curl -H")[0]
    steps = lines_of("waiting-room.md", "of its ready file:\n")
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        said = run_lines(variables + steps, it, tmp_path)
    for part in ('"outcome":"treated"', '"no_shows":1', '"position":', '"totalRegistries"'):
        assert part in said
    samples = it.ready["organisations"][0]["samples"]
    assert f'"doctor_uid":"{samples["second_doctor_uid"]}"' in said
