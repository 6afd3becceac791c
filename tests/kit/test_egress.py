import asyncio
import contextlib
import datetime as dt
import gzip
import ipaddress
import logging
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rxdesk.kit.addresses import Address, AllowList
from rxdesk.kit.egress import ANSWER_LIMIT, Egress, Outcome, connect_tcp, system_resolver
from rxdesk.kit.targets import TargetForbidden, TargetInvalid, TargetRefused, judge_target

LOOPBACK = AllowList.parse("http+127.0.0.1/32:*")
BODY = b'{"event_type":"order_created"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


# --- certificates
class Authority:
    """A certificate authority made for this run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            self._builder(self.subject, self.key.public_key(), days=1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )

    def server(self, label: str, names: Sequence[x509.GeneralName], days: int = 1) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([]), key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        file = self.folder / f"{label}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass
class Pki:
    ca_file: Path
    good: ssl.SSLContext
    expired: ssl.SSLContext
    wrong_name: ssl.SSLContext
    unknown_authority: ssl.SSLContext


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority(folder, "ours")
    names = [
        x509.DNSName("receiver.test"),
        x509.DNSName("xn--bcher-kva.test"),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    return Pki(
        ca_file=authority.file,
        good=authority.server("good", names),
        expired=authority.server("expired", names, days=-1),
        wrong_name=authority.server("wrong", [x509.DNSName("other.test")]),
        unknown_authority=Authority(folder, "theirs").server("unknown", names),
    )


# --- receivers
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


@dataclass
class Receiver:
    """A server on 127.0.0.1; `requests` are the raw heads that came, `accepted` counts connections."""

    port: int = 0
    accepted: int = 0
    requests: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)

    def url(self, host: str = "receiver.test", path: str = "/hook") -> str:
        return f"https://{host}:{self.port}{path}"


@contextlib.asynccontextmanager
async def receiving(behaviour: Behaviour, tls: ssl.SSLContext | None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        receiver.accepted += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            receiver.requests.append(head)
            receiver.bodies.append(await reader.readexactly(len(BODY)))
            await behaviour(reader, writer, head)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        writer.transport.abort()

    def note_name(_connection: object, name: str | None, _context: object) -> None:
        receiver.server_names.append(name)

    if tls is not None:
        tls.sni_callback = note_name
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def answering(answer: bytes) -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(answer)

    return behave


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _head: bytes) -> None:
    await reader.read()


def dripping(head: bytes) -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    return behave


def endless(head: bytes, piece: bytes) -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return behave


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def names(**table: str | Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(name: str, port: int) -> Sequence[str]:
        answer = table.get(name.replace(".", "_").replace("-", "_"))
        if answer is None:
            raise OSError("unknown")
        return [answer] if isinstance(answer, str) else answer

    return resolve


RECEIVER = names(receiver_test="127.0.0.1", xn__bcher_kva_test="127.0.0.1")


@pytest.fixture
def egress(pki: Pki) -> Egress:
    return Egress(LOOPBACK, ca_file=pki.ca_file, resolver=RECEIVER)


async def send(egress: Egress, url: str, total: float = 3.0) -> Outcome:
    return await egress.post(url, BODY, {"Content-Type": "application/json", "X-Token": "t"}, total=total)


# --- what a request is
async def test_a_delivery(pki: Pki, egress: Egress) -> None:
    async with receiving(answering(OK), pki.good) as receiver:
        outcome = await send(egress, receiver.url(path="/a/../b%2F?c=d&&e"))
    assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")
    assert 0 <= outcome.duration_ms < 3000
    assert receiver.bodies == [BODY]
    assert receiver.server_names == ["receiver.test"]
    line, *headers = receiver.requests[0].decode().rstrip().split("\r\n")
    assert line == "POST /a/../b%2F?c=d&&e HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: close",
        f"Content-Length: {len(BODY)}",
        "Content-Type: application/json",
        f"Host: receiver.test:{receiver.port}",
        "User-Agent: RxDesk",
        "X-Token: t",
    ]


async def test_hosts_of_every_kind(pki: Pki, egress: Egress) -> None:
    async with receiving(answering(OK), pki.good) as receiver:
        for host in ("127.0.0.1", "localhost", "RECEIVER.test.", "bücher.test"):
            assert (await send(egress, receiver.url(host))).error is None, host
    assert receiver.server_names == [None, "localhost", "receiver.test", "xn--bcher-kva.test"]


async def test_plain_http_where_it_is_opened(egress: Egress) -> None:
    async with receiving(answering(OK), None) as receiver:
        outcome = await send(egress, f"http://127.0.0.1:{receiver.port}/")
    assert (outcome.status, outcome.error) == (200, None)


async def test_headers_that_are_given_take_the_place_of_ours(egress: Egress, pki: Pki) -> None:
    async with receiving(answering(b"HTTP/1.1 204 X\r\n\r\n"), pki.good) as receiver:
        await egress.post(receiver.url(), BODY, {"user-agent": "theirs", "X-Name": "ä"})
    lines = receiver.requests[0].decode().split("\r\n")
    assert [line for line in lines if line.lower().startswith("user-agent")] == ["user-agent: theirs"]
    assert "X-Name: ä" in lines


@pytest.mark.parametrize("sign", ["\r", "\n", "\0", "\x1f", "\x7f"])
async def test_a_header_cannot_be_more_than_one(listener: socket.socket, sign: str) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    egress = Egress(AllowList.parse("http+127.0.0.0/8:*"))
    for headers in ({"X": f"a{sign}Host: b"}, {f"X{sign}Y": "a"}):
        with pytest.raises(ValueError, match="control"):
            await egress.post(url, b"", headers)
    assert accepted(listener) == 0


async def test_duration_is_read_from_the_clock(pki: Pki) -> None:
    ticks = iter([100.0, 100.0871])
    egress = Egress(LOOPBACK, ca_file=pki.ca_file, resolver=RECEIVER, clock=lambda: next(ticks))
    async with receiving(answering(OK), pki.good) as receiver:
        assert (await send(egress, receiver.url())).duration_ms == 87


async def test_environment_proxies_and_netrc_are_ignored(
    egress: Egress, pki: Pki, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with receiving(answering(OK), None) as proxy, receiving(answering(OK), pki.good) as receiver:
        for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        assert (await send(egress, receiver.url())).error is None
    assert proxy.accepted == 0
    assert b"authorization" not in receiver.requests[0].lower()


async def test_no_connection_and_no_cookie_is_kept(pki: Pki, egress: Egress) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(answer)
        await reader.read()

    async with receiving(stay, pki.good) as receiver:
        for _ in range(3):
            assert (await send(egress, receiver.url())).error is None
    assert receiver.accepted == 3
    assert all(b"cookie" not in head.lower() for head in receiver.requests)


async def test_nothing_of_a_request_is_logged(
    pki: Pki, egress: Egress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="aiohttp")
    caplog.set_level(logging.DEBUG, logger="rxdesk")
    async with receiving(answering(b"nonsense\r\n\r\n"), pki.good) as receiver:
        await send(egress, receiver.url(path="/SECRET"))
    assert not [one for one in caplog.records if one.name.startswith(("aiohttp", "rxdesk"))]


# --- the answer
@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("200 OK", None),
        ("201 Created", None),
        ("204 No Content", None),
        ("299 X", None),
        ("300 X", "redirect"),
        ("304 Not Modified", "redirect"),
        ("308 X", "redirect"),
        ("400 X", "status"),
        ("404 X", "status"),
        ("410 Gone", "status"),
        ("429 X", "status"),
        ("500 X", "status"),
        ("503 X", "status"),
        ("600 X", "status"),
    ],
)
async def test_the_status_decides(egress: Egress, line: str, error: str | None) -> None:
    async with receiving(
        answering(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n".encode()), None
    ) as receiver:
        outcome = await send(egress, f"http://127.0.0.1:{receiver.port}/")
    assert (outcome.status, outcome.error) == (int(line[:3]), error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(pki: Pki, egress: Egress, status: int) -> None:
    async with receiving(answering(OK), None) as inner:
        answer = (
            f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{inner.port}/\r\nContent-Length: 0\r\n\r\n"
        )
        async with receiving(answering(answer.encode()), pki.good) as receiver:
            outcome = await send(egress, receiver.url())
        assert (outcome.status, outcome.error) == (status, "redirect")
        assert (receiver.accepted, inner.accepted) == (1, 0)


async def test_a_gzip_bomb_stays_packed(pki: Pki, egress: Egress) -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with receiving(answering(head + bomb), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (200, None)
    assert outcome.answer == bomb[:16384]


async def test_of_a_long_answer_the_beginning_is_kept(pki: Pki, egress: Egress) -> None:
    body = bytes(range(256)) * 400
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with receiving(answering(head + body), pki.good) as receiver:
        kept = await send(egress, receiver.url())
        none = await egress.post(receiver.url(), BODY, {}, max_answer=0)
    assert (kept.error, kept.answer) == (None, body[:16384])
    assert (none.error, none.answer) == (None, b"")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    ],
    ids=["to the end", "sized", "chunked"],
)
async def test_an_endless_answer_is_too_large(pki: Pki, egress: Egress, head: bytes, piece: bytes) -> None:
    async with receiving(endless(head, piece), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (200, "too_large")
    assert outcome.answer == b"x" * 16384


async def test_an_answer_of_exactly_the_limit_is_not_too_large(pki: Pki, egress: Egress) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_LIMIT}\r\n\r\n".encode()
    async with receiving(answering(head + b"x" * ANSWER_LIMIT), pki.good) as receiver:
        assert (await send(egress, receiver.url())).error is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Bomb: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Bomb: x\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + (b"X-Bomb: " + b"x" * 8000 + b"\r\n") * 9 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X" * 1_000_000 + b": x\r\n\r\n",
    ],
    ids=["value", "count", "sum", "status line", "name"],
)
async def test_a_header_bomb_is_too_large(pki: Pki, egress: Egress, answer: bytes) -> None:
    async with receiving(answering(answer), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (None, "too_large")


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc X\r\n\r\n", b"\0" * 100]
)
async def test_what_speaks_no_http_is_no_connection(pki: Pki, egress: Egress, answer: bytes) -> None:
    async with receiving(answering(answer), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (None, "connect")


async def test_a_few_interim_answers_are_passed_over(pki: Pki, egress: Egress) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with receiving(answering(interim * 3 + OK), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
async def test_an_answer_cut_short_counts_by_its_status(pki: Pki, egress: Egress, answer: bytes) -> None:
    async with receiving(answering(answer), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")


# --- hostile, and silent
@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (hang, None, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\nX-Drip: "), None, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\n\r\n"), 200, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"), 200, "timeout"),
        (dripping(b"HTTP/1.1 500 X\r\nContent-Length: 10000\r\n\r\n"), 500, "status"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), None, "too_large"),
        (reset, None, "connect"),
    ],
    ids=[
        "silence",
        "header drip",
        "body drip",
        "sized body drip",
        "drip of a failure",
        "endless 100s",
        "reset",
    ],
)
async def test_no_receiver_holds_us_beyond_the_deadline(
    pki: Pki, egress: Egress, behaviour: Behaviour, status: int | None, error: str
) -> None:
    async with receiving(behaviour, pki.good) as receiver:
        started = time.monotonic()
        outcome = await send(egress, receiver.url(), total=0.3)
        took = time.monotonic() - started
    assert (outcome.status, outcome.error) == (status, error)
    assert took < 1.0
    assert outcome.duration_ms < 1000


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "timeout"),
        (OK, None),
        (b"nonsense\r\n\r\n", "connect"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20), "too_large"),
    ],
    ids=["silence", "answer", "nonsense", "endless 100s", "long body"],
)
async def test_the_socket_is_gone_when_the_request_is_over(
    pki: Pki, answer: bytes, error: str | None
) -> None:
    opened: list[socket.socket] = []

    async def connect(address: Address, port: int) -> socket.socket:
        opened.append(await connect_tcp(address, port))
        return opened[-1]

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(answer)
        # Neither our goodbye nor the end of the connection is noticed.
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport of both directions
        await asyncio.Event().wait()

    egress = Egress(LOOPBACK, ca_file=pki.ca_file, resolver=RECEIVER, connect=connect)
    async with receiving(deaf, pki.good) as receiver:
        outcome = await send(egress, receiver.url(), total=0.5)
        await asyncio.sleep(0.05)
        assert [one.fileno() for one in opened] == [-1]
    assert outcome.error == error


@contextlib.asynccontextmanager
async def raw_receiver(answer: bytes, *, close: bool) -> AsyncIterator[int]:
    """A listener that does not speak TLS."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        if not close:
            await over.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await asyncio.sleep(0.01)


