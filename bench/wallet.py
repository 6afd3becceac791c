"""Wallet passes: signed Apple passes, links to Google Wallet beside their signatures, pushes beside a bare loop on h2.

The emulator's push service runs in a process of its own on the client's core; RxDesk's client and the bare loop take
turns on the servers' core. The bare loop sends the same requests on as many streams and looks at nothing but their end.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import ssl
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, cast

import msgspec
import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import SettingsAcknowledged, StreamEnded

from bench.load import BenchError
from bench.measuring import Plan, pairwise
from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.wallet.apple.apns import ApnsClient, apns_tls
from rxdesk.wallet.apple.certificates import load_signer
from rxdesk.wallet.apple.package import build_pass
from rxdesk.wallet.apple.trial import TrialFiles, create_chain, files_in
from rxdesk.wallet.card import Barcode, Card, Field, Text, WebService
from rxdesk.wallet.emulator.apns import Devices
from rxdesk.wallet.emulator.apns_server import ApnsServer, server_tls
from rxdesk.wallet.google.account import ServiceAccount
from rxdesk.wallet.google.links import save_link

Tell = Callable[[str], None]
GOAL_PASS_MS, GOAL_PUSHES, GOAL_SHARE = 5.0, 1500, 0.5
_PASS_TYPE = "pass.org.example.bench"  # noqa: S105 (a name)
_TOKEN = "0a" * 32
_STREAMS = 64
_IMAGE_BYTES = 20_000
_ISSUER = "3388000000000000000"


def measure(plan: Plan, *, quick: bool, tell: Tell) -> dict[str, Any]:
    """Measure all three; the numbers of passes, links and pushes a round are a tenth in a quick run."""
    share = 10 if quick else 1
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="rxdesk-bench-wallet-") as name:
        files = create_chain(Path(name), _PASS_TYPE, "BENCH00000", utc_now().replace(microsecond=0))
        if plan.servers:
            os.sched_setaffinity(0, plan.servers)
        try:
            tell("signed passes")
            passes = _passes(files, plan.rounds, 500 // share)
            tell("links to Google Wallet")
            links = _links(plan.rounds, 300 // share)
            with _service(Path(name), plan.client) as url:
                pushes = uvloop.run(_pushes(url, files, plan.rounds, 5000 // share, tell))
        finally:
            os.sched_setaffinity(0, before)
    return {"wallet_passes": passes, "wallet_links": links, "wallet_pushes": pushes}


def _card() -> Card:
    field = Field(key="name", label=Text("Name", {"de": "Name"}), value=Text("Ada Löwe"))
    news = Field(
        key="news", label=Text("News", {"de": "Neues"}), value=Text("–"), change_message=Text("{value}")
    )
    return Card(
        kind="generic",
        serial="wp-1",
        template="wpt-1",
        organisation="Praxis Nordlicht",
        description=Text("Patient card", {"de": "Patientenkarte"}),
        title=Text("Nordlicht"),
        images={
            f"{name}@{scale}x": b"\x89PNG" * (_IMAGE_BYTES // 4)
            for name in ("icon", "logo")
            for scale in (1, 2)
        },
        primary=(field,),
        back=(news,),
        barcode=Barcode(content="RX1.abc"),
        web_service=WebService(url="https://example.com/w/abc", token="t" * 32),
    )


def _passes(files: TrialFiles, rounds: int, count: int) -> dict[str, Any]:
    signer = load_signer(files.pass_certificate, files.pass_key, files.intermediate)
    card, now = _card(), datetime.now(UTC)
    size = len(build_pass(card, signer, now))
    cpu_ms, per_second = [], []
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        for _ in range(count):
            build_pass(card, signer, now)
        cpu_ms.append(1000 * (time.process_time() - used) / count)
        per_second.append(count / (time.perf_counter() - began))
    return {
        "count": rounds * count,
        "bytes": size,
        "cpu_ms": round(median(cpu_ms), 2),
        "per_second": round(median(per_second)),
        "goal_ms": GOAL_PASS_MS,
    }


def _links(rounds: int, count: int) -> dict[str, Any]:
    """Measure links for a card that is in the token, in turns with signatures of the same claims, written once."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = ServiceAccount("bench@example.com", key, "k1", "https://example.com/token")
    card, now = msgspec.structs.replace(_card(), back=()), datetime.now(UTC)
    link = save_link(card, _ISSUER, account, now)
    if not link.whole:
        raise BenchError("the link does not hold the whole pass")
    signed = link.url.rpartition("/")[2].rpartition(".")[0].encode("ascii")
    ours, theirs, cpu_ms = [], [], []
    for _ in range(rounds):
        used = time.process_time()
        ours.append(_per_second(count, lambda: save_link(card, _ISSUER, account, now)))
        cpu_ms.append(1000 * (time.process_time() - used) / count)
        theirs.append(
            _per_second(count, lambda: b64encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256())))
        )
    return {
        "count": rounds * count,
        "characters": len(link.url),
        "cpu_ms": round(median(cpu_ms), 2),
        "per_second": round(median(ours)),
        "bare_per_second": round(median(theirs)),
        "against_bare": asdict(pairwise(ours, theirs)),
    }


