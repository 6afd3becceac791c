"""What stands in the databases before a round: RxDesk's rows by its outbox, Celery's in tables as one makes them."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.deliveries import work
from bench.deliveries.work import Endpoint
from rxdesk.access import Transaction, run_command
from rxdesk.db.pool import Connection
from rxdesk.kit.clock import unix
from rxdesk.kit.sealing import Sealer
from rxdesk.kit.uids import new_uid
from rxdesk.organisations import commands
from rxdesk.webhooks.commands import secret_place
from rxdesk.webhooks.outbox import emit as tell

_SUBSCRIBE = """
INSERT INTO notification_subscriptions (organisation_id, uid, notification_type, target, target_key, payload_version,
  sealed_signing_secret, full_data, created_at, actor_kind, actor_uid)
VALUES ($1, $2, $3, $4, $4, '1', $5, true, now(), 'system', 'bench')"""

_CELERY_TABLES = """
CREATE TABLE endpoints (id integer PRIMARY KEY, url text NOT NULL, secret text NOT NULL);
CREATE TABLE events (id bigint PRIMARY KEY, uid text NOT NULL UNIQUE, event_type text NOT NULL, body bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE deliveries (id bigint PRIMARY KEY, event_id bigint NOT NULL REFERENCES events,
  endpoint_id integer NOT NULL REFERENCES endpoints, status text NOT NULL DEFAULT 'pending',
  attempts integer NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz);
CREATE INDEX deliveries_pending ON deliveries (id) WHERE status = 'pending';
CREATE INDEX deliveries_of_event ON deliveries (event_id);
CREATE TABLE delivery_attempts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id bigint NOT NULL REFERENCES deliveries, number integer NOT NULL, started_at timestamptz NOT NULL,
  duration_ms integer NOT NULL, status_code integer, error text, answer bytea NOT NULL);
CREATE INDEX attempts_of_delivery ON delivery_attempts (delivery_id, number)"""

# The deliveries of the events from $1 to $2, whose ids are in the order in which their tasks were published.
_CELERY_DELIVERIES = f"""
INSERT INTO deliveries (id, event_id, endpoint_id)
SELECT (e.id - 1) * {work.ENDPOINTS} + p.id, e.id, p.id FROM events e CROSS JOIN endpoints p
WHERE e.id BETWEEN $1 AND $2"""

# $1 first delivery of the round, $2 its last
CELERY_RECORDED = """
SELECT count(*) FROM delivery_attempts a JOIN deliveries d ON d.id = a.delivery_id
WHERE a.status_code = 204 AND d.status = 'delivered' AND d.id BETWEEN $1 AND $2"""


async def subscribed(connection: Connection, endpoints: list[Endpoint], sealer: Sealer) -> int:
    """Make an organisation whose subscriptions are these endpoints; gives its number."""
    organisation = await commands.create_organisation(connection, slug="bench", display_name="Bench")
    for one in endpoints:
        uid = new_uid("ns")
        sealed = sealer.seal(one.secret, secret_place(organisation.id, uid))
        await connection.execute(_SUBSCRIBE, organisation.id, uid, work.EVENT, one.url, sealed)
    return organisation.id


async def emit(connection: Connection, organisation: int, sealer: Sealer, events: int) -> None:
    """Let events happen, in the transaction that is open: stored by the outbox, as by any command."""
    now = datetime.now(UTC)
    tx = Transaction(connection, organisation, "system", "bench", now, sealer)

    async def happen(tx: Transaction) -> None:
        for number in range(events):
            tell(tx, work.EVENT, work.data(number, unix(now)))

    await run_command(tx, happen)


async def celery_tables(connection: Connection, endpoints: list[Endpoint]) -> None:
    """Make the tables that Celery's tasks work on."""
    await connection.execute(_CELERY_TABLES)
    rows = [(number + 1, one.url, one.secret) for number, one in enumerate(endpoints)]
    await connection.copy_records_to_table("endpoints", records=rows)


async def celery_round(connection: Connection, number: int, events: int) -> None:
    """Store a round's events and deliveries."""
    first, moment = number * events + 1, unix(datetime.now(UTC))
    rows = [(one, new_uid("evt"), work.EVENT, work.body(one, moment)) for one in range(first, first + events)]
    await connection.copy_records_to_table(
        "events", records=rows, columns=["id", "uid", "event_type", "body"]
    )
    await connection.execute(_CELERY_DELIVERIES, first, first + events - 1)
