"""Write the documents that are made from the code; with `--check`, only tell whether they would change.

usage: python -m scripts.generate_docs [--check]
A further document is a function that gives its text, and a line in DOCUMENTS.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from rxdesk import routes
from rxdesk.orders import lifecycle as orders
from rxdesk.prescriptions import lifecycle as prescriptions
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


def lifecycle() -> str:
    """The states of prescriptions and orders, with the steps between them, as the commands judge them."""
    placed = "`waiting for pharmacy`, each part with a pharmacy order; `pharmacy not found` where nobody can take one"
    lines = [
        "# Lifecycles",
        "",
        "<!-- Made by `make docs`, from the lifecycle.py of prescriptions and of orders. -->",
        "",
        "A step that is not allowed is a 409 whose `allowed` names those that are; `rxdesk orders` and",
        "`rxdesk prescriptions` say the same. How to take a step: [Operations API](operations-api.md).",
        "",
        "## Prescriptions",
        "",
        *_steps(prescriptions.STEPS.items()),
        "",
        "- From `on_hold` it goes back to where it was held: to `approved` if its doctor had approved it, else to",
        "  `waiting_for_doctor`.",
        "- A decision (approved, declined, any signature) needs an active doctor who has the prescription, and a",
        "  signature one who may sign.",
        f"- A doctor is given in {_listed(prescriptions.ASSIGNABLE)}. Another doctor begins anew: what the one before",
        "  decided is void.",
        "- In an order that has ended a prescription can only be cancelled.",
        "",
        "## Orders, by hand",
        "",
        "Some steps depend on the children: `waiting for pharmacy` wants every prescription signed, `completed` no",
        "pharmacy order, and a step is not offered from which the order would come back at once.",
        "",
        *_steps(orders.STEPS.items()),
        "",
        "## Orders, by themselves",
        "",
        "An order follows its prescriptions and pharmacy orders (cancelled ones do not count), after every change of",
        "one. The first line that fits decides:",
        "",
        "| its children | it becomes |",
        "|---|---|",
        f"| it is {_listed(orders.ENDED)} | stays |",
        "| each part has a pharmacy order, and all are completed | `completed` |",
        "| a prescription declined | `prescription declined` |",
        f"| it is held: {_listed(orders.HELD)} | stays, until it is moved on |",
        "| all prescriptions cancelled | `prescription not found` |",
        f"| all prescriptions signed ({_listed(prescriptions.SIGNED)}) | {placed} |",
        "| a prescription still open, and it was past the doctor | `waiting for doctor` |",
        "",
        "The parts of an order are its fulfillment orders that have items; each gets a pharmacy order of its own, and",
        "an order without any gets one for all its items. A part that finds no pharmacy does not hold up the others;",
        "the order is `pharmacy not found`, and after the next change it is looked for again.",
        "",
        "Which pharmacy gets a part: the one",
        "named when the order was made; else, of those that have every SKU of it in stock at a price, the one whose",
        "total is lowest, and of equals the lowest uid. A pharmacy that has cancelled a part is not asked for it",
        "again: it goes to the next one. Stock is taken when the pharmacy completes, not before; but what a pharmacy",
        "is still to send for other parts of the same order counts as gone.",
        "",
        "A cancelled order takes its open prescriptions and pharmacy orders with it.",
    ]
    return "\n".join(lines) + "\n"


def _steps(table: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    rows = [
        f"| `{status}` | {', '.join(f'`{one}`' for one in steps) or 'nothing'} |" for status, steps in table
    ]
    return ["| from | to |", "|---|---|", *rows]


def _listed(statuses: Iterable[str]) -> str:
    return ", ".join(f"`{status}`" for status in sorted(statuses))


DOCUMENTS: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "events.md": documents.page,
    "lifecycle.md": lifecycle,
    **{api.document: lambda api=api: openapi.encode(api).decode() for api in (*routes.APIS, routes.PUBLIC)},  # type: ignore[misc]
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
