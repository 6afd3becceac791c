"""Reading an Apple pass as a device does: digests, signature and certificate are looked at before anything is shown."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from rxdesk.kit.cms import SignatureError, verify_detached
from rxdesk.wallet.apple.package import DOCUMENT, MANIFEST, SIGNATURE, manifest_of

MOST_BYTES: Final = 8 << 20
"""The most bytes of a pass that is read, of the file and of all its members together."""
_REQUIRED = ("description", "formatVersion", "organizationName", "passTypeIdentifier", "serialNumber")
_KINDS = frozenset({"boardingPass", "coupon", "eventTicket", "generic", "storeCard"})
_LINE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*=\s*"((?:[^"\\]|\\.)*)"\s*;')
_ESCAPE = re.compile(r"\\(.)")


class PassRefused(ValueError):  # noqa: N818 - a verdict, not a fault of the program
    """A device would not take this file; the message says why."""


@dataclass(frozen=True, slots=True)
class ReadPass:
    """A pass whose signature holds."""

    document: Mapping[str, Any]
    members: Mapping[str, bytes]
    signed_at: datetime

    def fields(self) -> dict[str, Mapping[str, Any]]:
        """Give all fields by key."""
        (kind,) = _KINDS & self.document.keys()
        return {field["key"]: field for place in self.document[kind].values() for field in place}

    def shown(self, text: str, language: str) -> str:
        """Give what a device in that language shows for a text of the document."""
        table = self.members.get(f"{language}.lproj/pass.strings", b"").decode()
        return {_plain(line[1]): _plain(line[2]) for line in _LINE.finditer(table)}.get(text, text)


def read_pass(file: bytes, root: x509.Certificate) -> ReadPass:
    """Read a .pkpass whose certificate leads to `root`. Raises PassRefused."""
    members = _members(file)
    for name in (DOCUMENT, MANIFEST, SIGNATURE, "icon.png"):
        if name not in members:
            raise PassRefused(f"{name} is missing")
    others = {name: content for name, content in members.items() if name not in (MANIFEST, SIGNATURE)}
    if _json(members, MANIFEST) != manifest_of(others):
        raise PassRefused("the manifest does not have the digest of each member")
    try:
        certificate, moment = verify_detached(members[MANIFEST], members[SIGNATURE], root)
    except SignatureError as error:
        raise PassRefused(str(error)) from error
    document = _json(members, DOCUMENT)
    if not all(name in document for name in _REQUIRED) or len(_KINDS & document.keys()) != 1:
        raise PassRefused("the document lacks what a pass must have")
    said = (document["passTypeIdentifier"], document.get("teamIdentifier"))
    if said != (
        _named(certificate, NameOID.USER_ID),
        _named(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME),
    ):
        raise PassRefused("the document names another pass type or team than the certificate")
    return ReadPass(document, members, moment)


def _members(file: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            members = {entry.filename: archive.read(entry) for entry in entries if size <= MOST_BYTES}
    # RuntimeError: of zipfile, for a compression that it does not know, too. ValueError: a directory that is said to
    # begin before the file does.
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError) as error:
        raise PassRefused("not a ZIP file, or a damaged one") from error
    if size > MOST_BYTES:
        raise PassRefused("the pass is too large")
    if len(members) < len(entries):
        raise PassRefused("a member comes twice")
    return members


def _json(members: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        value = json.loads(members[name])
    except ValueError as error:
        raise PassRefused(f"{name} is no JSON") from error
    if not isinstance(value, dict):
        raise PassRefused(f"{name} is no JSON object")
    return value


def _named(certificate: x509.Certificate, what: ObjectIdentifier) -> str | None:
    attributes = certificate.subject.get_attributes_for_oid(what)
    return str(attributes[0].value) if attributes else None


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), text)
