"""Wallet passes that phones show: designs, images, tokens, registered devices, and what was checked."""

from rxdesk.db.migrations.script import run_script

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the tables and columns."""
    run_script("0014_wallet.up.sql")


def downgrade() -> None:
    """Drop them; templates and passes stay as they were."""
    run_script("0014_wallet.down.sql")
