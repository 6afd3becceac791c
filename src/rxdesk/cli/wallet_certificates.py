"""`rxdesk wallet certificates`: a chain for trials, and when certificates run out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rxdesk.cli.common import EPILOG, AsJson, CliError, named_path, print_json, print_table

_SHORTEST, _LONGEST = len("pass.x"), 255
_LONGEST_TEAM = 64

app = typer.Typer(help="Certificates that passes are signed with.", no_args_is_help=True)


@app.command(
    "create-test", epilog=EPILOG + "rxdesk wallet certificates create-test --out /tmp/wallet-certificates"
)
def create_test(
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", parser=named_path, metavar="FOLDER", help="Where to write; made when it is not there."
        ),
    ],
    pass_type: Annotated[
        str, typer.Option("--pass-type", metavar="ID", help="Pass type identifier.")
    ] = "pass.org.example.rxdesk",  # noqa: S107 (a name)
    team: Annotated[str, typer.Option("--team", metavar="ID", help="Team identifier.")] = "TRIAL00000",
    as_json: AsJson = False,
) -> None:
    """Make a self-made chain for trials: passes that openssl and the emulator take, and no phone.

    Writes root.pem, intermediate.pem (in the place of Apple's WWDR), pass.pem and pass.key, and server.pem and
    server.key for servers on loopback; valid for a year from now. Existing files are not overwritten.
    """
    from dataclasses import asdict

    from rxdesk.kit.clock import utc_now
    from rxdesk.wallet.apple.trial import create_chain

    if (
        not pass_type.startswith("pass.")
        or not pass_type.isascii()
        or not _SHORTEST <= len(pass_type) <= _LONGEST
    ):
        raise CliError(
            f"a pass type identifier begins with pass. and is ASCII, at most {_LONGEST} characters"
        )
    if not 1 <= len(team) <= _LONGEST_TEAM:
        raise CliError(f"a team identifier is of 1 to {_LONGEST_TEAM} characters")
    files = asdict(create_chain(out, pass_type, team, utc_now().replace(microsecond=0)))
    if as_json:
        print_json({name: str(file) for name, file in files.items()})
        return
    print_table(("WHAT", "FILE"), [(name, str(file)) for name, file in files.items()])


@app.command(epilog=EPILOG + "rxdesk wallet certificates show pass.pem intermediate.pem")
def show(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Certificates, PEM or DER.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show until when certificates are valid; exit status 1 when one has run out."""
    from rxdesk.kit.clock import utc_now
    from rxdesk.wallet.apple.certificates import expiry_of

    ends = [(file, expiry_of(file)) for file in files]
    now = utc_now()
    rows = [(str(file), end.isoformat(), (end - now).days) for file, end in ends]
    if as_json:
        print_json([{"file": file, "expires_at": end, "days": days} for file, end, days in rows])
    else:
        print_table(("FILE", "EXPIRES AT", "DAYS"), rows)
    if any(end <= now for _, end in ends):
        raise typer.Exit(1)
