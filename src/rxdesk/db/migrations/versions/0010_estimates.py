"""What estimated waits need: each room counts its changes, lengths are learned, estimates are kept to be judged."""

from rxdesk.db.migrations.script import run_script

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table and columns, and learn from the visits that there are."""
    run_script("0010_estimates.up.sql")


def downgrade() -> None:
    """Drop them."""
    run_script("0010_estimates.down.sql")
