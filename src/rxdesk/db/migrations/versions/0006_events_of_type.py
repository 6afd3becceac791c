"""An index of events by type, in place of the one by subject."""

from rxdesk.db.migrations.script import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Exchange the one by subject for the one by type."""
    run_script("0006_events_of_type.up.sql")


def downgrade() -> None:
    """Exchange them back."""
    run_script("0006_events_of_type.down.sql")
