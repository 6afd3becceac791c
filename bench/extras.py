"""What is not a race of contestants: the database's own share, memory, start, import, two workers."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from bench import cpu, database, load, workloads
from bench.data import Filled
from bench.load import BenchError
from bench.measuring import Plan, Ratio, interleaved, ratio
from bench.servers import BASE, CONTESTANTS, ROOT, free_port, running
from rxdesk.db import embedded
from rxdesk.db.embedded_cluster import programs
from rxdesk.db.pool import Connection
from rxdesk.demo import generator
from rxdesk.importing.files import ImportFile, find_files
from rxdesk.importing.load import import_files
from rxdesk.importing.tables import TABLES
from rxdesk.kit.keys import read_key
from rxdesk.orders.queries import ORDER
from rxdesk.organisations import commands
from rxdesk.permissions import Permission

Tell = Callable[[str], None]
_open = build_opener(ProxyHandler({})).open
_RXDESK = CONTESTANTS[0]


def pgbench(address: embedded.Address, filled: Filled, folder: Path, plan: Plan, postmaster: int) -> float:
    """Measure the order's statement by pgbench, prepared, as the owner: µs of the database a statement.

    It asks for the uids that the servers are asked for, on as many connections; the median of the plan's rounds.
    """
    key = read_key(filled.key)
    if key is None:
        raise BenchError("the key is not one")
    # pgbench takes a colon inside a literal for a variable as well.
    statement = ORDER.statement.replace("'prescription:read'", "U&'prescription\\003aread'")
    # A variable of pgbench holds a number or comes from outside: the uid is put together in the statement.
    names = {
        "1": ":organisation",
        "2": ":digest",
        "3": ":permission",
        "4": "('ord-' || lpad(:n::text, 8, '0'))",
    }
    statement = re.sub(r"\$([1-4])", lambda match: names[match[1]], statement)
    stride = workloads.STRIDE * (filled.orders // workloads.ASKED)
    script = folder / "order.sql"
    script.write_text(
        f"\\set n 1 + random(0, {workloads.ASKED - 1}) * {stride} % {filled.orders}\n"
        + " ".join(statement.split())
        + ";\n"
    )
    command = [
        str(Path(programs()) / "pgbench"),
        *f"-n -M prepared -c {plan.connections} -j 1 -t {max(500, round(1500 * plan.seconds))} -f {script}".split(),
    ]
    values = (key.organisation_id, f"\\x{key.digest.hex()}", Permission.ORDER_READ.value)
    for name, value in zip(("organisation", "digest", "permission"), values, strict=True):
        command += ["-D", f"{name}={value}"]
    environment = {
        **os.environ,
        "PGHOST": str(address.socket_dir),
        "PGPORT": str(address.port),
        "PGUSER": embedded.OWNER,
        "PGDATABASE": address.database,
        "PGOPTIONS": "-c plan_cache_mode=force_generic_plan -c jit=off",
    }
    return round(statistics.median(_pgbench(command, environment, postmaster) for _ in range(plan.rounds)), 1)


def _pgbench(command: list[str], environment: dict[str, str], postmaster: int) -> float:
    load.settled(cpu.tree(postmaster))
    before = cpu.seconds(cpu.tree(postmaster))
    # The connections' processes end with pgbench, and their time with them: it is asked for while they live.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        spent = 0.0
        while process.poll() is None:
            spent = max(spent, cpu.seconds(cpu.tree(postmaster)) - before)
            time.sleep(0.005)
        output = process.communicate()[0]
    found = re.search(r"number of transactions actually processed: (\d+)", output)
    if process.returncode or found is None:
        message = f"pgbench failed: {output[-1000:]}"
        raise BenchError(message)
    return 1e6 * spent / int(found[1])


def memory(
    address: embedded.Address, filled: Filled, plan: Plan, postmaster: int, logs: Path, requests: int
) -> dict[str, float]:
    """Give MB of the serving process after half of the requests and after all."""
    work = workloads.wide(filled, "order")
    with running(_RXDESK, address, cores=plan.servers, log=logs / "memory.log") as server:
        done, found = 0, {}
        worker = max(cpu.tree(server.pid), key=lambda pid: cpu.memory_mb([pid]))
        for name, until in (("half", requests // 2), ("mb", requests)):
            while done < until:
                with load.prepared(work, start=done) as arguments:
                    run = load.run(
                        arguments,
                        server.url,
                        seconds=1,
                        server=server.pid,
                        database=postmaster,
                        cores=plan.client,
                    )
                done += run.requests
            found[name] = round(cpu.memory_mb([worker]), 1)
    return {**found, "requests": requests}


def start(folder: Path, times: int) -> float:
    """Give the seconds from `make demo`, the second time, to its first answer; the median of so many."""
    make, taken = shutil.which("make") or "make", []
    for turn in range(1 + times):
        port = free_port()
        began = time.monotonic()
        process = subprocess.Popen(
            [make, "demo", f"PORT={port}", f"DATA={folder}", f"VENV={os.environ.get('VENV', '.venv')}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _until_answering(f"http://127.0.0.1:{port}{BASE}/health/", process)
            if turn:
                taken.append(time.monotonic() - began)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)
    return round(statistics.median(taken), 2)


def _until_answering(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            _open(url, timeout=2).close()
        except HTTPError as error:
            if error.code == HTTPStatus.UNAUTHORIZED:  # it asks for a key: it has looked for one
                return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > until:
            message = "make demo does not answer"
            raise BenchError(message)
        time.sleep(0.01)


async def _import_and_copy(
    address: embedded.Address, folder: Path, orders: int, rounds: int, tell: Tell
) -> list[float]:
    files, now = folder / "import", datetime.fromisoformat("2026-07-01T08:00:00+00:00")
    generator.generate(files, seed=1, orders=orders, as_of=now, organisation=1)
    found = find_files([files])
    # What refers to orders is left out, and what orders refer to is there already.
    base = [
        file
        for file in found
        if file.kind not in {"orders", "waiting_room", "wallet_templates", "wallet_passes"}
    ]
    last = [file for file in found if file.kind == "orders"]
    made = await database.create(address, "bench_import_base")
    connection = await database.connect(made, embedded.APP)
    organisation = await commands.create_organisation(connection, slug="import", display_name="Import")
    await import_files(connection, organisation.id, base, now=now)
    await connection.close()
    # One import that is not timed, for the rows that COPY is given. Then each begins in turn.
    await _imported(address, organisation.id, last, now)
    tables, ratios = await _dump(address, folder), []
    for number in range(rounds):
        tell(f"import of {orders:,} orders against COPY, {number + 1} of {rounds}")
        if number % 2:
            copied = await _copied(address, folder, tables)
            imported = await _imported(address, organisation.id, last, now)
        else:
            imported = await _imported(address, organisation.id, last, now)
            copied = await _copied(address, folder, tables)
        ratios.append(imported / copied)
    return ratios


async def _imported(
    address: embedded.Address, organisation_id: int, files: list[ImportFile], now: datetime
) -> float:
    made = await database.create(address, "bench_import", template="bench_import_base")
    connection = await database.connect(made, embedded.APP)
    began = time.monotonic()
    report = await import_files(connection, organisation_id, files, now=now)
    seconds = time.monotonic() - began
    await connection.close()
    if not report.ok:
        message = f"the import failed: {report.files[0].faults[:3]}"
        raise BenchError(message)
    return seconds


async def _copied(address: embedded.Address, folder: Path, tables: list[str]) -> float:
    made = await database.create(address, "bench_copy", template="bench_import_base")
    connection = await database.connect(made, embedded.OWNER)
    began = time.monotonic()
    async with connection.transaction():
        for table in tables:
            await connection.copy_to_table(table, source=folder / f"{table}.copy", format="binary")
    seconds = time.monotonic() - began
    await connection.close()
    return seconds


async def _dump(address: embedded.Address, folder: Path) -> list[str]:
    connection: Connection = await database.connect(database.at(address, "bench_import"), embedded.OWNER)
    names = [table.name for table in TABLES["orders"]]
    for name in names:
        await connection.copy_from_table(name, output=folder / f"{name}.copy", format="binary")
    await connection.close()
    return names


def import_vs_copy(address: embedded.Address, folder: Path, orders: int, rounds: int, tell: Tell) -> Ratio:
    """Compare an import of orders with bare COPY of the same rows into the same indexed tables, by time."""
    ratios = asyncio.run(_import_and_copy(address, folder, orders, rounds, tell))
    return Ratio(round(statistics.median(ratios), 2), round(min(ratios), 2), round(max(ratios), 2))


def two_workers(address: embedded.Address, filled: Filled, plan: Plan, postmaster: int, logs: Path) -> Ratio:
    """Compare requests a second of two workers with one, all on all cores.

    Who gets which core is the scheduler's choice, and tells in requests a second: one pair says little.
    """
    free = dataclasses.replace(plan, servers=None, client=None)
    cpu.bind(postmaster, os.sched_getaffinity(0))
    work = workloads.workload(filled, "order")
    try:
        with (
            running(_RXDESK, address, cores=None, log=logs / "one.log") as one,
            running(
                _RXDESK, address, cores=None, log=logs / "two.log", settings={"RXDESK_WORKERS": "2"}
            ) as two,
        ):
            runs = interleaved(free, {"one": (one, work), "two": (two, work)}, postmaster)
    finally:
        if plan.servers:
            cpu.bind(postmaster, plan.servers)
    return ratio(runs["two"], runs["one"], lambda run: run.rps)
