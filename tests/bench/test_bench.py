"""The benchmark's own arithmetic, checks and report; the measuring itself is `make bench`."""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from bench import checks, cpu, load, report, workloads
from bench.data import Filled
from bench.database import Event
from bench.load import BenchError, Request, Run, Workload
from bench.measuring import Plan, figures, ratio
from bench.servers import CONTESTANTS, RXDESK, Running


def run(server: float, database: float = 100, p99: int = 1000) -> Run:
    return Run(100, 500.0, p99 // 2, p99, p99 * 2, server, database)


def test_ratios_are_taken_pair_by_pair() -> None:
    """A machine that is slow for one round is slow for both: no ratio of medians shows that."""
    ours = [run(100), run(900), run(200)]
    theirs = [run(300), run(1900), run(500)]
    assert ratio(ours, theirs) == ratio(ours, theirs, lambda one: one.cpu_us)
    assert (ratio(ours, theirs).median, ratio(ours, theirs).least, ratio(ours, theirs).most) == (
        0.5,
        0.5,
        0.5,
    )
    uneven = ratio([run(100), run(100), run(100)], [run(100), run(300), run(0, 50)])
    assert (uneven.median, uneven.least, uneven.most) == (1.0, 0.5, 4.0)


def test_figures_are_medians_and_the_sum_of_requests() -> None:
    found = figures([run(100, p99=1000), run(400, p99=9000), run(150, p99=2000)])
    assert (found.cpu_us, found.server_us, found.p99_ms, found.requests) == (250.0, 150.0, 2.0, 300)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="only Linux tells processor times in /proc"
)


@needs_proc
def test_the_time_of_a_process_and_those_below_it() -> None:
    mine = os.getpid()
    assert cpu.tree(mine)[0] == mine
    before = cpu.seconds([mine])
    sum(number * number for number in range(300_000))
    assert before < cpu.seconds([mine]) < before + 60
    assert cpu.seconds([2**22 + 1]) == 0
    assert 5 < cpu.memory_mb([mine]) < 100_000


@needs_proc
def test_a_thread_that_ends_while_it_is_looked_at_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = cpu._tasks  # noqa: SLF001 (what /proc told a moment ago)

    def tasks(pid: int) -> list[Path]:
        return [Path(f"/proc/{pid}/task/{2**22 + 1}"), *listed(pid)]

    monkeypatch.setattr(cpu, "_tasks", tasks)
    mine = os.getpid()
    assert cpu.seconds([mine]) > 0
    cpu.bind(mine, os.sched_getaffinity(0))
    cpu.schedule([mine], os.SCHED_OTHER)


