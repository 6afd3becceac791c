"""GET /w/{token} and /w/{token}/pass.pkpass: what the holder of a pass is given."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import timedelta

import httpx
import pytest
from tests.api.public.conftest import BASE, make_held
from tests.api.wallet.cards import make_template, put, token_of
from tests.conftest import InProcess, in_process
from tests.factories import LONG_AGO, Tenant
from tests.wallet.apple.test_package import document

from rxdesk.db import embedded

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36"
DESKTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"


async def page(inside: InProcess, token: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await inside.client.get(f"{BASE}/{token}", headers=named)


async def test_the_card_s_face(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant, display_name="<Max> & Co", field_values={"points": 120})
    answer = await page(signing, held.landing, user_agent=IPHONE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Loyalty card" in answer.text
    assert "&lt;Max&gt; &amp; Co" in answer.text
    assert "<dt>Points</dt><dd>120</dd>" in answer.text
    link = f"https://passes.example/w/{held.landing}/pass.pkpass"
    assert f'href="{link}"' in answer.text
    assert "cust-1" not in answer.text
    assert held.device not in answer.text


async def test_nothing_but_itself_may_be_loaded_or_indexed(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    answer = await page(signing, held.landing)
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    assert "<script" not in answer.text
    assert " style=" not in answer.text
    assert {source.partition(":")[0] for source in re.findall(r'src="([^"]+)"', answer.text)} == {"data"}


@pytest.mark.parametrize(
    ("agent", "offers"), [(IPHONE, {"add"}), (ANDROID, {"show"}), (DESKTOP, {"add", "scan"})]
)
async def test_what_suits_the_device(
    signing: InProcess, tenant: Tenant, agent: str, offers: set[str]
) -> None:
    held = await make_held(signing.client, tenant)
    text = (await page(signing, held.landing, user_agent=agent)).text
    words = {
        "add": "Add to Apple Wallet",
        "show": "Show the code on this page.",
        "scan": "Scan this with your phone.",
    }
    assert {name for name, said in words.items() if said in text} == offers


@pytest.mark.parametrize(
    ("accepted", "said", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "Zu Apple Wallet hinzufügen", "de"),
        ("fr, de;q=0.5, en;q=0.7", "Add to Apple Wallet", "en"),
        ("", "Add to Apple Wallet", "en"),
        ("de;q=x, ;;, q", "Add to Apple Wallet", "en"),
    ],
)
async def test_the_holder_s_language(
    signing: InProcess, tenant: Tenant, accepted: str, said: str, language: str
) -> None:
    held = await make_held(signing.client, tenant)
    answer = await page(signing, held.landing, accept_language=accepted)
    assert said in answer.text
    assert f'<html lang="{language}">' in answer.text


async def test_fields_whose_long_names_begin_alike(signing: InProcess, tenant: Tenant) -> None:
    """Each is a field of its own, by a key that stays the same."""
    names = [f"{'a' * 62}_{letter}" for letter in "abc"] + ["a" * 58]
    template = await make_template(tenant, *names)
    values = {name: str(number) for number, name in enumerate(names)}
    links = (await put(signing.client, tenant, template, field_values=values)).json()["links"]
    keys = []
    for _ in range(2):
        answer = await signing.client.get(BASE + links["apple_wallet"].partition("/w")[2])
        assert answer.status_code == 200, answer.text
        fields = document(answer.content)["generic"]["secondaryFields"]
        assert [field["value"] for field in fields] == ["0", "1", "2", "3"]
        keys.append([field["key"] for field in fields])
        await put(signing.client, tenant, template, first_name="Max")
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 4
    assert keys[0][3] == "field_" + "a" * 58
    assert (await page(signing, links["landing_page"].rpartition("/")[2])).status_code == 200


async def test_links_with_keys_of_fields_that_no_design_names(signing: InProcess, tenant: Tenant) -> None:
    links = [{"key": key, "label": key, "url": "tel:1"} for key in ("holder", "field_points")]
    template = await make_template(tenant, "points", "points", design=json.dumps({"links": links}))
    made = (await put(signing.client, tenant, template, field_values={"points": 7})).json()
    token = made["links"]["landing_page"].rpartition("/")[2]
    answer = await page(signing, token)
    assert answer.text.count("<dt>Points</dt><dd>7</dd>") == 1
    assert (await signing.client.get(f"{BASE}/{token}/pass.pkpass")).status_code == 200


async def test_the_design_s_texts_in_each_language(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant, first_name="Eva", field_values={"points": 7})
    design = {
        "language": "de",
        "title": {"de": "Treuekarte", "en": "Loyalty"},
        "background": "#123456",
        "barcode_text": "Nr. 7",
        "fields": [
            {"key": "hello", "place": "header", "label": "Hallo", "value": "{first_name}"},
            {
                "key": "points",
                "place": "primary",
                "label": {"de": "Punkte", "en": "Points"},
                "value": {"de": "{points} Punkte", "en": "{points} points"},
            },
            {"key": "none", "place": "auxiliary", "label": "Leer", "value": "{last_name}"},
            {"key": "secret", "place": "back", "label": "Rückseite", "value": "geheim"},
        ],
    }
    await tenant.update("wallet_pass_templates", held.template, design=json.dumps(design))
    german = (await page(signing, held.landing, accept_language="de")).text
    english = (await page(signing, held.landing, accept_language="en")).text
    assert "<h1>Treuekarte</h1>" in german
    assert "<h1>Loyalty</h1>" in english
    assert "<dd>7 Punkte</dd>" in german
    assert "<dt>Points</dt><dd>7 points</dd>" in english
    for text in (german, english):
        assert "<dt>Hallo</dt><dd>Eva</dd>" in text
        assert "background:#123456" in text
        assert "Nr. 7" in text
        assert "Leer" not in text  # nothing to say, nothing shown
        assert "geheim" not in text  # the back is for the device


async def test_revoked_and_expired(signing: InProcess, tenant: Tenant) -> None:
    expires = int(signing.clock.moment.timestamp()) + 60
    held = await make_held(signing.client, tenant, expires_at=expires)
    assert "QR code of the card" in (await page(signing, held.landing)).text
    signing.clock.moment += timedelta(seconds=60)
    text = (await page(signing, held.landing)).text
    assert "This card has expired." in text
    assert "QR code" not in text
    assert "Apple Wallet" not in text
    headers = await tenant.headers("wallet_pass:write")
    await signing.client.post(f"/wallet-passes/{held.uid}/revoke", headers=headers)
    assert "This card is no longer valid." in (await page(signing, held.landing)).text
    file = await signing.client.get(f"{BASE}/{held.landing}/pass.pkpass")
    assert (file.status_code, file.content) == (404, b'{"error":"Resource not found"}')


async def test_what_is_no_pass_of_ours(signing: InProcess, tenant: Tenant, other: Tenant) -> None:
    held, theirs = await make_held(signing.client, tenant), await make_held(signing.client, other)
    code, public_id, signature = held.landing.split(".")
    gone = await make_held(signing.client, tenant)
    await tenant.update("wallet_passes", gone.uid, deleted_at=LONG_AGO)
    bodies = set()
    for wrong in (
        "x",
        held.uid,
        held.landing[:-1],
        f"{code}.{public_id}.{'A' * len(signature)}",
        f"{theirs.code}.{public_id}.{signature}",
        f"nonesuch.{public_id}.{signature}",
        held.device,
        await token_of(tenant, held.uid, "code"),
        gone.landing,
        "%00",
    ):
        answer = await page(signing, wrong)
        assert answer.status_code == 404, wrong
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        bodies.add(answer.text)
        file = await signing.client.get(f"{BASE}/{wrong}/pass.pkpass")
        assert (file.status_code, file.content) == (404, b'{"error":"Resource not found"}')
    [text] = bodies
    assert "There is no such card." in text
    assert tenant.organisation.display_name not in text


async def test_the_file(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant, display_name="Max M.")
    answer = await signing.client.get(f"{BASE}/{held.landing}/pass.pkpass")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.apple.pkpass"
    found = document(answer.content)
    assert found["serialNumber"] == held.serial
    assert found["webServiceURL"] == f"https://passes.example/w/{held.code}"
    assert found["authenticationToken"] == held.device
    assert found["barcodes"][0]["message"] == await token_of(tenant, held.uid, "code")


async def test_without_a_certificate_the_code_is_shown(inside: InProcess, tenant: Tenant) -> None:
    held = await make_held(inside.client, tenant)
    text = (await page(inside, held.landing, user_agent=IPHONE)).text
    assert "Apple" not in text.split("</style>")[1]
    assert "Show the code on this page." in text
    assert (await inside.client.get(f"{BASE}/{held.landing}/pass.pkpass")).status_code == 404


async def test_one_statement(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    await page(signing, held.landing)  # the organisation's number is known from now on
    for path in (held.landing, f"{held.landing}/pass.pkpass"):
        signing.statements.clear()
        await page(signing, path)
        assert len(signing.statements) == 1


async def test_the_limit_of_an_address(cluster: embedded.Address, tenant: Tenant) -> None:
    async with in_process(cluster, public_requests_per_minute=3, trusted_proxies="127.0.0.1") as inside:
        held = await make_held(inside.client, tenant)
        first, second = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.2"}
        urls = [f"{BASE}/{held.landing}", f"{BASE}/x", f"{BASE}/{held.code}/v1/log"]
        statuses = [(await inside.client.get(url, headers=first)).status_code for url in urls]
        assert statuses == [200, 404, 405]
        assert (await inside.client.get(urls[0], headers=first)).status_code == 200
        refused = await inside.client.get(urls[0], headers=first)
        assert (refused.status_code, refused.json()) == (429, {"error": "Rate limit exceeded"})
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await inside.client.get(urls[0], headers=second)).status_code == 200
        # Keys have limits of their own.
        assert (
            await inside.client.get("/health/", headers={**first, **await tenant.headers()})
        ).status_code == 200


async def test_head_and_other_methods(signing: InProcess, tenant: Tenant) -> None:
    held = await make_held(signing.client, tenant)
    head = await signing.client.head(f"{BASE}/{held.landing}")
    assert (head.status_code, head.content) == (200, b"")
    post = await signing.client.post(f"{BASE}/{held.landing}")
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")
