"""The documents against the code: every setting, verb and route is told of, and every link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer
from tests.factories import Tenant

from rxdesk import routes
from rxdesk.cli import verbs
from rxdesk.kit.egress import Failure
from rxdesk.permissions import ALL, ALL_OF_PHARMACY
from rxdesk.settings import options

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_generated_documents_are_the_code_s() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.generate_docs", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_is_documented() -> None:
    page = text("docs/configuration.md")
    for option in options():
        assert f"`{option.name}`" in page
        assert option.comment, option.name


def test_every_error_of_an_attempt_is_documented() -> None:
    page = text("docs/webhooks.md").partition("An attempt's error is")[2].partition("\n\n")[0]
    named = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([a-z_ ]+)`", page))))
    assert {*get_args(Failure), "forbidden", "unsigned"} <= named


def test_every_route_and_permission_is_documented() -> None:
    pages = {
        routes.MANAGEMENT.base: (("docs/api.md",), ALL),
        routes.OPERATIONS.base: (
            ("docs/operations-api.md", "docs/webhooks.md", "docs/wallet.md"),
            (
                "order:write",
                "prescription:write",
                "event:read",
                "delivery:read",
                "delivery:write",
                "waiting_room:operate",
                "wallet_pass:verify",
            ),
        ),
        routes.PHARMACY.base: (("docs/pharmacy-api.md",), ALL_OF_PHARMACY),
    }
    for api in routes.APIS:
        names, permissions = pages[api.base]
        page = "\n".join(text(name) for name in names)
        for base in api.bases:
            assert f"`{base}`" in page
        for endpoint in api.endpoints:
            assert f"`{endpoint.operation.path}" in page, endpoint.operation.path
        for permission in permissions:
            assert f"`{permission}`" in page


def test_every_verb_is_documented() -> None:
    pages = "\n".join(page.read_text("utf-8") for page in PAGES)
    group = typer.main.get_command(verbs.app)
    names = list(group.commands)  # type: ignore[attr-defined] # a group of click's
    assert {
        "demo",
        "serve",
        "migrate",
        "import",
        "organisations",
        "keys",
        "config",
        "check",
        "version",
    } <= set(names)
    for name in names:
        assert f"rxdesk {name}" in pages or f"`{name}`" in pages, name


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if not link.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / link).exists(), link


async def test_the_data_map_names_columns_that_exist(tenant: Tenant) -> None:
    rows = await tenant.rows(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND $1 > 0"
    )
    columns = {(row["table_name"], row["column_name"]) for row in rows}
    tables = {table for table, _ in columns}
    listed = set()
    for line in text("docs/data-map.md").splitlines():
        cells = line.split("|")
        if len(cells) > 3 and cells[1].strip().startswith("`"):
            named = re.findall(r"`(\w+)`", cells[1])
            listed |= set(named)
            for column in re.findall(r"`(\w+)`", cells[2]):
                assert any((table, column) in columns for table in named), (named, column)
    assert listed <= tables
    personal = {
        "email",
        "first_name",
        "last_name",
        "display_name",
        "date_of_birth",
        "patient_uid",
        "visit_reason",
    }
    # Names of things and of businesses are no personal data.
    things = {
        "organisations",
        "shops",
        "pharmacies",
        "delivery_types",
        "products",
        "skus",
        "wallet_pass_templates",
    }
    assert {table for table, column in columns if column in personal} - things <= listed
