"""The JSON Schemas of the import formats, as files: made from the types, never edited by hand."""

from __future__ import annotations

import json
from pathlib import Path

from rxdesk.importing.formats import KINDS, schema

FOLDER = Path(__file__).parent / "schemas"


def schema_files() -> dict[str, str]:
    """Give the text of each schema file by its name, `orders.schema.json` and so on."""
    return {
        f"{kind}.schema.json": json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n" for kind in KINDS
    }


def write_schema_files(folder: Path = FOLDER) -> None:
    """Write the schema files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schema_files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_schema_files()
