"""Changes of passes that are saved in Google Wallet: prepare → give → record, as pushes to devices.

Nothing is marked before it is sent. A message that Google has already, by what it answers to the change before it, is
not sent again, so that the holder is told once even when a worker was killed in between.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from weakref import WeakValueDictionary

import msgspec

from rxdesk.access import Access, Transaction
from rxdesk.jobs.queue import PER_ENDPOINT, Claim
from rxdesk.jobs.worker import Work
from rxdesk.kit.clock import Clock
from rxdesk.wallet import pass_queries
from rxdesk.wallet.card import Card
from rxdesk.wallet.google.client import MOST_MESSAGES, Told, notifications_left
from rxdesk.wallet.issuing import Held, read_held
from rxdesk.wallet.pushing import RECORD, Fate, record_arguments, retry_at
from rxdesk.wallet.saving import Giver
from rxdesk.wallet.telling import GOOGLE, GOOGLE_KIND, tell_google

LIMITED: Final = "notification_limit"
"""The reason of a message that the pass shows and of which its holder is not told: the third today was before it."""

UNCHANGED: Final = "unchanged"
"""The reason of a message that the pass showed already: Google is not asked to tell its holder of it again."""

_KEPT: Final = MOST_MESSAGES - PER_ENDPOINT
"""Messages that an object keeps beside those that are on their way to it."""

_OURS = (
    "pn-"  # what the uids of push notifications begin with; behind it they are in the order of their making
)
_SLOTS: Final = {"first": 32, "retry": 16}
_TOTAL_SECONDS = 60.0  # for all requests of one change
_LEASE_SECONDS = 120.0
_SHARE = 0.75  # of a lane's slots, for one organisation

# Each is looked up on its own, as deliveries are. Which messages of a pass its holder is told of is by their order.
# $2 the pushes' uids, $3 now
_PREPARE = f"""
SELECT w.uid, w.attempts, g.saved_at, n.uid AS message_uid, n.message, n.unchanged, b.body, d.notified_at, d.earlier
FROM unnest($2::text[]) AS c (uid)
CROSS JOIN LATERAL (
  SELECT * FROM wallet_pushes WHERE organisation_id = $1 AND uid = c.uid AND status = 'queued' LIMIT 1) w
CROSS JOIN LATERAL (
  SELECT saved_at FROM wallet_google_passes
  WHERE organisation_id = $1 AND wallet_pass_uid = w.wallet_pass_uid AND saved_at IS NOT NULL LIMIT 1) g
CROSS JOIN LATERAL (
  {pass_queries.PASS.format(now="$3", unless="greatest(p.tag, t.tag)", found="p.uid = w.wallet_pass_uid")}) b
LEFT JOIN push_notifications n ON n.organisation_id = $1 AND n.uid = w.push_notification_uid
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(x.notified_at) FILTER (WHERE x.notified_at IS NOT NULL), '{{}}') AS notified_at,
    count(*) FILTER (WHERE x.notified_at IS NULL) AS earlier
  FROM (
    SELECT notified_at FROM wallet_pushes WHERE organisation_id = $1 AND wallet_pass_uid = w.wallet_pass_uid
      AND notified_at > $3::timestamptz - interval '1 day'
    UNION ALL
    SELECT NULL FROM wallet_pushes WHERE organisation_id = $1 AND wallet_pass_uid = w.wallet_pass_uid
      AND status = 'queued' AND device_identifier = '{GOOGLE}'
      AND push_notification_uid IS NOT NULL AND notified_at IS NULL AND (tag, uid) < (w.tag, w.uid)
      AND NOT EXISTS (
        SELECT FROM push_notifications m
        WHERE m.organisation_id = $1 AND m.uid = push_notification_uid AND m.unchanged)
  ) x) d
