"""The files that passes are signed with and pushes are made with."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID, ObjectIdentifier

from rxdesk.kit.cms import DetachedSigner

_PEM = b"-----BEGIN"


class CertificateError(Exception):
    """A certificate or key cannot be used; the message says which and why, and holds nothing of the key."""


@dataclass(frozen=True, slots=True)
class PassSigner:
    """Signs passes of one type.

    `pass_type` and `team` are what Apple wrote into the certificate. From `good_from` to `expires_at` both the pass
    certificate and its issuer's are good. Nothing new can be signed or pushed before and after that.
    """

    pass_type: str
    team: str
    good_from: datetime
    expires_at: datetime
    signer: DetachedSigner


def load_signer(
    certificate_file: Path, key_file: Path, intermediate_file: Path, password: str = ""
) -> PassSigner:
    """Read the pass certificate, its key and Apple's intermediate (WWDR), each PEM or DER.

    Raises CertificateError when a file cannot be read, they do not belong together, or the certificate names no pass
    type and team. One that has run out is loaded all the same: see `expires_at`.
    """
    certificate, intermediate = _certificate(certificate_file), _certificate(intermediate_file)
    key = _key(key_file, password)
    if key.public_key() != certificate.public_key():
        raise CertificateError(f"{key_file} is not the key of {certificate_file}")
    try:
        certificate.verify_directly_issued_by(intermediate)
    except Exception as error:
        raise CertificateError(
            f"{certificate_file} was not issued by {intermediate_file}; use the intermediate that it names: "
            f"{certificate.issuer.rfc4514_string()}"
        ) from error
    return PassSigner(
        pass_type=_named(certificate, NameOID.USER_ID, certificate_file, "pass type (UID)"),
        team=_named(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME, certificate_file, "team (OU)"),
        good_from=max(certificate.not_valid_before_utc, intermediate.not_valid_before_utc),
        expires_at=min(certificate.not_valid_after_utc, intermediate.not_valid_after_utc),
        signer=DetachedSigner(certificate, key, [intermediate]),
    )


def expiry_of(certificate_file: Path) -> datetime:
    """Give the instant at which a certificate runs out. Raises CertificateError."""
    return _certificate(certificate_file).not_valid_after_utc


@contextmanager
def as_pem(certificate_file: Path, key_file: Path, password: str) -> Iterator[tuple[Path, Path, str]]:
    """Give the files of a certificate and its key, and the key's password, as OpenSSL's TLS takes them: in PEM.

    Of files in DER there is a copy for as long as the block lasts, its key encrypted with a password of its own.
    Raises CertificateError when a file cannot be read, OSError when no copy can be made.
    """
    if all(_PEM in _read(file) for file in (certificate_file, key_file)):
        yield certificate_file, key_file, password
        return
    secret = secrets.token_urlsafe()
    certificate, key = _certificate(certificate_file), _key(key_file, password)
    sealed = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(secret.encode("ascii"))
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pass.pem"
        copy.write_bytes(certificate.public_bytes(Encoding.PEM) + sealed)
        yield copy, copy, secret


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateError(f"{file}: {error.strerror}") from error


def _certificate(file: Path) -> x509.Certificate:
    content = _read(file)
    try:
        if _PEM in content:
            return x509.load_pem_x509_certificate(content)
        return x509.load_der_x509_certificate(content)
    except ValueError as error:
        raise CertificateError(f"{file} holds no certificate in PEM or DER") from error


def _key(file: Path, password: str) -> rsa.RSAPrivateKey:
    content = _read(file)
    load = load_pem_private_key if _PEM in content else load_der_private_key
    try:
        key = load(content, password.encode() or None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"{file} holds no private key that opens with the given password") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CertificateError(f"{file} holds no RSA key")
    return key


def _named(certificate: x509.Certificate, what: ObjectIdentifier, file: Path, name: str) -> str:
    attributes = certificate.subject.get_attributes_for_oid(what)
    if not attributes:
        raise CertificateError(f"{file} names no {name}: it is no certificate of a pass type")
    return str(attributes[0].value)
