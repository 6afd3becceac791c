"""The worker beside a server that cannot be started at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import structlog
from tests.cli.processes import until
from tests.conftest import settings_for

from rxdesk.beside import Launch, worker


def test_a_worker_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, started = tmp_path / "python", tmp_path / "started"
    monkeypatch.setattr(sys, "executable", str(program))
    kept = worker(Launch(settings_for(), {}, "", os.getpid()))
    with structlog.testing.capture_logs() as lines:
        kept.start()
        until(lambda: len(lines) >= 2, what="two attempts to start it")
        ready = tmp_path / "ready"
        ready.write_text(f"#!/bin/sh\ntouch {started}\nexec sleep 60\n")
        ready.chmod(0o755)
        ready.rename(program)
        until(started.exists, what="its start")
    kept.stop()
    assert {(line["event"], line.get("error")) for line in lines} == {
        ("worker_not_started", "FileNotFoundError")
    }
