"""`rxdesk demo`: what it promises a newcomer, and what it leaves when it ends, however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from tests.cli.conftest import First
from tests.cli.processes import SLOW, Server, answer, environment, lives, refused, rxdesk, serving, until
from tests.ports import free_port

from rxdesk.kit import ports
from rxdesk.permissions import ALL

SAMPLES = {
    "order_uid", "prescription_uid", "patient_uid", "patient_email", "doctor_uid", "shop_uid",
    "shop_identifier", "shop_customer_id", "queue_uid", "wallet_pass_uid", "intent",
    "second_patient_uid", "second_doctor_uid",
}  # fmt: skip


def test_the_first_start_says_what_a_newcomer_needs(first: First) -> None:
    assert first.status == 0
    assert not first.file_left
    assert set(first.ready) == {"base_url", "organisations"}
    assert len(first.ready["organisations"]) == 2
    for organisation in first.ready["organisations"]:
        assert set(organisation) == {"slug", "api_key", "samples"}
        assert set(organisation["samples"]) == SAMPLES
        assert organisation["api_key"] in first.output
    assert first.ready["base_url"] + "/apidocs" in first.output
    assert first.output.count("curl -H") == 5
    assert "Ctrl-C" in first.output


def test_the_next_start_has_the_same_data_and_keys_and_answers_soon(first: First, demo: Server) -> None:
    assert demo.ready["organisations"] == first.ready["organisations"]
    assert demo.order() == 200
    # The promise is 3 s on a machine of its own; here others use it too.
    assert demo.seconds < 20


def test_every_printed_curl_line_works(demo: Server) -> None:
    lines = [
        line.strip() for line in demo.output.read_text().splitlines() if line.strip().startswith("curl ")
    ]
    assert len(lines) == 5
    with httpx.Client(trust_env=False, timeout=20) as client:
        for line in lines:
            options = shlex.split(line)[1:-1]
            given = list(zip(options[::2], options[1::2], strict=True))
            headers = dict(value.split(": ", 1) for name, value in given if name == "-H")
            body = dict(given).get("-d")
            method = "GET" if body is None else "POST"
            answer = client.request(method, shlex.split(line)[-1], headers=headers, content=body)
            assert answer.status_code == 200, line


def test_a_demo_key_has_every_permission_and_no_limit(demo: Server) -> None:
    keys = answer(rxdesk("keys", "list", "--organisation", demo.ready["organisations"][0]["slug"],
                         "--data-dir", demo.ready["folder"], "--json"))  # fmt: skip
    key = next(key for key in keys if key["name"] == "demo")
    assert key["permissions"] == sorted(ALL)
    assert key["rate_limit_per_second"] == key["rate_limit_per_minute"] == 0


def test_files_with_keys_are_private(demo: Server, first: First) -> None:
    for file in (demo.ready_file, first.folder / "demo.json", first.folder / "encryption.key"):
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_the_log_holds_no_key_and_no_uid(demo: Server) -> None:
    uid = demo.ready["organisations"][0]["samples"]["patient_uid"]
    assert demo.get("/patients/" + uid) == 200
    until(lambda: '"route"' in demo.errors.read_text(), what="a log line")
    log = demo.errors.read_text()
    assert demo.key() not in log
    assert uid not in log
    for line in log.splitlines():
        if line.startswith("{"):
            json.loads(line)


def test_a_revoked_demo_key_is_replaced(copy: Path, first: First) -> None:
    slug = first.ready["organisations"][0]["slug"]
    keys = answer(rxdesk("keys", "list", "--organisation", slug, "--data-dir", copy, "--json"))
    done = rxdesk("keys", "revoke", "--organisation", slug, keys[0]["uid"], "--data-dir", copy)
    assert done.returncode == 0, done.stderr
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        assert it.key() != first.ready["organisations"][0]["api_key"]
        assert it.key(1) == first.ready["organisations"][1]["api_key"]
        assert it.order() == 200


def test_organisations_that_are_not_the_demos_are_left_alone(copy: Path) -> None:
    (copy / "demo.json").unlink()
    line = refused(rxdesk("demo", "--data-dir", copy, "--port", 0))
    assert "not the demo's" in line


def test_a_stale_ready_file_is_removed_at_the_start(copy: Path, tmp_path: Path) -> None:
    stale = tmp_path / "stale.json"
    stale.write_text("{}")
    (copy / "demo.json").unlink()  # it is refused for that, after it has taken port and folder
    refused(rxdesk("demo", "--data-dir", copy, "--port", 0, "--ready-file", stale))
    assert not stale.exists()


def test_the_ready_file_of_a_running_server_is_left_to_it(demo: Server, copy: Path) -> None:
    ready = demo.ready_file
    said = ready.read_bytes()
    refused(rxdesk("demo", "--data-dir", demo.ready["folder"], "--port", 0, "--ready-file", ready))
    refused(rxdesk("demo", "--data-dir", copy, "--port", demo.port, "--ready-file", ready))
    refused(rxdesk("serve", "--data-dir", demo.ready["folder"], "--port", 0, "--ready-file", ready))
    assert ready.read_bytes() == said


def test_a_second_one_on_the_folder_says_so(demo: Server) -> None:
    line = refused(rxdesk("demo", "--data-dir", demo.ready["folder"], "--port", 0))
    assert "in use by rxdesk demo (pid" in line
    assert demo.order() == 200


def test_a_second_one_on_the_port_is_refused(demo: Server, copy: Path) -> None:
    line = refused(rxdesk("demo", "--data-dir", copy, "--port", demo.port))
    assert f"127.0.0.1:{demo.port}" in line
    assert "--port" in line
    assert demo.order() == 200


def _hold(port: int, together: threading.Barrier) -> socket.socket | None:
    together.wait()
    try:
        return ports.hold_port("127.0.0.1", port)
    except ports.PortInUseError:
        return None


def test_of_starters_at_one_instant_one_has_the_port() -> None:
    """What the system allows, it allows by socket, not by process: threads show it."""
    together = threading.Barrier(4)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(50):
            port = free_port()
            found = [threads.submit(_hold, port, together) for _ in range(4)]
            held = [holder for one in found if (holder := one.result()) is not None]
            assert len(held) == 1
            held[0].close()


def test_a_held_port_survives_connections_of_an_earlier_server() -> None:
    """A port in TIME_WAIT is no port in use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # who closes first keeps the address in TIME_WAIT
        client.close()
    ports.hold_port("127.0.0.1", port).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(copy: Path, number: signal.Signals) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        family = it.family()
        # A client that keeps its connection must not hold the end up.
        with socket.create_connection(("127.0.0.1", it.port)) as idle:
            idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(4096)
            begun = time.monotonic()
            assert it.stop(number) == 0
            assert time.monotonic() - begun < 9.5, "after ten seconds it would be killed"
        assert not [one for one in family if lives(one)]
        assert not it.ready_file.exists()
        assert "Traceback" not in it.errors.read_text()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets a signal be sent to one thread from outside"
)
def test_a_signal_that_another_thread_takes_ends_it_too(copy: Path) -> None:
    """As one that the first thread takes just before it begins to wait: nothing wakes it for what it has to do."""
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        others = [
            thread.id for thread in psutil.Process(it.process.pid).threads() if thread.id != it.process.pid
        ]
        assert ctypes.CDLL(None).tgkill(it.process.pid, others[0], signal.SIGINT) == 0
        assert it.process.wait(SLOW) == 0


