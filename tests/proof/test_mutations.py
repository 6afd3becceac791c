"""Things broken on purpose: the suite must fail for each. `docs/testing.md` lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINT = [sys.executable, "scripts/lint_sql.py"]


@dataclass(frozen=True)
class Mutation:
    """One fault: what it breaks, where, and who should notice."""

    name: str
    file: str
    good: str
    bad: str
    found_by: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "a route forgets its permission",
        "orders/endpoints.py",
        "    Permission.ORDER_READ,\n",
        "    None,\n",
        ("tests/contract/test_openapi.py",),
    ),
    Mutation(
        "a statement forgets the organisation",
        "prescriptions/queries.py",
        "WHERE p.organisation_id = $1 AND p.uid = $4",
        "WHERE p.uid = $4",
        ("lint",),
    ),
    Mutation(
        "403 and 404 are swapped",
        "web/call.py",
        "raise errors.permission_denied()",
        "raise errors.not_found()",
        ("tests/contract/test_matrix.py",),
    ),
    Mutation(
        "the key's checksum is not looked at",
        "kit/keys.py",
        "!= checksum:",
        "is None:",
        ("tests/kit/test_keys.py",),
    ),
    Mutation(
        "an order shows another order's child",
        "orders/queries.py",
        "so.order_uid = o.uid AND so.deleted_at",
        "so.deleted_at",
        ("tests/api/orders",),
    ),
    Mutation(
        "the query runs without the permission",
        "access.py",
        "WHERE c.allowed OFFSET 0",
        "OFFSET 0",
        ("tests/db/test_reads.py",),
    ),
    Mutation(
        "a connection keeps another organisation's setting",
        "db/pool.py",
        "pooled.organisation_id != organisation_id",
        "pooled.organisation_id is None",
        ("tests/db/test_wall.py", "tests/db/test_pool.py"),
    ),
    Mutation(
        "a cancelled visit keeps its position",
        "waiting_room/queries.py",
        "AND w.status = 'waiting' AND w.deleted_at IS NULL",
        "AND w.deleted_at IS NULL",
        ("tests/api/waiting_room",),
    ),
    Mutation(
        "a pharmacy sees its neighbour's order",
        "pharmacies/queries.py",
        "AND po.pharmacy_uid = c.pharmacy_uid AND po.uid = $4",
        "AND po.uid = $4",
        ("tests/contract/test_matrix.py",),
    ),
    Mutation(
        "stock is looked at without a lock",
        "pharmacies/commands.py",
        "ORDER BY uid FOR NO KEY UPDATE",
        "ORDER BY uid",
        ("tests/api/pharmacy",),
    ),
)


def run(folder: Path, checks: tuple[str, ...]) -> int:
    """Run the checks against a copy of the tree; 0 when all pass."""
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}"}
    if checks == ("lint",):
        command = _LINT
    else:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *checks]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, timeout=300, check=False
    ).returncode


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutant")
    for name in ("src", "tests", "scripts", "docs", "pyproject.toml"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.proof
@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_the_suite_notices(mutation: Mutation, copy: Path) -> None:
    path = copy / "src" / "rxdesk" / mutation.file
    text = path.read_text("utf-8")
    assert text.count(mutation.good) >= 1, "the mutation no longer fits the code"
    assert run(copy, mutation.found_by) == 0, "the suite must pass before the fault"
    path.write_text(text.replace(mutation.good, mutation.bad, 1), "utf-8")
    try:
        assert run(copy, mutation.found_by) != 0
    finally:
        path.write_text(text, "utf-8")


def test_each_mutation_fits_the_code_and_is_listed() -> None:
    listed = (ROOT / "docs/testing.md").read_text("utf-8")
    for mutation in MUTATIONS:
        text = (ROOT / "src" / "rxdesk" / mutation.file).read_text("utf-8")
        assert mutation.good in text, mutation.name
        assert mutation.name in listed
