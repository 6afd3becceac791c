"""The limit of deliveries: a bare aiohttp loop that signs and posts what it has in memory, and keeps no record.

Spoken to by lines of JSON: `{"bodies": 10}` makes so many events, `{"go": true}` sends each of them to every endpoint
and answers when all were answered.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import uvloop

from bench.deliveries import work
from bench.deliveries.receiver import say
from bench.peers.signing import headers, key_of
from rxdesk.kit.uids import new_uid

Posted = tuple[str, bytes, str, bytes, bytes]
"""The event's uid, its body, and of the endpoint: the address and the two keys."""


async def _send(session: aiohttp.ClientSession, waiting: Iterator[Posted]) -> None:
    for uid, body, url, secret, key in waiting:
        async with session.post(
            url, data=body, headers=headers(work.EVENT, uid, body, secret, key)
        ) as answer:
            await answer.read()
            answer.raise_for_status()


async def serve(file: Path) -> None:
    """Work until standard input ends."""
    places = [(one.url, one.secret.encode(), key_of(one.secret)) for one in work.read(file)]
    events: list[tuple[str, bytes]] = []
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    connector = aiohttp.TCPConnector(limit=work.IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session:
        say({"ready": True})
        while line := await reader.readline():
            told = json.loads(line)
            if "bodies" in told:
                moment = int(time.time())
                events = [(new_uid("evt"), work.body(one, moment)) for one in range(told["bodies"])]
            else:
                waiting = ((*event, *place) for event, place in itertools.product(events, places))
                await asyncio.gather(*(_send(session, waiting) for _ in range(work.IN_FLIGHT)))
            say({"done": True})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))
