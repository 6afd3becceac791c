"""What wallets call passes, since when there are files of one, and what imports have changed without a tag."""

from rxdesk.db.migrations.script import run_script

revision = "0018"
down_revision = "0016"


def upgrade() -> None:
    """Add the columns; passes that are on phones keep their names."""
    run_script("0018_wallet_names.up.sql")


def downgrade() -> None:
    """Drop them: every pass goes by its bare uid again."""
    run_script("0018_wallet_names.down.sql")