def test_ctrl_c_during_the_start_ends_quietly(tmp_path: Path) -> None:
    with serving("demo", "--data-dir", tmp_path / "d", "--port", 0, wait=False) as it:
        until(lambda: "making" in it.errors.read_text(), what="first words")
        assert it.stop() == 0
        assert "Traceback" not in it.errors.read_text()
    # And the next start goes on from there.
    with serving("demo", "--data-dir", tmp_path / "d", "--port", 0, "--orders", 20) as it:
        assert it.order() == 200


def _ends_after_a_kill(family: list[psutil.Process]) -> None:
    until(lambda: not any(lives(one) for one in family), what="their end")


def test_kill_9_of_the_main_process_leaves_nothing(copy: Path, first: First) -> None:
    port = free_port()
    with serving("demo", "--data-dir", copy, "--port", port, "--workers", 2) as it:
        workers = it.workers()
        family = it.family()
        assert len(workers) == 2
        # Each is a session of its own: to the terminal's signals, and to the scheduler.
        assert [os.getsid(one.pid) for one in workers] == [one.pid for one in workers]
        it.process.kill()
        it.process.wait()
        _ends_after_a_kill(workers)
        _ends_after_a_kill(family)
    with serving("demo", "--data-dir", copy, "--port", port) as it:
        assert it.ready["organisations"] == first.ready["organisations"]
        assert it.order() == 200


