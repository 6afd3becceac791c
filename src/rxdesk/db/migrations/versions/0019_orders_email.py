"""An index of orders by e-mail that tells an order's patient without the order."""

from rxdesk.db.migrations.script import run_script

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Exchange the one that also has deleted orders."""
    run_script("0019_orders_email.up.sql")


def downgrade() -> None:
    """Exchange them back."""
    run_script("0019_orders_email.down.sql")
