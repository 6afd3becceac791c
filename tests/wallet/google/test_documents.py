"""Classes, objects and links: by Google's schema, and what they say."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.wallet.cards import NOW, PATIENT
from tests.wallet.google.conftest import EMAIL

from rxdesk.wallet.card import Card, Field, Kind, Text
from rxdesk.wallet.emulator.google_schema import fault_of
from rxdesk.wallet.google.account import AccountError, load_account
from rxdesk.wallet.google.documents import FAMILY, class_document, object_document
from rxdesk.wallet.google.links import LONGEST_TOKEN, save_link

ISSUER = "3388000000022000000"
URLS = {"logo": "https://example.com/logo.png", "strip": "https://example.com/strip.png"}
FULL = msgspec.structs.replace(PATIENT, image_urls=URLS)
OPENSSL = shutil.which("openssl") or ""


def of_kind(kind: Kind) -> Card:
    return msgspec.structs.replace(FULL, kind=kind)


@pytest.mark.parametrize("kind", ["generic", "storeCard", "eventTicket", "coupon"])
def test_documents_are_by_google_s_schema(kind: Kind) -> None:
    name = FAMILY[kind][0].upper() + FAMILY[kind][1:]
    assert fault_of(f"{name}Class", class_document(of_kind(kind), ISSUER, "https://example.com/c")) is None
    assert fault_of(f"{name}Object", object_document(of_kind(kind), ISSUER)) is None


def test_a_generic_object_tells_what_the_card_does() -> None:
    found = object_document(FULL, ISSUER)
    modules = {module["id"]: module for module in found.pop("textModulesData")}
    assert found == {
        "id": f"{ISSUER}.{PATIENT.serial}",
        "classId": f"{ISSUER}.{PATIENT.template}",
        "state": "ACTIVE",
        "cardTitle": {"defaultValue": {"language": "en", "value": "Praxis Nordlicht"}},
        "header": {"defaultValue": {"language": "en", "value": 'Ada "A." Löwe\\'}},
        "subheader": {"defaultValue": {"language": "en", "value": "Name"}},
        "hexBackgroundColor": "#0a5f73",
        "logo": {"sourceUri": {"uri": URLS["logo"]}},
        "heroImage": {"sourceUri": {"uri": URLS["strip"]}},
        "barcode": {"type": "QR_CODE", "value": "RX1.abc", "alternateText": "A-1"},
        "validTimeInterval": {"end": {"date": "2027-01-01T00:00:00+00:00"}},
        "linksModuleData": {
            "uris": [
                {"id": "site", "uri": "https://example.com/a?b=1&c='2'", "description": "Site"},
                {"id": "phone", "uri": "tel:+4940123456", "description": "Telephone"},
            ]
        },
    }
    assert modules.keys() == {"since", "next", "status", "news"}
    assert modules["next"] == {
        "id": "next",
        "header": "Next visit",
        "localizedHeader": {
            "defaultValue": {"language": "en", "value": "Next visit"},
            "translatedValues": [{"language": "de", "value": "Nächster Termin"}],
        },
        "body": "none",
        "localizedBody": {
            "defaultValue": {"language": "en", "value": "none"},
            "translatedValues": [{"language": "de", "value": "keiner"}],
        },
    }


def test_a_class_lays_out_the_front_of_its_cards() -> None:
    fields = tuple(Field(key=f"f{number}", label=Text("x"), value=Text("y")) for number in range(5))
    found = class_document(msgspec.structs.replace(FULL, secondary=fields), ISSUER, "https://example.com/c")
    rows = found["classTemplateInfo"]["cardTemplateOverride"]["cardRowTemplateInfos"]
    # A place for each would be four rows: header, three and two of secondary, auxiliary.
    assert [list(row) for row in rows] == [["threeItems"], ["threeItems"], ["oneItem"]]
    path = rows[1]["threeItems"]["endItem"]["firstValue"]["fields"][0]["fieldPath"]
    assert path == "object.textModulesData['f4']"
    assert found["callbackOptions"] == {"url": "https://example.com/c"}
    assert found["multipleDevicesAndHoldersAllowedStatus"] == "ONE_USER_ALL_DEVICES"


def test_a_place_begins_a_row_while_there_are_rows_enough() -> None:
    rows = class_document(FULL, ISSUER)["classTemplateInfo"]["cardTemplateOverride"]["cardRowTemplateInfos"]
    assert [list(row) for row in rows] == [["oneItem"]] * 3


def test_what_does_not_fit_three_rows_is_among_the_details() -> None:
    fields = tuple(Field(key=f"f{number}", label=Text("x"), value=Text("y")) for number in range(12))
    card = msgspec.structs.replace(FULL, secondary=fields)
    document = class_document(card, ISSUER)
    rows = document["classTemplateInfo"]["cardTemplateOverride"]["cardRowTemplateInfos"]
    assert [list(row) for row in rows] == [["threeItems"]] * 3
    assert {"f7", "f8", "f11"} <= {
        module["id"] for module in object_document(card, ISSUER)["textModulesData"]
    }
    assert "'f7'" in str(rows)
    assert "'f8'" not in str(rows)


def test_a_card_whose_leading_field_is_empty_leads_with_no_other() -> None:
    second = Field(key="second", label=Text("Second"), value=Text("2"))
    card = msgspec.structs.replace(FULL, primary=(second,), leading="name")
    found = object_document(card, ISSUER)
    assert found["header"]["defaultValue"]["value"] == "Nordlicht"
    assert "subheader" not in found
    assert "second" in {module["id"] for module in found["textModulesData"]}


def test_a_revoked_card_is_inactive_and_an_empty_field_is_left_out() -> None:
    empty = (Field(key="news", label=Text("News"), value=Text("")),)
    found = object_document(msgspec.structs.replace(FULL, voided=True, back=empty), ISSUER)
    assert found["state"] == "INACTIVE"
    assert "news" not in {module["id"] for module in found["textModulesData"]}


def test_a_store_card_needs_a_logo() -> None:
    with pytest.raises(ValueError, match="logo"):
        class_document(msgspec.structs.replace(PATIENT, kind="storeCard"), ISSUER)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cardTitel": "x"}, "GenericObject has no cardTitel"),
        ({"state": "WELL"}, "GenericObject.state has a value that there is not"),
        ({"hexBackgroundColor": 5}, "GenericObject.hexBackgroundColor must be of type string"),
        ({"hasUsers": 1}, "GenericObject.hasUsers must be of type boolean"),
        ({"textModulesData": {}}, "GenericObject.textModulesData must be a list"),
        ({"textModulesData": [{"titel": ""}]}, "GenericObject.textModulesData[0] has no titel"),
        ({"barcode": "x"}, "GenericObject.barcode must be an object"),
        ({"header": None}, "GenericObject.header must be an object"),
        ({"header": {}}, "GenericObject.header is required"),
    ],
)
def test_the_schema_finds_what_google_would(change: dict[str, Any], said: str) -> None:
    assert fault_of("GenericObject", object_document(FULL, ISSUER) | change) == said


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return read


def test_openssl_verifies_a_link_s_token(
    account_file: Path, account_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    link = save_link(FULL, ISSUER, load_account(account_file), NOW, ["https://example.com"])
    token = link.url.removeprefix("https://pay.google.com/gp/v/save/")
    signed, _, signature = token.rpartition(".")
    (tmp_path / "signed").write_text(signed)
    (tmp_path / "signature").write_bytes(base64.urlsafe_b64decode(signature + "=="))
    public = account_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(public)
    command = [OPENSSL, "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "signed"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    said = claims(token)
    assert {name: said[name] for name in ("iss", "aud", "typ", "iat", "origins")} == {
        "iss": EMAIL,
        "aud": "google",
        "typ": "savetowallet",
        "iat": int(NOW.timestamp()),
        "origins": ["https://example.com"],
    }


def test_a_short_card_goes_whole_and_a_long_one_by_its_id(account_file: Path) -> None:
    account = load_account(account_file)
    short = Card(
        kind="generic",
        serial="wp-1",
        template="wpt-1",
        organisation="Praxis",
        description=Text("x"),
        title=Text("x"),
    )
    link = save_link(short, ISSUER, account, NOW)
    assert link.whole
    payload = claims(link.url.rpartition("/")[2])["payload"]
    assert payload == {"genericObjects": [object_document(short, ISSUER)]}

    long = save_link(FULL, ISSUER, account, NOW)
    assert not long.whole
    token = long.url.rpartition("/")[2]
    assert len(token) <= LONGEST_TOKEN
    assert claims(token)["payload"] == {
        "genericObjects": [{"id": f"{ISSUER}.{FULL.serial}", "classId": f"{ISSUER}.{FULL.template}"}]
    }


@pytest.mark.parametrize("content", ["", "{}", '{"client_email":"a","private_key":"geheim"}', "\x00"])
def test_a_file_that_is_no_account_is_refused_without_quoting_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text(content)
    with pytest.raises(AccountError, match="is not the JSON file") as refusal:
        load_account(tmp_path / "account.json")
    assert "geheim" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    with pytest.raises(AccountError, match="No such file"):
        load_account(tmp_path / "none.json")
