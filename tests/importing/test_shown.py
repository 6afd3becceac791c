"""What an import changes of what passes show reaches the devices that hold them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.api.wallet.cards import put, register, token_of
from tests.conftest import ENCRYPTION_KEYS, InProcess, in_process, settings_for
from tests.factories import Tenant
from tests.importing.conftest import Import, Row
from tests.importing.rows import PATIENT, SHOP
from tests.wallet.apple.test_package import document
from tests.wallet.cards import NOW, PASS_TYPE, TEAM

from rxdesk import working
from rxdesk.db import embedded
from rxdesk.importing import showing
from rxdesk.wallet.apple.trial import create_chain

TEMPLATE: Row = {
    "uid": "wpt-1",
    "shop_uid": SHOP["uid"],
    "display_name": "Card",
    "pass_type": "generic",
    "fields": ["points"],
}
PASS: Row = {
    "uid": "wp-1",
    "wallet_pass_template_uid": "wpt-1",
    "shop_customer_id": "c",
    "patient_profile_uid": PATIENT["uid"],
    "status": "active",
    "field_values": {"points": 1},
}
ALL: dict[str, list[Row]] = {
    "shops": [SHOP],
    "patients": [PATIENT],
    "wallet_templates": [TEMPLATE],
    "wallet_passes": [PASS],
}


@dataclass
class Phone:
    """A device that holds the imported pass, by the web service."""

    client: httpx.AsyncClient
    tenant: Tenant
    token: str
    known: str | None = None

    async def fetch(self) -> dict[str, Any] | None:
        """The pass as it is now; None where it is said to be as it was."""
        code = self.tenant.organisation.public_code
        headers = {"Authorization": f"ApplePass {self.token}"}
        if self.known is not None:
            headers["If-Modified-Since"] = self.known
        answer = await self.client.get(
            f"http://test/w/{code}/v1/passes/{PASS_TYPE}/{code}_wp-1", headers=headers
        )
        assert answer.status_code in (200, 304), answer.text
        self.known = answer.headers["Last-Modified"]
        return document(answer.content) if answer.status_code == 200 else None

    async def pushes(self) -> int:
        return len(await self.tenant.rows("SELECT 1 FROM wallet_pushes WHERE organisation_id = $1"))


@pytest.fixture(scope="module")
def apple(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    chain = create_chain(tmp_path_factory.mktemp("chain"), PASS_TYPE, TEAM, NOW)
    return {
        "apple_certificate_file": chain.pass_certificate,
        "apple_key_file": chain.pass_key,
        "apple_intermediate_file": chain.intermediate,
    }


@pytest.fixture
async def inside(cluster: embedded.Address, apple: dict[str, Any]) -> AsyncIterator[InProcess]:
    async with in_process(cluster, **apple) as running:
        yield running


@pytest.fixture
async def phone(inside: InProcess, tenant: Tenant, importing: Import) -> Phone:
    """It holds the pass as it was imported and issued."""
    assert (await importing(**ALL)).ok
    assert (await put(inside.client, tenant, "wpt-1", "c")).status_code == 200
    await register(tenant, "wp-1")
    held = Phone(inside.client, tenant, await token_of(tenant, "wp-1", "device"))
    assert await held.fetch() is not None
    assert await held.fetch() is None
    return held


def values(shown: dict[str, Any]) -> Iterator[str]:
    for place in shown["generic"].values():
        yield from (field["value"] for field in place)


@pytest.mark.parametrize(
    ("kind", "row", "wanted"),
    [
        ("patients", PATIENT | {"display_name": "Somebody Else"}, "Somebody Else"),
        ("wallet_passes", PASS | {"field_values": {"points": 2}}, "2"),
        ("wallet_passes", PASS | {"patient_profile_uid": None, "display_name": "Nobody"}, "Nobody"),
    ],
)
async def test_what_is_shown_is_told(
    phone: Phone, importing: Import, kind: str, row: Row, wanted: str
) -> None:
    assert (await importing(**{kind: [row]})).ok
    assert await phone.pushes() == 1
    shown = await phone.fetch()
    assert shown is not None
    assert wanted in set(values(shown))
    assert await phone.fetch() is None


async def test_a_design_is_shown_and_stays_where_none_is_given(phone: Phone, importing: Import) -> None:
    design = {"title": "Loyalty", "background": "#0066cc"}
    assert (await importing(wallet_templates=[TEMPLATE | {"design": design}])).ok
    assert await phone.pushes() == 1
    shown = await phone.fetch()
    assert shown is not None
    assert shown["backgroundColor"] == "rgb(0, 102, 204)"
    for again in (TEMPLATE | {"design": design}, TEMPLATE):
        assert (await importing(wallet_templates=[again])).ok
        assert await phone.pushes() == 1
        assert await phone.fetch() is None


async def test_a_template_s_change_is_one_of_its_passes(phone: Phone, importing: Import) -> None:
    assert (await importing(wallet_templates=[TEMPLATE | {"display_name": "New"}])).ok
    assert await phone.pushes() == 1
    shown = await phone.fetch()
    assert shown is not None
    assert shown["description"] == "New"
    assert await phone.fetch() is None


async def test_a_pass_that_is_revoked_by_an_import(phone: Phone, importing: Import) -> None:
    assert (await importing(wallet_passes=[PASS | {"status": "revoked"}])).ok
    assert await phone.pushes() == 1
    shown = await phone.fetch()
    assert shown is not None
    assert shown["voided"] is True


@pytest.mark.parametrize(("kind", "row"), [("wallet_passes", PASS), ("wallet_templates", TEMPLATE)])
async def test_a_pass_that_an_import_deletes_is_void_until_it_comes_back(
    phone: Phone, importing: Import, kind: str, row: Row
) -> None:
    for pushes, deleted_at in ((1, 1798761600), (2, None)):
        assert (await importing(**{kind: [row | {"deleted_at": deleted_at}]})).ok
        assert await phone.pushes() == pushes
        shown = await phone.fetch()
        assert shown is not None
        assert ("voided" in shown) == (deleted_at is not None)
        assert await phone.fetch() is None


async def test_what_no_pass_shows_is_told_to_nobody(phone: Phone, importing: Import) -> None:
    changed = {
        "patients": [PATIENT | {"email": "new@example.org", "updated_at": 1798761600}],
        "wallet_templates": [TEMPLATE | {"updated_at": 1798761600}],
        "wallet_passes": [PASS | {"updated_at": 1798761600}],
    }
    for rows in (changed, ALL):
        assert (await importing(**rows)).ok
        assert await phone.pushes() == 0
        assert await phone.fetch() is None


async def test_an_import_that_ended_before_it_told(
    phone: Phone,
    importing: Import,
    cluster: embedded.Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is answered that nothing changed, and a worker tells it."""

    async def nothing(*_: object) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(showing, "tell", nothing)
    assert (await importing(patients=[PATIENT | {"display_name": "Somebody Else"}])).ok
    assert await phone.pushes() == 0
    for _ in range(2):
        shown = await phone.fetch()
        assert shown is not None
        assert "Somebody Else" in set(values(shown))
    composed = working.compose(settings_for(), cluster.connect_args(embedded.APP), ENCRYPTION_KEYS)
    await working.tell_of_imports(composed)
    assert await phone.pushes() == 1
    assert await phone.fetch() is not None
    assert await phone.fetch() is None
    await working.tell_of_imports(composed)
    assert await phone.pushes() == 1
    await composed.pool.close()


async def test_more_passes_than_are_told_at_once(phone: Phone, importing: Import) -> None:
    """A pass that was never issued is on no device, and takes no tag."""
    passes = [PASS | {"uid": f"wp-{number}", "shop_customer_id": f"c-{number}"} for number in range(2, 2_103)]
    assert (await importing(wallet_passes=passes)).ok
    issue = (
        "UPDATE wallet_passes SET public_id = uid, sealed_secret = '' "
        "WHERE organisation_id = $1 AND uid NOT IN ('wp-1', 'wp-2102')"
    )
    await phone.tenant.connection.execute(issue, phone.tenant.id)
    for row in passes:
        row["field_values"] = {"points": 9}
    assert (await importing(wallet_passes=passes)).ok
    counts = "SELECT tag > 0 AS told, untold, count(*) FROM wallet_passes WHERE organisation_id = $1 GROUP BY 1, 2, tag"
    rows = await phone.tenant.rows(counts)
    found = sorted((row["told"], row["untold"], row["count"]) for row in rows)
    assert found == [(False, False, 2), (True, False, 100), (True, False, 1000), (True, False, 1000)]
