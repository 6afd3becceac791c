"""Live streams: each change of a room is told to the serving processes, in the transaction that makes it."""

from rxdesk.db.migrations.script import run_script

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the trigger."""
    run_script("0011_notices.up.sql")


def downgrade() -> None:
    """Drop it."""
    run_script("0011_notices.down.sql")
