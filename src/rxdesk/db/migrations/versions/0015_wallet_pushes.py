"""Pushes to the devices that hold a pass, and what became of each."""

from rxdesk.db.migrations.script import run_script

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the table and column."""
    run_script("0015_wallet_pushes.up.sql")


def downgrade() -> None:
    """Drop them, with the work that is queued for them."""
    run_script("0015_wallet_pushes.down.sql")
