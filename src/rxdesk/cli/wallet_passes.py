"""`rxdesk wallet passes`: make, show, export, revoke and verify passes as the API does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.api import body_of, looked_up, tell_state
from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    CliError,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    ShopIdentifier,
    named_path,
    on_organisation,
    plain,
    print_json,
    print_table,
    settings_of,
)

if TYPE_CHECKING:
    from rxdesk.access import Transaction
    from rxdesk.settings import Settings
    from rxdesk.wallet.issuing import Issuer

app = typer.Typer(help="Make, show, export, revoke and verify wallet passes.", no_args_is_help=True)
Uid = Annotated[str, typer.Argument(metavar="UID", help="The pass's uid.")]
Customer = Annotated[str, typer.Option("--customer", metavar="ID", help="The shop's id of the customer.")]
OfHolder = Annotated[str | None, typer.Option(metavar="TEXT", show_default=False, help="The holder's.")]


@app.command(
    "list",
    epilog=EPILOG + "rxdesk wallet passes list --organisation nordlicht --shop my-shop --customer cust-123",
)
def list_(
    *,
    organisation: OrganisationSlug,
    shop: ShopIdentifier,
    customer: Customer,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the passes of a shop's customer, newest first."""
    from rxdesk.kit.clock import utc_now
    from rxdesk.wallet.queries import PASSES

    found = looked_up(data_dir, config, organisation, PASSES, shop, customer, None, utc_now())
    if as_json:
        print_json(found)
        return
    rows = [(one["uid"], one["wallet_pass_template_uid"], one["status"]) for one in found["data"]]
    print_table(("UID", "TEMPLATE", "STATUS"), rows)


@app.command(
    epilog=EPILOG
    + "rxdesk wallet passes put --organisation nordlicht --template wpt-1 --customer cust-123 --first-name Max "
    "--field points=120"
)
def put(  # noqa: PLR0913 (the options of a verb)
    *,
    organisation: OrganisationSlug,
    template: Annotated[str, typer.Option("--template", metavar="UID", help="The template.")],
    customer: Customer,
    patient: Annotated[
        str | None,
        typer.Option("--patient", metavar="UID", show_default=False, help="The holder's patient profile."),
    ] = None,
    display_name: OfHolder = None,
    first_name: OfHolder = None,
    last_name: OfHolder = None,
    expires_at: Annotated[
        int | None,
        typer.Option("--expires-at", metavar="SECONDS", show_default=False, help="Unix time of its end."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME=VALUE", show_default=False, help="A field's value; repeat it."),
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a customer's pass of a template, or change it, and show its addresses.

    What is left out of a change stays as it is. A pass that was revoked is active again.
    """
    from rxdesk.access import Updated
    from rxdesk.wallet import passes
    from rxdesk.wallet.schemas import NewPass

    given: dict[str, Any] = {
        "patient_profile_uid": patient,
        "display_name": display_name,
        "first_name": first_name,
        "last_name": last_name,
        "expires_at": expires_at,
        "field_values": dict(_pair(text) for text in field) if field else None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    body = body_of(NewPass, {"wallet_pass_template_uid": template, "shop_customer_id": customer, **given})
    settings = settings_of(data_dir, config).settings

    async def command(tx: Transaction) -> Any:  # noqa: ANN401 (either of two)
        return await passes.put(tx, body, _issuer(settings, tx))

    made = on_organisation(settings, "wallet", organisation, command)
    _tell(made.value if isinstance(made, Updated) else made, as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise CliError(f"--field {text}: give a field's name, = and its value, such as points=120")
    return name, value


@app.command(epilog=EPILOG + "rxdesk wallet passes show --organisation nordlicht wp-1")
def show(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a pass with its addresses, which a pass that was imported gets by this."""
    from rxdesk.wallet import passes

    settings = settings_of(data_dir, config).settings
    _tell(
        on_organisation(
            settings, "wallet", organisation, lambda tx: passes.issue(tx, uid, _issuer(settings, tx))
        ),
        as_json=as_json,
    )


@app.command(epilog=EPILOG + "rxdesk wallet passes export --organisation nordlicht wp-1 --out card.pkpass")
def export(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    out: Annotated[Path, typer.Option("--out", parser=named_path, metavar="FILE", help="Where to write it.")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write a pass as its file for Apple Wallet (.pkpass), signed with the configured certificate."""
    from rxdesk.wallet import passes

    settings = settings_of(data_dir, config).settings

    async def command(tx: Transaction) -> bytes:
        issuer = _issuer(settings, tx)
        if issuer.signer is None:
            raise CliError(
                "there is no certificate to sign with: set apple_certificate_file, apple_key_file and "
                "apple_intermediate_file (docs/wallet.md; `rxdesk wallet certificates create-test` for trials)"
            )
        held, _ = await passes.identified(tx, uid, issuer)
        return issuer.apple_pass(tx.organisation_id, held, tx.now)

    content = on_organisation(settings, "wallet", organisation, command)
    # Its owner's alone, where it is made: whoever has it may show and update the pass.
    with open(out, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(content)
    if as_json:
        print_json({"uid": uid, "file": str(out), "bytes": len(content)})
        return
    print(f"{out}: {len(content)} bytes")


@app.command(epilog=EPILOG + "rxdesk wallet passes revoke --organisation nordlicht wp-1")
def revoke(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a pass: devices show it as void once they have fetched it."""
    from rxdesk.wallet import passes

    settings = settings_of(data_dir, config).settings
    tell_state(
        on_organisation(settings, "wallet", organisation, lambda tx: passes.revoke(tx, uid)), as_json=as_json
    )


@app.command(epilog=EPILOG + "rxdesk wallet passes verify --organisation nordlicht mdv4kx7w.…")
def verify(
    code: Annotated[str, typer.Argument(metavar="CODE", help="What the QR code of a pass holds.")],
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify the code of a pass, and note that it was looked at; exit status 1 when it is not valid."""
    from rxdesk.wallet import checks

    settings = settings_of(data_dir, config).settings
    found = plain(
        on_organisation(
            settings, "wallet", organisation, lambda tx: checks.verify(tx, code, _issuer(settings, tx))
        )
    )
    if as_json:
        print_json(found)
    else:
        print_table(("WHAT", "VALUE"), [(name, value) for name, value in found.items() if value is not None])
    if found["result"] != "valid":
        raise typer.Exit(1)


def _issuer(settings: Settings, tx: Transaction) -> Issuer:
    from rxdesk.wallet.apple.certificates import CertificateError
    from rxdesk.wallet.google.account import AccountError
    from rxdesk.wallet.issuing import Issuer, google_of, public_url, signer_of

    try:
        return Issuer(tx.sealer, public_url(settings), signer_of(settings), google_of(settings))
    except (CertificateError, AccountError) as error:
        raise CliError(str(error)) from error


def _tell(issued: object, *, as_json: bool) -> None:
    shown = plain(issued)
    if as_json:
        print_json(shown)
        return
    print(f"{shown['uid']}: {shown['status']}")
    for name, address in shown["links"].items():
        print(f"  {name}: {address or '-'}")
