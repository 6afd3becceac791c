"""Files of passes: looked at by other people's programs, and by Apple's documents."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.wallet.cards import (
    BARCODE_KEYS,
    FIELD_KEYS,
    KEYS,
    NOW,
    PASS_TYPE,
    PATIENT,
    PLACES,
    REQUIRED_KEYS,
    TEAM,
)

from rxdesk.wallet.apple.certificates import PassSigner
from rxdesk.wallet.apple.package import build_pass
from rxdesk.wallet.apple.trial import TrialFiles
from rxdesk.wallet.card import Card, Field, Kind, Text

OPENSSL = shutil.which("openssl") or ""
UNZIP = shutil.which("unzip") or ""


def members(file: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def document(file: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(members(file)["pass.json"])
    return found


def openssl_accepts(chain: TrialFiles, manifest: bytes, signature: bytes, folder: Path, verb: str) -> bool:
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "signature").write_bytes(signature)
    command = [OPENSSL, verb, "-verify", "-binary", "-inform", "DER", "-in", "signature"]
    options = ["-content", "manifest.json", "-purpose", "any", "-CAfile", str(chain.root)]
    # Of the chain only its root is given: the intermediate must have come along.
    time = ["-attime", str(int(NOW.timestamp())), "-out", "verified"]
    done = subprocess.run([*command, *options, *time], cwd=folder, capture_output=True, check=False)
    return done.returncode == 0 and (folder / "verified").read_bytes() == manifest


@pytest.mark.parametrize("verb", ["cms", "smime"])
def test_openssl_verifies_the_signature(
    verb: str, chain: TrialFiles, signer: PassSigner, tmp_path: Path
) -> None:
    inside = members(build_pass(PATIENT, signer, NOW))
    assert openssl_accepts(chain, inside["manifest.json"], inside["signature"], tmp_path, verb)
    other = inside["manifest.json"].replace(b"a", b"b", 1)
    assert not openssl_accepts(chain, other, inside["signature"], tmp_path, verb)


def test_the_signature_holds_the_signing_time_and_sha256(signer: PassSigner, tmp_path: Path) -> None:
    (tmp_path / "signature").write_bytes(members(build_pass(PATIENT, signer, NOW))["signature"])
    printed = subprocess.run(
        [OPENSSL, "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", tmp_path / "signature"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "signingTime" in printed
    assert "Mar  1 12:00:00 2026 GMT" in printed
    assert "sha256" in printed
    assert "eContent: <ABSENT>" in printed


def test_the_manifest_holds_the_digest_of_every_member(signer: PassSigner) -> None:
    inside = members(build_pass(PATIENT, signer, NOW))
    manifest = json.loads(inside["manifest.json"])
    assert manifest.keys() == inside.keys() - {"manifest.json", "signature"}
    for name, digest in manifest.items():
        assert hashlib.sha1(inside[name]).hexdigest() == digest  # noqa: S324 - Apple prescribes it


@pytest.mark.skipif(not UNZIP, reason="there is no unzip")
def test_a_foreign_unzip_opens_it(signer: PassSigner, tmp_path: Path) -> None:
    file = build_pass(PATIENT, signer, NOW)
    (tmp_path / "a.pkpass").write_bytes(file)
    subprocess.run([UNZIP, "-q", "a.pkpass", "-d", "out"], cwd=tmp_path, check=True)
    for name, content in members(file).items():
        assert (tmp_path / "out" / name).read_bytes() == content


def test_the_same_pass_is_the_same_bytes(signer: PassSigner) -> None:
    file = build_pass(PATIENT, signer, NOW)
    assert build_pass(PATIENT, signer, NOW) == file
    assert build_pass(PATIENT, signer, NOW + timedelta(seconds=1)) != file


@pytest.mark.parametrize("kind", ["generic", "storeCard", "eventTicket", "coupon"])
def test_the_document_has_documented_keys_only(kind: Kind, signer: PassSigner) -> None:
    found = document(build_pass(msgspec.structs.replace(PATIENT, kind=kind, voided=True), signer, NOW))
    assert found.keys() <= KEYS
    assert found.keys() >= REQUIRED_KEYS | {kind}
    assert found[kind].keys() == PLACES
    for place in PLACES:
        for field in found[kind][place]:
            assert field.keys() <= FIELD_KEYS
            assert {"key", "value"} <= field.keys()
    for code in found["barcodes"]:
        assert {"format", "message", "messageEncoding"} <= code.keys() <= BARCODE_KEYS


def test_the_document_tells_what_the_card_does(signer: PassSigner) -> None:
    found = document(build_pass(PATIENT, signer, NOW))
    generic = found.pop("generic")
    assert found == {
        "formatVersion": 1,
        "passTypeIdentifier": PASS_TYPE,
        "teamIdentifier": TEAM,
        "serialNumber": PATIENT.serial,
        "organizationName": "Praxis Nordlicht",
        "description": "Patient card",
        "logoText": "Nordlicht",
        "backgroundColor": "rgb(10, 95, 115)",
        "foregroundColor": "rgb(255, 255, 255)",
        "labelColor": "rgb(208, 232, 238)",
        "barcodes": [
            {
                "format": "PKBarcodeFormatQR",
                "message": "RX1.abc",
                "messageEncoding": "iso-8859-1",
                "altText": "A-1",
            }
        ],
        "expirationDate": "2027-01-01T00:00:00Z",
        "webServiceURL": "https://example.com/w/abc",
        "authenticationToken": "t" * 32,
    }
    assert generic["primaryFields"] == [{"key": "name", "label": "Name", "value": 'Ada "A." Löwe\\'}]
    assert generic["backFields"] == [
        {"key": "news", "label": "News", "value": "Your prescription is ready", "changeMessage": "%@"},
        {
            "key": "site",
            "label": "Site",
            "value": "https://example.com/a?b=1&c='2'",
            "attributedValue": '<a href="https://example.com/a?b=1&amp;c=&#x27;2&#x27;">'
            "https://example.com/a?b=1&amp;c=&#x27;2&#x27;</a>",
        },
        {
            "key": "phone",
            "label": "Telephone",
            "value": "+4940123456",
            "attributedValue": '<a href="tel:+4940123456">+4940123456</a>',
        },
    ]


def test_texts_are_translated_and_the_own_language_has_a_table_too(signer: PassSigner) -> None:
    inside = members(build_pass(PATIENT, signer, NOW))
    assert {name for name in inside if "lproj" in name} == {"de.lproj/pass.strings", "en.lproj/pass.strings"}
    german = inside["de.lproj/pass.strings"].decode()
    assert '"Next visit" = "Nächster Termin";\n' in german
    assert '"active" = "aktiv";\n' in german
    assert "Löwe" not in german  # what has no translation is shown as it is
    assert '"Next visit" = "Next visit";\n' in inside["en.lproj/pass.strings"].decode()


def test_a_name_that_is_also_a_label_is_not_translated(signer: PassSigner) -> None:
    card = msgspec.structs.replace(
        PATIENT,
        primary=(Field(key="name", label=Text("Summer", {"de": "Sommer"}), value=Text("Summer")),),
    )
    inside = members(build_pass(card, signer, NOW))
    field = json.loads(inside["pass.json"])["generic"]["primaryFields"][0]
    assert field == {"key": "name", "label": "Summer", "value": "Summer\u2060"}
    assert '"Summer" = "Sommer";' in inside["de.lproj/pass.strings"].decode()


def test_a_card_of_one_language_has_no_tables(signer: PassSigner) -> None:
    card = Card(
        kind="coupon",
        serial="wp-1",
        template="wpt-1",
        organisation="x",
        description=Text("x"),
        title=Text("x"),
    )
    assert members(build_pass(card, signer, NOW)).keys() == {
        "icon.png",
        "manifest.json",
        "pass.json",
        "signature",
    }


def test_images_go_by_apple_s_names(signer: PassSigner) -> None:
    images = {"icon@1x": b"1", "icon@2x": b"2", "logo@3x": b"3"}
    inside = members(build_pass(msgspec.structs.replace(PATIENT, images=images), signer, NOW))
    assert (inside["icon.png"], inside["icon@2x.png"], inside["logo@3x.png"]) == (b"1", b"2", b"3")


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        ("generic", {"strip", "thumbnail"}, {"thumbnail"}),
        ("storeCard", {"strip", "thumbnail"}, {"strip"}),
        ("coupon", {"strip", "thumbnail"}, {"strip"}),
        ("eventTicket", {"strip", "thumbnail"}, {"strip"}),
        ("eventTicket", {"thumbnail"}, {"thumbnail"}),
    ],
)
def test_a_pass_has_the_images_that_its_style_shows(
    signer: PassSigner, kind: Kind, given: set[str], shown: set[str]
) -> None:
    images = {f"{name}@2x": b"x" for name in {"icon", "logo"} | given}
    inside = members(build_pass(msgspec.structs.replace(PATIENT, kind=kind, images=images), signer, NOW))
    found = {name.removesuffix("@2x.png") for name in inside if name.endswith("@2x.png")}
    assert found == {"icon", "logo"} | shown


def test_a_token_that_apple_would_refuse_is_refused(signer: PassSigner) -> None:
    assert PATIENT.web_service is not None
    short = msgspec.structs.replace(PATIENT.web_service, token="t" * 15)
    with pytest.raises(ValueError, match="at least 16"):
        build_pass(msgspec.structs.replace(PATIENT, web_service=short), signer, NOW)


def test_a_code_that_latin_letters_cannot_say_is_utf8(signer: PassSigner) -> None:
    assert PATIENT.barcode is not None
    code = msgspec.structs.replace(PATIENT.barcode, content="→")
    found = document(build_pass(msgspec.structs.replace(PATIENT, barcode=code), signer, NOW))
    assert found["barcodes"][0]["messageEncoding"] == "utf-8"
