"""`rxdesk wallet`: passes, their templates, and what stands behind them in Apple's and Google's wallets."""

from __future__ import annotations

import typer

from rxdesk.cli import (
    wallet_certificates,
    wallet_devices,
    wallet_emulator,
    wallet_passes,
    wallet_templates,
)

app = typer.Typer(
    help="Wallet passes: templates, passes, pushes, certificates, and trials without the wallets' servers.",
    no_args_is_help=True,
)
app.add_typer(wallet_templates.app, name="templates")
app.add_typer(wallet_passes.app, name="passes")
app.add_typer(wallet_certificates.app, name="certificates")
wallet_devices.register(app)
wallet_emulator.register(app)
