"""What a device refuses: whatever was changed, left out, added, or signed by somebody else."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509
from tests.wallet.cards import NOW, PASS_TYPE, PATIENT, TEAM

from rxdesk.wallet.apple.certificates import PassSigner, load_signer
from rxdesk.wallet.apple.package import build_pass
from rxdesk.wallet.apple.reading import PassRefused, read_pass
from rxdesk.wallet.apple.trial import TrialFiles, create_chain


@pytest.fixture(scope="module")
def root(chain: TrialFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain.root.read_bytes())


def members(file: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_a_pass_is_read(signer: PassSigner, root: x509.Certificate) -> None:
    read = read_pass(build_pass(PATIENT, signer, NOW), root)
    assert read.signed_at == NOW
    assert read.fields().keys() == {"since", "name", "next", "status", "news", "site", "phone"}
    assert read.shown("Next visit", "de") == "Nächster Termin"
    assert read.shown("Next visit", "fr") == "Next visit"


def test_a_changed_byte_in_any_member_is_refused(signer: PassSigner, root: x509.Certificate) -> None:
    inside = members(build_pass(PATIENT, signer, NOW))
    for name, content in inside.items():
        if name == "signature":
            continue  # tests/kit/test_cms.py changes each of its bytes
        for position in range(0, len(content), 1 + len(content) // 60):
            changed = bytearray(content)
            changed[position] ^= 1
            with pytest.raises(PassRefused):
                read_pass(zipped(inside | {name: bytes(changed)}), root)


def test_a_member_more_or_less_is_refused(signer: PassSigner, root: x509.Certificate) -> None:
    inside = members(build_pass(PATIENT, signer, NOW))
    with pytest.raises(PassRefused, match="digest of each member"):
        read_pass(zipped(inside | {"strip.png": b"x"}), root)
    for name in inside:
        with pytest.raises(PassRefused):
            read_pass(zipped({key: content for key, content in inside.items() if key != name}), root)


def test_another_document_under_a_manifest_that_fits_is_refused(
    signer: PassSigner, root: x509.Certificate
) -> None:
    inside = members(build_pass(PATIENT, signer, NOW))
    inside["pass.json"] = inside["pass.json"].replace(b"Ada", b"Eve")
    manifest = json.loads(inside["manifest.json"])
    manifest["pass.json"] = hashlib.sha1(inside["pass.json"]).hexdigest()  # noqa: S324 - Apple prescribes it
    inside["manifest.json"] = json.dumps(manifest).encode()
    with pytest.raises(PassRefused, match="not the one that was signed"):
        read_pass(zipped(inside), root)


def test_a_certificate_signs_passes_of_its_own_type_only(
    chain: TrialFiles, root: x509.Certificate, tmp_path: Path
) -> None:
    signer = load_signer(chain.pass_certificate, chain.pass_key, chain.intermediate)
    for pass_type, team in (("pass.other", TEAM), (PASS_TYPE, "OTHER")):
        forged = PassSigner(pass_type, team, signer.good_from, signer.expires_at, signer.signer)
        with pytest.raises(PassRefused, match="another pass type or team"):
            read_pass(build_pass(PATIENT, forged, NOW), root)
    foreign = create_chain(tmp_path, PASS_TYPE, TEAM, NOW)
    other = load_signer(foreign.pass_certificate, foreign.pass_key, foreign.intermediate)
    with pytest.raises(PassRefused, match="does not lead to the root"):
        read_pass(build_pass(PATIENT, other, NOW), root)


def test_a_file_that_is_none_is_refused(signer: PassSigner, root: x509.Certificate) -> None:
    file = build_pass(PATIENT, signer, NOW)
    for rubbish in (b"", b"PK", file[:-1], file[:200], b"x" * 1000):
        with pytest.raises(PassRefused):
            read_pass(rubbish, root)
