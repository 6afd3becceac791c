"""The checks and the arithmetic of the race of deliveries, and that RxDesk and the bare loop deliver in it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from bench import report
from bench.deliveries import contestants, race, receiver, section, signatures, work
from bench.deliveries.race import Round
from bench.load import BenchError
from bench.measuring import Plan
from bench.peers.signing import headers, key_of

from rxdesk.db import embedded
from rxdesk.kit.signing import delivery_headers

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="only Linux tells processor times in /proc"
)


def lower(given: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in given.items()}


@pytest.fixture
def endpoint() -> work.Endpoint:
    return work.endpoints(8000)[3]


def by_peers(endpoint: work.Endpoint, body: bytes) -> dict[str, str]:
    return headers(work.EVENT, "evt-1", body, endpoint.secret.encode(), key_of(endpoint.secret))


@pytest.mark.parametrize("number", [0, 1, 99_999_999])
def test_every_body_has_its_size(number: int) -> None:
    body = work.body(number, 1_800_000_000)
    assert len(body) == work.BODY_BYTES == 1024
    assert json.loads(body)["data"]["uid"] == f"ord-{number:08d}"


def test_what_rxdesk_and_the_peers_sign_verifies(endpoint: work.Endpoint) -> None:
    body = work.body(1, 1)
    ours = delivery_headers(
        event_type=work.EVENT,
        secret=endpoint.secret,
        message_id="evt-1",
        timestamp=int(time.time()),
        body=body,
    )
    assert signatures.fault(endpoint.secret, lower(ours), body) is None
    assert signatures.fault(endpoint.secret, lower(by_peers(endpoint, body)), body) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x-webhook-signature": "0" * 64}, "x-webhook-signature does not verify"),
        ({"x-webhook-event": "order_created"}, "x-webhook-event is not the body's"),
        ({"webhook-signature": "v1,AAAA"}, "webhook-signature does not verify"),
        ({"webhook-id": "evt-2"}, "webhook-signature does not verify"),
        ({"webhook-id": ""}, "webhook-id is missing"),
        ({"webhook-timestamp": "1800"}, "webhook-timestamp is not of now"),
        ({"content-type": "text/plain"}, "its content is not application/json"),
    ],
)
def test_a_changed_header_is_a_fault(endpoint: work.Endpoint, changed: dict[str, str], said: str) -> None:
    body = work.body(1, 1)
    given = {**lower(by_peers(endpoint, body)), **changed}
    assert signatures.fault(endpoint.secret, given, body) == said


def test_a_changed_body_and_another_endpoints_secret_are_faults(endpoint: work.Endpoint) -> None:
    body = work.body(1, 1)
    given = lower(by_peers(endpoint, body))
    assert signatures.fault(endpoint.secret, given, work.body(2, 1)) is not None
    assert signatures.fault(work.endpoints(1)[0].secret, given, body) is not None
    assert signatures.fault(endpoint.secret, given, b"{") == "its body is not an event"


def request(endpoint: work.Endpoint, uid: str, body: bytes) -> bytes:
    signed = headers(work.EVENT, uid, body, endpoint.secret.encode(), key_of(endpoint.secret))
    fields = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    head = f"POST {endpoint.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    return head.encode() + body


class Sink:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def receive(ledger: receiver.Ledger, data: bytes, piece: int) -> int:
    """Let it come in pieces; gives how many answers went back."""
    sink = Sink()
    connection = receiver.Receiving(ledger)
    connection.connection_made(sink)  # type: ignore[arg-type]  # it is only written to
    for start in range(0, len(data), piece):
        connection.data_received(data[start : start + piece])
    return sink.written.count(b"HTTP/1.1 204")


@pytest.mark.parametrize("piece", [1, 100, 1_000_000])
def test_the_receiver_counts_each_delivery_once(
    endpoint: work.Endpoint, piece: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = receiver.Ledger({endpoint.path: endpoint.secret})
    ledger.begin(2, verify=True)
    body = work.body(1, 1)
    data = b"".join(request(endpoint, uid, body) for uid in ("evt-1", "evt-1", "evt-2"))
    assert receive(ledger, data, piece) == 3
    assert ledger.told() == {"count": 3, "distinct": 2, "fault": None}
    assert json.loads(capsys.readouterr().out)["distinct"] == 2  # told once, when all had come
    ledger.begin(1, verify=False)
    assert ledger.told() == {"count": 0, "distinct": 0, "fault": None}


def test_the_receiver_tells_the_first_fault(endpoint: work.Endpoint) -> None:
    ledger = receiver.Ledger({endpoint.path: endpoint.secret})
    ledger.begin(10, verify=True)
    short = request(endpoint, "evt-1", b'{"event_type": "order_updated"}')
    receive(ledger, request(endpoint, "evt-0", work.body(1, 1)) + short, 1000)
    assert ledger.fault == "its body has 31 bytes"
    ledger.secrets = {}
    ledger.begin(10, verify=True)
    receive(ledger, short, 1000)
    assert ledger.fault == "its path is nobody's"


@pytest.mark.parametrize(
    ("told", "recorded", "said"),
    [
        ({"count": 10, "distinct": 10, "fault": None}, 10, None),
        ({"count": 11, "distinct": 10, "fault": None}, 10, "sent 11 requests, 10 of them different"),
        ({"count": 10, "distinct": 9, "fault": None}, 10, "sent 10 requests, 9 of them different"),
        ({"count": 10, "distinct": 10, "fault": None}, 9, "recorded 9 deliveries and not 10"),
        ({"count": 10, "distinct": 10, "fault": "x"}, 10, "sends what does not verify: x"),
    ],
)
def test_a_round_that_is_not_right_ends_the_run(
    told: dict[str, Any], recorded: int, said: str | None
) -> None:
    if said is None:
        race.check("peer", 10, told, recorded)
    else:
        with pytest.raises(BenchError, match=f"peer {said}"):
            race.check("peer", 10, told, recorded)


def test_rates_are_compared_round_by_round() -> None:
    ours = [Round(100, 0.1, 50, 50), Round(100, 1.0, 500, 500), Round(100, 0.2, 60, 40)]
    theirs = [Round(100, 1.0, 500, 300), Round(100, 8.0, 5000, 3000), Round(100, 1.4, 500, 500)]
    found = race.summary({"rxdesk": ours, "celery": theirs})
    assert found["rxdesk"]["per_second"] == 500
    assert (found["rxdesk"]["cpu_us"], found["celery"]["worker_us"]) == (100, 500)
    assert found["ratio_to_celery"] == 8
    assert found["ratio_to_celery_rounds"] == {"median": 8, "least": 7, "most": 10}
    assert found["cpu_ratio_to_celery"] == {"median": 0.125, "least": 0.1, "most": 0.125}
    assert "ratio_to_bare" not in found


def test_without_redis_it_is_said_who_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    left_out = contestants.lacking()
    assert "redis-server is not here" in left_out["celery"]
    rounds = [Round(100, 0.1, 50, 50)]
    result: dict[str, Any] = {
        "quick": True,
        "commit": {"hash": "abc1234", "clean": True},
        "machine": {
            "processor": "P",
            "cores": 2,
            "memory_gb": 8.0,
            "system": "Linux 6",
            "load_before": 0.1,
        },
        "versions": {},
        "plan": {"rounds": 1, "seconds_a_run": 2.0, "tail_seconds": 6.0, "quick": True},
        "routes": {},
        "ratios": {},
        "p99_ratios": {},
        "deliveries": {**race.summary({"rxdesk": rounds, "bare": rounds}), "left_out": left_out},
        "seconds": 3,
    }
    report.write(result, tmp_path)
    text = (tmp_path / "latest.md").read_text()
    assert "| left out: redis-server is not here" in text
    assert "| 1,000/s, 100 µs CPU each (50 + 50 of the database) |" in text
    assert "| deliveries a second, RxDesk against bare | 1.00 (1.00 – 1.00) |" in text


@needs_proc
def test_a_small_race_is_run_whole(
    cluster: embedded.Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a PostgreSQL that is there; whose processor time the database's is, is not looked at here."""
    monkeypatch.setattr(contestants, "lacking", lambda: {"celery": "not in this test"})
    monkeypatch.setattr(
        section, "SMALL", section.Size(events=2, memory_events=2, memory_rounds=2, backlog=2000, claims=2)
    )
    plan = Plan(
        rounds=2,
        seconds=0,
        tail_seconds=0,
        warm_up=0,
        check_seconds=0,
        least=0,
        connections=0,
        servers=None,
        client=None,
    )
    found = section.measure(cluster, plan, os.getpid(), tmp_path, quick=True, tell=lambda _: None)
    deliveries = found["deliveries"]
    assert deliveries["rxdesk"]["deliveries"] == deliveries["bare"]["deliveries"] == 2 * 2 * work.ENDPOINTS
    assert deliveries["rxdesk"]["worker_us"] > 0
    assert deliveries["ratio_to_bare"] > 0
    assert deliveries["left_out"] == {"celery": "not in this test"}
    assert found["claim_backlog"]["jobs"] == [2000, 1000]
    assert found["claim_backlog_ratio"] > 0
    assert 5 < found["worker_memory_mb"] < 1000
