"""What an import changes of what wallet passes show: noted while rows are written, told to devices after the commit.

Passes and templates take tags under a lock of the organisation that others wait for, so an import takes none while it
writes. It marks what it changed as untold, in its own transaction; until that is told no device is answered that its
pass has not changed.

The noting parts go into the statements of rxdesk.importing.statements; $1 is the organisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rxdesk.db.pool import Connection
from rxdesk.wallet.settling import settle

_CREATE = """
CREATE TEMPORARY TABLE import_shown (kind text NOT NULL, uid text COLLATE "C" NOT NULL) ON COMMIT DROP"""
_INDEX = "CREATE INDEX ON import_shown (uid)"

# The parts of one statement all see what was there before it.
_NOTED = """, told AS (INSERT INTO import_shown (kind, uid)
SELECT '{table}', w.uid FROM {{rows}} w CROSS JOIN LATERAL (
  SELECT x.* FROM {table} x WHERE x.organisation_id = $1 AND x.uid = w.uid OFFSET 0) b
WHERE ({before}, b.deleted_at IS NULL) IS DISTINCT FROM ({now}, w.deleted_at IS NULL))"""
_SHOWN = {
    "patients": ("display_name", "first_name", "last_name"),
    "wallet_pass_templates": ("display_name", "pass_type", "fields", "design"),
    "wallet_passes": (
        "wallet_pass_template_uid",
        "patient_uid",
        "status",
        "expires_at",
        "display_name",
        "first_name",
        "last_name",
        "field_values",
    ),
}
_KEPT = {"design": "coalesce(w.design, b.design)"}  # what an import that does not give it leaves as it is
NOTING: dict[str, str] = {
    # no-tenant: goes into a statement of rxdesk.importing.statements; a test reads those that are made
    table: _NOTED.format(
        table=table,
        before=", ".join(f"b.{name}" for name in columns),
        now=", ".join(_KEPT.get(name, f"w.{name}") for name in columns),
    )
    for table, columns in _SHOWN.items()
}

# The issued passes of patients who are called otherwise now. All of the organisation's passes are looked through for
# them, but only where there is such a patient.
_OF_PATIENTS = """
  SELECT x.uid FROM wallet_passes x
  WHERE x.organisation_id = $1 AND x.public_id IS NOT NULL
    AND EXISTS (SELECT FROM import_shown n WHERE n.kind = 'patients')
    AND EXISTS (SELECT FROM import_shown n WHERE n.kind = 'patients' AND n.uid = x.patient_uid OFFSET 0)"""

# What commands lock in the order of their uids too, all at once and before any of it is written: a later file or the
# marks would else lock what comes before. Passes of patients of an earlier file are among what will be marked.
_LOCKS = {
    "wallet_pass_templates": """
SELECT FROM wallet_pass_templates t
WHERE t.organisation_id = $1 AND t.uid = ANY (ARRAY(SELECT s.uid FROM import_wallet_pass_templates s))
ORDER BY t.uid FOR NO KEY UPDATE""",
    "wallet_passes": f"""
SELECT FROM wallet_passes p
WHERE p.organisation_id = $1 AND p.uid = ANY (ARRAY(
  SELECT s.uid FROM import_wallet_passes s
  UNION ALL{_OF_PATIENTS}))
ORDER BY p.uid FOR NO KEY UPDATE""",
}

# Of a pass that was never issued there is no file that could be old.
_MARK_PASSES = f"""
UPDATE wallet_passes AS p SET untold = true
WHERE p.organisation_id = $1 AND p.uid = ANY (ARRAY(
  SELECT k.uid FROM wallet_passes k
  WHERE k.organisation_id = $1 AND k.public_id IS NOT NULL AND k.uid = ANY (ARRAY(
    SELECT n.uid FROM import_shown n WHERE n.kind = 'wallet_passes'
    UNION ALL{_OF_PATIENTS}))
  ORDER BY k.uid FOR NO KEY UPDATE))"""
_MARK_TEMPLATES = """
UPDATE wallet_pass_templates AS t SET untold = true
WHERE t.organisation_id = $1 AND t.uid IN (SELECT n.uid FROM import_shown n WHERE n.kind = 'wallet_pass_templates')"""

_ENTER = "SELECT set_config('rxdesk.organisation_id', $1, true), set_config('lock_timeout', '10s', true)"


@dataclass(frozen=True, slots=True)
class _Settling:
    """What `settle` takes of a transaction."""

    connection: Connection
    organisation_id: int
    now: datetime


async def begin(connection: Connection) -> None:
    """Make the table for the notes, in the import's transaction."""
    await connection.execute(_CREATE)
    await connection.execute(_INDEX)


async def lock(connection: Connection, organisation_id: int, table: str) -> None:
    """Lock the rows of a table that the import is about to write, if it is one that commands lock several rows of."""
    if table in _LOCKS:
        await connection.execute(_LOCKS[table], organisation_id)


async def mark(connection: Connection, organisation_id: int) -> None:
    """Mark what was noted as untold, as the transaction's last statements."""
    if await connection.fetchval("SELECT EXISTS (SELECT FROM import_shown)"):
        await connection.execute("ANALYZE import_shown")
        await connection.execute(_MARK_TEMPLATES, organisation_id)
        await connection.execute(_MARK_PASSES, organisation_id)


async def tell(connection: Connection, organisation_id: int, now: datetime) -> None:
    """Tell devices of what is marked, a thousand passes a transaction. What fails is left to a worker."""
    more = True
    while more:
        try:
            async with connection.transaction():
                await connection.execute(_ENTER, str(organisation_id))
                more = await settle(_Settling(connection, organisation_id, now))
        except Exception:  # noqa: BLE001 - the import is committed, and a worker tells it within half a minute
            return