async def test_a_stall_in_tls_ends_at_the_deadline(egress: Egress) -> None:
    async with raw_receiver(b"", close=False) as port:
        started = time.monotonic()
        outcome = await send(egress, f"https://receiver.test:{port}/", total=0.3)
    assert (outcome.status, outcome.error) == (None, "timeout")
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"]
)
async def test_what_speaks_no_tls(egress: Egress, answer: bytes) -> None:
    async with raw_receiver(answer, close=True) as port:
        assert (await send(egress, f"https://receiver.test:{port}/")).error == "tls"


@pytest.mark.parametrize("fault", ["expired", "wrong_name", "unknown_authority"])
async def test_a_certificate_that_does_not_hold(pki: Pki, egress: Egress, fault: str) -> None:
    async with receiving(answering(OK), getattr(pki, fault)) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (None, "tls")
    assert receiver.requests == []


async def test_our_authority_counts_only_where_it_is_given(pki: Pki) -> None:
    async with receiving(answering(OK), pki.good) as receiver:
        assert (await send(Egress(LOOPBACK, resolver=RECEIVER), receiver.url())).error == "tls"
    assert receiver.requests == []


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_an_unusable_authority_file_is_an_error_at_once(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OSError):  # noqa: PT011 - the messages are OpenSSL's
        Egress(LOOPBACK, ca_file=file)


