"""Clients as processes of their own, which ask a server over HTTP and write down what they asked and were answered."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tests.linear.calls import CALLS, Known, Request
from tests.linear.history import History, Operation
from tests.linear.room import Answer

_PAUSE_SECONDS = 0.02  # when nobody listens
_AFTER_UNKNOWN_SECONDS = 0.1  # each one that is not known makes the search longer
_GATHER_SECONDS = 0.05  # until all clients have what they need to begin at once
_UNSURE = 503  # what was begun may have been done. A 500 is an answer, which no specification gives


@dataclass(frozen=True)
class Task:
    """What one client does for one history."""

    client: int
    host: str
    port: int
    headers: dict[str, str]
    shops: tuple[Known, ...]
    operations: int
    seed: str
    weights: Mapping[str, int]  # how often each kind is chosen
    seconds: float = 180.0  # after which it ends as it is
    timeout_seconds: float = 10.0


class _Wire:
    """One connection, opened again when it was lost. Nothing is sent twice."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._connection: http.client.HTTPConnection | None = None

    def connected(self) -> http.client.HTTPConnection | None:
        if self._connection is None:
            task = self._task
            connection = http.client.HTTPConnection(task.host, task.port, timeout=task.timeout_seconds)
            try:
                connection.connect()
            except OSError:
                return None
            self._connection = connection
        return self._connection

    def ask(self, connection: http.client.HTTPConnection, request: Request) -> tuple[int, object] | None:
        """Give status and body, None when the connection was lost or the time is over."""
        body = None if request.body is None else json.dumps(request.body)
        headers = (
            self._task.headers if body is None else {**self._task.headers, "Content-Type": "application/json"}
        )
        try:
            connection.request(request.method, request.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        return answer.status, json.loads(content) if content else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def perform(task: Task, begin: float) -> History:
    """Do one operation after the other until there are enough, or the time is over.

    Times are by the monotonic clock, which all processes of the machine share.
    """
    chance = random.Random(task.seed)
    kinds, weights = [*task.weights], [*task.weights.values()]
    wire, made = _Wire(task), list[Operation]()
    time.sleep(max(0.0, begin - time.monotonic()))
    while len(made) < task.operations and time.monotonic() < begin + task.seconds:
        known = chance.choice(task.shops)
        [kind] = chance.choices(kinds, weights)
        call = CALLS[kind]
        arguments = call.choose(known, chance)
        if arguments is None:
            continue
        connection = wire.connected()
        if connection is None:  # nobody listens: nothing was asked
            time.sleep(_PAUSE_SECONDS)
            continue
        invoked = time.monotonic_ns()
        got = wire.ask(connection, call.request(known.shop, *arguments))
        returned = time.monotonic_ns()
        operation = Operation(task.client, known.shop, kind, arguments, invoked)
        if got is None or got[0] == _UNSURE:
            made.append(operation)
            time.sleep(_AFTER_UNKNOWN_SECONDS)
            continue
        answer: Answer = call.answer(*got)
        known.learn(answer)
        made.append(operation._replace(returned=returned, answer=answer))
    wire.close()
    return tuple(made)


def _work(pipe: Connection) -> None:
    while True:
        pipe.send(perform(*pipe.recv()))


class Crew:
    """Client processes, which serve for one history after the other."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    @property
    def size(self) -> int:
        return len(self._pipes)

    def perform(self, tasks: Sequence[Task]) -> History:
        """Have each task done by a process, all at once; give what they wrote down, as one history."""
        begin = time.monotonic() + _GATHER_SECONDS
        for pipe, task in zip(self._pipes, tasks, strict=True):
            pipe.send((task, begin))
        made: list[Operation] = []
        for pipe in self._pipes:
            made += pipe.recv()
        return tuple(sorted(made, key=lambda one: one.invoked))


@contextmanager
def crew(size: int) -> Iterator[Crew]:
    """Start client processes; they end with the block."""
    spawn = multiprocessing.get_context("spawn")
    pairs = [spawn.Pipe() for _ in range(size)]
    processes = [spawn.Process(target=_work, args=(theirs,), daemon=True) for _, theirs in pairs]
    try:
        for process in processes:
            process.start()
        yield Crew([ours for ours, _ in pairs])
    finally:
        for process in processes:
            process.kill()
            process.join()
        for pair in pairs:
            for end in pair:
                end.close()
