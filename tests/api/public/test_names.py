"""What wallets call passes: two organisations of a server have one pass type at Apple and one issuer at Google."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.api.public.conftest import BASE
from tests.api.public.googling import GoogleWorld, google_world
from tests.api.wallet.cards import put, token_of
from tests.conftest import InProcess
from tests.factories import Tenant
from tests.wallet.apple.test_package import document
from tests.wallet.cards import PASS_TYPE

from rxdesk.db import embedded
from rxdesk.wallet.naming import Named, google_id, name_of, named_at_google, named_by

pytestmark = pytest.mark.usefixtures("queue")
TEMPLATE = "wpt:1"
_NAMES = {
    "wp:1": "wp_c1",
    "wp_1": "wp__1",
    "wp-1": "wp-1",
    "wp.1": "wp.1",
    ":": "_c",
    "_": "__",
    "a:b_c": "a_cb__c",
}


async def imported(tenant: Tenant, uid: str, name: str, **more: Any) -> str:
    """A pass as an import brings it."""
    shop = await tenant.insert("shops")
    await tenant.insert(
        "wallet_pass_templates", uid=TEMPLATE, shop_uid=shop, fields=["points"], display_name=name, **more
    )
    return await tenant.insert(
        "wallet_passes", uid=uid, wallet_pass_template_uid=TEMPLATE, shop_customer_id="c", display_name=name
    )


async def downloaded(client: httpx.AsyncClient, tenant: Tenant, uid: str) -> dict[str, Any]:
    """The document of the pass behind its page's link."""
    issued = (await put(client, tenant, TEMPLATE, "c")).json()
    path = issued["links"]["apple_wallet"].partition("/w/")[2]
    answer = await client.get(f"{BASE}/{path}")
    assert answer.status_code == 200
    return dict(document(answer.content))


@pytest.mark.parametrize("uid", _NAMES)
async def test_the_same_uid_at_two_organisations_is_two_passes(
    signing: InProcess, tenant: Tenant, other: Tenant, uid: str
) -> None:
    found = {}
    for one, name in ((tenant, "Ada"), (other, "Bob")):
        await imported(one, uid, name)
        found[one] = await downloaded(signing.client, one, uid)
    assert [found[one]["serialNumber"] for one in (tenant, other)] == [
        f"{one.organisation.public_code}_{_NAMES[uid]}" for one in (tenant, other)
    ]
    for one, name in ((tenant, "Ada"), (other, "Bob")):
        await walk(signing.client, one, uid, found[one], name)
    for one, another in ((tenant, other), (other, tenant)):
        theirs = found[another]["serialNumber"]
        path = f"{BASE}/{one.organisation.public_code}/v1/passes/{PASS_TYPE}/{theirs}"
        headers = {"Authorization": f"ApplePass {found[one]['authenticationToken']}"}
        assert (await signing.client.get(path, headers=headers)).status_code == 401


async def walk(client: httpx.AsyncClient, tenant: Tenant, uid: str, held: dict[str, Any], name: str) -> None:
    """What a device does with a pass that it was given, by what stands in it."""
    service = f"http://test/w/{tenant.organisation.public_code}/v1"
    assert held["webServiceURL"].endswith(f"/w/{tenant.organisation.public_code}")
    serial = held["serialNumber"]
    headers = {"Authorization": f"ApplePass {held['authenticationToken']}"}
    registration = f"{service}/devices/phone/registrations/{PASS_TYPE}"
    body = {"pushToken": "ab"}
    made = await client.post(f"{registration}/{serial}", json=body, headers=headers)
    assert made.status_code == 201
    assert (await client.get(registration)).json()["serialNumbers"] == [serial]
    newest = await client.get(f"{service}/passes/{PASS_TYPE}/{serial}", headers=headers)
    assert newest.status_code == 200
    shown = document(newest.content)
    assert shown["serialNumber"] == serial
    assert shown["generic"]["primaryFields"][0]["value"] == name
    code = {"code": shown["barcodes"][0]["message"]}
    verifying = await tenant.headers("wallet_pass:verify")
    checked = await client.post(
        "http://test/v1/operations/wallet-passes/verify", json=code, headers=verifying
    )
    assert (checked.json()["result"], checked.json()["wallet_pass_uid"]) == ("valid", uid)