async def test_a_closed_port(egress: Egress) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = await send(egress, f"https://127.0.0.1:{taken.getsockname()[1]}/")
    assert (outcome.status, outcome.error, outcome.answer) == (None, "connect", b"")


async def test_a_name_that_does_not_resolve(egress: Egress) -> None:
    assert (await send(egress, "https://unknown.test/")).error == "dns"


async def test_a_name_server_that_does_not_answer() -> None:
    async def silent(_name: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    assert (
        await send(Egress(LOOPBACK, resolver=silent), "https://receiver.test/", total=0.05)
    ).error == "timeout"


# --- several addresses
PUBLIC = ["1.1.1.1", "2606:4700::1111", "8.8.8.8"]


async def test_addresses_are_tried_in_order() -> None:
    tried: list[tuple[str, int]] = []

    async def connect(address: Address, port: int) -> socket.socket:
        tried.append((str(address), port))
        if str(address) == "1.1.1.1":
            await asyncio.Event().wait()
        raise ConnectionRefusedError

    egress = Egress(AllowList(), resolver=names(many_test=PUBLIC), connect=connect)
    outcome = await egress.post("https://many.test:8443/", BODY, {}, connect=0.02)
    assert outcome.error == "connect"
    assert tried == [(one, 8443) for one in PUBLIC]


async def test_the_second_address_serves_when_the_first_is_dead(pki: Pki) -> None:
    async def connect(address: Address, port: int) -> socket.socket:
        if str(address) == "1.1.1.1":
            raise ConnectionRefusedError
        return await connect_tcp(address, port)

    egress = Egress(
        LOOPBACK, ca_file=pki.ca_file, resolver=names(receiver_test=["1.1.1.1", "127.0.0.1"]), connect=connect
    )
    async with receiving(answering(OK), pki.good) as receiver:
        assert (await send(egress, receiver.url())).error is None


async def test_silence_at_every_address_is_a_timeout() -> None:
    async def connect(_address: Address, _port: int) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    egress = Egress(AllowList(), resolver=names(many_test=PUBLIC), connect=connect)
    assert (await egress.post("https://many.test/", BODY, {}, connect=0.01)).error == "timeout"


# --- the policy
# Escapes are look-alikes: full-width and circled digits and letters, other full stops.
FORBIDDEN_TEXT = """
127.0.0.1 127.0.0.2 127.1 127.0.1 127.255.255.254 2130706433 017700000001 0x7f000001 0x7F000001 0x7f.1
0x7f.0.0.1 0177.0.0.1 0177.1 00177.0.0.1 127.0x1 127.0.0.0x1 127.0.0.01 0x7f.0x0.0x0.0x1 127.0.0.1. 127.1.
2130706434 127.16777215 \uff11\uff12\uff17.\uff10.\uff10.\uff11 127\u30020\u30020\u30021
\u2460\u2461\u2466.0.0.1 \uff10x7f.1 127\uff0e0\uff0e0\uff0e1 127\uff611 0.0.0.0 0 0x0 00 0.0 0.0.0.1 0x 0.1
10.0.0.1 10.1 167772161 012.0.0.1 0xa.1 0x0a000001 10.255.255.255 10.0.0.1. 172.16.0.1 172.31.255.255
0xac.0x10.1 2886729729 192.168.0.1 192.168.1 3232235521 0300.0250.0.1 192.168.65535 100.64.0.1
100.127.255.255 1681915905 100.100.100.200 0x646464c8 169.254.169.254 2852039166 0xa9fea9fe
0251.0376.0251.0376 169.254.43518 169.16689662 0xa9.254.0251.254 169.254.169.254.
169\u3002254\u3002169\u3002254 169.254.170.2 169.254.0.1 168.63.129.16 2822734096 192.0.0.192 192.0.0.1
192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1 198.19.255.255 192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 4294967295 0xffffffff 192.31.196.1 192.52.193.1 192.175.48.1 localhost LOCALHOST LocalHost.
localhost. a.localhost a.b.localhost x.LOCALHOST. \u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3
\uff4cocalhost [::1] [0:0:0:0:0:0:0:1] [0000::0001] [::0.0.0.1] [::] [0::0] [::127.0.0.1] [::7f00:1]
[::a00:1] [::169.254.169.254] [::ffff:127.0.0.1] [::FFFF:7f00:1] [0:0:0:0:0:ffff:7f00:0001]
[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::ffff:10.0.0.1] [::ffff:8.8.8.8] [::ffff:0:127.0.0.1]
[64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b::8.8.8.8] [64:ff9b:1::10.0.0.1] [64:ff9b:1:abcd::1]
[2002:7f00:1::] [2002:a9fe:a9fe::1] [2002:c0a8:101::] [2001::1] [2001:0:7f00:1::]
[2001:0:53aa:64c:0:7ffe:80ff:fffe] [2606:4700::5efe:127.0.0.1] [2606:4700::200:5efe:10.0.0.1] [fe80::1]
[fe80::5efe:10.0.0.1] [febf::1] [fc00::1] [fd00::1] [fd00:ec2::254] [fd20:ce::254] [fdff::1] [fec0::1]
[ff02::1] [ff0e::1] [2001:db8::1] [3fff::1] [2001:2::1] [2001:10::1] [2001:20::1] [100::1] [100:0:0:1::1]
[5f00::1] [2620:4f:8000::1] [3ffe::1] [4000::1] [fe00::1] [::2] [200::1] inner.test mixed.test
mixed-last.test mapped.test nat64.test metadata.test six.test scoped.test wildcard.test INNER.test.
\uff49nner.test
"""
FORBIDDEN_HOSTS = FORBIDDEN_TEXT.split()
FORBIDDEN_NAMES = names(
    inner_test="127.0.0.1",
    mixed_test=["127.0.0.1", "1.1.1.1"],
    mixed_last_test=["1.1.1.1", "8.8.8.8", "10.0.0.1"],
    mapped_test="::ffff:127.0.0.1",
    nat64_test="64:ff9b::7f00:1",
    metadata_test="169.254.169.254",
    six_test=["2606:4700::1", "::1"],
    scoped_test="fe80::1%1",
    wildcard_test="0.0.0.0",  # noqa: S104 - judged, not bound to
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener with room for every connection that is not to come."""
    # On all addresses, since 0.0.0.0 and 127.0.0.2 would lead here too.
    with socket.create_server(("0.0.0.0", 0), backlog=512) as listening:  # noqa: S104
        listening.setblocking(False)  # noqa: FBT003
        yield listening


def accepted(listening: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            count += 1
    return count


async def test_no_forbidden_target_gets_a_connection(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    connected: list[str] = []

    async def connect(address: Address, _port: int) -> socket.socket:
        # Wherever a request wants to go, its connection would be seen here.
        connected.append(str(address))
        return await connect_tcp(ipaddress.IPv4Address("127.0.0.1"), port)

    real = Egress(AllowList(), resolver=FORBIDDEN_NAMES)
    seen = Egress(AllowList(), resolver=FORBIDDEN_NAMES, connect=connect)
    assert len(set(FORBIDDEN_HOSTS)) == len(FORBIDDEN_HOSTS) >= 140
    for host in FORBIDDEN_HOSTS:
        url = f"https://{host}:{port}/"
        for attempt in (
            real.post(url, BODY, {}),
            seen.post(url, BODY, {}),
            judge_target(url, AllowList(), FORBIDDEN_NAMES),
        ):
            with pytest.raises(TargetForbidden):
                await attempt
        with pytest.raises(TargetInvalid):
            await real.post(f"http://{host}:{port}/", BODY, {})
    assert connected == []
    assert accepted(listener) == 0


async def test_the_listener_would_have_seen_a_connection(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert (
        await Egress(LOOPBACK).post(f"https://127.0.0.1:{port}/", BODY, {}, total=0.05)
    ).error == "timeout"
    assert accepted(listener) == 1


async def test_an_opened_port_opens_no_other(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    egress = Egress(AllowList.parse(f"http+127.0.0.1/32:{port - 1}"), resolver=FORBIDDEN_NAMES)
    for url in (f"https://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/", f"https://inner.test:{port}/"):
        with pytest.raises(TargetForbidden):
            await egress.post(url, BODY, {})
    assert accepted(listener) == 0


async def test_rebinding_loses(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    answers = iter([["1.1.1.1"], ["127.0.0.1"]])

    async def rebinding(_name: str, _port: int) -> Sequence[str]:
        return next(answers)

    await judge_target(f"https://rebinding.test:{port}/", AllowList(), rebinding)
    with pytest.raises(TargetForbidden) as refused:
        await Egress(AllowList(), resolver=rebinding).post(f"https://rebinding.test:{port}/", BODY, {})
    assert refused.value.reason == "loopback"
    assert accepted(listener) == 0


async def test_a_name_is_resolved_once_and_connected_to_as_judged() -> None:
    asked: list[str] = []
    connected: list[str] = []

    async def rebinding(name: str, _port: int) -> Sequence[str]:
        asked.append(name)
        return ["1.1.1.1"] if len(asked) == 1 else ["127.0.0.1"]

    async def connect(address: Address, _port: int) -> socket.socket:
        connected.append(str(address))
        raise ConnectionRefusedError

    egress = Egress(AllowList(), resolver=rebinding, connect=connect)
    assert (await egress.post("https://rebinding.test/", BODY, {})).error == "connect"
    assert (asked, connected) == (["rebinding.test"], ["1.1.1.1"])


async def test_the_peer_is_judged_again_before_a_byte_is_sent() -> None:
    received = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def elsewhere(_address: Address, _port: int) -> socket.socket:
        return await connect_tcp(ipaddress.IPv4Address("127.0.0.1"), port)

    egress = Egress(AllowList(), resolver=names(public_test="1.1.1.1"), connect=elsewhere)
    with pytest.raises(TargetForbidden) as refused:
        await egress.post("https://public.test/", BODY, {})
    assert refused.value.reason == "loopback"
    assert await received == b""
    server.close()


async def test_a_refusal_holds_nothing_of_the_url() -> None:
    for url in ("https://127.0.0.1/SECRET", "https://inner.test/SECRET", "https://u:SECRET@a.test/"):
        with pytest.raises(TargetRefused) as refused:
            await Egress(AllowList(), resolver=FORBIDDEN_NAMES).post(url, BODY, {})
        assert "SECRET" not in repr(refused.value)
        assert "inner" not in repr(refused.value)


# --- the system's resolver
async def test_the_systems_resolver_knows_localhost() -> None:
    assert set(await system_resolver()("localhost", 443)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("name", ["unknown.invalid", "a" * 64 + ".invalid", ""])
async def test_the_systems_resolver_says_when_there_is_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match="resolve"):
        await system_resolver()(name, 443)


async def test_slow_look_ups_are_limited_and_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    going: list[str] = []
    loop = asyncio.get_running_loop()
    release = asyncio.Event()

    def slow(name: str, *_: object, **__: object) -> list[object]:
        going.append(name)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(timeout=5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolve = system_resolver(slots=2)
    for name in ("a.test", "b.test", "c.test"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(resolve(name, 443), 0.02)
    assert going == ["a.test", "b.test"]  # the third found no slot
    release.set()
    assert await resolve("d.test", 443) == ["1.1.1.1"]
