"""docs/lifecycle.md and docs/operations-api.md against the code."""

from __future__ import annotations

import re
from pathlib import Path

from rxdesk.orders import lifecycle as orders
from rxdesk.prescriptions import lifecycle as prescriptions
from rxdesk.routes import OPERATIONS

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)


def test_the_tables_are_the_lifecycles() -> None:
    page = (DOCS / "lifecycle.md").read_text("utf-8")
    _, of_prescriptions, by_hand, _ = page.split("\n## ")
    for text, table in ((of_prescriptions, prescriptions.STEPS), (by_hand, orders.STEPS)):
        shown = {status: tuple(re.findall("`([^`]+)`", steps)) for status, steps in ROW.findall(text)}
        assert shown == dict(table)


def test_every_route_is_documented() -> None:
    page = (DOCS / "operations-api.md").read_text("utf-8")
    for endpoint in OPERATIONS.endpoints:
        operation = endpoint.operation
        if operation.tag in ("Orders", "Prescriptions", "Waiting room"):
            assert f"| {operation.method} `{operation.path}` | `{operation.permission}` |" in page
