"""The answer's part of each product, kept ready by triggers."""

from rxdesk.db.migrations.script import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make table, functions and triggers, and the documents of the products that there are."""
    run_script("0003_product_documents.up.sql")


def downgrade() -> None:
    """Drop them."""
    run_script("0003_product_documents.down.sql")
