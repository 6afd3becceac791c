"""An importer for tests: lines in, a report out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.factories import Tenant

from rxdesk.importing.files import find_files
from rxdesk.importing.load import import_files
from rxdesk.importing.report import ImportReport
from rxdesk.kit.clock import Clock

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Row = dict[str, Any]
Import = Callable[..., Coroutine[Any, Any, ImportReport]]


@pytest.fixture
def importing(tenant: Tenant, tmp_path: Path) -> Import:
    """Write the rows to a file for each kind, and import the files in one call."""
    calls = 0

    async def run(
        now: datetime = NOW, /, *, emit_events: bool | Clock = False, **rows: list[Row] | bytes
    ) -> ImportReport:
        nonlocal calls
        calls += 1
        folder = tmp_path / str(calls)
        folder.mkdir()
        for kind, content in rows.items():
            data = content if isinstance(content, bytes) else msgspec.json.Encoder().encode_lines(content)
            (folder / f"{kind}.ndjson").write_bytes(data)
        await tenant.enter()
        clock = emit_events if callable(emit_events) else (lambda: now) if emit_events else None
        return await import_files(
            tenant.connection, tenant.id, find_files([folder]), now=now, events_by=clock
        )

    return run
