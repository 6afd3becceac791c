"""A double of Google's Wallet API: checks what Google documents, keeps what it is given, says who was notified."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from rxdesk.kit.clock import Clock
from rxdesk.wallet.emulator.google_account import SAVE_PATH, TOKEN_PATH
from rxdesk.wallet.emulator.google_schema import fault_of
from rxdesk.wallet.google.client import MOST_MESSAGES, MOST_NOTIFIED
from rxdesk.wallet.google.documents import FAMILY, MOST_ROWS
from rxdesk.wallet.google.links import LONGEST_TOKEN

HOLDER: Final = "holder"
"""Who saves where nobody is named."""
_RESOURCE = re.compile(r"/walletobjects/v1/([a-zA-Z]+)(Class|Object)(?:/([^/]+))?(/addMessage)?")
_ID = re.compile(r"[0-9]+\.[\w.-]+")
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE = "https://www.googleapis.com/auth/wallet_object.issuer"
_VALID_SECONDS = 3600
_FAMILIES = frozenset(FAMILY.values())

Answer = tuple[int, dict[str, Any]]
Trouble = Callable[[int], Answer | None]


class _Fault(Exception):  # noqa: N818 - an answer, never seen outside
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.answer = fault(status, reason, message)


def fault(status: int, reason: str, message: str = "") -> Answer:
    """Give an answer that is a fault, in Google's form."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return status, {"error": {"code": status, "message": message, "errors": errors}}


