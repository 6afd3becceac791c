"""Registration in one statement: the count of those who wait ahead, as of when it is called."""

from rxdesk.db.migrations.script import run_script

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the function."""
    run_script("0013_ahead.up.sql")


def downgrade() -> None:
    """Drop it."""
    run_script("0013_ahead.down.sql")
