"""The encryption keys that have sealed something, so that a wrong ring is noticed at the start."""

from rxdesk.db.migrations.script import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    run_script("0002_keyring.up.sql")


def downgrade() -> None:
    """Drop it."""
    run_script("0002_keyring.down.sql")
