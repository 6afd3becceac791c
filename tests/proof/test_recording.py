"""The commit that a proof is said to be of."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.proof.recording import commit


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_only_the_page_of_results_may_differ(tmp_path: Path) -> None:
    assert commit(tmp_path) == "unknown"
    page, source = tmp_path / "docs" / "proof.md", tmp_path / "source.py"
    page.parent.mkdir()
    for file in (page, source):
        file.write_text("old")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "One")
    name = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert commit(tmp_path) == name
    page.write_text("new")
    assert commit(tmp_path) == name
    source.write_text("new")
    assert commit(tmp_path) == f"{name}-dirty"
    source.write_text("old")
    assert commit(tmp_path) == name
