"""Live streams of the waiting room: a visit for its patient, and a shop's board (docs/waiting-room.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec

from rxdesk.access import Access
from rxdesk.kit.clock import Clock
from rxdesk.permissions import Permission
from rxdesk.settings import Settings
from rxdesk.waiting_room import live_queries
from rxdesk.waiting_room.forecasts import LEAST_AGE, Forecasts
from rxdesk.waiting_room.lifecycle import VISIT_STEPS, Rules
from rxdesk.waiting_room.schemas import Standing, Status
from rxdesk.web import sse
from rxdesk.web.answers import Answer, SendBytes
from rxdesk.web.call import Call
from rxdesk.web.live import WHOLE, Found, Hub, Mark, State, Step, Wanted, ended
from rxdesk.web.paging import DEFAULT_LIMIT
from rxdesk.web.sse import Stream

CHANNEL: Final = "rxdesk_rooms"
"""Where the database tells of each change of a room: the organisation's number and the shop's uid."""

# Younger than anything that is pruned (`event_retention_days` is a day at least).
_RESUMABLE: Final = timedelta(hours=6)


class _Beginning(msgspec.Struct):
    """What a stream begins with; `document` is JSON, `steps` are those that the client missed."""

    topic: str
    position: int
    resumed: bool
    steps: list[tuple[int, msgspec.Raw]]
    document: str


@dataclass(frozen=True, slots=True)
class _Opening:
    """A stream that is about to be opened, of a subject in a topic."""

    kind: str
    subject: str
    beginning: _Beginning
    state: State


async def open_visit(call: Call, queue_uid: str) -> Answer:
    """Answer with a visit's stream; 204 when the client has seen its end."""
    hub = call.services.part(Hub)
    mark: Mark | None = hub.mark()
    last = _last_id(call)
    after = last and last.position
    text = await call.found(live_queries.VISIT, queue_uid, after, call.now - _RESUMABLE)
    beginning = _read(text)
    standing = msgspec.json.decode(beginning.document, type=Standing)
    caller = await call.authorise()
    forecasts = call.services.part(Forecasts)
    status, as_it_stands = await forecasts.status_as_of(caller.organisation_id, standing)
    state = _state(status)
    if not as_it_stands:
        mark = None
    # The position alone does not tell: a visit may be ended by an import, without an event.
    if state.ended is not None and last and last.ended and beginning.resumed and not beginning.steps:
        return Answer(204, b"")
    return await _streamed(call, hub, mark, _Opening("visit", queue_uid, beginning, state))


async def open_board(call: Call, shop_uid: str) -> Answer:
    """Answer with a shop's stream."""
    hub = call.services.part(Hub)
    mark = hub.mark()
    shown = _shown(shop_uid, Rules.of(call.settings), call.services.clock)
    last = _last_id(call)
    text = await call.found(live_queries.SHOP, *shown, last and last.position, call.now - _RESUMABLE)
    beginning = _read(text)
    state = State(beginning.document.encode())
    return await _streamed(call, hub, mark, _Opening("board", WHOLE, beginning, state))


def _last_id(call: Call) -> sse.LastId | None:
    return sse.read_last_id(call.header_values(b"last-event-id"))


def _read(text: str) -> _Beginning:
    """Read a beginning; a client that missed too much begins anew."""
    beginning = msgspec.json.decode(text, type=_Beginning)
    if len(beginning.steps) > live_queries.MOST_STEPS:
        beginning.resumed, beginning.steps = False, []
    return beginning


def _state(status: Status) -> State:
    over = None if VISIT_STEPS[status.status] else status.status
    return State(msgspec.json.encode(status), over)


def _shown(shop_uid: str, rules: Rules, clock: Clock) -> tuple[object, ...]:
    """Give the arguments of the board: its first page."""
    return shop_uid, clock() - rules.heartbeat, DEFAULT_LIMIT, 0


async def _streamed(call: Call, hub: Hub, mark: Mark | None, opening: _Opening) -> Answer:
    caller = await call.authorise()
    hub.require_room(caller)
    beginning, state = opening.beginning, opening.state
    stream = Stream(caller.key_uid, opening.subject, covered=beginning.position, shown=hash(state.document))
    stream.put(b"".join(_first(hub, beginning, state)))
    if state.ended is not None:
        stream.end()

    async def write(send: SendBytes) -> None:
        seconds = call.settings.stream_comment_seconds
        if stream.ending:  # there is nothing to come
            await sse.write(stream, call.receive, send, comment_seconds=seconds)
            return
        with hub.joined(caller.organisation_id, beginning.topic, stream, mark, kind=opening.kind):
            await sse.write(stream, call.receive, send, comment_seconds=seconds)

    return Answer(call.operation.status, b"", sse.HEADERS, sse.MEDIA_TYPE, write)


def _first(hub: Hub, beginning: _Beginning, state: State) -> Iterable[bytes]:
    """Give the first frames: the steps that were missed, and the state as of now."""
    yield hub.retry()
    for position, data in beginning.steps:
        yield sse.frame("step", bytes(data), position)
    yield sse.frame("snapshot", state.document, beginning.position)
    if state.ended is not None:
        yield ended(state.ended, beginning.position)


class Rooms:
    """Reads a shop's room for all who follow it in this process."""

    def __init__(self, access: Access, forecasts: Forecasts, settings: Settings, clock: Clock) -> None:
        self._access = access
        self._forecasts = forecasts
        self._rules = Rules.of(settings)
        self._clock = clock

    async def read(self, organisation_id: int, shop_uid: str, wanted: Wanted) -> Found:
        """Read what is wanted of a room, in one statement. Raises DatabaseUnavailableError."""
        rows = await self._access.rows(
            organisation_id,
            live_queries.ROOM,
            list(wanted.keys),
            Permission.WAITING_ROOM_READ,
            *_shown(shop_uid, self._rules, self._clock),
            wanted.after,
            list(wanted.subjects - {WHOLE}),
            WHOLE in wanted.subjects,
        )
        steps = [Step(row[1], row[2], row[3].encode()) for row in rows if row[0] == "step"]
        steps.sort(key=lambda step: step.position)
        more = len(steps) > live_queries.MOST_STEPS
        if more:
            del steps[live_queries.MOST_STEPS :]
        position = max((row[1] for row in rows if row[0] == "position"), default=0)
        standings = [
            msgspec.json.decode(row[3], type=Standing) for row in rows if row[0] == "visit" and not more
        ]
        states, again_seconds = await self._states(organisation_id, shop_uid, standings)
        for row in rows:
            if row[0] == "board":
                states[WHOLE] = State(row[3].encode())
        return Found(
            position=steps[-1].position if more else position,
            more=more,
            keys=frozenset(row[2] for row in rows if row[0] == "key"),
            steps=steps,
            states=states,
            again_seconds=again_seconds,
        )

    async def _states(
        self, organisation_id: int, shop_uid: str, standings: list[Standing]
    ) -> tuple[dict[str, Any], float | None]:
        """Give the visits' states, and when to look again if their estimates are of a moment ago."""
        waiting = [one.revision for one in standings if one.position is not None]
        old = False
        if waiting:
            forecast = await self._forecasts.of(organisation_id, shop_uid, max(waiting))
            old = forecast.revision < max(waiting)
        states = {
            one.queue_uid: _state(await self._forecasts.status(organisation_id, one)) for one in standings
        }
        return states, LEAST_AGE.total_seconds() if old else None
