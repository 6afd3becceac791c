"""What is said of a delivery that does not verify."""

from __future__ import annotations

import json
import os

import pytest

from rxdesk.kit.signing import delivery_headers, new_signing_secret, standard_signature
from rxdesk.kit.verification import Finding, diagnose

NOW = 1_772_618_400
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER = new_signing_secret(os.urandom)
DATA = {
    "event_type": "order_updated",
    "data": {"uid": "ord-1", "name": "Jürgen €/", "n": [1, True, None, {}]},
}
BODY = json.dumps(DATA, ensure_ascii=False, separators=(",", ":")).encode()


def headers(
    secret: str = SECRET, body: bytes = BODY, at: int = NOW, **changes: str | None
) -> list[tuple[str, str]]:
    made: dict[str, str | None] = dict(
        delivery_headers(
            event_type="order_updated", secret=secret, message_id="evt-1", timestamp=at, body=body
        )
    )
    made |= {name.replace("_", "-"): value for name, value in changes.items()}
    return [(name, value) for name, value in made.items() if value is not None]


def faults(found: list[Finding]) -> dict[str, str]:
    return {one.name: one.message for one in found if not one.well}


def test_a_good_one() -> None:
    assert faults(diagnose(SECRET, headers(), BODY, NOW)) == {}
    names = [one.name for one in diagnose(SECRET, headers(), BODY, NOW)]
    assert names == ["secret", "X-Webhook-Signature", "webhook-timestamp", "webhook-signature"]
    # Header names in any case, with white space around the values, as tools print them.
    shouted = [(name.upper(), f" {value} ") for name, value in headers()]
    assert faults(diagnose(SECRET, shouted, BODY, NOW)) == {}


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (SECRET.removeprefix("whsec_"), "begins with whsec_"),
        (SECRET + "\n", "white space"),
        (SECRET[:-1], "is it whole?"),
        (SECRET[:-5] + "=", "is it whole?"),
        ("whsec_AAAA", "holds 3 bytes and not 32"),
        ("whsec_-_" + SECRET[8:], "not the URL's"),
        ("", "begins with whsec_"),
    ],
)
def test_a_secret_of_a_wrong_form(secret: str, said: str) -> None:
    found = diagnose(secret, headers(), BODY, NOW)
    assert [one.name for one in found] == ["secret"]
    assert said in faults(found)["secret"]


def test_another_secret() -> None:
    found = faults(diagnose(OTHER, headers(), BODY, NOW))
    assert set(found) == {"X-Webhook-Signature", "webhook-signature", "cause"}
    assert "the secret is another one" in found["cause"]


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(DATA),
        json.dumps(DATA, indent=2, ensure_ascii=False),
        json.dumps(DATA, separators=(",", ":")),
        json.dumps(DATA).replace("/", "\\/"),
    ],
)
@pytest.mark.parametrize("without", ["X-Webhook-Signature", "webhook-signature", "none"])
def test_a_body_that_was_read_and_written_again(written: str, without: str) -> None:
    given = [one for one in headers() if one[0] != without]
    found = faults(diagnose(SECRET, given, written.encode(), NOW))
    assert "re-serialised" in found["cause"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BODY + b"\n", "line feed"),
        (BODY + b"\r\n", "line feed"),
        (b"\xef\xbb\xbf" + BODY, "byte order mark"),
        (BODY[:-4], "is no JSON"),
        (json.dumps(DATA, sort_keys=True).encode(), "another order"),
    ],
)
def test_a_body_that_was_changed(body: bytes, said: str) -> None:
    assert said in faults(diagnose(SECRET, headers(), body, NOW))["cause"]


@pytest.mark.parametrize(("at", "said"), [(NOW - 301, "301 s old"), (NOW + 301, "301 s ahead")])
def test_another_time(at: int, said: str) -> None:
    found = faults(diagnose(SECRET, headers(at=at), BODY, NOW))
    assert list(found) == ["webhook-timestamp"]
    assert said in found["webhook-timestamp"]
    assert faults(diagnose(SECRET, headers(at=at), BODY, at - 300)) == {}


@pytest.mark.parametrize(
    "name", ["X-Webhook-Signature", "webhook-id", "webhook-timestamp", "webhook-signature"]
)
def test_a_missing_header(name: str) -> None:
    found = faults(diagnose(SECRET, [one for one in headers() if one[0] != name], BODY, NOW))
    assert found == {name: "is missing"}


def test_headers_that_were_changed() -> None:
    moved = faults(diagnose(SECRET, headers(webhook_id="evt-2"), BODY, NOW))
    assert set(moved) == {"webhook-signature", "cause"}
    assert "webhook-id or webhook-timestamp is not" in moved["cause"]
    upper = dict(headers())["X-Webhook-Signature"].upper()
    assert (
        "lower-case"
        in faults(diagnose(SECRET, headers(X_Webhook_Signature=upper), BODY, NOW))["X-Webhook-Signature"]
    )
    assert (
        "version v1"
        in faults(diagnose(SECRET, headers(webhook_signature="v2,x"), BODY, NOW))["webhook-signature"]
    )
    assert (
        "Unix seconds"
        in faults(diagnose(SECRET, headers(webhook_timestamp="now"), BODY, NOW))["webhook-timestamp"]
    )
    long = headers(webhook_timestamp="9" * 5000)
    assert "Unix seconds" in faults(diagnose(SECRET, long, BODY, NOW))["webhook-timestamp"]
    assert "re-serialised" in faults(diagnose(SECRET, long, json.dumps(DATA).encode(), NOW))["cause"]


def test_while_a_rotation_lasts() -> None:
    both = " ".join(standard_signature(one, "evt-1", NOW, BODY) for one in (OTHER, SECRET))
    old = diagnose(SECRET, headers(webhook_signature=both), BODY, NOW)
    assert faults(old) == {}
    assert "the 2. of 2" in old[-1].message
    new = faults(diagnose(OTHER, headers(webhook_signature=both), BODY, NOW))
    assert set(new) == {"X-Webhook-Signature", "cause"}
    assert "rotation" in new["cause"]
