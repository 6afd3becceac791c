"""`rxdesk wallet`: what stands behind passes in Apple's and Google's wallets."""

from __future__ import annotations

import typer

from rxdesk.cli import wallet_certificates, wallet_emulator

app = typer.Typer(
    help="Wallet passes: certificates, and trials without the wallets' servers.", no_args_is_help=True
)
app.add_typer(wallet_certificates.app, name="certificates")
wallet_emulator.register(app)
