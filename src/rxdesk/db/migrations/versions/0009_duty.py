"""The doctor's side of the waiting room: who is on duty in which shops, and what became of a visit."""

from rxdesk.db.migrations.script import run_script

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables and columns."""
    run_script("0009_duty.up.sql")


def downgrade() -> None:
    """Drop them; visits stay as they are."""
    run_script("0009_duty.down.sql")
