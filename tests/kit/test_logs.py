"""Log lines are gathered for a moment while a loop runs, keep their order, and none is lost at an end."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

_BEFORE = """
import asyncio, os, structlog
from rxdesk.kit import logs
logs.configure("info")
log = structlog.get_logger("test")
"""


def _lines(program: str) -> list[dict[str, object]]:
    """Run a program and give the lines that it logged."""
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE + program], capture_output=True, check=False, timeout=30
    )
    return [msgspec.json.decode(line) for line in done.stderr.splitlines()]


def test_a_line_says_what_when_and_how_grave() -> None:
    [line] = _lines("log.info('request', status=200)")
    assert list(line) == ["status", "event", "level", "timestamp"]
    assert (line["event"], line["level"], line["status"]) == ("request", "info", 200)
    assert str(line["timestamp"]).endswith("Z")


@pytest.mark.parametrize(
    ("program", "events"),
    [
        # The process is gone at once: what was written before is there, what was gathered is not.
        ("async def main():\n    log.info('one')\n    os._exit(1)\nasyncio.run(main())", []),
        (
            "async def main():\n    log.info('one')\n    log.warning('two')\n    os._exit(1)\nasyncio.run(main())",
            ["one", "two"],
        ),
        (
            "async def main():\n    log.info('one')\n    await asyncio.sleep(1)\n    os._exit(1)\nasyncio.run(main())",
            ["one"],
        ),
        (
            "async def main():\n    for _ in range(256): log.info('many')\n    os._exit(1)\nasyncio.run(main())",
            ["many"] * 256,
        ),
        ("log.info('no loop')\nos._exit(1)", ["no loop"]),
        ("async def main():\n    log.info('last')\nasyncio.run(main())", ["last"]),
        (
            "async def main():\n    log.info('one')\n    logs.flush()\n    os._exit(1)\nasyncio.run(main())",
            ["one"],
        ),
    ],
)
def test_lines_are_written_in_a_moment_or_at_once(program: str, events: list[str]) -> None:
    assert [line["event"] for line in _lines(program)] == events
