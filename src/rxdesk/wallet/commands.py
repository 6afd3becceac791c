"""Push notifications to passes; run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.kit.text import is_blank
from rxdesk.kit.uids import new_uids
from rxdesk.wallet.placeholders import PERSONAL, fill, values_of
from rxdesk.wallet.queries import PASS_STATUS
from rxdesk.wallet.schemas import MAX_MESSAGE, Push, PushResult, PushResults
from rxdesk.wallet.tags import next_tag
from rxdesk.wallet.telling import tell_devices

# The holder is the patient where the pass is linked to one, else what the pass itself was given.
_PASSES = f"""
SELECT p.uid, p.message, {PASS_STATUS.format(now="$3")} AS status, t.fields, p.field_values,
  coalesce(h.display_name, p.display_name) AS display_name,
  coalesce(h.first_name, p.first_name) AS first_name,
  coalesce(h.last_name, p.last_name) AS last_name
FROM wallet_passes p
JOIN wallet_pass_templates t ON t.organisation_id = $1 AND t.uid = p.wallet_pass_template_uid
  AND t.deleted_at IS NULL
LEFT JOIN patients h ON h.organisation_id = $1 AND h.uid = p.patient_uid AND h.deleted_at IS NULL
WHERE p.organisation_id = $1 AND p.uid = ANY ($2::text[]) AND p.deleted_at IS NULL"""

_QUEUE = """
INSERT INTO push_notifications (organisation_id, uid, wallet_pass_uid, message, unchanged, status, created_at,
  actor_kind, actor_uid)
SELECT $1, n.uid, n.wallet_pass_uid, n.message, n.unchanged, 'queued', $6, $7, $8
FROM unnest($2::text[], $3::text[], $4::text[], $5::boolean[]) AS n (uid, wallet_pass_uid, message, unchanged)"""

# The last of several messages to one pass is the one that it shows. All who change several passes lock them in the
# order of their uids first, or two could wait for each other.
_SHOW = """
UPDATE wallet_passes p SET message = n.message, tag = $4, updated_at = $5
FROM (
  SELECT DISTINCT ON (n.uid) n.uid, n.message
  FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS n (uid, message, number) ORDER BY n.uid, n.number DESC
) n
WHERE p.organisation_id = $1 AND p.uid = n.uid AND p.uid = ANY (ARRAY(
  SELECT k.uid FROM wallet_passes k WHERE k.organisation_id = $1 AND k.uid = ANY ($2::text[])
  ORDER BY k.uid FOR NO KEY UPDATE))"""


class _Unfit(Exception):  # noqa: N818 (a result of one element, never seen outside)
    """A message that cannot be queued; its text is the contract's error."""


async def queue_pushes(tx: Transaction, pushes: list[Push]) -> PushResults:
    """Queue what can be queued, and have the passes show it, all in this transaction.

    A fault of state fails its element alone. What the passes showed before is read behind the lock of the tag, so that
    of two calls at once the second sees the first. 400 when there is a message of which nothing can be seen.
    """
    _see(pushes)
    tag = await next_tag(tx)
    rows = await tx.connection.fetch(
        _PASSES, tx.organisation_id, list({push.wallet_pass_uid for push in pushes}), tx.now
    )
    passes = {row["uid"]: dict(row) for row in rows}
    results: list[PushResult] = []
    queued: list[tuple[str, str, bool]] = []
    for push in pushes:
        try:
            message = _message(push.message, passes.get(push.wallet_pass_uid))
        except _Unfit as unfit:
            results.append(
                PushResult(wallet_pass_uid=push.wallet_pass_uid, status="failed", error=str(unfit))
            )
        else:
            unchanged = passes[push.wallet_pass_uid]["message"] == message
            queued.append((push.wallet_pass_uid, message, unchanged))
            results.append(PushResult(wallet_pass_uid=push.wallet_pass_uid, status="queued", error=None))
    if queued:
        uids = new_uids("pn", len(queued))
        passes_of, messages, unchanged_ones = (list(column) for column in zip(*queued, strict=True))
        await tx.connection.execute(_SHOW, tx.organisation_id, passes_of, messages, tag, tx.now)
        await tx.connection.execute(
            _QUEUE,
            tx.organisation_id,
            uids,
            passes_of,
            messages,
            unchanged_ones,
            tx.now,
            tx.actor_kind,
            tx.actor_uid,
        )
        await tell_devices(tx, tag, passes_of, uids)
    return PushResults(data=results, total=len(results))


def _see(pushes: list[Push]) -> None:
    """Refuse all when there are messages of which nothing can be seen, and name those."""
    unseen = [f"{place}.message" for place, push in enumerate(pushes) if is_blank(push.message)]
    if unseen:
        said = "must hold something that can be seen"
        raise errors.invalid(*(errors.fault(field, "body", said) for field in unseen))


def _message(text: str, holder: Mapping[str, Any] | None) -> str:
    if holder is None:
        raise _Unfit("not_found")
    if holder["status"] != "active":
        raise _Unfit(holder["status"])
    values = values_of(holder, holder["field_values"])

    def value_of(name: str) -> str:
        if name not in PERSONAL and name not in holder["fields"]:
            raise _Unfit(f"unknown_placeholder:{name}")
        if is_blank(values.get(name, "")):
            raise _Unfit(f"empty_placeholder:{name}")
        return values[name]

    filled = fill(text, value_of)
    if len(filled) > MAX_MESSAGE:
        raise _Unfit("too_long")
    return filled
