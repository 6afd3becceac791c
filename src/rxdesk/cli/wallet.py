"""`rxdesk wallet`: what stands behind passes in Apple's and Google's wallets."""

from __future__ import annotations

import typer

from rxdesk.cli import wallet_certificates

app = typer.Typer(help="Wallet passes: certificates for trials.", no_args_is_help=True)
app.add_typer(wallet_certificates.app, name="certificates")