ORDER BY w.tag, w.uid"""

# All pushes of the batch are locked here, in the order in which `RECORD` locks them. $2 their uids, $3 now, $4 of which
# the holder was told
_NOTIFIED = """
UPDATE wallet_pushes SET notified_at = $3
WHERE organisation_id = $1 AND uid = ANY ($4::text[]) AND notified_at IS NULL AND uid = ANY (ARRAY(
  SELECT k.uid FROM wallet_pushes k WHERE k.organisation_id = $1 AND k.uid = ANY ($2::text[])
  ORDER BY k.uid FOR NO KEY UPDATE))"""

# Google does not have the pass any more; unless it was saved anew since. $2 the pass, $3 since when it was saved
_FORGET = """
UPDATE wallet_google_passes SET saved_at = NULL
WHERE organisation_id = $1 AND wallet_pass_uid = $2 AND saved_at = $3"""


class Message(msgspec.Struct, frozen=True):
    """A message to a holder; with `notify` Google tells the holder of it. `unchanged`: the pass showed it already."""

    uid: str
    text: str
    notify: bool
    unchanged: bool


class Prepared(msgspec.Struct, frozen=True):
    """A change that is wanted: the pass as it is now, the message if there is one, and the attempts before this one."""

    organisation_id: int
    held: Held
    card: Card
    saved_at: datetime
    message: Message | None
    attempts: int


class GooglePushed(msgspec.Struct, frozen=True):
    """What became of it; `class_mark` as in `saving.Given`. `shown`: how the message came to the holder, if it did."""

    told: Told
    class_mark: str | None = None
    shown: Literal["notified", "quietly", "unchanged"] | None = None


@dataclass(frozen=True, slots=True)
class GooglePushes:
    """What giving changes to Google needs. `chance` gives numbers uniform in [0, 1)."""

    access: Access
    giver: Giver
    clock: Clock
    chance: Callable[[], float] = random.random
    _passes: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary, init=False)
    _preparing: WeakValueDictionary[int, asyncio.Lock] = field(
        default_factory=WeakValueDictionary, init=False
    )

    def work(self) -> Work[Prepared, GooglePushed]:
        """Give what a worker does with them."""
        return Work(
            kind=GOOGLE_KIND,
            slots=_SLOTS,
            lease_seconds=_LEASE_SECONDS,
            prepare=self.prepare,
            perform=self.push,
            record=self.record,
            share=_SHARE,
        )

    async def prepare(self, organisation_id: int, claims: Sequence[Claim]) -> list[tuple[Claim, Prepared]]:
        """Read what the passes of one organisation show; those that Google does not have any more end here.

        One batch after the other, in the order of the claims, or a later message could overtake an earlier one.
        """
        async with self._preparing.setdefault(organisation_id, asyncio.Lock()):
            return await self._prepare(organisation_id, claims)

    async def _prepare(self, organisation_id: int, claims: Sequence[Claim]) -> list[tuple[Claim, Prepared]]:
        by_uid = {claim.uid: claim for claim in claims}
        now = self.clock()
        rows = await self.access.rows(organisation_id, _PREPARE, list(by_uid), now)
        wanted = [(by_uid[row[0]], self._prepared(organisation_id, row, now)) for row in rows]
        ended = [claim for claim in claims if claim.uid not in {one.uid for one, _ in wanted}]
        if ended:
            fates: list[Fate] = [(claim, "failed", "unregistered", None) for claim in ended]
            arguments = record_arguments(GOOGLE_KIND, fates, now, attempted=False)
            await self.access.rows(organisation_id, RECORD, *arguments)
        return wanted

    def _prepared(self, organisation_id: int, row: Sequence[Any], now: datetime) -> Prepared:
        _, attempts, saved_at, message_uid, text, unchanged, body, notified_at, earlier = row
        held = read_held(body)
        message = None
        if message_uid is not None:
            notify = notifications_left(notified_at, now) > earlier
            message = Message(message_uid, text, notify, unchanged)
        card = self.giver.issuer.card(organisation_id, held)
        return Prepared(organisation_id, held, card, saved_at, message, attempts)

    async def push(self, prepared: Prepared) -> GooglePushed:
        """Give one pass to Google, and the message: one at a time of each pass, since its messages are counted."""
        lock = self._passes.setdefault(prepared.card.serial, asyncio.Lock())
        try:
            async with asyncio.timeout(_TOTAL_SECONDS), lock:
                return await self._push(prepared)
        except TimeoutError:
            return GooglePushed(Told("retry", None, "timeout"))

    async def _push(self, prepared: Prepared) -> GooglePushed:
        given = await self.giver.give(prepared.organisation_id, prepared.held, prepared.card, make=False)
        message = prepared.message
        if given.told.verdict != "done" or message is None:
            return GooglePushed(given.told, given.class_mark)
        if message.unchanged:  # the pass shows it, and no device tells its holder of it once more
            return GooglePushed(given.told, given.class_mark, "unchanged")
        if given.told.object is None:  # whether Google has the message already is not known
            return GooglePushed(Told("retry", given.told.status, "unreadable"), given.class_mark)
        there = given.told.object.messages
        known = next((one for one in there if one.get("id") == message.uid), None)
        if known is not None:  # of an attempt whose answer was lost
            notify = known.get("messageType") == "TEXT_AND_NOTIFY"
            return GooglePushed(given.told, given.class_mark, "notified" if notify else "quietly")
        told, notify = await self._add(prepared.card, message, there)
        shown: Literal["notified", "quietly"] = "notified" if notify else "quietly"
        return GooglePushed(told, given.class_mark, shown if told.verdict == "done" else None)

    async def _add(
        self, card: Card, message: Message, there: Sequence[Mapping[str, Any]]
    ) -> tuple[Told, bool]:
        """Add a message to those that are there, with room for it, and say whether the holder is told of it."""
        if len(there) > _KEPT:
            told = await self.giver.client.keep_messages(card, newest(there, _KEPT))
            if told.verdict != "done":
                return told, False
        told = await self._tell(card, message, notify=message.notify)
        if told.verdict == "limited" and message.notify:  # others tell this holder too
            return await self._tell(card, message, notify=False), False
        return told, message.notify

    async def _tell(self, card: Card, message: Message, *, notify: bool) -> Told:
        return await self.giver.client.add_message(
            card, message.uid, card.organisation, message.text, notify=notify
        )

    async def record(
        self, organisation_id: int, ended: Sequence[tuple[Claim, Prepared, GooglePushed]]
    ) -> None:
        """Write what became of changes of one organisation; what Google was given late is given again."""
        last = {claim.uid: (claim, prepared, pushed) for claim, prepared, pushed in ended}
        await self.access.write_as_system(organisation_id, "worker", lambda tx: self._record(tx, last))

    async def _record(self, tx: Transaction, ended: dict[str, tuple[Claim, Prepared, GooglePushed]]) -> None:
        given: dict[str, int] = {}
        marks: dict[str, str] = {}
        gone: set[tuple[str, datetime]] = set()
        for _, prepared, pushed in ended.values():
            held = prepared.held
            if pushed.class_mark is not None:
                marks[held.template_uid] = pushed.class_mark
            if pushed.told.verdict == "done":
                given[held.uid] = min(given.get(held.uid, held.tag), held.tag)
            if pushed.told.verdict == "gone":
                gone.add((held.uid, prepared.saved_at))
        for template, mark in sorted(marks.items()):
            await tx.connection.execute(pass_queries.CLASS_GIVEN, tx.organisation_id, template, mark)
        for uid, saved_at in sorted(gone):
            await tx.connection.execute(_FORGET, tx.organisation_id, uid, saved_at)
        notified = [uid for uid, (_, _, pushed) in ended.items() if pushed.shown == "notified"]
        if notified:
            await tx.connection.execute(_NOTIFIED, tx.organisation_id, list(ended), tx.now, notified)
        if given:
            await tell_google(tx, given)
        fates = [self._fate(*one, tx.now) for one in ended.values()]
        arguments = record_arguments(GOOGLE_KIND, fates, tx.now, attempted=True)
        await tx.connection.execute(RECORD, tx.organisation_id, *arguments)

    def _fate(self, claim: Claim, prepared: Prepared, pushed: GooglePushed, now: datetime) -> Fate:
        told = pushed.told
        if told.verdict == "done":
            reasons = {"quietly": LIMITED, "unchanged": UNCHANGED}
            return claim, "sent", None if pushed.shown is None else reasons.get(pushed.shown), None
        if told.verdict in ("retry", "limited"):
            next_at = retry_at(prepared.attempts, told.retry_after, now, self.chance())
            if next_at is not None:
                return claim, "queued", told.reason, next_at
        return claim, "failed", told.reason, None


def newest(messages: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Give so many of an object's messages, in their order: what is not ours stays first, then the newest of ours."""

    def age(message: Mapping[str, Any]) -> tuple[bool, str]:
        uid = str(message.get("id", ""))
        return not uid.startswith(_OURS), uid

    kept = sorted(messages, key=age, reverse=True)[:count]
    return [message for message in messages if any(message is one for one in kept)]
