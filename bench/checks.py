"""Before, amid and after what is timed: all contestants give the same bodies, and refuse what is to be refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener
from urllib.request import Request as HttpRequest

from bench import cpu, load
from bench.database import Event
from bench.load import BenchError, Request, Workload
from bench.measuring import Plan
from bench.servers import BASE, RXDESK, Running

_open = build_opener(ProxyHandler({})).open
_SHOWN = 600
_REFERENCES = {"shop_uid": "shop", "patient_profile_uid": "pp", "preferred_doctor_uid": "doc"}
Answer: TypeAlias = tuple[int, Any]
"""Status and decoded body."""
Asked: TypeAlias = tuple[Request, Answer]


def ask(url: str, request: Request) -> Answer:
    """Send a request and give status and decoded body (None for an empty one)."""
    headers = {"X-API-Key": request.key} if request.key else {}
    if request.body:
        headers["Content-Type"] = "application/json"
    asked = HttpRequest(  # noqa: S310 (a loopback address of ours)
        url + request.path, method=request.method, headers=headers, data=request.body.encode() or None
    )
    try:
        with _open(asked, timeout=10) as answer:
            status, body = answer.status, answer.read()
    except HTTPError as error:
        status, body = error.code, error.read()
    try:
        return status, json.loads(body) if body else None
    except ValueError:
        return status, body.decode(errors="replace")


def same_bodies(servers: Mapping[str, Running], requests: Iterable[Request]) -> int:
    """Compare all answers with RxDesk's and give how many were compared. Raises BenchError at a difference."""
    compared = 0
    for request in requests:
        status, wanted = ask(servers[RXDESK].url, request)
        if status != 200:
            message = f"rxdesk answers {status} to {request.method} {request.path}: {wanted}"
            raise BenchError(message)
        for name, server in servers.items():
            _same(name, server, request, (status, wanted))
            compared += 1
    return compared


def _same(name: str, server: Running, request: Request, wanted: Answer) -> None:
    found = ask(server.url, request)
    if found != wanted:
        message = (
            f"{name} answers {request.method} {request.path} otherwise:\n"
            f"  rxdesk: {str(wanted)[:_SHOWN]}\n  {name}: {str(found)[:_SHOWN]}"
        )
        raise BenchError(message)


def same_under_load(
    servers: Mapping[str, Running],
    work: Workload,
    requests: Sequence[Request],
    plan: Plan,
    *,
    key: str,
    database: int,
    before: Callable[[], None],
) -> None:
    """Load each contestant with the work, and see that it answers meanwhile as RxDesk did when it had nothing to do.

    Without `requests` the work is the waiting room. `before` is called before each contestant, when neither `database`,
    its first process, nor a contestant has anything left to do. Raises BenchError.
    """

    def at_rest() -> None:
        trees = cpu.trees(database, *(server.pid for server in servers.values()))
        load.settled([pid for tree in trees for pid in tree])
        before()

    at_rest()
    wanted = [(request, ask(servers[RXDESK].url, request)) for request in requests]
    for name, server in servers.items():
        asked = itertools.cycle(wanted)

        def look(name: str = name, server: Running = server, asked: Iterator[Asked] = asked) -> None:
            if wanted:
                _same(name, server, *next(asked))
            else:
                _conversation(name, server, key)

        with load.prepared(work, plan.connections) as arguments:
            load.meanwhile(
                arguments,
                server.url,
                look,
                seconds=plan.check_seconds,
                cores=plan.client,
                name=f"{name}, {work.name},",
                before=at_rest,
            )


def refusals(servers: Mapping[str, Running], good: Request, poor_key: str) -> None:
    """A request without key, with a wrong one, without the permission, of an unknown uid. Raises BenchError."""
    wrong = good.key[:-1] + ("a" if good.key[-1] != "a" else "b")
    cases = (
        (401, Request(good.path, "")),
        (401, Request(good.path, wrong)),
        (403, Request(good.path, poor_key)),
        (404, Request(f"{BASE}/orders/ord-unknown", good.key)),
    )
    for name, server in servers.items():
        for wanted, request in cases:
            status, _ = ask(server.url, request)
            if status != wanted:
                message = f"{name} answers {status} where {wanted} is due ({request.path})"
                raise BenchError(message)


