"""`rxdesk prescriptions`: assign, decide and sign prescriptions as the API does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rxdesk.cli.api import Reason, body_of, tell_history, tell_state
from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    on_organisation,
    settings_of,
)

app = typer.Typer(
    help="Assign, approve, decline, hold, resume, sign and cancel prescriptions.", no_args_is_help=True
)
Uid = Annotated[
    str, typer.Argument(metavar="UID", help="The prescription's uid, as `rxdesk orders show` has it.")
]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")]


def _take(
    data_dir: Path | None,
    config: Path | None,
    organisation: str,
    verb: str,
    schema: str,
    uid: str,
    values: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from rxdesk.prescriptions import commands, schemas

    body = body_of(getattr(schemas, schema), values)
    command = getattr(commands, verb)
    settings = settings_of(data_dir, config).settings
    state = on_organisation(settings, "prescriptions", organisation, lambda tx: command(tx, uid, body))
    tell_state(state, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk prescriptions assign --organisation nordlicht px-1 doc-1")
def assign(
    uid: Uid,
    doctor: Annotated[str, typer.Argument(metavar="DOCTOR", help="The doctor's uid.")],
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a prescription to an active doctor, while it waits or is on hold."""
    values = {"doctor_uid": doctor}
    _take(data_dir, config, organisation, "assign", "Assignment", uid, values, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk prescriptions approve --organisation nordlicht px-1")
def approve(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    reason: Reason = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Approve a prescription that an active doctor has."""
    _take(data_dir, config, organisation, "approve", "Because", uid, {"reason": reason}, as_json=as_json)


@app.command(
    epilog=EPILOG + 'rxdesk prescriptions decline --organisation nordlicht px-1 --reason "contraindicated"'
)
def decline(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    reason: Why,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Decline a prescription for a reason; its order becomes `prescription declined`."""
    _take(data_dir, config, organisation, "decline", "Explained", uid, {"reason": reason}, as_json=as_json)


@app.command(
    epilog=EPILOG
    + 'rxdesk prescriptions hold --organisation nordlicht px-1 --reason "waits for a laboratory value"'
)
def hold(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    reason: Why,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a prescription on hold for a reason."""
    _take(data_dir, config, organisation, "hold", "Explained", uid, {"reason": reason}, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk prescriptions resume --organisation nordlicht px-1")
def resume(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    reason: Reason = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a prescription off hold, back to where it was held."""
    _take(data_dir, config, organisation, "resume", "Because", uid, {"reason": reason}, as_json=as_json)


@app.command(
    epilog=EPILOG + "rxdesk prescriptions sign --organisation nordlicht px-1\n\n"
    "rxdesk prescriptions sign --organisation nordlicht px-1 --non-qes"
)
def sign(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    non_qes: Annotated[
        bool, typer.Option("--non-qes", help="Without a qualified electronic signature.")
    ] = False,
    reason: Reason = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Sign an approved prescription; its doctor must be active and may sign.

    With the last one signed the order goes to a pharmacy.
    """
    values = {"non_qes": non_qes, "reason": reason}
    _take(data_dir, config, organisation, "sign", "Signature", uid, values, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk prescriptions cancel --organisation nordlicht px-1")
def cancel(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    reason: Reason = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a prescription that is not signed and not declined."""
    _take(data_dir, config, organisation, "cancel", "Because", uid, {"reason": reason}, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk prescriptions history --organisation nordlicht px-1")
def history(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed of a prescription, when and by whom, oldest first."""
    from rxdesk.prescriptions.queries import CHANGES

    tell_history(data_dir, config, organisation, CHANGES, uid, as_json=as_json)
