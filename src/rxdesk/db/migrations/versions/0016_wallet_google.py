"""Passes in Google Wallet: which are saved there, what Google was given, and of what it told holders."""

from rxdesk.db.migrations.script import run_script

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the table and columns."""
    run_script("0016_wallet_google.up.sql")


def downgrade() -> None:
    """Drop them, with the work that is queued for Google."""
    run_script("0016_wallet_google.down.sql")
