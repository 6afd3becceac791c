"""What the files of the repository may not hold, and what the pinned requirements must."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
SKIPPED = {".git", ".venv", ".venv-bench", ".rxdesk", ".proof", "build", "dist", "__pycache__"}
# Spelt in two halves: this file is read as well.
REGISTRIES = ["py" + "pi.org", "pythonhosted" + ".org", "registry.npm" + "js.org", "files.python" + "hosted"]


def text_files() -> list[Path]:
    """Every file of the repository but caches, environments and data."""
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and not any(part in SKIPPED or part.endswith("_cache") for part in path.relative_to(ROOT).parts)
    ]


def test_no_file_names_a_package_registry() -> None:
    # Which registry is used is the choice of whoever installs, by pip's own configuration.
    named = [
        (str(path.relative_to(ROOT)), host)
        for path in text_files()
        for host in REGISTRIES
        if host.encode() in path.read_bytes()
    ]
    assert named == []


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_pinned_and_hashed_and_nothing_else(path: Path) -> None:
    text = re.sub(r"\s*\\\n\s*", " ", path.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    form = re.compile(r"[a-z0-9._-]+==[^\s;]+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+")
    assert lines
    assert [line for line in lines if not form.fullmatch(line)] == []


def test_the_same_versions_everywhere() -> None:
    # `make test` installs all three files into one environment: it must test what `make install` gives.
    versions: dict[str, set[str]] = {}
    for path in REQUIREMENTS:
        found: dict[str, list[str]] = {}
        for name, version in re.findall(r"(?m)^([a-z0-9._-]+)==(\S+)", path.read_text(encoding="utf-8")):
            found.setdefault(name, []).append(version)
        for name, pins in found.items():
            versions.setdefault(name, set()).add(" ".join(sorted(pins)))
    assert {name: pins for name, pins in versions.items() if len(pins) > 1} == {}


def test_what_pyproject_asks_for_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = set(
        re.findall(r"(?m)^([a-z0-9._-]+)==", (ROOT / "requirements/runtime.txt").read_text(encoding="utf-8"))
    )
    asked = {re.split(r"[\[<>=!~; ]", entry, maxsplit=1)[0] for entry in project["dependencies"]}
    assert asked - pinned == set(), "run `make lock`"