def test_kill_9_of_everything_loses_nothing(copy: Path, first: First) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        slug = first.ready["organisations"][0]["slug"]
        made = answer(
            rxdesk(
                "keys",
                "create",
                "--permission",
                "doctor:read",
                "--organisation",
                slug,
                "--name",
                "kept",
                "--data-dir",
                copy,
                "--json",
            )
        )
        for one in it.family():
            with contextlib.suppress(
                psutil.NoSuchProcess
            ):  # workers end with their parent, and may be the faster
                one.kill()
        it.process.wait()
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        assert it.order() == 200
        assert it.order(made["api_key"]) == 403


def test_a_killed_postgresql_comes_back(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        old = it.postgres()
        old.kill()
        until(lambda: it.order() in {503, 0} or not lives(old), what="the loss to be seen")
        until(lambda: it.order() == 200, what="an answer again")
        assert it.postgres().pid != old.pid
        until(lambda: "postgresql_restarted" in it.errors.read_text(), what="a log line")
        # The folder is still ours alone, and a verb still finds the server.
        assert "in use" in refused(rxdesk("demo", "--data-dir", copy, "--port", 0))
        assert rxdesk("organisations", "list", "--data-dir", copy).returncode == 0
        assert it.stop() == 0


def _replaced(server: Server, pid: int) -> bool:
    workers = [worker.pid for worker in server.workers()]
    return len(workers) == 2 and pid not in workers


def test_killed_workers_are_replaced(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0, "--workers", 2) as it:
        for _ in range(3):
            victim = it.workers()[0]
            victim.kill()
            until(lambda pid=victim.pid: _replaced(it, pid), what="a new worker")  # type: ignore[misc]
            until(lambda: it.order() == 200, what="an answer")
        assert it.process.poll() is None
        assert it.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bind no process to a core")
def test_as_many_workers_as_cores_have_one_each_and_so_have_their_successors(copy: Path) -> None:
    before = os.sched_getaffinity(0)
    cores = sorted(before)[:2]
    os.sched_setaffinity(0, cores)  # the server inherits it
    try:
        with serving("demo", "--data-dir", copy, "--port", 0, "--workers", 2) as it:
            bound = [[one] for one in cores] if len(cores) == 2 else [cores, cores]
            for _ in range(2):
                until(lambda: sorted(one.cpu_affinity() for one in it.workers()) == bound, what="cores")
                victim = it.workers()[0]
                victim.kill()
                until(lambda pid=victim.pid: _replaced(it, pid), what="a new worker")  # type: ignore[misc]
                until(lambda: it.order() == 200, what="an answer")
            assert it.postgres().cpu_affinity() == cores
            assert it.stop() == 0
    finally:
        os.sched_setaffinity(0, before)


def test_workers_that_are_started_afresh_serve_too(copy: Path) -> None:
    """As on macOS and, for us, with Python 3.14; and a database_url is left alone by the demo."""
    code = (
        "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    from rxdesk.cli import main\n"
        "    main()\n"
    )
    script = copy.parent / "start.py"
    script.write_text(code)
    url = "postgresql://x:y@127.0.0.1:1/z"
    command = ("demo", "--data-dir", copy, "--port", 0, "--workers", 2)
    with serving(*command, python=(str(script),), RXDESK_DATABASE_URL=url) as it:
        assert it.order() == 200
        assert "RXDESK_DATABASE_URL is not used" in it.errors.read_text()
        workers = it.workers()
        it.process.kill()
        it.process.wait()
        _ends_after_a_kill(workers)


def test_workers_that_cannot_start_end_the_server(copy: Path) -> None:
    code = (
        "import rxdesk.app\n"
        "from rxdesk.cli import main\n"
        "def broken(*_, **__):\n"
        "    raise RuntimeError('hidden-word')\n"
        "rxdesk.app.create_app = broken\n"
        "main()\n"
    )
    script = copy.parent / "broken.py"
    script.write_text(code)
    with serving("demo", "--data-dir", copy, "--port", 0, wait=False, python=(str(script),)) as it:
        assert it.process.wait(SLOW) == 1
        said = it.errors.read_text()
        assert "rxdesk: the server ends: its workers end as soon as they start" in said.splitlines()[-1]
        assert "worker_cannot_start" in said
        assert "Traceback" not in said
        assert "hidden-word" not in said
        assert not it.ready_file.exists()


def test_a_pipe_that_closes_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "rxdesk", "config"],
            stdout=closed,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
            timeout=30,
        )
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
