"""`rxdesk pharmacy-orders` and `rxdesk pharmacy-skus`: what changed of what pharmacies work on."""

from __future__ import annotations

from typing import Annotated

import typer

from rxdesk.cli.api import tell_history
from rxdesk.cli.common import EPILOG, AsJson, ConfigFile, DataDir, OrganisationSlug

orders = typer.Typer(help="Show what changed of pharmacies' orders.", no_args_is_help=True)
skus = typer.Typer(help="Show what changed of pharmacies' SKUs.", no_args_is_help=True)


@orders.command("history", epilog=EPILOG + "rxdesk pharmacy-orders history --organisation nordlicht po-1")
def order_history(
    uid: Annotated[str, typer.Argument(metavar="UID", help="The pharmacy order's uid.")],
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed of a pharmacy order, when and by whom, oldest first."""
    from rxdesk.pharmacies.queries import ORDER_CHANGES

    tell_history(data_dir, config, organisation, ORDER_CHANGES, uid, as_json=as_json)


@skus.command("history", epilog=EPILOG + "rxdesk pharmacy-skus history --organisation nordlicht psku-1")
def sku_history(
    uid: Annotated[str, typer.Argument(metavar="UID", help="The uid of the pharmacy's SKU.")],
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed of a pharmacy's SKU, when and by whom, oldest first.

    Its price, stock and external id; the reason of stock that a completed order took is the pharmacy order's uid.
    """
    from rxdesk.pharmacies.queries import SKU_CHANGES

    tell_history(data_dir, config, organisation, SKU_CHANGES, uid, as_json=as_json)
