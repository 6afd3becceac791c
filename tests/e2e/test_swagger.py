"""The Swagger page in a real browser, with no network but ours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, Request
from tests.conftest import BASE, Live
from tests.factories import Tenant

from rxdesk.webhooks.events import EVENT_TYPES


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[tuple[Page, list[Request], list[str]]]:
    tab = await browser.new_page(viewport={"width": 1200, "height": 1000})
    requests: list[Request] = []
    complaints: list[str] = []
    tab.on("request", lambda request: requests.append(request))  # noqa: PLW0108 (Playwright marks the function)
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab, requests, complaints
    await tab.close()


async def test_doctors_are_listed_through_the_page(
    live: Live, tenant: Tenant, page: tuple[Page, list[Request], list[str]]
) -> None:
    tab, requests, complaints = page
    doctor = await tenant.insert("doctors", display_name="Dr. Schmidt")
    key = await tenant.key("doctor:read")
    await tab.goto(live.url + BASE + "/apidocs")

    await tab.get_by_role("button", name="Authorize").click()
    dialog = tab.locator(".dialog-ux")
    await dialog.locator("input").fill(key)
    await dialog.get_by_role("button", name="Apply credentials").click()
    await dialog.get_by_role("button", name="Close").click()

    operation = tab.locator("#operations-Doctors-list_doctors")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response").first
    await answer.wait_for()
    assert await answer.locator(".response-col_status").inner_text() == "200"
    text = await answer.locator(".response-col_description").inner_text()
    assert doctor in text
    assert "Dr. Schmidt" in text

    assert complaints == []
    assert {request.url for request in requests if not request.url.startswith((live.url, "data:"))} == set()


async def test_every_operation_shows_an_example_of_what_it_takes_and_gives(
    live: Live, page: tuple[Page, list[Request], list[str]]
) -> None:
    tab, _, complaints = page
    await tab.goto(live.url + BASE + "/apidocs")
    operations = tab.locator(".opblock")
    await operations.first.wait_for()
    assert await operations.count() == 22 + len(EVENT_TYPES), "the routes, and what is sent"
    register = tab.locator("#operations-Waiting_room-register_visit")
    await register.locator(".opblock-summary-control").click()
    body = register.locator("textarea.body-param__text")
    await body.wait_for()
    assert "patient_profile_uid" in await body.input_value()
    assert "q-abc123" in await register.locator(".responses-inner").inner_text()
    assert complaints == []