def waiting_room(servers: Mapping[str, Running], key: str, events: Callable[[], list[Event]]) -> None:
    """Two register, one cancels, the other moves up: with every contestant, who stores the same events.

    Who refers to what is not there is refused in the same words, and nothing is stored.

    The estimates are not compared: RxDesk imagines how the room goes on, the others multiply, and the bare limit, which
    only passes on what its statement gives, has none in a status.
    `events` gives those that are stored, by position. Raises BenchError.
    """
    wanted_events: list[object] = []
    wanted_refusals: list[Answer] = []
    for name, server in servers.items():
        before = events()
        refused = [
            ask(server.url, _registration(key, **{member: f"{place}-unknown"}))
            for member, place in _REFERENCES.items()
        ]
        wanted_refusals = wanted_refusals or refused
        _expect(name, all(status == 404 for status, _ in refused) and refused == wanted_refusals, refused)
        visits = _conversation(name, server, key)
        stored = events()[len(before) :]
        _expect(name, len(stored) == 4, stored)  # two registered, two cancelled
        seen = unnamed(stored, visits)
        wanted_events = wanted_events or seen  # RxDesk's, who comes first
        _expect(name, seen == wanted_events, stored)


def _registration(key: str, **references: str) -> Request:
    """Ask for a place in a shop that no load goes to, of the first patient if no other is named."""
    body = {"shop_uid": "shop-8", "patient_profile_uid": "pp-00000001", **references}
    return Request(f"{BASE}/waiting-room/register", key, "POST", json.dumps(body))


def _conversation(name: str, server: Running, key: str) -> list[str]:
    """Hold the two visits' conversation; gives their uids."""
    path = f"{BASE}/waiting-room"
    places = []
    for patient in (1, 2):
        register = _registration(key, patient_profile_uid=f"pp-{patient:08d}")
        status, place = ask(server.url, register)
        members = {"queue_uid", "position", "estimated_wait_minutes"}
        _expect(name, status == 201 and set(place) == members, place)
        places.append(place)
        if patient == 1:
            again = ask(server.url, register)
            _expect(name, again[0] == 409 and again[1]["queue_uid"] == place["queue_uid"], again)
    _expect(name, [place["position"] for place in places] == [1, 2], places)
    first, second = (place["queue_uid"] for place in places)
    _expect(name, ask(server.url, Request(f"{path}/{first}", key, "DELETE"))[0] == 204, first)
    status, moved = ask(server.url, Request(f"{path}/{second}/status", key))
    wanted = {
        "queue_uid": second,
        "status": "waiting",
        "position": 1,
        "video_room_id": None,
        "allocated_at": None,
    }
    _expect(name, status == 200 and moved.items() >= wanted.items(), moved)
    _expect(name, ask(server.url, Request(f"{path}/{second}", key, "DELETE"))[0] == 204, second)
    return [first, second]


def unnamed(events: list[Event], visits: list[str]) -> list[object]:
    """Give what events tell, without instants, with visits' numbers for their uids, and positions from 0."""
    found: list[object] = []
    for event in events:
        body = json.loads(event.body)
        told = {**body["data"], "uid": visits.index(body["data"]["uid"])}
        for part in (body, told):
            for name in ("timestamp", "created_at", "updated_at"):
                if name in part:
                    part[name] = type(part[name]).__name__
        position, subject = event.position - events[0].position, visits.index(event.subject_uid)
        found.append((position, event.event_type, event.actor, subject, {**body, "data": told}))
    return found


def _expect(name: str, holds: bool, seen: object) -> None:  # noqa: FBT001 (an assertion)
    if not holds:
        message = f"{name} does the waiting room otherwise: {seen}"
        raise BenchError(message)
