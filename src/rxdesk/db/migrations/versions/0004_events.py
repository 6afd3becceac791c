"""Keys of pharmacies, history, events, deliveries and the queue that routes them."""

from rxdesk.db.migrations.script import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables, and the new columns of keys and subscriptions."""
    run_script("0004_events.up.sql")


def downgrade() -> None:
    """Drop them; pharmacies' subscriptions must be gone, as they would be everybody's."""
    run_script("0004_events.down.sql")
