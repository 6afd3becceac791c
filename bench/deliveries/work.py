"""What is delivered: events of exactly 1 KB, each to every endpoint; the endpoints' addresses and secrets."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rxdesk.kit.signing import new_signing_secret
from rxdesk.webhooks.events import envelope

EVENT = "order_updated"
BODY_BYTES = 1024
ENDPOINTS = 16
IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where deliveries go: `path` is its own at the one receiver that stands for all."""

    path: str
    url: str
    secret: str


def endpoints(port: int) -> list[Endpoint]:
    """Make the endpoints of a receiver at a port."""
    made = []
    for number in range(ENDPOINTS):
        path = f"/hooks/{number}"
        secret = new_signing_secret(secrets.token_bytes)
        made.append(Endpoint(path, f"http://127.0.0.1:{port}{path}", secret))
    return made


def written(found: list[Endpoint], file: Path) -> Path:
    """Write endpoints to a file, which only its owner may read."""
    file.touch(mode=0o600)
    file.write_text(json.dumps([[one.path, one.url, one.secret] for one in found]))
    return file


def read(file: Path) -> list[Endpoint]:
    """Read what `written` wrote."""
    return [Endpoint(*one) for one in json.loads(file.read_text())]


def data(number: int, moment: int) -> dict[str, Any]:
    """Give the data of an event's body, such that the body has its size."""
    found: dict[str, Any] = {"uid": f"ord-{number:08d}", "status": "started", "note": ""}
    missing = BODY_BYTES - len(msgspec.json.encode(envelope(EVENT, moment, found)))
    found["note"] = ("Zwei Tabletten am Morgen. " * BODY_BYTES)[:missing]
    return found


def body(number: int, moment: int) -> bytes:
    """Give the exact bytes of an event's body, as RxDesk makes them."""
    return msgspec.json.encode(envelope(EVENT, moment, data(number, moment)))
