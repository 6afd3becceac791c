"""Processor time of processes, from /proc, and to which core they are bound."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    return trees(pid)[0]


def trees(*firsts: int) -> list[list[int]]:
    """Give, for each of these processes, itself and all that descend from it; /proc is gone through once."""
    children: dict[int, list[int]] = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 (a benchmark does this a thousand times: paths would take seconds)
        if not name.isdigit():
            continue
        try:
            stat = _read(f"{_PROC}/{name}/stat")
        except OSError:  # it has ended meanwhile
            continue
        parent = int(stat.rpartition(b")")[2].split(None, 2)[1])
        children.setdefault(parent, []).append(int(name))
    return [_below(first, children) for first in firsts]


def _below(first: int, children: Mapping[int, list[int]]) -> list[int]:
    found, seen = [first], 0
    while seen < len(found):
        found += children.get(found[seen], [])
        seen += 1
    return found


def seconds(pids: Iterable[int]) -> float:
    """Sum the time that the processes' threads have run, to the nanosecond where the kernel counts it so."""
    total = 0.0
    for pid in pids:
        for task in _tasks(pid):
            with suppress(OSError):  # it has ended meanwhile
                total += _ran(task)
    return total


def _ran(task: Path) -> float:
    try:
        return int(_read(f"{task}/schedstat").split(None, 1)[0]) / 1e9
    except FileNotFoundError:
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)


def _tasks(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def memory_mb(pids: Iterable[int]) -> float:
    """Sum the processes' resident memory, in MB of 1,000,000 bytes."""
    pages = 0
    for pid in pids:
        try:
            pages += int((_PROC / str(pid) / "statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def schedule(pids: Iterable[int], policy: int) -> None:
    """Set the scheduling policy of processes, with all their threads: os.SCHED_OTHER or os.SCHED_BATCH."""
    for pid in pids:
        for task in _tasks(pid):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setscheduler(int(task.name), policy, os.sched_param(0))


def bind(pid: int, cores: set[int]) -> None:
    """Bind a process, with all its threads and descendants, to cores."""
    for one in tree(pid):
        for task in _tasks(one):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(int(task.name), cores)