@needs_proc
def test_a_load_that_was_ended_before_it_began_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"requests": 8, "errors": 0, "seconds": 0.5, "p50_us": 1, "p99_us": 2, "p999_us": 3}
    program = tmp_path / "wrk"
    program.write_text(
        f"#!/bin/sh\nif [ ! -e {tmp_path}/again ]; then : > {tmp_path}/again; exit 1; fi\necho '{json.dumps(found)}'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    mine = os.getpid()
    cleared: list[bool] = []
    made = load.run(
        ["-t1", "-c2", "URL"],
        "http://x",
        seconds=1,
        server=mine,
        database=mine,
        cores=None,
        again=lambda: cleared.append(True),
    )
    assert (made.requests, made.rps) == (8, 16)
    assert cleared == [True], "what the first has written would be in the way of the second"


Answers = dict[str, tuple[int, Any]]


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """A server that answers so by path and key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(f"{self.path} {self.headers['X-API-Key']}", (404, {}))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


@contextmanager
def two(ours: Answers, theirs: Answers) -> Iterator[dict[str, Running]]:
    with ExitStack() as stack:
        yield {
            name: Running(name, stack.enter_context(answering(answers)), 0)
            for name, answers in ((RXDESK, ours), ("peer", theirs))
        }


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ((200, {"b": [2], "a": 1}), None),  # equal as JSON
        ((200, {"a": 1, "b": [3]}), "peer answers GET /x otherwise"),
        ((200, {"a": 1}), "peer answers GET /x otherwise"),
        ((500, {"a": 1, "b": [2]}), "peer answers GET /x otherwise"),
    ],
)
def test_a_peer_that_answers_otherwise_ends_the_run(theirs: tuple[int, Any], said: str | None) -> None:
    with two({"/x k": (200, {"a": 1, "b": [2]})}, {"/x k": theirs}) as servers:
        if said is None:
            assert checks.same_bodies(servers, [Request("/x", "k")]) == 2
        else:
            with pytest.raises(BenchError, match=said):
                checks.same_bodies(servers, [Request("/x", "k")])


@contextmanager
def confused(alone: Any, together: Any) -> Iterator[str]:
    """A server that answers otherwise while it has more than one request."""
    lock, at_work, never = threading.Lock(), [0], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                at_work[0] += 1
            never.wait(0.01)  # long enough for another one to come
            with lock:
                body = json.dumps(together if at_work[0] > 1 else alone).encode()
                at_work[0] -= 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


PLAN = Plan(
    rounds=1,
    seconds=0,
    tail_seconds=0,
    warm_up=0,
    check_seconds=0.5,
    least=0,
    connections=4,
    servers=None,
    client=None,
)
# What stands in for wrk, which the tests do not install: four connections that ask until a signal ends them.
LOAD = """#!{python}
import json, signal, sys, threading, urllib.request
url = next(one for one in sys.argv if one.startswith("http")) + "/x"
opened = urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open
count, ends = 0, threading.Event()
def ask():
    global count
    while not ends.is_set():
        opened(url).read()
        count += 1
signal.signal(signal.SIGINT, lambda *_: ends.set())
asking = [threading.Thread(target=ask) for _ in range(4)]
for one in asking: one.start()
for one in asking: one.join()
print(json.dumps({{"requests": count, "errors": 0}}))
"""


@needs_proc
@pytest.mark.parametrize("together", [{"a": 1}, {"a": 2}])
def test_a_peer_that_answers_otherwise_under_load_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: Any
) -> None:
    program = tmp_path / "wrk"
    program.write_text(LOAD.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    requests, mine = (Request("/x", "k"),), os.getpid()
    with confused({"a": 1}, {"a": 1}) as ours, confused({"a": 1}, together) as theirs:
        servers = {RXDESK: Running(RXDESK, ours, mine), "peer": Running("peer", theirs, mine)}
        assert checks.same_bodies(servers, requests) == 2, "alone it answers well"

        def compare() -> None:
            checks.same_under_load(
                servers, Workload("x", requests), requests, PLAN, key="k", database=mine, before=lambda: None
            )

        if together == {"a": 1}:
            compare()
        else:
            with pytest.raises(BenchError, match="peer answers GET /x otherwise"):
                compare()


def test_a_peer_without_a_check_of_keys_ends_the_run() -> None:
    good: Answers = {"/o ka": (200, {}), "/o None": (401, {}), "/o kb": (401, {}), "/o poor": (403, {})}
    with two(good, good) as servers:
        checks.refusals(servers, Request("/o", "ka"), "poor")
    with (
        two(good, {**good, "/o kb": (200, {})}) as servers,
        pytest.raises(BenchError, match="peer answers 200 where 401 is due"),
    ):
        checks.refusals(servers, Request("/o", "ka"), "poor")


def event(position: int, uid: str, status: str, now: int, subject: str = "") -> Event:
    data = {"uid": uid, "status": status, "created_at": now, "updated_at": now}
    body = json.dumps({"event_type": "waiting_room_updated", "timestamp": now, "data": data}).encode()
    return Event(position, "waiting_room_updated", subject or uid, "key k", body)


def test_events_are_compared_but_for_instants_and_uids() -> None:
    ours = [event(1, "q-a", "waiting", 10), event(2, "q-b", "waiting", 11)]
    theirs = [event(7, "q-c", "waiting", 90), event(8, "q-d", "waiting", 95)]
    wanted = checks.unnamed(ours, ["q-a", "q-b"])
    assert checks.unnamed(theirs, ["q-c", "q-d"]) == wanted
    for other in (
        theirs[:1],
        [theirs[0], event(9, "q-d", "waiting", 95)],  # a gap
        [theirs[0], event(8, "q-d", "cancelled", 95)],
        [theirs[0], event(8, "q-d", "waiting", 95, subject="q-c")],
    ):
        assert checks.unnamed(other, ["q-c", "q-d"]) != wanted


@pytest.mark.parametrize(("orders", "asked"), [(1000, 1000), (100_000, 5_000), (3_000_000, 5_000)])
def test_what_grows_is_asked_for_as_many_uids_as_there_are(orders: int, asked: int) -> None:
    filled = Filled("key", 1, orders, max(1000, orders // 2), datetime(2026, 1, 1, tzinfo=UTC))
    for name in ("order", "prescription", "patient_email"):
        assert len({one.path for one in workloads.growing(filled, name).requests}) == asked
    assert len({one.path for one in workloads.wide(filled, "order").requests}) == min(orders, 50_000)
    assert len(workloads.growing(filled, "statistics").requests) == 1
    assert len({one.path for one in workloads.workload(filled, "order").requests}) == 200


def test_the_report_holds_what_it_must_and_names_no_machine(tmp_path: Path) -> None:
    found = figures([run(100), run(200)])
    one = {"median": 0.1, "least": 0.09, "most": 0.2}
    names = [contestant.name for contestant in CONTESTANTS]
    result: dict[str, Any] = {
        "quick": False,
        "commit": {"hash": "abc1234", "clean": False},
        "machine": {
            "processor": "P",
            "cores": 2,
            "memory_gb": 8.0,
            "system": "Linux 6",
            "load_before": 1.25,
        },
        "versions": {"rxdesk": "1"},
        "plan": {"rounds": 5, "seconds_a_run": 2.0, "tail_seconds": 6.0, "quick": False},
        "routes": {"order": {name: asdict(found) for name in names}},
        "ratios": {"order": dict.fromkeys(names[1:], one)},
        "p99_ratios": {"order": dict.fromkeys(names[1:], one)},
        "growth_curve": {"orders": [1000, 3_000_000], "order": {"bench_3000000": one}},
        "start_s": 1.5,
        "seconds": 3,
    }
    report.write(result, tmp_path)
    assert json.loads((tmp_path / "latest.json").read_text()) == result
    text = (tmp_path / "latest.md").read_text()
    for name in names:
        assert f"| {name} |" in text
    assert "| 1/10.0 (1/11.1 – 1/5.0) |" in text
    assert "1.5 s" in text
    assert "of commit abc1234, with changes that are not committed" in text
    assert "Load average before the run: 1.25" in text
    assert "QUICK" not in text
    report.write({**result, "quick": True, "commit": {"hash": "abc1234", "clean": True}}, tmp_path)
    assert json.loads((tmp_path / "latest.json").read_text())["quick"]
    text = (tmp_path / "latest.md").read_text()
    assert text.splitlines()[2].startswith("**A QUICK run")
    assert "not committed" not in text
    described = json.dumps(report.machine())
    assert platform.node() not in described
    assert str(Path.home()) not in described
