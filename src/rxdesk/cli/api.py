"""What verbs share that do what the API does: bodies, reads, steps and histories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.common import (
    CliError,
    note,
    on_organisation,
    plain,
    print_json,
    print_table,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rxdesk.access import Read, Transaction

Reason = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", show_default=False, help="Why; kept in the history."),
]
HISTORY_ROWS = 1_000
"""Changes that a history shows at most: the last ones."""


def body_of(kind: type[Any], values: dict[str, Any]) -> Any:  # noqa: ANN401 (the schema's type)
    """Give the values as the schema that the API reads; what it refuses is a CliError."""
    from rxdesk.errors import ApiError
    from rxdesk.kit.strict_json import StrictJsonError, check_text
    from rxdesk.web.body import convert

    for name, value in values.items():
        try:
            check_text(value)
        except StrictJsonError:  # an argument that is not UTF-8 comes with lone surrogates
            message = f"{name} is not UTF-8, or holds NUL"
            raise CliError(message) from None
    try:
        return convert(values, kind)
    except ApiError as error:
        faults = (f"{fault['field']} {fault['message']}".strip() for fault in error.body["details"])
        raise CliError("; ".join(faults)) from None


def tell_state(state: object, *, as_json: bool) -> None:
    """Print where an order, a prescription or a pass stands."""
    shown = plain(state)
    if as_json:
        print_json(shown)
    else:
        print(f"{shown['uid']}: {shown['status']}")


def looked_up(
    data_dir: Path | None,
    config: Path | None,
    organisation: str,
    read: Read,
    *arguments: object,
    what: str | None = None,
) -> Any:  # noqa: ANN401 (JSON)
    """Run a read of the API as the operator. Raises CliError, naming `what`, when there is no such row."""
    from rxdesk.access import look

    async def work(tx: Transaction) -> str | None:
        return await look(tx.connection, tx.organisation_id, read, *arguments)

    body = on_organisation(settings_of(data_dir, config).settings, "look", organisation, work)
    if body is None:
        where = "this organisation" if what is None else organisation
        raise CliError(f"there is no such {what or 'uid'} in {where}")
    return json.loads(body)


def tell_history(
    data_dir: Path | None, config: Path | None, organisation: str, read: Read, uid: str, *, as_json: bool
) -> None:
    """Print what changed of a row, oldest first, of a long history the end. Raises CliError without such a row."""
    from datetime import UTC, datetime

    page = looked_up(data_dir, config, organisation, read, uid, HISTORY_ROWS, 0)
    total = page["totalRegistries"]
    if total > HISTORY_ROWS:
        page = looked_up(data_dir, config, organisation, read, uid, HISTORY_ROWS, total - HISTORY_ROWS)
        note(f"the last {HISTORY_ROWS} of {total} changes")
    changes: Sequence[dict[str, Any]] = page["data"]
    if as_json:
        print_json(changes)
        return
    print_table(
        ("AT", "WHAT", "OLD", "NEW", "BY", "REASON"),
        [
            (
                datetime.fromtimestamp(one["at"], UTC),
                one["what"],
                one["old"],
                one["new"],
                f"{one['actor']['kind']} {one['actor']['uid']}",
                one["reason"],
            )
            for one in changes
        ],
    )
