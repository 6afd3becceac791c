"""Write the documents that are made from the code; with `--check`, only tell whether they would change.

usage: python -m scripts.generate_docs [--check]
A further document is a function that gives its text, and a line in DOCUMENTS.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from rxdesk import routes
from rxdesk.settings import options
from rxdesk.web import openapi
from rxdesk.webhooks import documents

DOCS = Path(__file__).parent.parent / "docs"


def configuration() -> str:
    """Every option, with its default and what it means, as `defaults.toml` says it."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made from src/rxdesk/defaults.toml by `make docs`; change it there. -->",
        "",
        "A setting comes from the defaults, then from a file in the form of the defaults (`--config FILE` or",
        "`RXDESK_CONFIG`), then from `RXDESK_<OPTION>` in the environment, then from a flag of the command:",
        "the later wins. An option that is not listed here is refused at the start. `rxdesk config` shows",
        "the effective settings and where each came from; secrets are hidden.",
        "",
        "| option | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    for option in options():
        default = f"`{option.default!r}`".replace("'", '"') if option.default != "" else "empty"
        meaning = option.comment.replace("|", "\\|") + (" Secret." if option.secret else "")
        lines.append(f"| `{option.name}` | `RXDESK_{option.name.upper()}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "events.md": documents.page,
    **{api.document: lambda api=api: openapi.encode(api).decode() for api in routes.APIS},  # type: ignore[misc]
}


def main(arguments: list[str]) -> int:
    """Write all documents, or name those that would change; the exit status."""
    checking = arguments == ["--check"]
    if arguments and not checking:
        print(__doc__, file=sys.stderr)
        return 2
    drifted = 0
    for name, make in DOCUMENTS.items():
        path = DOCS / name
        made = make()
        kept = path.read_text("utf-8") if path.exists() else ""
        if made == kept:
            continue
        drifted += 1
        if checking:
            lines = difflib.unified_diff(
                kept.splitlines(), made.splitlines(), f"docs/{name}", "from the code", lineterm=""
            )
            print("\n".join([*lines][:40]))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made, "utf-8")
            print(f"docs/{name}")
    if checking and drifted:
        print("Run `make docs` and commit what it writes.", file=sys.stderr)
    return int(checking and drifted > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
