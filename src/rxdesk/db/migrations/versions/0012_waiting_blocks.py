"""Positions by blocks of turns: how many wait in each."""

from rxdesk.db.migrations.script import run_script

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the table, fill it, and keep it."""
    run_script("0012_waiting_blocks.up.sql")


def downgrade() -> None:
    """Drop it; positions are counted from the visits."""
    run_script("0012_waiting_blocks.down.sql")