def _per_second(count: int, make: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(count):
        make()
    return count / (time.perf_counter() - began)


# ------------------------------------------------------------------------------------------------------- pushes
def _serve(folder: str, cores: set[int] | None, answer: Connection) -> None:
    async def forever() -> None:
        server = ApnsServer(Devices(utc_now), server_tls(files_in(Path(folder))))
        server.devices.know(_TOKEN, lambda _: None)
        answer.send(await server.start())
        await asyncio.Event().wait()

    if cores:
        os.sched_setaffinity(0, cores)
    uvloop.run(forever())


@contextmanager
def _service(folder: Path, cores: set[int] | None) -> Iterator[str]:
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(str(folder), cores, theirs), daemon=True
    )
    process.start()
    try:
        if not mine.poll(30):
            raise BenchError("the emulator's push service did not start")
        yield f"https://127.0.0.1:{mine.recv()}"
    finally:
        process.kill()
        process.join()


async def _pushes(url: str, files: TrialFiles, rounds: int, count: int, tell: Tell) -> dict[str, Any]:
    tls = apns_tls(files.pass_certificate, files.pass_key, "", files.root)
    client = ApnsClient(Egress(AllowList.parse("127.0.0.1/32:*")), url, tls, _PASS_TYPE, utc_now)
    bare = await _Bare.connected(url, tls)
    ours, theirs, cpu_us = [], [], []
    await _round(client, count // 10)
    await bare.round(count // 10)
    for number in range(rounds):
        tell(f"pushes: round {number + 1} of {rounds}")
        used = time.process_time()
        ours.append(await _round(client, count))
        cpu_us.append(1e6 * (time.process_time() - used) / count)
        theirs.append(await bare.round(count))
    await client.close()
    bare.close()
    return {
        "count": rounds * count,
        "per_second": round(median(ours)),
        "cpu_us": round(median(cpu_us)),
        "bare_per_second": round(median(theirs)),
        "against_bare": asdict(pairwise(ours, theirs)),
        "goal_per_second": GOAL_PUSHES,
        "goal_share": GOAL_SHARE,
    }


async def _round(client: ApnsClient, count: int) -> float:
    """Push so often, on as many streams as the bare loop; give pushes a second."""
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            pushed = await client.push(_TOKEN)
            if pushed.verdict != "sent":
                raise BenchError(f"a push was answered {pushed.reason}")

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(_STREAMS)))
    return count / (time.perf_counter() - began)


class _Bare(asyncio.Protocol):
    """The limit: the requests and no judgement of answers."""

    def __init__(self) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._left = self._open = 0
        self._all = asyncio.Event()
        self._ready = asyncio.Event()

    @classmethod
    async def connected(cls, url: str, tls: ssl.SSLContext) -> _Bare:
        """Connect and wait for the server's settings."""
        port = int(url.rpartition(":")[2])
        made = cls()
        await asyncio.get_running_loop().create_connection(
            lambda: made, "127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1"
        )
        await made._ready.wait()
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._h2.initiate_connection()
        self._transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, StreamEnded):
                self._open -= 1
            elif isinstance(event, SettingsAcknowledged):
                self._ready.set()
        self._fill()

    def _fill(self) -> None:
        while self._left and self._open < _STREAMS:
            self._left -= 1
            self._open += 1
            stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(
                stream,
                [
                    (":method", "POST"),
                    (":scheme", "https"),
                    (":authority", "127.0.0.1"),
                    (":path", f"/3/device/{_TOKEN}"),
                    ("apns-topic", _PASS_TYPE),
                ],
            )
            self._h2.send_data(stream, b"{}", end_stream=True)
        self._transport.write(self._h2.data_to_send())
        if not self._left and not self._open:
            self._all.set()

    async def round(self, count: int) -> float:
        """Send so many; give how many a second."""
        self._left = count
        self._all.clear()
        began = time.perf_counter()
        self._fill()
        await self._all.wait()
        return count / (time.perf_counter() - began)

    def close(self) -> None:
        """Close at once."""
        self._transport.abort()
