"""What estimated waits need: each room counts its changes."""

from rxdesk.db.migrations.script import run_script

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column."""
    run_script("0010_estimates.up.sql")


def downgrade() -> None:
    """Drop it."""
    run_script("0010_estimates.down.sql")
