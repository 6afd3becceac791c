"""Things broken on purpose: the suite must fail for each. `docs/testing.md` lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINT = [sys.executable, "-m", "scripts.lint_sql"]


@dataclass(frozen=True)
class Mutation:
    """One fault: what it breaks, where, and who should notice."""

    name: str
    file: str
    good: str
    bad: str
    found_by: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "a route forgets its permission",
        "orders/endpoints.py",
        "    Permission.ORDER_READ,\n",
        "    None,\n",
        ("tests/contract/test_openapi.py",),
    ),
    Mutation(
        "a statement forgets the organisation",
        "prescriptions/queries.py",
        "WHERE p.organisation_id = $1 AND p.uid = $4",
        "WHERE p.uid = $4",
        ("lint",),
    ),
    Mutation(
        "403 and 404 are swapped",
        "web/call.py",
        "raise errors.permission_denied()",
        "raise errors.not_found()",
        ("tests/contract/test_matrix.py",),
    ),
    Mutation(
        "the key's checksum is not looked at",
        "kit/keys.py",
        "!= _number(checksum):",
        "is None:",
        ("tests/kit/test_keys.py",),
    ),
    Mutation(
        "an order shows another order's child",
        "orders/queries.py",
        "so.order_uid = o.uid AND so.deleted_at",
        "so.deleted_at",
        ("tests/api/orders",),
    ),
    Mutation(
        "the query runs without the permission",
        "access.py",
        "WHERE c.allowed OFFSET 0",
        "OFFSET 0",
        ("tests/db/test_reads.py",),
    ),
    Mutation(
        "a write believes what it remembers of the key",
        "access.py",
        "AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AND {permission}",
        "AND {permission}",
        ("tests/api/waiting_room/test_presumed.py",),
    ),
    Mutation(
        "a connection keeps another organisation's setting",
        "db/pool.py",
        "pooled.organisation_id != organisation_id",
        "pooled.organisation_id is None",
        ("tests/db/test_wall.py", "tests/db/test_pool.py"),
    ),
    Mutation(
        "a cancelled visit keeps its position",
        "waiting_room/queries.py",
        "AND w.status = 'waiting' AND w.deleted_at IS NULL",
        "AND w.deleted_at IS NULL",
        ("tests/api/waiting_room",),
    ),
    Mutation(
        "patience ignores the time since a visit was passed over",
        "waiting_room/calling.py",
        "SELECT coalesce($3::timestamptz - v.passed_over_at, '0')\n",
        "SELECT interval '0'\n",
        ("tests/api/waiting_room/test_model.py",),
    ),
    Mutation(
        "a stream does not heed where its client was cut off",
        "waiting_room/live.py",
        'sse.read_last_id(call.header_values(b"last-event-id"))',
        "sse.read_last_id(())",
        ("tests/api/waiting_room/test_live.py",),
    ),
    Mutation(
        "of many streams only the first are told",
        "web/live.py",
        "        if not number % _TOGETHER:\n            await asyncio.sleep(0)\n",
        "        if not number % _TOGETHER:\n            return\n",
        ("tests/api/waiting_room/test_live.py", "-k", "every_stream"),
    ),
    Mutation(
        "a pharmacy sees its neighbour's order",
        "pharmacies/queries.py",
        "AND po.pharmacy_uid = c.pharmacy_uid AND po.uid = $4",
        "AND po.uid = $4",
        ("tests/contract/test_matrix.py",),
    ),
    Mutation(
        "stock is looked at without a lock",
        "pharmacies/commands.py",
        "ORDER BY uid FOR NO KEY UPDATE",
        "ORDER BY uid",
        ("tests/api/pharmacy",),
    ),
    Mutation(
        "an event is stored after the commit",
        "access.py",
        "    result = await command(tx)\n    for last",
        "    result = await command(tx)\n"
        '    await tx.connection.execute("COMMIT; SELECT pg_sleep(0.02); BEGIN")\n    for last',
        ("tests/faults/test_kill.py", "-k", "answered_is_done"),
    ),
    Mutation(
        "fan-out forgets the pharmacy",
        "webhooks/outbox.py",
        "(n.pharmacy_uid = a.pharmacy_uid AND EXISTS (",
        "(EXISTS (",
        ("tests/webhooks/test_outbox.py",),
    ),
    Mutation(
        "positions are counted, not drawn",
        "webhooks/outbox.py",
        "SELECT $1, a.uid, s.before + a.number",
        "SELECT $1, a.uid, a.number + (SELECT count(*) FROM events e WHERE e.organisation_id = $1)",
        ("tests/webhooks/test_outbox.py",),
    ),
    Mutation(
        "the retry schedule's last step is lost",
        "webhooks/policy.py",
        ", 72_000, 86_400)",
        ", 72_000)",
        ("tests/webhooks/test_policy.py", "tests/webhooks/test_schedule.py"),
    ),
    Mutation(
        "the signature covers a re-serialised body",
        "webhooks/delivery.py",
        "            body=prepared.body,\n        )",
        '            body=__import__("json").dumps(__import__("json").loads(prepared.body)).encode(),\n'
        "        )",
        ("tests/webhooks/test_delivery.py",),
    ),
    Mutation(
        "an ended subscription gets what was prepared",
        "webhooks/delivery.py",
        "d.status = 'pending' AND n.deactivated_at IS NULL AND (n.pharmacy_uid",
        "d.status = 'pending' AND (n.pharmacy_uid",
        ("tests/webhooks/test_delivery.py",),
    ),
    Mutation(
        "who lost a job records it all the same",
        "webhooks/recording.py",
        " AND uid = e.uid AND worker_id IS NOT DISTINCT FROM e.worker",
        " AND uid = e.uid",
        ("tests/webhooks/test_delivery.py",),
    ),
    Mutation(
        "an endpoint is given more than four at once",
        "jobs/queue.py",
        "PER_ENDPOINT = 4",
        "PER_ENDPOINT = 5",
        ("tests/webhooks/test_poison.py",),
    ),
    Mutation(
        "a dead worker's jobs wait for their lease",
        "jobs/queue.py",
        "(lease_until < $1 OR NOT EXISTS (",
        "(lease_until < $1 AND NOT EXISTS (",
        ("tests/jobs/test_queue.py",),
    ),
    Mutation(
        "a claim walks through all that waits",
        "db/migrations/versions/0004_events.up.sql",
        "ON jobs (kind, lane, organisation_id, endpoint, due_at, uid) WHERE",
        "ON jobs (kind, lane, due_at, organisation_id, endpoint, uid) WHERE",
        ("tests/jobs/test_queue.py",),
    ),
    Mutation(
        "a pass's tag does not grow",
        "wallet/tags.py",
        "greatest(kept.last_tag + 1, excluded.last_tag)",
        "greatest(kept.last_tag, excluded.last_tag)",
        ("tests/api/public/test_passkit.py",),
    ),
    Mutation(
        "a push is marked before it is sent",
        "wallet/pushing.py",
        "        return wanted\n",
        '        sent = [(claim, "sent", None, None) for claim, _ in wanted]\n'
        "        await self._write(organisation_id, sent, attempted=True)\n"
        "        return wanted\n",
        ("tests/api/public/test_push_kills.py",),
    ),
    Mutation(
        "a device that Apple forgot stays registered",
        "wallet/pushing.py",
        'if pushed.verdict == "gone":',
        "if pushed.verdict is None:",
        ("tests/api/public/test_pushes.py", "-k", "gone"),
    ),
    Mutation(
        "a device counts as delivered to that has not asked",
        "wallet/telling.py",
        "AND (l.told OR ",
        "AND (true OR l.told OR ",
        ("tests/api/public/test_pushes.py", "-k", "fetched"),
    ),
    Mutation(
        "two organisations' passes have one name",
        "wallet/naming.py",
        "return named.uid if named.bare else",
        "return named.uid if named.uid else",
        ("tests/api/public/test_names.py",),
    ),
    Mutation(
        "a token of another pass is accepted",
        "wallet/issuing.py",
        "same_code and tokens.fits(reference, identity, purpose)",
        "same_code and tokens.fits(reference, identity, purpose) or same_code",
        ("tests/api/public/test_passkit.py", "-k", "token"),
    ),
    Mutation(
        "the token of a pass's code opens all of it",
        "wallet/tokens.py",
        'f"{purpose}/{identity.public_id}"',
        'f"pass/{identity.public_id}"',
        ("tests/wallet/test_tokens.py",),
    ),
    Mutation(
        "a manifest's digests are not compared",
        "wallet/apple/reading.py",
        "if _json(members, MANIFEST) != manifest_of(others):",
        "if _json(members, MANIFEST).keys() != manifest_of(others).keys():",
        ("tests/wallet/apple/test_reading.py",),
    ),
    Mutation(
        "a pass is signed without its intermediate",
        "wallet/apple/certificates.py",
        "DetachedSigner(certificate, key, [intermediate])",
        "DetachedSigner(certificate, key, [])",
        ("tests/wallet/apple/test_package.py",),
    ),
    Mutation(
        "a message that is shown already is not told so",
        "wallet/commands.py",
        'unchanged = passes[push.wallet_pass_uid]["message"] == message',
        "unchanged = False",
        ("tests/api/public/test_pushes.py", "-k", "every_device"),
    ),
    Mutation(
        "a callback is believed whoever has signed it",
        "wallet/google/callbacks.py",
        "    if not _holds(intermediate.key_value, envelope.signature, signed):\n",
        "    if not envelope.signature:\n",
        ("tests/wallet/google/test_callbacks.py",),
    ),
    Mutation(
        "a holder is told of more than Google allows",
        "wallet/google_pushing.py",
        "notifications_left(notified_at, now) > earlier",
        "notifications_left([], now) > 0",
        ("tests/api/public/test_google.py", "-k", "fourth_message"),
    ),
    Mutation(
        "an access token that is not taken is used on",
        "wallet/google/client.py",
        "                return told\n            self._token = None\n",
        "                return told\n",
        ("tests/wallet/google/test_client.py", "-k", "token"),
    ),
    Mutation(
        "a 404 of the place of access tokens forgets a pass",
        "wallet/google/client.py",
        'return Told("retry", outcome.status, f"token: {reason}", outcome.retry_after)',
        'return judge(outcome) if refused else Told("retry", outcome.status, f"token: {reason}")',
        ("tests/api/public/test_google_limits.py", "-k", "access_token"),
    ),
    Mutation(
        "what a pass has no more stays at Google",
        "wallet/google/documents.py",
        "    return {**document, **found}\n",
        "    return {**found, **document} if found is None else dict(document)\n",
        ("tests/api/public/test_google_limits.py", "-k", "no_more"),
    ),
    Mutation(
        "messages pile up at Google",
        "wallet/google_pushing.py",
        "if len(there) > _KEPT:",
        "if len(there) > 10 * _KEPT:",
        ("tests/api/public/test_google_limits.py", "-k", "newest_messages"),
    ),
    Mutation(
        "the deletion by one holder ends a pass for all",
        "wallet/saving.py",
        "return told.object is not None and told.object.has_users",
        "return False",
        ("tests/api/public/test_google_holders.py", "-k", "one_of_several"),
    ),
)


def run(folder: Path, checks: tuple[str, ...]) -> int:
    """Run the checks against a copy of the tree; 0 when all pass."""
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}"}
    if checks == ("lint",):
        command = _LINT
    else:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *checks]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, timeout=300, check=False
    ).returncode


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutant")
    for name in ("src", "tests", "scripts", "docs", "pyproject.toml"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.proof
@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_the_suite_notices(mutation: Mutation, copy: Path) -> None:
    path = copy / "src" / "rxdesk" / mutation.file
    text = path.read_text("utf-8")
    assert text.count(mutation.good) >= 1, "the mutation no longer fits the code"
    assert run(copy, mutation.found_by) == 0, "the suite must pass before the fault"
    path.write_text(text.replace(mutation.good, mutation.bad, 1), "utf-8")
    try:
        assert run(copy, mutation.found_by) != 0
    finally:
        path.write_text(text, "utf-8")


def test_each_mutation_fits_the_code_and_is_listed() -> None:
    listed = (ROOT / "docs/testing.md").read_text("utf-8")
    for mutation in MUTATIONS:
        text = (ROOT / "src" / "rxdesk" / mutation.file).read_text("utf-8")
        assert mutation.good in text, mutation.name
        assert mutation.name in listed
