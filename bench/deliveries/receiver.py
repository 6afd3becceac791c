"""The receiver: answers 204, counts, and verifies when it is told to. It has a core of its own, and is not counted.

It is a process that is spoken to by lines of JSON: `{"wanted": 100, "verify": false}` begins a new count, which is
answered at once, and a second time when so many different deliveries have come; `{"tell": true}` asks how the count
stands.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench.deliveries import signatures, work

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_END = b"\r\n\r\n"


@dataclass
class Ledger:
    """What came: `count` of requests, `distinct` deliveries (a path and a webhook-id), the first `fault`."""

    secrets: dict[str, str]
    wanted: int = 0
    verify: bool = False
    count: int = 0
    distinct: set[tuple[str, str]] = field(default_factory=set)
    fault: str | None = None

    def begin(self, wanted: int, *, verify: bool) -> None:
        """Begin a new count."""
        self.wanted, self.verify, self.count, self.fault = wanted, verify, 0, None
        self.distinct.clear()

    def note(self, head: str, body: bytes) -> bool:
        """Note a request; tells whether it was the last one that is wanted."""
        line, _, fields = head.partition("\r\n")
        path = line.split(" ")[1]
        headers = {
            name.lower(): value.strip()
            for name, _, value in (one.partition(":") for one in fields.split("\r\n"))
        }
        before = len(self.distinct)
        self.count += 1
        self.distinct.add((path, headers.get("webhook-id", "")))
        if self.verify and self.fault is None:
            self.fault = self._looked_at(path, headers, body)
        return before < len(self.distinct) == self.wanted

    def _looked_at(self, path: str, headers: dict[str, str], body: bytes) -> str | None:
        if path not in self.secrets:
            return "its path is nobody's"
        if len(body) != work.BODY_BYTES:
            return f"its body has {len(body)} bytes"
        return signatures.fault(self.secrets[path], headers, body)

    def told(self) -> dict[str, Any]:
        """Say how the count stands."""
        return {"count": self.count, "distinct": len(self.distinct), "fault": self.fault}


def length(head: str) -> int:
    """Give a request's Content-Length."""
    at = head.lower().find("\r\ncontent-length:")
    if at < 0:
        return 0
    return int(head[at + 17 :].partition("\r\n")[0])


class Receiving(asyncio.Protocol):
    """One connection, which stays open."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        waiting = self._waiting + data
        while (end := waiting.find(_END)) >= 0:
            head = waiting[:end].decode("latin-1")
            whole = end + len(_END) + length(head)
            if len(waiting) < whole:
                break
            last = self._ledger.note(head, waiting[end + len(_END) : whole])
            self._transport.write(_ANSWER)
            waiting = waiting[whole:]
            if last:
                say(self._ledger.told())
        self._waiting = waiting


def say(what: dict[str, Any]) -> None:
    """Write a line."""
    print(json.dumps(what), flush=True)


async def serve(secrets: Path) -> None:
    """Receive until standard input ends."""
    ledger = Ledger({})
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiving(ledger), "127.0.0.1", 0)
    say({"port": server.sockets[0].getsockname()[1]})
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = json.loads(line)
        if "wanted" in told:
            ledger.secrets = {one.path: one.secret for one in work.read(secrets)}
            ledger.begin(told["wanted"], verify=told["verify"])
        say(ledger.told())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))
