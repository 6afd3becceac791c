"""What is made from the catalogue: the OpenAPI document's `webhooks`, and docs/events.md."""

from __future__ import annotations

import json

import msgspec

from rxdesk.kit.signing import delivery_headers
from rxdesk.web.api import Webhook
from rxdesk.webhooks.events import EVENT_TYPES, EventType, envelope
from rxdesk.webhooks.payloads import Cut

_MOMENT = 1711900000
_UID = "evt-01HTB1S4M0A0B0C0D0E0F0G0H0"
_SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="  # noqa: S105 (an example, 32 zero bytes)
_HEADERS = {
    "X-Webhook-Event": "The event type",
    "X-Webhook-Signature": "Lower-case hex HMAC-SHA256 of the raw body, keyed with the whole signing secret",
    "webhook-id": "The event's uid, the same in every attempt: de-duplicate on it",
    "webhook-timestamp": "When this attempt was made, as Unix seconds",
    "webhook-signature": "Standard Webhooks: `v1,` and the base64 of an HMAC-SHA256 of `id.timestamp.body`, keyed "
    "with the decoded part of the secret after `whsec_`; two of them, divided by a space, while a rotation lasts",
}


def _example(event: EventType) -> dict[str, object]:
    return envelope(event.name, _MOMENT, event.sample(_MOMENT))


def _headers(event: EventType) -> dict[str, str]:
    """Sign the example as it is sent."""
    return delivery_headers(
        event_type=event.name,
        secret=_SECRET,
        message_id=_UID,
        timestamp=_MOMENT,
        body=msgspec.json.encode(_example(event)),
    )


def _who(event: EventType) -> str:
    needs = " and ".join(f"`{permission}`" for permission in event.needs)
    if event.thin:
        return "Thin: uid, status and times, no personal data."
    return f"A subscription made by a key without {needs} gets `data` cut to uid, status and times."


def webhooks() -> tuple[Webhook, ...]:
    """Describe each event type as a request that the server makes."""
    return tuple(
        Webhook(
            name=event.name,
            summary=event.summary,
            description=_who(event),
            data=(event.payload,) if event.thin else (event.payload, Cut),
            example=_example(event),
            headers=tuple((name, text, _headers(event)[name]) for name, text in _HEADERS.items()),
        )
        for event in EVENT_TYPES.values()
    )


def page() -> str:
    """Write docs/events.md."""
    lines = [
        "# Events",
        "",
        "<!-- Made from src/rxdesk/webhooks/events.py by `make docs`; change it there. -->",
        "",
        "Each change is an event, stored in the transaction that makes the change. A subscription to its type gets it",
        "by POST, at least once; [webhooks.md](webhooks.md) says how it is signed, repeated and replayed. A key with",
        "`event:read` may also ask for it: GET `/v1/operations/events`.",
        "",
        "| type | when | `data` | whole for keys with |",
        "|---|---|---|---|",
        *(_row(event) for event in EVENT_TYPES.values()),
        "",
        "The body is the same in every attempt, to the byte. `timestamp` is when it happened; all times are Unix",
        "seconds, money is in cents. A subscription of a pharmacy gets its own pharmacy's events only, and whole.",
        "",
        "A **thin** event has uid, status, `created_at` and `updated_at` and no personal data: ask for the rest with a",
        "key that may read it. A full one, **cut** for a key that may not read it, keeps the same members.",
    ]
    shown = set()
    for event in EVENT_TYPES.values():
        # One example for types that look alike.
        if (key := event.payload) in shown:
            continue
        shown.add(key)
        names = [f"`{other.name}`" for other in EVENT_TYPES.values() if other.payload is key]
        title = "Thin events" if event.thin else ", ".join(names)
        text = json.dumps(_example(event), ensure_ascii=False, indent=2)
        lines += ["", f"## {title}", "```json", text, "```"]
        lines += (
            ["", "Members that are null in some events:", "", *_nullable(event)] if not event.thin else []
        )
    return "\n".join(lines) + "\n"


def _row(event: EventType) -> str:
    needs = () if event.thin else event.needs
    whole = ", ".join(f"`{permission}`" for permission in needs) or "any key"
    return f"| `{event.name}` | {event.summary} | {'thin' if event.thin else 'full'} | {whole} |"


def _nullable(event: EventType) -> list[str]:
    found = [
        f"`{path}`"
        for path, field in _fields(event.payload, "")
        if isinstance(field, msgspec.inspect.UnionType) and field.includes_none
    ]
    return [", ".join(found) + "."]


def _fields(kind: object, before: str) -> list[tuple[str, object]]:
    """Give every member of a payload with its path, depth first."""
    shape = kind if isinstance(kind, msgspec.inspect.Type) else msgspec.inspect.type_info(kind)
    if isinstance(shape, msgspec.inspect.UnionType):
        return [found for part in shape.types for found in _fields(part, before)]
    if isinstance(shape, msgspec.inspect.ListType):
        return _fields(shape.item_type, before + "[]")
    if not isinstance(shape, msgspec.inspect.StructType):
        return []
    found: list[tuple[str, object]] = []
    for field in shape.fields:
        path = f"{before}.{field.encode_name}" if before else field.encode_name
        found += [(path, field.type), *_fields(field.type, path)]
    return found
