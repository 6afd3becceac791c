"""JSON Web Tokens signed with RSA and SHA-256 (RFC 7515, RS256)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256


def sign_rs256(claims: Mapping[str, Any], key: rsa.RSAPrivateKey, key_id: str | None = None) -> str:
    """Sign claims. The same claims in the same order give the same token."""
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    signed = f"{_encoded(_json(header))}.{_encoded(_json(claims))}"
    return f"{signed}.{_encoded(key.sign(signed.encode('ascii'), padding.PKCS1v15(), SHA256()))}"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
