"""The encryption keys that have sealed something, and one spelling for each subscription's target."""

from rxdesk.db.migrations.script import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table and the column."""
    run_script("0002_keys_and_targets.up.sql")


def downgrade() -> None:
    """Drop both."""
    run_script("0002_keys_and_targets.down.sql")
