"""The first schema: tenants, keys, orders, prescriptions, catalogue, waiting room, wallet, subscriptions."""

from rxdesk.db.migrations.script import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schema."""
    run_script("0001_foundation.up.sql")


def downgrade() -> None:
    """Drop all of it."""
    run_script("0001_foundation.down.sql")
