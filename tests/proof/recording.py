"""A pytest plugin for `make proof`: what passed is not run again, and the results make docs/proof.md.

A result counts for the state of the sources that it was made with: after a change all run again. Until then the page
keeps the old one, and says of which commit each is.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".proof" / "results.json"
PAGE = ROOT / "docs" / "proof.md"


def state() -> str:
    """Give a digest of all that the proofs stand on."""
    digest = hashlib.sha256()
    for folder in ("src", "tests", "requirements"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def commit(root: Path = ROOT) -> str:
    """Name the commit that is checked out, and whether anything but the page of the results differs from it."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    name = git("describe", "--always", "--exclude=*").stdout.strip()
    if not name:
        return "unknown"
    page = PAGE.relative_to(ROOT).as_posix()
    differs = git("diff", "--quiet", "HEAD", "--", ".", f":(exclude){page}").returncode
    return f"{name}-dirty" if differs else name


class Recorder:
    def __init__(self) -> None:
        self.state = state()
        self.commit = commit()
        self.results: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        self.reported: set[str] = set()

    def _has_passed(self, name: str) -> bool:
        result = self.results.get(name, {})
        return bool(result.get("outcome") == "passed" and result["state"] == self.state)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        whole = config.args_source is config.ArgsSource.TESTPATHS and not config.getoption("ignore")
        if whole:  # all were collected: the others are no more
            present = {item.nodeid for item in items}
            self.results = {name: result for name, result in self.results.items() if name in present}
        for item in items:
            if self._has_passed(item.nodeid):
                item.add_marker(pytest.mark.skip(reason="passed before, with the same sources"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome == "skipped" and self._has_passed(report.nodeid):
            return
        if report.when == "call" or report.outcome != "passed":
            figures = [f"{name}: {value}" for name, value in report.user_properties]
            # A test of several parts reports each, and itself at the end: it passed if all of them did.
            before = self.results[report.nodeid] if report.nodeid in self.reported else None
            self.reported.add(report.nodeid)
            parts = [report.outcome, *([before["outcome"]] if before else [])]
            self.results[report.nodeid] = {
                "outcome": next((one for one in parts if one != "passed"), "passed"),
                "seconds": round(report.duration + (before["seconds"] if before else 0), 1),
                "figures": figures,
                "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
                "state": self.state,
                "commit": self.commit,
            }
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(self.results, indent=1), "utf-8")

    def pytest_sessionfinish(self) -> None:
        lines = [
            "# Proof",
            "",
            "What `make proof` ran at full size, and what came of it. Made by it; do not edit.",
            "",
            f"Python {platform.python_version()} on {platform.system()} {platform.machine()}.",
            "",
            "| proof | result | seconds | figures | when | commit |",
            "|---|---|---|---|---|---|",
        ]
        for name, result in sorted(self.results.items()):
            figures = "; ".join(result["figures"])
            made = f"{result['at']} | {result['commit']}"
            lines.append(f"| `{name}` | {result['outcome']} | {result['seconds']} | {figures} | {made} |")
        PAGE.write_text("\n".join(lines) + "\n", "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--share") != 1:
        raise pytest.UsageError("--share is for a first look: what is recorded is whole")
    config.pluginmanager.register(Recorder(), "proof-recorder")
