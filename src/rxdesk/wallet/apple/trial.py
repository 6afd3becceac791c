"""A self-made chain of certificates for trials: passes that openssl and the emulator take, and no phone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from rxdesk.kit import der

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
# What Apple writes into the certificate of a pass type: that it signs passes, and which.
_SIGNS_PASSES = ObjectIdentifier("1.2.840.113635.100.4.14")
_PASS_TYPE = ObjectIdentifier("1.2.840.113635.100.6.1.16")
_IA5_STRING = 0x16
_RSA_BITS = 2048
_EXPONENT = 65537
_LONGEST_NAME = 64  # of what X.509 calls a common name


@dataclass(frozen=True, slots=True)
class TrialFiles:
    """The files of a chain, PEM all of them."""

    root: Path
    intermediate: Path
    pass_certificate: Path
    pass_key: Path
    server_certificate: Path
    server_key: Path


def files_in(folder: Path) -> TrialFiles:
    """Name the files of a chain in a folder."""
    return TrialFiles(
        root=folder / "root.pem",
        intermediate=folder / "intermediate.pem",
        pass_certificate=folder / "pass.pem",
        pass_key=folder / "pass.key",
        server_certificate=folder / "server.pem",
        server_key=folder / "server.key",
    )


def create_chain(
    folder: Path, pass_type: str, team: str, now: datetime, valid: timedelta = timedelta(days=365)
) -> TrialFiles:
    """Write a root, an intermediate in the place of Apple's, a pass certificate, and a server's for loopback.

    All are valid from `now` on, for as long as `valid` says. Keys are readable by their owner only. Raises
    FileExistsError, and writes no further, when there is one of the files already.
    """
    files = files_in(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = _Chain(now, now + valid)
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = made.authority(_name("RxDesk trial root"), root_key, None, root_key)
    intermediate_key = ec.generate_private_key(ec.SECP256R1())
    intermediate = made.authority(_name("RxDesk trial intermediate"), intermediate_key, root, root_key)
    pass_key = rsa.generate_private_key(public_exponent=_EXPONENT, key_size=_RSA_BITS)
    leaf = made.of_pass(pass_type, team, pass_key, intermediate, intermediate_key)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = made.of_server(server_key, root, root_key)
    for file, certificate in (
        (files.root, root),
        (files.intermediate, intermediate),
        (files.pass_certificate, leaf),
        (files.server_certificate, server),
    ):
        write_new(file, certificate.public_bytes(Encoding.PEM), 0o644)
    for file, key in ((files.pass_key, pass_key), (files.server_key, server_key)):
        write_new(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    return files


@dataclass(frozen=True, slots=True)
class _Chain:
    begins: datetime
    ends: datetime

    def authority(
        self, subject: x509.Name, key: _Key, issuer: x509.Certificate | None, issuer_key: _Key
    ) -> x509.Certificate:
        usage = _usage(certificates=True)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        return self._sign(subject, key, issuer, issuer_key, [(constraints, True), (usage, True)])

    def of_pass(
        self, pass_type: str, team: str, key: _Key, issuer: x509.Certificate, issuer_key: _Key
    ) -> x509.Certificate:
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.USER_ID, pass_type),
                x509.NameAttribute(NameOID.COMMON_NAME, f"Pass Type ID: {pass_type}"[:_LONGEST_NAME]),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, team),
            ]
        )
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, _SIGNS_PASSES])
        named = x509.UnrecognizedExtension(_PASS_TYPE, der.write(_IA5_STRING, pass_type.encode("ascii")))
        none = x509.BasicConstraints(ca=False, path_length=None)
        extensions = [(none, True), (_usage(certificates=False), True), (uses, True), (named, False)]
        return self._sign(subject, key, issuer, issuer_key, extensions)

    def of_server(self, key: _Key, issuer: x509.Certificate, issuer_key: _Key) -> x509.Certificate:
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), *(x509.IPAddress(ip_address(text)) for text in ("127.0.0.1", "::1"))]
        )
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        none = x509.BasicConstraints(ca=False, path_length=None)
        extensions = [(none, True), (uses, False), (names, False)]
        return self._sign(_name("localhost"), key, issuer, issuer_key, extensions)

    def _sign(
        self,
        subject: x509.Name,
        key: _Key,
        issuer: x509.Certificate | None,
        issuer_key: _Key,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=subject if issuer is None else issuer.subject,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=self.begins,
            not_valid_after=self.ends,
        )
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        for extension, critical in (*extensions, (own, False), (above, False)):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(issuer_key, SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, certificates: bool) -> x509.KeyUsage:
    """Say what a key is for: signing certificates, or else signing."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def write_new(file: Path, content: bytes, mode: int) -> None:
    """Write a file that must not be there yet, with the permissions given. Raises FileExistsError."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(content)
