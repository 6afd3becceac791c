"""Bodies and signatures against verifiers that are not ours: two libraries, and the vendor's recipe.

Small here; `make proof` runs it with 10,000 random payloads.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import time
from typing import Any

import msgspec
import pytest
import standardwebhooks
import svix

from rxdesk.kit.signing import delivery_headers, new_signing_secret
from rxdesk.webhooks.events import EVENT_TYPES, envelope

_TEXTS = (
    "",
    "Jürgen €",
    "💊\u200d🩺",
    'a\nb\tc"d\\e/',
    "\u2028\u2029",
    "<script>&amp;",
    "\x7f\x01",
    "ﷺ",
    "0" * 300,
)


def random_value(chance: random.Random, depth: int = 0) -> Any:
    """Anything that JSON can hold, with texts that are easily spoilt."""
    kind = chance.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return chance.choice((None, True, False))
    if kind == 1:
        return chance.randint(-(1 << 53), 1 << 53)
    if kind == 2:
        return chance.choice((0.1, -2.5, 1e-7, 1e21, 3.0))
    if kind in (3, 4):
        return chance.choice(_TEXTS) + "".join(
            chr(chance.choice((chance.randrange(32, 0x250), chance.randrange(0x1F300, 0x1F6FF))))
            for _ in range(chance.randrange(20))
        )
    if kind == 5:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {
        f"{chance.choice(_TEXTS)}{n}": random_value(chance, depth + 1) for n in range(chance.randrange(4))
    }


def random_delivery(chance: random.Random, now: int) -> tuple[str, dict[str, str], bytes, Any]:
    """A secret, the headers and body of a delivery signed with it, and what was put in."""
    kind = chance.choice(list(EVENT_TYPES))
    data = {"uid": f"x-{chance.randrange(1 << 30)}", "more": random_value(chance)}
    content = envelope(kind, now - chance.randrange(1 << 20), data)
    body = msgspec.json.encode(content)
    secret = new_signing_secret(chance.randbytes)
    headers = delivery_headers(
        event_type=kind,
        secret=secret,
        message_id=f"evt-{chance.randrange(1 << 40)}",
        timestamp=now,
        body=body,
    )
    return secret, headers, body, content


def vendor_accepts(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """The vendor's recipe, word for word: hex HMAC-SHA256 of the raw body, keyed with the secret as it is."""
    expected = hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, headers["X-Webhook-Signature"])


def library_accepts(kind: str, secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        if kind == "svix":
            svix.Webhook(secret).verify(body, headers)
        else:
            standardwebhooks.Webhook(secret).verify(body, headers)
    except (standardwebhooks.WebhookVerificationError, svix.WebhookVerificationError, ValueError):
        return False  # a ValueError is a body that is no UTF-8 any more, or a signature that is no base64
    return True


def flipped(chance: random.Random, value: bytes) -> bytes:
    """The same with one bit changed."""
    place = chance.randrange(len(value) * 8)
    changed = bytearray(value)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def prove(count: int, seed: int) -> int:
    """Verify so many random deliveries, and see each refused with one bit of its body changed; gives how many."""
    chance = random.Random(seed)
    done = 0
    for _ in range(count):
        secret, headers, body, content = random_delivery(chance, int(time.time()))
        assert json.loads(body) == content
        assert standardwebhooks.Webhook(secret).verify(body, headers) == content
        assert library_accepts("svix", secret, headers, body)
        assert vendor_accepts(secret, headers, body)
        wrong = flipped(chance, body)
        assert not library_accepts("standardwebhooks", secret, headers, wrong), (secret, wrong)
        assert not library_accepts("svix", secret, headers, wrong), (secret, wrong)
        assert not vendor_accepts(secret, headers, wrong), (secret, wrong)
        done += 1
    return done


def test_random_payloads_verify_and_one_bit_makes_them_not() -> None:
    assert prove(200, 4711) == 200


@pytest.mark.proof
def test_ten_thousand_random_payloads() -> None:
    assert prove(10_000, 20_260_304) == 10_000


def test_every_bit_of_a_small_body_counts() -> None:
    now = int(time.time())
    body = b'{"event_type":"order_updated","data":{"uid":"ord-1"}}'
    secret = new_signing_secret(os.urandom)
    headers = delivery_headers(
        event_type="order_updated", secret=secret, message_id="evt-1", timestamp=now, body=body
    )
    assert vendor_accepts(secret, headers, body)
    for place in range(len(body) * 8):
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        assert not vendor_accepts(secret, headers, bytes(changed))
        assert not library_accepts("standardwebhooks", secret, headers, bytes(changed))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("library", ["standardwebhooks", "svix"])
def test_a_changed_header_is_refused(name: str, library: str) -> None:
    chance = random.Random(name + library)
    for _ in range(50):
        secret, headers, body, _ = random_delivery(chance, int(time.time()))
        # Of a signature without `v1,` and its last digit, some bits of which mean nothing.
        first, last = (3, 2) if name == "webhook-signature" else (0, 0)
        place = chance.randrange(first, len(headers[name]) - last)
        changed = chr(ord(headers[name][place]) ^ 1)
        wrong = {**headers, name: headers[name][:place] + changed + headers[name][place + 1 :]}
        assert not library_accepts(library, secret, wrong, body), wrong


@pytest.mark.parametrize("library", ["standardwebhooks", "svix"])
def test_what_is_old_is_refused_though_it_is_signed(library: str) -> None:
    secret, headers, body, _ = random_delivery(random.Random(1), int(time.time()) - 600)
    assert not library_accepts(library, secret, headers, body)
    assert vendor_accepts(secret, headers, body)  # which is why the standard's headers stand beside it
