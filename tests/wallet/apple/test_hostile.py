"""Bytes from strangers: whatever they are, they are refused and nothing else happens."""

from __future__ import annotations

import io
import zipfile

from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wallet.cards import NOW, PASS_TYPE, PATIENT, TEAM

from rxdesk.kit import der
from rxdesk.kit.goaway import FrameTooLongError, GoAwayFilter
from rxdesk.wallet.apple.certificates import PassSigner
from rxdesk.wallet.apple.package import build_pass
from rxdesk.wallet.apple.reading import PassRefused, read_pass
from rxdesk.wallet.apple.trial import TrialFiles
from rxdesk.wallet.card import Text

_NAMES = st.sampled_from(
    ["pass.json", "manifest.json", "signature", "icon.png", "de.lproj/pass.strings", "x"]
)


def root_of(chain: TrialFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain.root.read_bytes())


def refused(file: bytes, root: x509.Certificate) -> None:
    try:
        read_pass(file, root)
    except PassRefused:
        return
    raise AssertionError("a pass that nobody signed was taken")


@settings(max_examples=60, deadline=None)
@given(
    members=st.dictionaries(_NAMES, st.binary(max_size=64) | st.just(b"{}"), max_size=6),
    tail=st.binary(max_size=8),
)
def test_any_archive_is_refused(chain: TrialFiles, members: dict[str, bytes], tail: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refused(file.getvalue() + tail, root_of(chain))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_pass_cut_or_patched_anywhere_is_refused_or_the_same(
    chain: TrialFiles, signer: PassSigner, data: st.DataObject
) -> None:
    file = build_pass(PATIENT, signer, NOW)
    position = data.draw(st.integers(0, len(file) - 1))
    patched = bytearray(file)
    patched[position] ^= data.draw(st.integers(1, 255))
    root = root_of(chain)
    try:
        read = read_pass(bytes(patched), root)
    except PassRefused:
        return
    # Bytes of the archive's own that say nothing of a member: times, attributes, versions.
    whole = read_pass(file, root)
    assert (read.document, read.members) == (whole.document, whole.members)


def test_members_that_zip_cannot_read_are_refused(chain: TrialFiles) -> None:
    """A compression that nobody knows, and a password: of the first entry of the directory."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pass.json", b"{}")
    directory = file.getvalue().index(b"PK\x01\x02")
    for offset, value in ((10, 99), (8, 1)):
        patched = bytearray(file.getvalue())
        patched[directory + offset] = value
        refused(bytes(patched), root_of(chain))


def test_an_archive_s_end_that_lies_is_refused(chain: TrialFiles, signer: PassSigner) -> None:
    """It says where the directory is, which may then be before the file's beginning."""
    file, root = build_pass(PATIENT, signer, NOW), root_of(chain)
    for position in range(len(file) - 10, len(file) - 2):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            patched = bytearray(file)
            patched[position] ^= mask
            refused(bytes(patched), root)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=64))
def test_der_is_read_or_refused(content: bytes) -> None:
    try:
        element = der.read(content)
        assert element.encoded == content
        element.inside()
    except der.DerError:
        pass


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.binary(max_size=32), max_size=8))
def test_frames_are_lost_to_goodbyes_only(pieces: list[bytes]) -> None:
    frames = GoAwayFilter()
    kept = b""
    try:
        for piece in pieces:
            rest, _ = frames.take(piece)
            kept += rest
    except FrameTooLongError:
        return
    whole = b"".join(pieces)
    assert len(kept) <= len(whole)
    if b"\x07" not in whole:
        assert whole.startswith(kept)


@settings(max_examples=60, deadline=None)
@given(default=st.text(max_size=40), german=st.text(max_size=40))
def test_any_text_comes_out_as_it_went_in(
    chain: TrialFiles, signer: PassSigner, default: str, german: str
) -> None:
    title = Text(default, {"de": german})
    card = type(PATIENT)(
        kind="generic", serial="wp-1", template="wpt-1", organisation="x", description=Text("y"), title=title
    )
    read = read_pass(build_pass(card, signer, NOW), root_of(chain))
    shown = read.document["logoText"]
    assert (read.shown(shown, "en").rstrip("\u2060"), read.shown(shown, "de")) == (
        default.rstrip("\u2060"),
        german,
    )
    assert (read.document["passTypeIdentifier"], read.document["teamIdentifier"]) == (PASS_TYPE, TEAM)
