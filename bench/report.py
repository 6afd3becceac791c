"""The report: one table on the terminal, latest.md and latest.json."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.load import wrk
from bench.servers import CONTESTANTS, ROOT, RXDESK
from bench.waiting_room import GOAL
from rxdesk.db import embedded

_PACKAGES = [
    "rxdesk",
    "granian",
    "starlette",
    "msgspec",
    "asyncpg",
    "uvloop",
    "fastapi",
    "uvicorn",
    "pydantic",
    "sqlalchemy",
    "flask",
    "gunicorn",
    "psycopg",
    "django",
    "django-ninja",
    "aiohttp",
    "celery",
    "redis",
    "requests",
]


def versions() -> dict[str, str]:
    """Give the versions of all that takes part."""
    found = {"python": platform.python_version(), "postgresql": embedded.binary_version()}
    said = subprocess.run([wrk(), "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"wrk \S*?([\d.]+)", said)
    found["wrk"] = match[1] if match else "unknown"
    found["redis-server"] = _redis_version()
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _redis_version() -> str:
    program = shutil.which("redis-server")
    if program is None:
        return "not installed"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"v=([\d.]+)", said)
    return match[1] if match else "unknown"


def commit() -> dict[str, Any]:
    """Name what was measured: the commit's short hash, and whether the tree had no changes beside results."""

    def git(*words: str) -> str | None:
        done = subprocess.run(
            [shutil.which("git") or "git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return None if done.returncode else done.stdout.strip()

    try:
        name = git("rev-parse", "--short", "HEAD")
        changes = git("status", "--porcelain", "--", ".", ":!bench/results")
    except OSError:
        name = changes = None
    return {"hash": name or "unknown", "clean": changes == ""}


def machine() -> dict[str, Any]:
    """Describe the machine, without its name."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        match = re.search(r"^model name\s*:\s*(.*)$", cpuinfo.read_text(), re.MULTILINE)
        model = match[1] if match else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _times(ratio: dict[str, float]) -> str:
    """Say a ratio as people do: 1/9.5 for what is less than a half, with the least and the most."""

    def one(value: float) -> str:
        return f"1/{1 / value:.1f}" if 0 < value < 0.5 else f"{value:.2f}"

    return f"{one(ratio['median'])} ({one(ratio['least'])} – {one(ratio['most'])})"


def _rows(result: dict[str, Any]) -> list[list[str]]:
    rows = []
    for route, by_name in result["routes"].items():
        for contestant in CONTESTANTS:
            found = by_name.get(contestant.name)
            if found is None:
                continue
            ours = contestant.name == RXDESK
            rows.append(
                [
                    route if ours else "",
                    contestant.name,
                    f"{found['cpu_us']:,.0f}",
                    f"{found['server_us']:,.0f} + {found['database_us']:,.0f}",
                    "" if ours else _times(result["ratios"][route][contestant.name]),
                    f"{found['rps']:,.0f}",
                    f"{found['p50_ms']:.1f}",
                    f"{found['p99_ms']:.1f}",
                    f"{found['p999_ms']:.1f}",
                ]
            )
    return rows


_HEAD = [
    "work",
    "contestant",
    "CPU µs",
    "server + database",
    "RxDesk takes of it",
    "requests/s",
    "p50 ms",
    "p99",
    "p99.9",
]


def _growth(curve: dict[str, Any]) -> list[tuple[str, str]]:
    least, *others = [f"{orders:,}" for orders in curve["orders"]]
    anew = ", PostgreSQL started anew" if "order_after_filling" in curve else ""
    return [
        (
            f"growth of {name.replace('_', ' ')}{'' if 'filling' in name else anew}, CPU against {least} orders",
            ", ".join(f"{size}: {_times(one)}" for size, one in zip(others, found.values(), strict=True)),
        )
        for name, found in curve.items()
        if name != "orders"
    ]


_STEPS = {
    "status": "status",
    "register": "register",
    "call_next": "call next",
    "complete": "complete",
}


def _waiting(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what each step costs at each number of waiting patients, and how it grows."""
    least, *others = found["waiting"]
    lines = []
    for step, what in _STEPS.items():
        cost, grown = found["cpu_us"][step], found["ratios"][step]
        costs = ", ".join(f"{size:,}: {cost[str(size)]['cpu_us']:,.0f} µs" for size in (least, *others))
        lines.append((f"{what} with so many who wait, CPU", costs))
        ratios = ", ".join(f"{size:,}: {_times(grown[str(size)])}" for size in others)
        goal = f"the goal is at most {GOAL} with {others[-1]:,}"
        lines.append((f"{what}, CPU against {least:,} who wait; {goal}", ratios))
    return lines


# What is not in the table of contestants: the result's member, what a reader is told it is, and how it is written.
_OTHERS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("products_vs_order", "products page of 50 against one order, CPU", _times),
    ("pgbench_order_us", "order's statement by pgbench as owner, CPU of the database", "{} µs".format),
    ("busy_doctor", "statistics of a doctor with 100,000 prescriptions against 100, CPU", _times),
    (
        "organisations",
        "each request from another organisation against one, CPU",
        lambda many: f"{many['count']} organisations: {_times(many)}",
    ),
    (
        "organisations",
        "order against bare, each request from another organisation, CPU",
        lambda many: f"{many['count']} organisations: {_times(many['against_bare'])}",
    ),
    (
        "memory",
        "memory of a serving process",
        lambda found: (
            f"{found['mb']} MB after {found['requests']:,} requests, {found['half']} MB after half of them"
        ),
    ),
    ("import_vs_copy_rounds", "import against bare COPY, time", _times),
    (
        "claim_backlog",
        "claims a second, a long backlog of deliveries against a short one",
        lambda found: f"{found['jobs'][0]:,} against {found['jobs'][1]:,}: {_times(found)}",
    ),
    (
        "worker_memory",
        "memory of a worker",
        lambda found: (
            f"{found['mb']} MB after {found['deliveries']:,} deliveries, {found['half']} MB after half of them"
        ),
    ),
    (
        "streams",
        "live streams of one process",
        lambda found: (
            f"{found['count']:,}: {found['kb_each']} kB each, {found['kb_each_after']} kB after {found['changes']} "
            f"changes (goal {found['goal_kb']}); a change reaches all in {found['ms']} ms, {found['ms_most']} at most "
            f"(goal {found['goal_ms']})"
        ),
    ),
    (
        "wallet_passes",
        "a signed Apple pass",
        lambda found: (
            f"{found['cpu_ms']} ms CPU (goal {found['goal_ms']}), {found['per_second']:,} a second, "
            f"{found['bytes'] / 1000:.0f} kB each"
        ),
    ),
    (
        "wallet_links",
        "a link that saves to Google Wallet",
        lambda found: (
            f"{found['cpu_ms']} ms CPU, {found['per_second']:,} a second, {found['characters']:,} characters; "
            f"{_times(found['against_bare'])} of its RSA signature alone"
        ),
    ),
    (
        "wallet_pushes",
        "pushes over one connection",
        lambda found: (
            f"{found['per_second']:,} a second (goal {found['goal_per_second']:,}), {found['cpu_us']} µs CPU each; "
            f"{_times(found['against_bare'])} of a bare loop on h2 (goal {found['goal_share']})"
        ),
    ),
    ("two_workers_rps", "two workers against one, requests a second", _times),
    ("start_s", "make demo, second start to first answer", "{} s".format),
)


_DELIVERERS = {
    RXDESK: "`rxdesk worker`",
    "celery": "Celery with Redis, requests and psycopg, 64 threads, the same rows and records",
    "bare": "a bare aiohttp loop that signs and posts, and keeps nothing",
}


def _delivered(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for name, what in _DELIVERERS.items():
        one = found.get(name)
        if one is None:
            lines.append((f"deliveries by {what}", f"left out: {found.get('left_out', {}).get(name)}"))
            continue
        told = (
            f"{one['per_second']:,.0f}/s, {one['cpu_us']:,.0f} µs CPU each "
            f"({one['worker_us']:,.0f} + {one['database_us']:,.0f} of the database)"
        )
        lines.append((f"deliveries by {what}", told))
        if name != RXDESK:
            ratios = found[f"ratio_to_{name}_rounds"], found[f"cpu_ratio_to_{name}"]
            lines.append((f"deliveries a second, RxDesk against {name}", _times(ratios[0])))
            lines.append((f"CPU a delivery, RxDesk against {name}", _times(ratios[1])))
    return lines


def told_besides(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Give what was measured besides the routes: what, and what is told of it."""
    lines = []
    if "bare" in result["p99_ratios"].get("order", {}):
        lines.append(("order, p99 against bare", _times(result["p99_ratios"]["order"]["bare"])))
    lines += _growth(result["growth_curve"]) if "growth_curve" in result else []
    lines += _delivered(result["deliveries"]) if "deliveries" in result else []
    lines += _waiting(result["waiting"]) if "waiting" in result else []
    return lines + [(what, told(result[name])) for name, what, told in _OTHERS if name in result]


def write(result: dict[str, Any], folder: Path | None) -> None:
    """Print the table; write it to latest.md and latest.json of the folder, if there is one."""
    rows, others = _rows(result), told_besides(result)
    table = Table(*_HEAD, box=None)
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    console.print(table)
    for name, told in others:
        console.print(f"{name}: {told}")
    if folder is None:
        return
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(result, indent=2) + "\n")
    (folder / "latest.md").write_text(_markdown(result, rows, others))
    console.print(f"\nWritten: {folder.name}/latest.md and latest.json, in {result['seconds']} s")


def _markdown(result: dict[str, Any], rows: list[list[str]], others: list[tuple[str, str]]) -> str:
    machine, plan, commit = result["machine"], result["plan"], result["commit"]
    pairs = plan["rounds"] * (1 if result["quick"] else 3)
    lines = [
        "# Benchmark",
        "",
        *(
            [
                "**A QUICK run: little data, short rounds, for a first look only. No figure of it is one to quote.**",
                "",
            ]
            if result["quick"]
            else []
        ),
        f"Made by `make bench{' QUICK=1' if result['quick'] else ''}` of commit {commit['hash']}"
        + ("" if commit["clean"] else ", with changes that are not committed")
        + "; how to read it: docs/performance.md.",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}.",
        f"Load average before the run: {machine['load_before']} (on an idle machine it is near 0).",
        f"{plan['rounds']} rounds of {plan['seconds_a_run']} s each, interleaved.",
        f"Order by RxDesk against bare: {pairs} pairs of {plan['tail_seconds']} s.",
        "Figures are medians; beside a ratio stand the least and the most of the rounds.",
        "",
        "Versions: " + ", ".join(f"{name} {number}" for name, number in result["versions"].items()) + ".",
        "",
        *(f"- `{one.name}`: {one.what}" for one in CONTESTANTS),
        "",
        "| " + " | ".join(_HEAD) + " |",
        "|" + "---|" * len(_HEAD),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        "| what | measured |",
        "|---|---|",
        *(f"| {name} | {told} |" for name, told in others),
        "",
    ]
    return "\n".join(lines)
