"""Indexes that leave a look-up by key no choice, and attempts without a uid of their own."""

from rxdesk.db.migrations.script import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make them."""
    run_script("0007_lookups.up.sql")


def downgrade() -> None:
    """Go back to those of before."""
    run_script("0007_lookups.down.sql")
