"""The client of Google's Wallet API: classes and objects put in place, messages sent to holders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from rxdesk.kit.clock import Clock, unix
from rxdesk.kit.egress import ANSWER_LIMIT, Egress, Method, Outcome
from rxdesk.kit.jwt import sign_rs256
from rxdesk.kit.strict_json import UNREADABLE
from rxdesk.wallet.card import Card
from rxdesk.wallet.google.account import ServiceAccount
from rxdesk.wallet.google.documents import (
    FAMILY,
    class_change,
    class_document,
    object_change,
    object_document,
    object_id,
)

API_URL: Final = "https://walletobjects.googleapis.com"
MOST_NOTIFIED: Final = 3
"""Messages of which Google tells the holder of a pass within a day; further ones are shown in the pass only."""
MOST_MESSAGES: Final = 10
"""Messages that an object has at most."""

Verdict = Literal["done", "gone", "limited", "retry", "refused"]

_SCOPE = "https://www.googleapis.com/auth/wallet_object.issuer"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_VALID_SECONDS = 3600
# An access token is used no longer than this before its end.
_MARGIN = timedelta(seconds=60)
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _TOO_MANY, _FAULT = 401, 403, 404, 409, 429, 500
_NO_OBJECT = "resourceNotFound"
_LONGEST_REASON = 100


class Object(msgspec.Struct, frozen=True, rename="camel"):
    """What is heeded of an object as Google has it: its messages, and whether anybody holds it."""

    id: str
    class_id: str
    messages: tuple[dict[str, Any], ...] = ()
    has_users: bool = False


class Told(msgspec.Struct, frozen=True):
    """What became of a request.

    `gone`: Google has no such object, and says so of it. `limited`: the holder has been notified too often today.
    `retry`: later, the same again: the pass is not at fault, whatever is. `refused`: never will this be taken as it is.
    `reason` is Google's word for it, or what kept an answer from coming (`dns`, `connect`, `tls`, `timeout`,
    `redirect`, `too_large`), or `http_` and the status of an answer without a word, or `unreadable`; with `token: `
    before it, of the place where access tokens are had. None when done. `object` is the object that the answer is,
    None where it is none.
    """

    verdict: Verdict
    status: int | None
    reason: str | None
    retry_after: str | None = None
    object: Object | None = None


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
        """Make the class of a card, or change it to what it is now: what it does not hold any more is cleared.

        Raises ValueError when Google wants a logo that has no public address.
        """
        family, document = FAMILY[card.kind], class_document(card, self._issuer, callback_url)
        return await self._put(f"{family}Class", document, class_change(document, family))

    async def put_object(self, card: Card) -> Told:
        """Make the object of a card, or change it to what it is now, likewise; its class must be there."""
        family, document = FAMILY[card.kind], object_document(card, self._issuer)
        return await self._put(f"{family}Object", document, object_change(document, family))

    async def change_object(self, card: Card) -> Told:
        """Change the object of a card to what it is now, likewise; `gone` when it was never made."""
        document = object_document(card, self._issuer)
        return await self._call("PATCH", self._place(card), object_change(document, FAMILY[card.kind]))

    async def look_at(self, card: Card) -> Told:
        """Ask for the object of a card as Google has it."""
        return await self._call("GET", self._place(card))

    async def keep_messages(self, card: Card, messages: Sequence[Mapping[str, Any]]) -> Told:
        """Leave an object these of its messages."""
        return await self._call("PATCH", self._place(card), {"messages": list(messages)})

    async def add_message(
        self, card: Card, message_id: str, header: str, body: str, *, notify: bool = True
    ) -> Told:
        """Add a message to a pass; with `notify` its holder is told, or it is `limited`: too often today.

        Google adds one with the same id once more, and tells of it once more.
        """
        message = {
            "id": message_id,
            "header": header,
            "body": body,
            "messageType": "TEXT_AND_NOTIFY" if notify else "TEXT",
        }
        return await self._call("POST", f"{self._place(card)}/addMessage", {"message": message}, once=True)

    def _place(self, card: Card) -> str:
        return f"{FAMILY[card.kind]}Object/{_segment(object_id(card, self._issuer))}"

    async def _put(self, place: str, document: dict[str, Any], change: dict[str, Any]) -> Told:
        made = await self._call("POST", place, document)
        if made.status == _CONFLICT:
            return await self._call("PATCH", f"{place}/{_segment(document['id'])}", change)
        return made

    async def _call(
        self, method: Method, place: str, document: Mapping[str, Any] | None = None, *, once: bool = False
    ) -> Told:
        """Send a request; once more with a fresh access token when the one at hand is not taken."""
        body = b"" if document is None else _json(document)
        told = Told("retry", None, "connect")
        for _ in range(2):
            token = await self._access_token()
            if isinstance(token, Told):
                return token
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            outcome = await self._egress.request(
                method, self._base + place, body, headers, total=10.0, max_answer=ANSWER_LIMIT, once=once
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
                return _without_token(outcome)
            try:
                answer = msgspec.json.decode(outcome.answer, type=_Token)
            except UNREADABLE:
                return Told("retry", outcome.status, "token: unreadable")
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
        return Told("done", status, None, object=_object(outcome.answer))
    reason = _reason(outcome.answer) or f"http_{status}"
    verdict = _verdict(status, reason)
    return Told(verdict, status, reason, outcome.retry_after if verdict in ("limited", "retry") else None)


def _verdict(status: int, reason: str) -> Verdict:
    """Judge a status that is none of success.

    401, 403 and 429 are of the account and its limits, 5xx of Google. So is a 404 that does not say that this very
    object is not there: of a class, which is then given anew, or of an address that is not Google's.
    """
    if status in (_FORBIDDEN, _TOO_MANY) and "quotaexceeded" in reason.lower():
        return "limited"
    if status == _NOT_FOUND and reason == _NO_OBJECT:
        return "gone"
    later = status in (_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY) or status >= _FAULT
    return "retry" if later else "refused"


def _without_token(outcome: Outcome) -> Told:
    """Say why there is no access token: nothing that a pass could mend, and mostly what an operator can."""
    refused = outcome.error == "status"
    reason = _reason(outcome.answer) or f"http_{outcome.status}" if refused else outcome.error
    return Told("retry", outcome.status, f"token: {reason}", outcome.retry_after)


def notifications_left(notified_at: Sequence[datetime], now: datetime) -> int:
    """Say of how many more messages Google would tell the holder now, given when it told of earlier ones."""
    day = now - timedelta(days=1)
    return max(0, MOST_NOTIFIED - sum(1 for moment in notified_at if moment > day))


def _reason(body: bytes) -> str | None:
    """Read Google's word for a fault: of the first error's `reason`, else its `status`, else OAuth's `error`."""
    try:
        fault = json.loads(body)["error"]
        if isinstance(fault, str):
            return fault[:_LONGEST_REASON]
        errors = fault.get("errors") or [{}]
        found = errors[0].get("reason") or fault.get("status")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return found[:_LONGEST_REASON] if isinstance(found, str) else None


def _object(body: bytes) -> Object | None:
    try:
        return msgspec.json.decode(body, type=Object)
    except UNREADABLE:
        return None


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _segment(text: str) -> str:
    return quote(text, safe="")
