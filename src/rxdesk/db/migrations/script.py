"""Runs a revision's SQL script inside Alembic's transaction."""

from __future__ import annotations

from importlib import resources
from typing import Any

from alembic import op


def run_script(name: str) -> None:
    """Run `versions/<name>` whole, waiting at most 2 s for any lock, so that a migration never queues traffic."""
    script = resources.files("rxdesk.db.migrations").joinpath("versions", name).read_text("utf-8")
    bind = op.get_bind()
    bind.exec_driver_sql("SET LOCAL lock_timeout = '2s'")  # and it opens the driver's transaction
    driver: Any = bind.connection.dbapi_connection
    # A script of many statements goes by the simple protocol, which SQLAlchemy's cursor does not speak.
    driver.run_async(lambda connection: connection.execute(script))
