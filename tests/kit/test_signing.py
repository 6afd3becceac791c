import base64
import hashlib
import hmac
import json
import os
import time

import pytest
import standardwebhooks
import svix

from rxdesk.kit.signing import (
    Signer,
    delivery_headers,
    new_signing_secret,
    standard_signature,
    vendor_signature,
)

BODY = json.dumps({"event_type": "order_created", "data": {"name": "Jürgen €"}}, ensure_ascii=False).encode()


def _headers(
    body: bytes = BODY, secret: str | None = None, *, test: bool = False
) -> tuple[str, dict[str, str]]:
    secret = secret or new_signing_secret(os.urandom)
    headers = delivery_headers(
        event_type="order_created",
        secret=secret,
        message_id="evt-01JD",
        timestamp=int(time.time()),
        body=body,
        test=test,
    )
    return secret, headers


def test_a_secret_is_the_prefix_and_32_bytes() -> None:
    assert new_signing_secret(lambda size: bytes(range(size))) == (
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    )
    secret = new_signing_secret(os.urandom)
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert secret != new_signing_secret(os.urandom)


def test_the_vendors_signature_is_keyed_with_the_whole_secret() -> None:
    secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    signature = vendor_signature(secret, b'{"a":1}')
    assert signature == hmac.new(secret.encode("utf-8"), b'{"a":1}', hashlib.sha256).hexdigest()
    assert signature == "d3f1ea16147b8b8d0304fe2a9559b4b4b84d057af19b132191df3378cbd1234a"


def test_the_published_vector_of_standard_webhooks() -> None:
    signature = standard_signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("body", [BODY, b"{}", b'{"a":"\xf0\x9f\x92\x8a"}'])
def test_the_receivers_libraries_accept_a_delivery(body: bytes) -> None:
    secret, headers = _headers(body)
    assert standardwebhooks.Webhook(secret).verify(body, headers) == json.loads(body)
    svix.Webhook(secret).verify(body, headers)  # raises when it does not agree


@pytest.mark.parametrize("change", ["body", "webhook-id", "webhook-timestamp", "secret"])
def test_the_receivers_libraries_refuse_a_changed_delivery(change: str) -> None:
    secret, headers = _headers()
    body = BODY
    if change == "body":
        body = BODY + b" "
    elif change == "secret":
        secret = new_signing_secret(os.urandom)
    else:
        headers[change] = str(int(headers["webhook-timestamp"]) - 1)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(body, headers)
    with pytest.raises(svix.WebhookVerificationError):
        svix.Webhook(secret).verify(body, headers)


def test_the_headers_of_a_delivery() -> None:
    secret = new_signing_secret(os.urandom)
    headers = Signer(secret, custom=("X-Token", "abc")).headers(
        event_type="pharmacy_order_created", message_id="evt-1", timestamp=1711900000, body=BODY, test=True
    )
    assert headers == {
        "Content-Type": "application/json",
        "X-Webhook-Event": "pharmacy_order_created",
        "X-Webhook-Signature": vendor_signature(secret, BODY),
        "webhook-id": "evt-1",
        "webhook-timestamp": "1711900000",
        "webhook-signature": standard_signature(secret, "evt-1", 1711900000, BODY),
        "X-Webhook-Test": "true",
        "X-Token": "abc",
    }


def test_only_a_test_delivery_says_so() -> None:
    assert "X-Webhook-Test" not in _headers()[1]
    assert _headers(test=True)[1]["X-Webhook-Test"] == "true"


@pytest.mark.parametrize(
    "custom", [("content-type", "text/plain"), ("X-Webhook-Signature", "0"), ("X", "a\r\nb")]
)
def test_a_custom_header_cannot_replace_ours(custom: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^header_"):
        Signer(new_signing_secret(os.urandom), custom=custom)


@pytest.mark.parametrize("secret", ["", "whsec_", "AAECAwQF", "whsec_AAE", "whsec_!!!!", "whsec_ü"])
def test_a_secret_of_another_form_signs_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        standard_signature(secret, "m", 1, b"")
    with pytest.raises(ValueError, match="whsec_"):
        Signer(secret)