@pytest.mark.parametrize("uid", ["wp:old", "wp_1", "_"])
async def test_a_pass_that_phones_know_by_its_bare_uid_goes_on(
    signing: InProcess, tenant: Tenant, uid: str
) -> None:
    """Issued before serial numbers began with the organisation's public code."""
    await imported(tenant, uid, "Ada")
    await put(signing.client, tenant, TEMPLATE, "c")
    await tenant.update("wallet_passes", uid, bare_serial=True)
    held = await downloaded(signing.client, tenant, uid)
    assert held["serialNumber"] == uid
    await walk(signing.client, tenant, uid, held, "Ada")
    headers = {"Authorization": f"ApplePass {await token_of(tenant, uid, 'device')}"}
    code = tenant.organisation.public_code
    for serial in (f"{code}_wp_cold", f"{code}_wp_old", f"{code}_wp:old", "wp_old", "wp_cold"):
        path = f"{BASE}/{tenant.organisation.public_code}/v1/passes/{PASS_TYPE}/{serial}"
        assert (await signing.client.get(path, headers=headers)).status_code == 401


@pytest.fixture
async def world(
    cluster: embedded.Address, tenant: Tenant, account_key: rsa.RSAPrivateKey, tmp_path: Path
) -> AsyncIterator[GoogleWorld]:
    async with google_world(cluster, tenant, account_key, tmp_path) as made:
        yield made


async def test_the_same_uid_at_two_organisations_is_two_objects(
    world: GoogleWorld, cluster: embedded.Address, other: Tenant
) -> None:
    worlds = world, replace(world, tenant=other)
    issued = []
    for one, name in zip(worlds, ("Ada", "Bob"), strict=True):
        await imported(one.tenant, "wp:1", name)
        issued.append((await put(one.app.client, one.tenant, TEMPLATE, "c")).json())
        await one.save(issued[-1])
    await world.work(cluster)
    for one, name in zip(worlds, ("Ada", "Bob"), strict=True):
        kept = one.double.kept[one.google_id("wp_c1")]
        assert kept["header"]["defaultValue"]["value"] == name
        assert kept["classId"] == one.google_id("wpt_c1")
    # One is changed, and the other's stays; one is deleted, and the other is still saved.
    await worlds[0].send(issued[0], "Ready")
    await worlds[0].work(cluster)
    messages = [one.double.kept[one.google_id("wp_c1")].get("messages", []) for one in worlds]
    assert [len(found) for found in messages] == [1, 0]
    await worlds[0].delete({"uid": "wp_c1"})
    saved = "SELECT saved_at IS NOT NULL AS saved FROM wallet_google_passes WHERE organisation_id = $1"
    states = []
    for one in worlds:
        await one.tenant.enter()
        states += [row["saved"] for row in await one.tenant.rows(saved)]
    assert states == [False, True]


async def test_an_object_that_google_knows_by_the_bare_uid_goes_on(
    world: GoogleWorld, cluster: embedded.Address
) -> None:
    issued = await world.issue(display_name="Ada")
    template = issued["wallet_pass_template_uid"]
    await world.tenant.update("wallet_passes", issued["uid"], bare_serial=True)
    await world.tenant.update("wallet_pass_templates", template, bare_class=True)
    await world.save(issued)
    await world.send(issued, "Ready")
    await world.work(cluster)
    issuer = world.settings["google_issuer"]
    kept = world.double.kept[f"{issuer}.{issued['uid']}"]
    assert (kept["classId"], len(kept["messages"])) == (f"{issuer}.{template}", 1)
    assert await world.devices() == [[("google", "sent", None)]]


def test_no_two_have_one_name() -> None:
    uids = [
        "a",
        "a:b",
        "a_b",
        "a_cb",
        "a__b",
        "a.b",
        "a-b",
        "_",
        "_c",
        ":",
        ":c",
        "b",
        "code:a",
        "code.a",
        "c:a",
        "code_a",
    ]
    named = [(code, Named(uid)) for code in ("code", "c", "co") for uid in uids]
    named += [("code", Named(uid, bare=True)) for uid in uids if not uid.startswith(("code_", "c_", "co_"))]
    names = [name_of(code, one) for code, one in named]
    assert len(set(names)) == len(names)
    ids = [google_id("1", name) for name in names]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"1\.[A-Za-z0-9._-]+", one) for one in ids)
    for (code, one), name, at_google in zip(named, names, ids, strict=True):
        assert named_by(code, name) == one
        assert named_at_google(code, "1", at_google) == one
    nonsense = ("", "code_", "code_a_b", "code__", "x" * 65, "a b", "ä")
    assert [named_by("code", name) for name in nonsense] == [None] * len(nonsense)
    foreign = ("", "1", "1.", "code_a", "2.code_a", "1.code_a_b", "1._.", "1._.a_b")
    assert [named_at_google("code", "1", name) for name in foreign] == [None] * len(foreign)
