"""Many orders in little memory: small here, at full size in `make proof`."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.factories import Tenant
from tests.importing.conftest import Import
from tests.importing.rows import ORDER, PATIENT, world

from rxdesk.db import embedded

MEGABYTE = 1024 * 1024
# Run in a process of its own, whose peak of memory is the importer's.
PROGRAM = """
import asyncio, asyncpg, json, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from rxdesk.importing.files import find_files
from rxdesk.importing.load import import_files

def peak():
    try:  # ru_maxrss would be at least that of the process that started this one
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def main():
    given = json.load(sys.stdin)
    connection = await asyncpg.connect(**given["connect"])
    files = find_files([Path(given["file"])])
    report = await import_files(connection, given["organisation"], files, now=datetime.now(UTC))
    print(json.dumps({"peak": peak(), **report.as_json()}))

asyncio.run(main())
"""


def write(file: Path, count: int) -> None:
    """Write orders that differ in their uids, each with eleven rows of children."""
    text = json.dumps(copy.deepcopy(ORDER) | {"uid": "ord-N"})
    for prefix in ("so", "oi", "fo", "foi", "px", "po"):
        text = text.replace(f'"{prefix}-', f'"{prefix}-N-')
    with file.open("w", encoding="utf-8") as lines:
        for number in range(count):
            lines.write(text.replace("-N", f"-{number}") + "\n")


@pytest.mark.parametrize("count", [5_000, pytest.param(1_000_000, marks=pytest.mark.proof)])
async def test_many_orders(
    count: int,
    importing: Import,
    tenant: Tenant,
    cluster: embedded.Address,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    assert (await importing(**world(orders=[], patients=[PATIENT]))).ok
    file = tmp_path / "orders.ndjson"
    write(file, count)
    given = {
        "connect": cluster.connect_args(embedded.APP),
        "file": str(file),
        "organisation": tenant.id,
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        timeout=60 + count / 300,
    )
    report = json.loads(done.stdout)
    assert report["ok"], report
    assert report["files"][0]["written"]["orders"] == {"added": count, "changed": 0, "removed": 0}
    assert report["peak"] < 300 * MEGABYTE
    counted = "SELECT signed FROM doctor_statistics WHERE organisation_id = $1 AND span = 'all'"
    assert await tenant.connection.fetchval(counted, tenant.id) == count
    record_property("orders_a_minute", round(60 * count / report["seconds"]))
    record_property("peak_megabytes", round(report["peak"] / MEGABYTE))