@dataclass(slots=True)
class GoogleDouble:
    """Google, for one issuer and one service account.

    `kept` holds classes and objects by id; `holders` who has saved an object, by its id; `notified` what holders were
    told, as (object's id, header, body). `trouble` is asked with the number of each request to the API, from 1, for an
    answer in the place of the right one; `token_answer` is one in the place of an access token. `tell` is called with
    an object's id and a message of which its holder is told.
    """

    issuer: str
    email: str
    key: rsa.RSAPublicKey
    clock: Clock
    trouble: Trouble | None = None
    token_answer: Answer | None = None
    tell: Callable[[str, str], None] | None = None
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    holders: dict[str, set[str]] = field(default_factory=dict)
    notified: list[tuple[str, str, str]] = field(default_factory=list)
    requests: int = 0
    tokens: dict[str, datetime] = field(default_factory=dict)
    _kinds: dict[str, str] = field(default_factory=dict)
    _notified_at: dict[str, list[datetime]] = field(default_factory=dict)

    @property
    def saved(self) -> set[str]:
        """Give the ids of objects that somebody has saved."""
        return {object_id for object_id, names in self.holders.items() if names}

    def state(self) -> dict[str, Any]:
        """Give what it knows of classes, objects and their holders, as JSON takes it."""
        holders = {object_id: sorted(names) for object_id, names in self.holders.items()}
        return {"kept": self.kept, "kinds": self._kinds, "holders": holders}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Know what another one knew."""
        self.kept, self._kinds = dict(state["kept"]), dict(state["kinds"])
        self.holders = {object_id: set(names) for object_id, names in state["holders"].items()}

    def answer(
        self,
        method: str,
        path: str,
        authorization: str,
        body: bytes,
        audience: str,
        holder: str = HOLDER,
    ) -> Answer:
        """Answer a request. `audience` is the address at which tokens are had here, `holder` whose wallet saves."""
        try:
            if (method, path) == ("POST", TOKEN_PATH):
                return self.token_answer or self._give_token(body, audience)
            if method == "GET" and path.startswith(SAVE_PATH + "/"):
                return self._save(path.removeprefix(SAVE_PATH + "/"), holder)
            return self._answer_api(method, path, authorization, body)
        except _Fault as said:
            return said.answer

    def _give_token(self, body: bytes, audience: str) -> Answer:
        form = parse_qs(body.decode("ascii", "replace"))
        claims = self._verified(form.get("assertion", [""])[0])
        now = self.clock().timestamp()
        rules = (
            (form.get("grant_type") == [_GRANT], "unsupported_grant_type"),
            (claims is not None, "invalid_grant"),
        )
        wrong = next((name for holds, name in rules if not holds), None)
        if wrong is not None or claims is None:
            return 400, {"error": wrong or "invalid_grant"}
        issued, ends = claims.get("iat", 0), claims.get("exp", 0)
        if claims.get("aud") != audience or claims.get("iss") != self.email:
            return 400, {"error": "invalid_grant", "error_description": "wrong audience or issuer"}
        if not (issued <= now + 60 and now < ends <= issued + _VALID_SECONDS):
            return 400, {"error": "invalid_grant", "error_description": "not valid now, or for too long"}
        if _SCOPE not in str(claims.get("scope", "")).split():
            return 400, {"error": "invalid_scope"}
        token = secrets.token_urlsafe()
        self.tokens[token] = self.clock() + timedelta(seconds=_VALID_SECONDS)
        return 200, {"access_token": token, "expires_in": _VALID_SECONDS, "token_type": "Bearer"}

    def _answer_api(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        self.requests += 1
        troubled = self.trouble(self.requests) if self.trouble is not None else None
        if troubled is not None:
            return troubled
        ends = self.tokens.get(authorization.removeprefix("Bearer "))
        if ends is None or ends <= self.clock():
            raise _Fault(401, "authError", "the access token is unknown or has run out")
        match = _RESOURCE.fullmatch(path)
        if match is None or match[1] not in _FAMILIES:
            raise _Fault(404, "notFound", "no such resource")
        kind = f"{match[1][0].upper()}{match[1][1:]}{match[2]}"
        resource_id = unquote(match[3]) if match[3] else None
        if resource_id is None:
            return self._insert(kind, _document(body)) if method == "POST" else self._not_allowed()
        if self._kinds.get(resource_id) != kind:
            raise _Fault(404, "classNotFound" if match[2] == "Class" else "resourceNotFound", "not found")
        if match[4]:
            return (
                self._add_message(resource_id, _document(body)) if method == "POST" else self._not_allowed()
            )
        if method == "PATCH":
            return self._keep(kind, _merged(self.kept[resource_id], _document(body)))
        if method == "PUT":
            return self._keep(kind, {**_document(body), "id": resource_id})
        return (200, self._shown(resource_id)) if method == "GET" else self._not_allowed()

    @staticmethod
    def _not_allowed() -> Answer:
        return fault(405, "methodNotAllowed")

    def _insert(self, kind: str, document: dict[str, Any]) -> Answer:
        if document.get("id") in self.kept:
            raise _Fault(409, "existingResource", "it is there already")
        return self._keep(kind, document)

    def _keep(self, kind: str, document: dict[str, Any]) -> Answer:
        document.pop("hasUsers", None)  # Google's to say
        wrong = fault_of(kind, document) or _beyond_limits(document)
        if wrong is None and not self._is_ours(document["id"]):
            wrong = "id must be the issuer's number, a point, and letters, digits, points, _ and -"
        if wrong is not None:
            raise _Fault(400, "invalid", wrong)
        if kind.endswith("Object") and self._kinds.get(document["classId"]) != kind[:-6] + "Class":
            raise _Fault(404, "classNotFound", "the class is not there, or of another kind")
        self.kept[document["id"]] = document
        self._kinds[document["id"]] = kind
        return 200, self._shown(document["id"])

    def _shown(self, resource_id: str) -> dict[str, Any]:
        """Give a resource as it is answered: of an object, whether anybody holds it."""
        held = {"hasUsers": True} if self.holders.get(resource_id) else {}
        return self.kept[resource_id] | held

    def _is_ours(self, resource_id: str) -> bool:
        return _ID.fullmatch(resource_id) is not None and resource_id.startswith(f"{self.issuer}.")

    def _add_message(self, object_id: str, document: dict[str, Any]) -> Answer:
        wrong = fault_of("AddMessageRequest", document)
        message = document.get("message", {})
        if wrong is not None or not message.get("header") or not message.get("body"):
            raise _Fault(400, "invalid", wrong or "a message has a header and a body")
        # The same id once more is another message: Google says that ids may be there twice.
        messages = [*self.kept[object_id].get("messages", []), message]
        if len(messages) > MOST_MESSAGES:
            raise _Fault(400, "invalid", f"an object has at most {MOST_MESSAGES} messages")
        if message.get("messageType") == "TEXT_AND_NOTIFY":
            now = self.clock()
            lately = [at for at in self._notified_at.get(object_id, []) if at > now - timedelta(days=1)]
            if len(lately) >= MOST_NOTIFIED:
                raise _Fault(403, "quotaExceeded", "QuotaExceededException")
            self._notified_at[object_id] = [*lately, now]
            if self.holders.get(object_id):
                self.notified.append((object_id, message["header"], message["body"]))
                if self.tell is not None:
                    self.tell(object_id, f"{message['header']}: {message['body']}")
        self.kept[object_id] = self.kept[object_id] | {"messages": messages}
        return 200, {"resource": self._shown(object_id)}

    def _save(self, token: str, holder: str) -> Answer:
        """Do what the holder's tap on a link does: verify the token, make what it brings, and save it."""
        claims = self._verified(token)
        if claims is None or claims.get("iss") != self.email or len(token) > LONGEST_TOKEN:
            raise _Fault(400, "invalid", "the link's token is not signed by the service account, or too long")
        if (claims.get("aud"), claims.get("typ")) != ("google", "savetowallet"):
            raise _Fault(400, "invalid", "the link's token is for something else")
        saved = []
        for name, documents in claims.get("payload", {}).items():
            family = name.removesuffix("Objects")
            if family not in _FAMILIES:
                raise _Fault(400, "invalid", f"there is no {name}")
            for document in documents:
                if document.keys() - {"id", "classId"} or document.get("id") not in self.kept:
                    self._keep(f"{family[0].upper()}{family[1:]}Object", document)
                if self._is_another_s(document["id"], holder):
                    raise _Fault(403, "forbidden", "somebody else has saved the pass, and it has one holder")
                saved.append(document["id"])
        for object_id in saved:
            self.holders.setdefault(object_id, set()).add(holder)
        return 200, {"saved": saved}

    def _is_another_s(self, object_id: str, holder: str) -> bool:
        of_class = self.kept[self.kept[object_id]["classId"]]
        of_one = of_class.get("multipleDevicesAndHoldersAllowedStatus", "").startswith("ONE_USER")
        return of_one and bool(self.holders.get(object_id, set()) - {holder})

    def forget(self, object_id: str, holder: str = HOLDER) -> bool:
        """Do what a holder's deletion of a pass does, on all devices of theirs; whether they had it."""
        names = self.holders.get(object_id, set())
        held = holder in names
        names.discard(holder)
        return held

    def callback_url(self, object_id: str) -> str | None:
        """Give the address that wants to know what holders do with an object, if there is one."""
        of_class = self.kept.get(self.kept[object_id]["classId"], {})
        url = of_class.get("callbackOptions", {}).get("url")
        return url if isinstance(url, str) else None

    def _verified(self, token: str) -> dict[str, Any] | None:
        """Give a token's claims when the service account has signed it."""
        try:
            head, claims, signature = token.split(".")
            self.key.verify(
                _decoded(signature), f"{head}.{claims}".encode("ascii"), padding.PKCS1v15(), SHA256()
            )
            read = json.loads(_decoded(claims))
            return read if json.loads(_decoded(head)).get("alg") == "RS256" else None
        except (ValueError, InvalidSignature, AttributeError):
            return None


def _merged(kept: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is named; null clears it, a list takes the place of the other."""
    merged = dict(kept)
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def _beyond_limits(document: Mapping[str, Any]) -> str | None:
    """Say which of the limits that the schema does not name is passed, if one is."""
    override = document.get("classTemplateInfo", {}).get("cardTemplateOverride", {})
    rows = override.get("cardRowTemplateInfos", [])
    if len(rows) > MOST_ROWS:
        return f"a card has at most {MOST_ROWS} rows"
    if any(len(row) != 1 for row in rows):
        return "a row has one item, or two, or three"
    if len(document.get("messages", [])) > MOST_MESSAGES:
        return f"there are at most {MOST_MESSAGES} messages"
    return None


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise _Fault(400, "parseError", "no JSON") from error
    if not isinstance(document, dict):
        raise _Fault(400, "parseError", "no JSON object")
    return document


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
