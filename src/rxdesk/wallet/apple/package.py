"""The file of an Apple pass (.pkpass): documents, images, the manifest of their digests, and its signature, zipped."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rxdesk.wallet.apple.certificates import PassSigner
from rxdesk.wallet.apple.document import images_of, pass_document
from rxdesk.wallet.card import Card

MEDIA_TYPE: Final = "application/vnd.apple.pkpass"
DOCUMENT: Final = "pass.json"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "signature"

_ICON_POINTS = 29
# What a ZIP file can say at the earliest; the same for every member, so that the same pass is the same bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16
_UNIX = 3


def build_pass(card: Card, signer: PassSigner, signed_at: datetime) -> bytes:
    """Build the signed file of a pass. The same card, certificates and instant give the same bytes.

    Raises ValueError when the card's authentication token is too short for Apple.
    """
    document, strings = pass_document(card, signer.pass_type, signer.team)
    members = {DOCUMENT: _json(document)}
    members |= {f"{_image_name(name)}.png": content for name, content in images_of(card).items()}
    # A device shows no pass without an icon.
    members.setdefault("icon.png", _square(card.background))
    if translations := card.languages():
        # The card's own language too: else a device takes a translation where it could show the original.
        for language in (card.language, *translations):
            members[f"{language}.lproj/pass.strings"] = strings.table(language)
    members[MANIFEST] = _json(manifest_of(members))
    members[SIGNATURE] = signer.signer.sign(members[MANIFEST], signed_at)
    return _zipped(members)


def manifest_of(members: Mapping[str, bytes]) -> dict[str, str]:
    """Give the digest of each member by name: SHA-1, as Apple prescribes; what is signed is signed with SHA-256."""
    return {
        name: hashlib.sha1(content, usedforsecurity=False).hexdigest() for name, content in members.items()
    }


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _image_name(name: str) -> str:
    return name.removesuffix("@1x")


def _zipped(members: Mapping[str, bytes]) -> bytes:
    """Put the members into a ZIP file, not compressed: images are already, and compressors differ in their bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.create_system = _UNIX
            entry.external_attr = _FILE_MODE
            archive.writestr(entry, members[name])
    return file.getvalue()


def _square(colour: str) -> bytes:
    """Draw a PNG of one colour, the size of an icon."""
    row = b"\0" + bytes.fromhex(colour[1:]) * _ICON_POINTS
    header = struct.pack(">IIBBBBB", _ICON_POINTS, _ICON_POINTS, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * _ICON_POINTS, level=0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
