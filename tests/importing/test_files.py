"""Which files are taken, as what, and in which order."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from tests.importing.rows import world

from rxdesk.importing.files import ImportFileError, find_files
from rxdesk.importing.formats import KINDS, schema
from rxdesk.importing.schemas import FOLDER, schema_files


def test_names_say_the_kind(tmp_path: Path) -> None:
    for name in (
        "10-orders.ndjson",
        "orders-2.ndjson",
        "shops.ndjson",
        "samples.json",
        "notes.txt",
        "my-orders.x",
    ):
        (tmp_path / name).touch()
    (tmp_path / "doctors.ndjson").mkdir()
    files = find_files([tmp_path])
    assert [(file.path.name, file.kind) for file in files] == [
        ("shops.ndjson", "shops"),
        ("10-orders.ndjson", "orders"),
        ("orders-2.ndjson", "orders"),
    ]
    assert find_files([tmp_path / "shops.ndjson", tmp_path]) == files


def test_a_kind_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "dump.txt").touch()
    assert find_files([tmp_path / "dump.txt"], "wallet_passes")[0].kind == "wallet_passes"
    with pytest.raises(ImportFileError, match=r"name it like orders\.ndjson, or give --kind"):
        find_files([tmp_path / "dump.txt"])
    with pytest.raises(ImportFileError, match="no file in it is named after a kind"):
        find_files([tmp_path])
    with pytest.raises(ImportFileError, match="there is no such file"):
        find_files([tmp_path / "absent.ndjson"])


def test_schemas_are_those_of_the_code() -> None:
    shipped = {file.name: file.read_text("utf-8") for file in FOLDER.glob("*.json")}
    assert shipped == schema_files(), "run `python -m rxdesk.importing.schemas`"


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_valid_and_accept_what_is_imported(kind: str) -> None:
    known = next(name for name in KINDS if name == kind)
    made = schema(known)
    jsonschema.Draft202012Validator.check_schema(made)
    validator = jsonschema.Draft202012Validator(made)
    for row in world()[kind]:
        validator.validate(json.loads(json.dumps(row)))
        assert not validator.is_valid(row | {"uid": "a b"})
        assert not validator.is_valid(row | {"uid": "a\n"})
        assert not validator.is_valid(row | {"unknown": 1})


def test_every_member_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "import.md").read_text("utf-8")
    for kind in KINDS:
        made = schema(kind)
        assert f"`{kind}`" in text
        for definition in [made, *made.get("$defs", {}).values()]:
            for name in definition.get("properties", {}):
                assert f"`{name}`" in text, (kind, name)
