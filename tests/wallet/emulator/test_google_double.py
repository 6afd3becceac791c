"""The double of Google's Wallet API: what it changes, what it refuses, and what it shows a holder's browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.wallet.cards import NOW, PATIENT

from rxdesk.wallet.card import Card, Text
from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.emulator.google import GoogleDouble
from rxdesk.wallet.emulator.google_account import ISSUER
from rxdesk.wallet.emulator.google_server import HOLDER_PATH, GoogleServer
from rxdesk.wallet.google.account import ServiceAccount
from rxdesk.wallet.google.callbacks import read_root_keys, verify_callback
from rxdesk.wallet.google.documents import class_document, object_document
from rxdesk.wallet.google.links import save_link

EMAIL = "wallet@example.com"
OBJECT = f"{ISSUER}.{PATIENT.serial}"
API = "/walletobjects/v1/"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def server(key: rsa.RSAPrivateKey) -> Iterator[GoogleServer]:
    double = GoogleDouble(ISSUER, EMAIL, key.public_key(), lambda: NOW)
    double.tokens["t"] = NOW.replace(year=2030)
    made = GoogleServer(double, CallbackSigner(NOW))
    made.start()
    yield made
    made.stop()


def ask(server: GoogleServer, method: str, path: str, document: object = None) -> tuple[int, dict[str, Any]]:
    return server.answer(method, API + path, "Bearer t", json.dumps(document).encode())


def given(server: GoogleServer, card: Card = PATIENT) -> dict[str, Any]:
    """Give Google a card's class and object, with a message."""
    assert ask(server, "POST", "genericClass", class_document(card, ISSUER))[0] == 200
    assert ask(server, "POST", "genericObject", object_document(card, ISSUER))[0] == 200
    message = {"id": "pn-1", "header": "Praxis", "body": "Hello"}
    assert ask(server, "POST", f"genericObject/{OBJECT}/addMessage", {"message": message})[0] == 200
    return object_document(card, ISSUER)


def test_a_patch_changes_what_it_names_and_a_put_all(server: GoogleServer) -> None:
    document = given(server)
    change: dict[str, Any] = {
        "barcode": {"alternateText": None},
        "linksModuleData": None,
        "textModulesData": [],
    }
    status, found = ask(server, "PATCH", f"genericObject/{OBJECT}", change)
    assert status == 200
    assert found["barcode"] == {"type": "QR_CODE", "value": "RX1.abc"}
    assert found["textModulesData"] == []
    assert "linksModuleData" not in found
    assert found["header"] == document["header"]
    assert [message["id"] for message in found["messages"]] == ["pn-1"]
    bare = {name: document[name] for name in ("id", "classId", "cardTitle", "header")}
    assert ask(server, "PUT", f"genericObject/{OBJECT}", {**bare, "id": "5.else"}) == (200, bare)
    assert ask(server, "PUT", f"genericObject/{OBJECT}", {"header": bare["header"]})[0] == 400
    assert ask(server, "PUT", f"genericObject/{OBJECT}x", bare)[0] == 404


def test_what_passes_google_s_limits_is_refused(server: GoogleServer) -> None:
    given(server)
    wrongs: list[list[dict[str, Any]]] = [[{"oneItem": {}}] * 4, [{}], [{"oneItem": {}, "twoItems": {}}]]
    for wrong in wrongs:
        layout = {"classTemplateInfo": {"cardTemplateOverride": {"cardRowTemplateInfos": wrong}}}
        assert ask(server, "PATCH", f"genericClass/{ISSUER}.{PATIENT.template}", layout)[0] == 400
    messages = [{"id": str(number), "header": "a", "body": "b"} for number in range(11)]
    assert ask(server, "PATCH", f"genericObject/{OBJECT}", {"messages": messages})[0] == 400
    assert ask(server, "PATCH", f"genericObject/{OBJECT}", {"messages": messages[:10]})[0] == 200


def test_whether_anybody_holds_an_object_is_google_s_to_say(server: GoogleServer) -> None:
    given(server)
    _, found = ask(server, "PATCH", f"genericObject/{OBJECT}", {"hasUsers": True})
    assert "hasUsers" not in found
    server.double.holders[OBJECT] = {"a"}
    assert ask(server, "GET", f"genericObject/{OBJECT}")[1]["hasUsers"] is True


def test_what_it_knew_it_knows_after_a_restart(server: GoogleServer, key: rsa.RSAPrivateKey) -> None:
    given(server)
    server.double.holders[OBJECT] = {"a"}
    other = GoogleDouble(ISSUER, EMAIL, key.public_key(), lambda: NOW)
    other.restore(json.loads(json.dumps(server.double.state())))
    assert other.state() == server.double.state()
    assert other.saved == {OBJECT}


def test_the_same_secret_signs_with_the_same_keys() -> None:
    one, other, strange = CallbackSigner(NOW, b"x"), CallbackSigner(NOW, b"x"), CallbackSigner(NOW)
    body = one.callback("save", "1.c", "1.o", "1", NOW)
    roots = read_root_keys(json.dumps(other.published()).encode())
    assert verify_callback(body, "1", roots, NOW).event_type == "save"
    assert strange.published() != one.published()


def test_the_page_shows_the_images_and_its_policy_allows_them_alone(server: GoogleServer) -> None:
    at = "http://127.0.0.1:8080/w/mdv4kx7w/images/wpt:1/17/"
    images = {"logo": f"{at}logo.png", "strip": f"{at}strip.png"}
    given(server, msgspec.structs.replace(PATIENT, image_urls=images))
    status, page, _ = server.show("GET", HOLDER_PATH + OBJECT)
    assert status == 200
    for address in images.values():
        assert f'src="{address}"' in page.content
    assert f" img-src data: {images['logo']} {images['strip']};" in page.policy
    given_else = {"logo": {"sourceUri": {"uri": "https://x/a.png; script-src *"}}, "heroImage": None}
    assert ask(server, "PATCH", f"genericObject/{OBJECT}", given_else)[0] == 200
    _, page, _ = server.show("GET", HOLDER_PATH + OBJECT)
    assert " img-src data:;" in page.policy
    assert "https://x" not in page.content


def test_a_holder_s_browser_sees_the_pass_and_deletes_it(
    server: GoogleServer, key: rsa.RSAPrivateKey
) -> None:
    hostile = msgspec.structs.replace(PATIENT, organisation="<script>x</script>", title=Text("<b>"))
    given(server, hostile)
    account = ServiceAccount(EMAIL, key, "k", "")
    link = save_link(hostile, ISSUER, account, NOW, save_url=f"{server.url}/gp/v/save").url
    accept = {"Accept": "text/html"}
    with httpx.Client(trust_env=False, headers=accept, follow_redirects=True) as browser:
        shown = browser.get(link)
        assert shown.url.path == HOLDER_PATH + OBJECT
        assert "This pass is saved" in shown.text
        assert "<script" not in shown.text
        assert all(
            text in shown.text for text in ("&lt;script&gt;", "Hello", "Next visit", "Status", "QR code")
        )
        assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")
        other = browser.get(link + "?authuser=b")
        assert (other.status_code, "somebody else has saved the pass" in other.text) == (403, True)
        assert "This pass is not in the wallet." in browser.post(shown.url).text
        assert browser.post(shown.url).status_code == 404
        assert browser.get(link[:-9]).status_code == 400
        assert browser.get(f"{server.url}{HOLDER_PATH}{ISSUER}.{PATIENT.template}").status_code == 404
        ask(server, "PATCH", f"genericObject/{OBJECT}", {"state": "INACTIVE"})
        assert "No longer valid" in browser.get(shown.url).text
