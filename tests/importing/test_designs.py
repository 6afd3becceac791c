"""The look of a wallet template: what an import brings of it, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.factories import Tenant
from tests.importing.conftest import NOW, Import
from tests.importing.rows import SHOP, TEMPLATE
from tests.importing.test_faults import changed
from tests.importing.test_import import one

from rxdesk.access import look
from rxdesk.importing.decoding import decode
from rxdesk.importing.files import find_files
from rxdesk.importing.load import import_files
from rxdesk.wallet import pass_queries


async def test_a_template_s_look_goes_from_one_organisation_to_another(
    importing: Import, tenant: Tenant, other: Tenant, tmp_path: Path
) -> None:
    await importing(shops=[SHOP], wallet_templates=[TEMPLATE])
    shown = json.loads(await look(tenant.connection, tenant.id, pass_queries.TEMPLATE, "wpt-1") or "")
    members = {
        name: shown[name] for name in ("uid", "shop_uid", "display_name", "pass_type", "fields", "design")
    }
    assert members == {name: value for name, value in TEMPLATE.items() if name != "created_at"}
    (tmp_path / "shops.ndjson").write_text(json.dumps(SHOP))
    (tmp_path / "wallet_templates.ndjson").write_text(json.dumps(members))
    await other.enter()
    assert (await import_files(other.connection, other.id, find_files([tmp_path]), now=NOW)).ok
    copied = json.loads(await look(other.connection, other.id, pass_queries.TEMPLATE, "wpt-1") or "")
    assert copied == shown


async def test_a_template_keeps_its_look_where_a_line_has_none(importing: Import, tenant: Tenant) -> None:
    bare = {name: value for name, value in TEMPLATE.items() if name != "design"}
    await importing(shops=[SHOP], wallet_templates=[bare])
    assert json.loads((await one(tenant, "wallet_pass_templates", "wpt-1"))["design"]) == {}
    await importing(wallet_templates=[TEMPLATE])
    report = await importing(wallet_templates=[bare])
    assert report.files[0].written["wallet_pass_templates"].changed == 0
    assert json.loads((await one(tenant, "wallet_pass_templates", "wpt-1"))["design"]) == TEMPLATE["design"]
    await importing(wallet_templates=[bare | {"display_name": "Karte", "design": {}}])
    template = await one(tenant, "wallet_pass_templates", "wpt-1")
    assert (template["display_name"], json.loads(template["design"])) == ("Karte", {})


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("fields", ["level"], "the value of points has {points}, which is no field of the template"),
        ("design.title", {"en": "Card"}, "title has no text in de, the design's language"),
        (
            "design.title",
            "Karte {nr}",
            "title has {nr}, and only the values of fields take placeholders",
        ),
        ("design.links.0.url", "javascript:x", "the url of help must begin with https://, tel: or mailto:"),
    ],
)
def test_a_design_must_be_one_that_the_template_can_have(path: str, value: object, reason: str) -> None:
    faults = decode("wallet_templates", changed(TEMPLATE, path, value))
    assert isinstance(faults, list)
    assert [tuple(fault) for fault in faults] == [("design", reason)]
