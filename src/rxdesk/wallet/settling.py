"""Changes of what passes show that came without a tag, as imports bring them, take one and are told to devices."""

from __future__ import annotations

from typing import Final

from rxdesk.wallet.tags import Changing, next_tag
from rxdesk.wallet.telling import tell_devices, tell_devices_of_template

_AT_ONCE: Final = 1000

_ANY = """
SELECT EXISTS (SELECT FROM wallet_passes p WHERE p.organisation_id = $1 AND p.untold)
  OR EXISTS (SELECT FROM wallet_pass_templates t WHERE t.organisation_id = $1 AND t.untold)"""
# They are locked in the order of their uids, as an import locks what it writes.
_TEMPLATES = """
UPDATE wallet_pass_templates t SET untold = false, tag = $2
WHERE t.organisation_id = $1 AND t.uid = ANY (ARRAY(
  SELECT k.uid FROM wallet_pass_templates k WHERE k.organisation_id = $1 AND k.untold
  ORDER BY k.uid FOR NO KEY UPDATE))
RETURNING t.uid"""
_PASSES = """
UPDATE wallet_passes p SET untold = false, tag = $2
WHERE p.organisation_id = $1 AND p.uid = ANY (ARRAY(
  SELECT k.uid FROM wallet_passes k WHERE k.organisation_id = $1 AND k.untold
  ORDER BY k.uid LIMIT $3 FOR NO KEY UPDATE))
RETURNING p.uid"""


async def settle(tx: Changing) -> bool:
    """Take a tag for what has none yet, 1,000 passes at most, and have its devices pushed; whether there is more."""
    if not await tx.connection.fetchval(_ANY, tx.organisation_id):
        return False
    tag = await next_tag(tx)
    for row in await tx.connection.fetch(_TEMPLATES, tx.organisation_id, tag):
        await tell_devices_of_template(tx, tag, row["uid"])
    rows = await tx.connection.fetch(_PASSES, tx.organisation_id, tag, _AT_ONCE)
    if rows:
        await tell_devices(tx, tag, [row["uid"] for row in rows])
    return len(rows) == _AT_ONCE
