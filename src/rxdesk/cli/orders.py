"""`rxdesk orders`: make, look up, move and cancel orders as the API does, in one transaction with what is told."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rxdesk.cli.api import Reason, body_of, looked_up, tell_history, tell_state
from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    CliError,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    on_organisation,
    print_json,
    print_table,
    settings_of,
)

app = typer.Typer(help="Make, show, move and cancel orders.", no_args_is_help=True)
Uid = Annotated[str, typer.Argument(metavar="UID", help="The order's uid.")]


@app.command(
    epilog=EPILOG
    + "rxdesk orders create --organisation nordlicht --shop shop-1 --patient pp-1 --item sku-1:2 "
    "--prescriptions 1\n\nrxdesk orders create --organisation nordlicht --shop shop-1 --patient pp-1 "
    "--item sku-1:1 --pharmacy ph-1 --name '#1001' --delivery-address '{\"city\": \"Berlin\"}' --json"
)
def create(  # noqa: PLR0913 (the options of a verb)
    *,
    organisation: OrganisationSlug,
    shop: Annotated[str, typer.Option("--shop", metavar="UID", help="The shop that it comes from.")],
    patient: Annotated[str, typer.Option("--patient", metavar="UID", help="The patient's profile.")],
    item: Annotated[list[str], typer.Option("--item", metavar="SKU:QUANTITY", help="A position; repeat it.")],
    prescriptions: Annotated[
        int, typer.Option("--prescriptions", metavar="N", help="How many prescriptions it wants.")
    ] = 0,
    pharmacy: Annotated[
        str | None,
        typer.Option(
            "--pharmacy",
            metavar="UID",
            show_default=False,
            help="The pharmacy that gets it; else one that has all in stock, the cheapest first.",
        ),
    ] = None,
    delivery_type: Annotated[
        str | None, typer.Option("--delivery-type", metavar="UID", show_default=False, help="How it is sent.")
    ] = None,
    delivery_address: Annotated[
        str | None,
        typer.Option("--delivery-address", metavar="JSON", show_default=False, help="Where it is sent."),
    ] = None,
    invoice_address: Annotated[
        str | None,
        typer.Option("--invoice-address", metavar="JSON", show_default=False, help="Who pays."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", show_default=False, help="Such as #1001.")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option("--external-id", metavar="ID", show_default=False, help="The shop's own id.")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an order with its positions and the prescriptions that a doctor is to decide on.

    It begins as `init`. Its events are stored with it and delivered by the running server.
    """
    from rxdesk.orders import commands
    from rxdesk.orders.schemas import NewOrder

    body = body_of(
        NewOrder,
        {
            "shop_uid": shop,
            "patient_profile_uid": patient,
            "items": [_item(text) for text in item],
            "prescriptions": prescriptions,
            "pharmacy_uid": pharmacy,
            "delivery_type_uid": delivery_type,
            "delivery_address": _json(delivery_address, "--delivery-address"),
            "invoice_address": _json(invoice_address, "--invoice-address"),
            "name": name,
            "external_id": external_id,
        },
    )
    settings = settings_of(data_dir, config).settings
    made = on_organisation(settings, "orders", organisation, lambda tx: commands.create(tx, body))
    if as_json:
        print_json(made)
        return
    print(f"{made.uid} made: {made.status}")
    for uid in made.prescription_uids:
        print(
            f"  {uid} waits for a doctor: rxdesk prescriptions assign --organisation {organisation} {uid} DOCTOR"
        )


def _item(text: str) -> dict[str, Any]:
    sku, _, quantity = text.rpartition(":")
    if not sku or not quantity.isascii() or not quantity.isdigit():
        message = f"--item {text}: give a SKU's uid, a colon and a whole number, such as sku-1:2"
        raise CliError(message)
    return {"sku_uid": sku, "quantity": int(quantity)}


def _json(text: str | None, option: str) -> Any:  # noqa: ANN401 (JSON, which the schema judges)
    from rxdesk.kit import strict_json

    if text is None:
        return None
    try:
        # What of an argument is not UTF-8 comes as lone surrogates; this makes bytes of them again.
        return strict_json.loads(text.encode(errors="surrogateescape"))
    except (strict_json.StrictJsonError, UnicodeEncodeError) as error:
        why = "not UTF-8" if isinstance(error, UnicodeEncodeError) else error
        message = f"{option} is not JSON that is accepted: {why}"
        raise CliError(message) from None


@app.command(epilog=EPILOG + "rxdesk orders show --organisation nordlicht ord-1")
def show(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show an order with its positions and prescriptions, as the Management API does."""
    from rxdesk.orders.queries import ORDER

    order = looked_up(data_dir, config, organisation, ORDER, uid)
    if as_json:
        print_json(order)
        return
    print(f"{order['uid']}: {order['status']}")
    print_table(
        ("WHAT", "UID", "STATE"),
        [
            *(("item", one["uid"], f"{one['quantity']} x {one['sku_uid']}") for one in order["items"]),
            *(("prescription", one["uid"], one["status"]) for one in order["prescriptions"]),
        ],
    )


@app.command(
    epilog=EPILOG + 'rxdesk orders move --organisation nordlicht ord-1 "waiting for doctor"\n\n'
    'rxdesk orders move --organisation nordlicht ord-1 paused --reason "asked for by the patient"'
)
def move(
    uid: Uid,
    status: Annotated[
        str, typer.Argument(metavar="STATUS", help="Where to; docs/lifecycle.md has the steps.")
    ],
    *,
    organisation: OrganisationSlug,
    reason: Reason = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a step with an order.

    It follows its prescriptions and pharmacy orders, so it may go on at once: what is printed is where it stands. A
    step that is not allowed is refused, with those that are.
    """
    from rxdesk.orders import commands
    from rxdesk.orders.schemas import Move

    body = body_of(Move, {"status": status, "reason": reason})
    settings = settings_of(data_dir, config).settings
    tell_state(
        on_organisation(settings, "orders", organisation, lambda tx: commands.move(tx, uid, body)),
        as_json=as_json,
    )


@app.command(epilog=EPILOG + 'rxdesk orders cancel --organisation nordlicht ord-1 --reason "by phone"')
def cancel(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    reason: Reason = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an order, with its open prescriptions and pharmacy orders."""
    from rxdesk.orders import commands
    from rxdesk.prescriptions.schemas import Because

    body = body_of(Because, {"reason": reason})
    settings = settings_of(data_dir, config).settings
    tell_state(
        on_organisation(settings, "orders", organisation, lambda tx: commands.cancel(tx, uid, body)),
        as_json=as_json,
    )


@app.command(epilog=EPILOG + "rxdesk orders history --organisation nordlicht ord-1")
def history(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed of an order, when and by whom, oldest first."""
    from rxdesk.orders.queries import CHANGES

    tell_history(data_dir, config, organisation, CHANGES, uid, as_json=as_json)
