"""The client of Google's Wallet API: classes and objects put in place, messages sent to holders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from rxdesk.kit.clock import Clock, unix
from rxdesk.kit.egress import Egress, Method, Outcome
from rxdesk.kit.jwt import sign_rs256
from rxdesk.wallet.card import Card
from rxdesk.wallet.google.account import ServiceAccount
from rxdesk.wallet.google.documents import FAMILY, class_document, object_document, object_id

API_URL: Final = "https://walletobjects.googleapis.com"
MOST_NOTIFIED: Final = 3
"""Messages of which Google tells the holder of a pass within a day; further ones are shown in the pass only."""

Verdict = Literal["done", "gone", "limited", "retry", "refused"]

_SCOPE = "https://www.googleapis.com/auth/wallet_object.issuer"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_VALID_SECONDS = 3600
# An access token is used no longer than this before its end.
_MARGIN = timedelta(seconds=60)
_LONGEST_ANSWER = 1 << 16
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _TOO_MANY, _FAULT = 401, 403, 404, 409, 429, 500


class Told(msgspec.Struct, frozen=True):
    """What became of a request.

    `gone`: Google has no such class or object (404). `limited`: the holder has been notified too often today. `retry`:
    later, the same again. `refused`: never will this be taken as it is.
    `reason` is Google's word for it, or what kept an answer from coming (`dns`, `connect`, `tls`, `timeout`,
    `redirect`, `too_large`); None when done. `messages` are the ids of those that the object has, where the answer
    is the object.
    """

    verdict: Verdict
    status: int | None
    reason: str | None
    retry_after: str | None = None
    messages: tuple[str, ...] = ()


class _Message(msgspec.Struct):
    id: str = ""


class _Object(msgspec.Struct):
    messages: list[_Message] = []


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int = _VALID_SECONDS


class GoogleWallet:
    """Speaks for one issuer, with an access token until a minute before its end. `url` is Google's or an emulator's."""

    def __init__(
        self, egress: Egress, account: ServiceAccount, issuer: str, clock: Clock, url: str = API_URL
    ) -> None:
        self._egress = egress
        self._account = account
        self._issuer = issuer
        self._clock = clock
        self._base = url.rstrip("/") + "/walletobjects/v1/"
        self._token: tuple[str, datetime] | None = None
        self._asking = asyncio.Lock()

    async def put_class(self, card: Card, callback_url: str | None = None) -> Told:
        """Make the class of a card, or change it to what it is now.

        Raises ValueError when Google wants a logo that has no public address.
        """
        return await self._put(f"{FAMILY[card.kind]}Class", class_document(card, self._issuer, callback_url))

    async def put_object(self, card: Card) -> Told:
        """Make the object of a card, or change it to what it is now; its class must be there."""
        return await self._put(f"{FAMILY[card.kind]}Object", object_document(card, self._issuer))

    async def change_object(self, card: Card) -> Told:
        """Change the object of a card to what it is now; `gone` when nobody has saved it."""
        document = object_document(card, self._issuer)
        return await self._call("PATCH", f"{FAMILY[card.kind]}Object/{_segment(document['id'])}", document)

    async def add_message(
        self, card: Card, message_id: str, header: str, body: str, *, notify: bool = True
    ) -> Told:
        """Add a message to a pass; with `notify` its holder is told, or it is `limited`: too often today."""
        message = {
            "id": message_id,
            "header": header,
            "body": body,
            "messageType": "TEXT_AND_NOTIFY" if notify else "TEXT",
        }
        place = f"{FAMILY[card.kind]}Object/{_segment(object_id(card, self._issuer))}/addMessage"
        return await self._call("POST", place, {"message": message})

    async def _put(self, place: str, document: dict[str, Any]) -> Told:
        made = await self._call("POST", place, document)
        if made.status == _CONFLICT:
            return await self._call("PATCH", f"{place}/{_segment(document['id'])}", document)
        return made

    async def _call(self, method: Method, place: str, document: dict[str, Any]) -> Told:
        """Send a request; once more with a fresh access token when the one at hand is not taken."""
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        told = Told("retry", None, "connect")
        for _ in range(2):
            token = await self._access_token()
            if isinstance(token, Told):
                return token
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            outcome = await self._egress.request(
                method, self._base + place, body, headers, total=10.0, max_answer=_LONGEST_ANSWER
            )
            told = judge(outcome)
            if told.status != _UNAUTHORISED:
                return told
            self._token = None
        return told

    async def _access_token(self) -> str | Told:
        """Give an access token; what kept it from being had, else."""
        async with self._asking:
            now = self._clock()
            if self._token is not None and now < self._token[1] - _MARGIN:
                return self._token[0]
            outcome = await self._ask_for_token(now)
            if outcome.error is not None:
                return judge(outcome)
            try:
                answer = msgspec.json.decode(outcome.answer, type=_Token)
            except msgspec.MsgspecError:
                return Told("retry", outcome.status, "unreadable")
            self._token = (answer.access_token, now + timedelta(seconds=answer.expires_in))
            return answer.access_token

    async def _ask_for_token(self, now: datetime) -> Outcome:
        issued = unix(now)
        claims = {
            "iss": self._account.email,
            "scope": _SCOPE,
            "aud": self._account.token_url,
            "iat": issued,
            "exp": issued + _VALID_SECONDS,
        }
        assertion = sign_rs256(claims, self._account.key, self._account.key_id)
        body = urlencode({"grant_type": _GRANT, "assertion": assertion}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._egress.request("POST", self._account.token_url, body, headers, total=10.0)


def judge(outcome: Outcome) -> Told:
    """Say what an answer of Google's means for the request."""
    status = outcome.status
    if status is None or outcome.error not in (None, "status"):
        return Told("retry", status, outcome.error)
    if outcome.error is None:
        return Told("done", status, None, messages=_messages(outcome.answer))
    reason = _reason(outcome.answer)
    verdict = _verdict(status, (reason or "").lower())
    return Told(verdict, status, reason, outcome.retry_after if verdict in ("limited", "retry") else None)


def _verdict(status: int, reason: str) -> Verdict:
    if status in (_FORBIDDEN, _TOO_MANY) and "quotaexceeded" in reason:
        return "limited"
    if status == _NOT_FOUND:
        return "gone"
    slower = status == _FORBIDDEN and "ratelimitexceeded" in reason
    return "retry" if slower or status in (_UNAUTHORISED, _TOO_MANY) or status >= _FAULT else "refused"


def notifications_left(notified_at: Sequence[datetime], now: datetime) -> int:
    """Say of how many more messages Google would tell the holder now, given when it told of earlier ones."""
    day = now - timedelta(days=1)
    return max(0, MOST_NOTIFIED - sum(1 for moment in notified_at if moment > day))


def _reason(body: bytes) -> str | None:
    """Read Google's word for a fault: of the first error's `reason`, else its `status`, else OAuth's `error`."""
    try:
        fault = json.loads(body)["error"]
        if isinstance(fault, str):
            return fault
        errors = fault.get("errors") or [{}]
        found = errors[0].get("reason") or fault.get("status")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _messages(body: bytes) -> tuple[str, ...]:
    try:
        return tuple(message.id for message in msgspec.json.decode(body, type=_Object).messages)
    except msgspec.MsgspecError:
        return ()


def _segment(text: str) -> str:
    return quote(text, safe="")
