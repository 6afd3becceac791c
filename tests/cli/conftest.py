"""One first start of the demo for all tests here; each that does harm works on a copy of its folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.cli.processes import Server, serving

NOBODY = "https://127.0.0.1:1/hook"  # a target that the demo of all tests may ask, where nobody listens


@dataclass(frozen=True)
class First:
    """What the first start left: the data folder, what its ready file held, and what it printed."""

    folder: Path
    ready: dict[str, Any]
    output: str
    status: int
    file_left: bool


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    """The first start of a demo, ended by Ctrl-C."""
    # Short, since a socket lies in it; and no other user can enter pytest's own folders.
    # Of fewer orders some statuses are not among them, and not every change can be made without another before it.
    folder = tmp_path_factory.mktemp("demo") / "d"
    with serving(
        "demo", "--data-dir", folder, "--port", 0, "--orders", 500, "--as-of", "2026-03-04T12:00:00Z"
    ) as it:
        status = it.stop()
        return First(folder, it.ready, it.output.read_text(), status, it.ready_file.exists())


@pytest.fixture(scope="session")
def demo(first: First, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running demo that tests may use and must not harm."""
    folder = tmp_path_factory.mktemp("running") / "d"
    shutil.copytree(first.folder, folder)
    opened = f"{urlsplit(NOBODY).hostname}/32:{urlsplit(NOBODY).port}"
    with serving(
        *("demo", "--data-dir", folder, "--port", 0, "--workers", 2),
        RXDESK_LOG_LEVEL="info",
        RXDESK_EGRESS_ALLOW=opened,
    ) as running:
        running.ready["folder"] = str(folder)
        yield running


@pytest.fixture
def copy(first: First, tmp_path: Path) -> Path:
    """A copy of the demo's folder, for harm."""
    folder: Path = shutil.copytree(first.folder, tmp_path / "d")
    return folder
