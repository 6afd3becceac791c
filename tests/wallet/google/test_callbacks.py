"""Callbacks: believed when every signature holds, and not otherwise."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.wallet.cards import NOW

from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.google.callbacks import (
    PROTOCOL,
    CallbackRefused,
    RootKey,
    read_root_keys,
    signed_bytes,
    verify_callback,
)

ISSUER = "3388000000022000000"
SIGNER = CallbackSigner(NOW)


def roots(signer: CallbackSigner = SIGNER) -> list[RootKey]:
    return read_root_keys(json.dumps(signer.published()).encode())


def body() -> bytes:
    return SIGNER.callback("save", f"{ISSUER}.wpt-1", f"{ISSUER}.wp-1", ISSUER, NOW)


def test_a_callback_is_believed() -> None:
    said = verify_callback(body(), ISSUER, roots(), NOW)
    assert (said.event_type, said.class_id, said.object_id) == ("save", f"{ISSUER}.wpt-1", f"{ISSUER}.wp-1")
    assert len(said.nonce) == 32


def test_what_is_signed_has_the_documented_form() -> None:
    assert signed_bytes("GooglePayPasses", "ä") == b"\x0f\0\0\0GooglePayPasses\x02\0\0\0\xc3\xa4"


@pytest.mark.parametrize("name", ["signature", "signedMessage", "protocolVersion", "intermediateSigningKey"])
def test_each_part_counts(name: str) -> None:
    envelope = json.loads(body())
    other = json.loads(body())
    other["signedMessage"] = other["signedMessage"].replace("save", "del")
    other["protocolVersion"] = "ECv2"
    stranger = CallbackSigner(NOW)
    strange = json.loads(stranger.callback("save", "c", "o", ISSUER, NOW))
    other["signature"], other["intermediateSigningKey"] = (
        strange["signature"],
        strange["intermediateSigningKey"],
    )
    with pytest.raises(CallbackRefused):
        verify_callback(json.dumps(envelope | {name: other[name]}).encode(), ISSUER, roots(), NOW)


def test_another_issuer_a_foreign_root_and_time_are_refused() -> None:
    with pytest.raises(CallbackRefused, match="not signed for this issuer"):
        verify_callback(body(), "3388000000022000001", roots(), NOW)
    with pytest.raises(CallbackRefused, match="no key of Google's"):
        verify_callback(body(), ISSUER, roots(CallbackSigner(NOW)), NOW)
    with pytest.raises(CallbackRefused, match="no key of Google's"):
        verify_callback(body(), ISSUER, [], NOW)
    with pytest.raises(CallbackRefused, match="too old"):
        verify_callback(body(), ISSUER, roots(), NOW + timedelta(hours=1))
    with pytest.raises(CallbackRefused, match="no key of Google's"):
        verify_callback(body(), ISSUER, roots(), NOW + timedelta(days=8))
    everlasting = [RootKey(root.key_value, root.protocol_version) for root in roots()]
    with pytest.raises(CallbackRefused, match="intermediate key has run out"):
        verify_callback(body(), ISSUER, everlasting, NOW + timedelta(days=8))


DEEP = '{"x":' + "[" * 15_000


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"signature":"\xff"}',
        b'{"signature":"","intermediateSigningKey":{"signedKey":"{}"}}',
        DEEP.encode(),
    ],
)
def test_rubbish_is_refused(rubbish: bytes) -> None:
    with pytest.raises(CallbackRefused):
        verify_callback(rubbish, ISSUER, roots(), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "!"},
        {"intermediateSigningKey": {"signedKey": "{}", "signatures": ["x"]}},
        {
            "intermediateSigningKey": {
                "signedKey": '{"keyValue":"x","keyExpiration":"x"}',
                "signatures": ["AA=="],
            }
        },
        {"intermediateSigningKey": {"signedKey": "{}", "signatures": []}},
        {"intermediateSigningKey": {"signedKey": DEEP, "signatures": ["AA=="]}},
        {"intermediateSigningKey": {"signedKey": "\ud800", "signatures": ["AA=="]}},
        {"signedMessage": "\ud800"},
        {"signature": "\ud800"},
    ],
)
def test_signatures_that_are_none_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CallbackRefused):
        verify_callback(json.dumps(json.loads(body()) | change).encode(), ISSUER, roots(), NOW)


def test_a_published_key_of_an_unknown_kind_keeps_no_other_from_being_believed() -> None:
    kind = bytes.fromhex("06072a8648ce3d0201")  # of elliptic curves
    known = base64.b64decode(roots()[0].key_value)
    unknown = base64.b64encode(known.replace(kind, kind[:-1] + b"\x09")).decode()
    believed = [RootKey(unknown, PROTOCOL), *roots()]
    assert verify_callback(body(), ISSUER, believed, NOW).event_type == "save"


def test_a_signed_message_of_another_form_is_refused() -> None:
    for said in ("{}", DEEP):
        with pytest.raises(CallbackRefused, match="not of the expected form"):
            verify_callback(SIGNER.envelope(said, ISSUER), ISSUER, roots(), NOW)


def message(**members: Any) -> bytes:
    """A callback that is well signed, with those members in place of the usual ones."""
    said = json.loads(json.loads(body())["signedMessage"])
    return SIGNER.envelope(json.dumps(said | members), ISSUER)


@pytest.mark.parametrize(
    "nonce",
    ["", "a\0", "\0", "a" * 257, "é", "a\n", "a\x7f"],
)
def test_a_nonce_is_text_that_can_be_kept(nonce: str) -> None:
    with pytest.raises(CallbackRefused, match="not of the expected form"):
        verify_callback(message(nonce=nonce), ISSUER, roots(), NOW)


@pytest.mark.parametrize("nonce", ["a", "a" * 256, "8d5e-b0_A+/=", "a b~"])
def test_nonces_of_many_forms_are_taken(nonce: str) -> None:
    assert verify_callback(message(nonce=nonce), ISSUER, roots(), NOW).nonce == nonce


def test_the_time_of_a_message_is_near() -> None:
    year = int((NOW + timedelta(days=365)).timestamp() * 1000)
    for near in (year, str(year)):
        assert verify_callback(message(expTimeMillis=near), ISSUER, roots(), NOW).exp_time_millis == year
    for far in (year + 1, 2**63, 2**64, str(2**63), 10**400, "9" * 5000):
        with pytest.raises(CallbackRefused, match=r"too far off|not of the expected form"):
            verify_callback(message(expTimeMillis=far), ISSUER, roots(), NOW)
    for past in (0, -1, -(2**63) - 1, -(10**400)):
        with pytest.raises(CallbackRefused, match=r"too old|not of the expected form"):
            verify_callback(message(expTimeMillis=past), ISSUER, roots(), NOW)


def test_published_keys_of_other_protocols_are_passed_over() -> None:
    keys = {"keys": [{"keyValue": "x", "protocolVersion": "ECv1"}, *SIGNER.published()["keys"]]}
    assert read_root_keys(json.dumps(keys).encode()) == roots()
    for rubbish in (b"<html>", DEEP.encode()):
        with pytest.raises(CallbackRefused, match="cannot be read"):
            read_root_keys(rubbish)
