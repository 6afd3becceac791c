"""The page of a pass in a real browser, as a phone and as a desktop shows it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from playwright.async_api import Browser, Request, Route
from tests.api.public.googling import ISSUER, PUBLIC, account_file, google_server, google_settings
from tests.api.wallet.cards import give_images, make_template, put
from tests.conftest import BASE, FixedClock, Live, start_live, stop_live
from tests.factories import Tenant
from tests.wallet.test_png import png

from rxdesk.db import embedded
from rxdesk.kit.clock import utc_now
from rxdesk.wallet.emulator.google_account import TOKEN_PATH

ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/130.0 Mobile"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
DESIGN = {
    "language": "de",
    "title": "Treuekarte der Apotheke am Nordlicht",
    "background": "#0a3d62",
    "foreground": "#ffffff",
    "label_colour": "#d6eaf8",
    "barcode_text": "Nr. 000117",
    "fields": [
        {"key": "level", "place": "header", "label": "Stufe", "value": "{level}"},
        {"key": "name", "place": "primary", "label": "Name", "value": "{display_name}"},
        {"key": "points", "place": "secondary", "label": "Punkte", "value": "{points}"},
        {"key": "since", "place": "secondary", "label": "Seit", "value": "2024"},
        {"key": "shop", "place": "auxiliary", "label": "Stammapotheke", "value": "Berlin Mitte"},
    ],
}


@pytest.mark.parametrize(
    ("width", "height", "agent"), [(375, 667, IPHONE), (320, 568, IPHONE), (1280, 900, None)], ids=str
)
async def test_the_card_fits_and_loads_nothing(
    live: Live,
    client: httpx.AsyncClient,
    tenant: Tenant,
    browser: Browser,
    width: int,
    height: int,
    agent: str | None,
) -> None:
    template = await make_template(tenant, "points", "level", display_name="Karte", design=json.dumps(DESIGN))
    values = {"points": 2480, "level": "Gold"}
    name = "Maximiliane Mustermann-Lindenschmidt"
    made = await put(client, tenant, template, display_name=name, field_values=values)
    path = "/w/" + made.json()["links"]["landing_page"].partition("/w/")[2]
    tab = await browser.new_page(
        viewport={"width": width, "height": height}, user_agent=agent, locale="de-DE"
    )
    requests: list[Request] = []
    complaints: list[str] = []
    tab.on("request", lambda request: requests.append(request))  # noqa: PLW0108 (Playwright marks the function)
    tab.on("console", lambda message: complaints.append(message.text))
    await tab.goto(live.url + path)
    # What its policy forbids would be a complaint; an icon of the site is asked for by the browser alone.
    assert complaints == []
    asked = [request.url for request in requests if not request.url.startswith("data:")]
    assert [url for url in asked if not url.endswith("/favicon.ico")] == [live.url + path]
    assert await tab.evaluate("document.documentElement.scrollWidth") <= width
    card = await tab.locator(".card").bounding_box()
    assert card is not None
    assert card["x"] >= 0
    assert card["width"] <= min(width, 375)
    colours = await tab.locator(".card").evaluate("card => getComputedStyle(card).backgroundColor")
    assert colours == "rgb(10, 61, 98)"
    for text in ("Gold", name, "2480", "Berlin Mitte", "Nr. 000117"):
        assert await tab.get_by_text(text, exact=True).is_visible()
    code = tab.get_by_alt_text("QR-Code der Karte")
    assert await code.evaluate("image => image.complete && image.naturalWidth > 0")
    assert await tab.get_by_text("Scannen Sie dies mit Ihrem Telefon.").count() == int(agent is None)
    await tab.close()


SIZES = {"strip": (750, 246), "thumbnail": (180, 180)}


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        ("generic", ("strip", "thumbnail"), "thumbnail"),
        ("storeCard", ("strip", "thumbnail"), "strip"),
        ("coupon", ("strip", "thumbnail"), "strip"),
        ("eventTicket", ("strip", "thumbnail"), "strip"),
        ("eventTicket", ("thumbnail",), "thumbnail"),
        ("storeCard", ("thumbnail",), None),
    ],
    ids=str,
)
async def test_images_stand_where_the_wallet_has_them(
    live: Live,
    client: httpx.AsyncClient,
    tenant: Tenant,
    browser: Browser,
    kind: str,
    given: tuple[str, ...],
    shown: str | None,
) -> None:
    template = await make_template(tenant, "points", "level", pass_type=kind, design=json.dumps(DESIGN))
    await give_images(tenant, template, {(name, 2): png(*SIZES[name]) for name in given})
    made = await put(client, tenant, template, display_name="Max Mustermann")
    path = "/w/" + made.json()["links"]["landing_page"].partition("/w/")[2]
    tab = await browser.new_page(viewport={"width": 375, "height": 667}, user_agent=IPHONE, locale="de-DE")
    await tab.goto(live.url + path)
    pictures = tab.locator(".card > div:not(.code) > img")
    assert await pictures.count() == (shown is not None)
    card = await tab.locator(".card").bounding_box()
    name = await tab.get_by_text("Max Mustermann", exact=True).bounding_box()
    assert card is not None
    assert name is not None
    if shown is not None:
        picture = await pictures.bounding_box()
        assert picture is not None
        if shown == "strip":  # across the card, and the name upon it
            assert (picture["x"], picture["width"]) == (card["x"], card["width"])
            assert picture["y"] <= name["y"]
            assert name["y"] + name["height"] <= picture["y"] + picture["height"]
        else:  # at the right of the name
            assert (picture["width"], picture["height"]) == (90, 90)
            assert name["x"] + name["width"] <= picture["x"]
            assert picture["x"] + picture["width"] <= card["x"] + card["width"]
    await tab.close()


def from_server(live: Live) -> Callable[[Route], Awaitable[None]]:
    """Have a browser load from a server what is at its public address."""

    async def load(route: Route) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            answer = await client.get(live.url + route.request.url.removeprefix(PUBLIC))
        kind = answer.headers["Content-Type"]
        await route.fulfill(status=answer.status_code, body=answer.content, content_type=kind)

    return load


async def test_the_tap_that_saves_to_google(
    cluster: embedded.Address, tenant: Tenant, browser: Browser, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with google_server(key, FixedClock(utc_now())) as server:
        account = account_file(tmp_path, key, server.url + TOKEN_PATH)
        live = start_live(cluster, **google_settings(server, account))
        try:
            template = await make_template(tenant, display_name="Karte", design=json.dumps(DESIGN))
            await give_images(tenant, template, {("logo", 2): png(80, 40), ("strip", 1): png(375, 123)})
            async with httpx.AsyncClient(base_url=live.url + BASE, trust_env=False) as client:
                issued = (await put(client, tenant, template, display_name="Max")).json()
            tab = await browser.new_page(
                viewport={"width": 375, "height": 667}, user_agent=ANDROID, locale="de-DE"
            )
            await tab.route(f"{PUBLIC}/**", from_server(live))
            complaints: list[str] = []
            tab.on("console", lambda message: complaints.append(message.text))
            await tab.goto(live.url + issued["links"]["landing_page"].removeprefix(PUBLIC))
            link = tab.get_by_role("link", name="In Google Wallet speichern")
            box = await link.bounding_box()
            assert box is not None
            assert box["height"] >= 44
            assert await link.get_attribute("href") == issued["links"]["google_wallet"]
            shown = await tab.goto(live.url + issued["links"]["google_wallet"].removeprefix(PUBLIC))
            assert shown is not None
            assert (shown.status, shown.url.startswith(server.url)) == (200, True)
            assert await tab.get_by_text("This pass is saved in the emulated Google Wallet.").is_visible()
            assert await tab.evaluate("document.documentElement.scrollWidth <= 375")
            loaded = "images => images.map(image => [image.naturalWidth, image.clientWidth])"
            assert await tab.locator("img.logo, img.hero").evaluate_all(loaded) == [[80, 80], [375, 311]]
            assert [said for said in complaints if "favicon" not in said] == []
            assert server.double.saved == {f"{ISSUER}.{tenant.organisation.public_code}_{issued['uid']}"}
            await tab.close()
        finally:
            stop_live(live)
