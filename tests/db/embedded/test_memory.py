"""What the embedded PostgreSQL does with its memory between two answers."""

from __future__ import annotations

import platform
from pathlib import Path

import asyncpg
import pytest
from tests.db.embedded.supervised import start

from rxdesk.db import embedded

_LARGE = "SELECT string_agg(md5(n::text), '') FROM generate_series(1, 16000) n"  # half a megabyte, as 50 products are


def _faults(pid: int) -> int:
    """Minor page faults of a process so far."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[7])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about the allocator of glibc, read from /proc")
async def test_memory_is_kept_from_one_large_answer_to_the_next(data_dir: Path) -> None:
    """Given back and asked for again it would be hundreds of page faults an answer: half of the database's time."""
    with start(data_dir) as server:
        connection = await asyncpg.connect(**server.address.connect_args(embedded.APP))
        try:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            for _ in range(5):
                await connection.fetchval(_LARGE)
            before = _faults(pid)
            for _ in range(50):
                assert len(await connection.fetchval(_LARGE)) == 512_000
            assert (_faults(pid) - before) / 50 < 10
        finally:
            await connection.close()
