"""An organisation keeps its time zone, by whose days statistics are counted."""

from rxdesk.db.migrations.script import run_script

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Refuse a change of it."""
    run_script("0008_time_zones.up.sql")


def downgrade() -> None:
    """Let it be changed again."""
    run_script("0008_time_zones.down.sql")
