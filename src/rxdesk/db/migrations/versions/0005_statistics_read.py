"""What makes doctor statistics cheaper to read: each day's part of the answer, and blocks of the histogram."""

from rxdesk.db.migrations.script import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make both, from the rollup as it is."""
    run_script("0005_statistics_read.up.sql")


def downgrade() -> None:
    """Drop both; the rollup itself stays."""
    run_script("0005_statistics_read.down.sql")
