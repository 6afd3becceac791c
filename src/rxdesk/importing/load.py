"""Files into tables: read in batches, staged by COPY, checked as a whole, written under the row policies.

One transaction for all files of a call: either everything is imported or nothing is changed, and a fault in
one file does not keep the faults of the others from being named.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from rxdesk.db.pool import Connection
from rxdesk.importing import showing, statements, telling
from rxdesk.importing.decoding import decode
from rxdesk.importing.files import ImportFile, read_lines
from rxdesk.importing.formats import KINDS
from rxdesk.importing.legible import stage_legible
from rxdesk.importing.report import (
    MAX_FAULTS,
    Fault,
    FileReport,
    ImportReport,
    Phase,
    Progress,
    Written,
    no_progress,
)
from rxdesk.importing.rows import Rows, stage
from rxdesk.importing.tables import TABLES, Table, Unique
from rxdesk.kit.clock import Clock
from rxdesk.waiting_room.consultations import RELEARN

_BATCH_LINES = 2_000
_BATCH_BYTES = 8 * 1024 * 1024
# PostgreSQL queues a check for each row of a statement and foreign key: the queue is bounded by this.
_LINES_A_STATEMENT = 25_000
_LOCK_CLASS = 0x52784465  # "RxDe": tells our advisory locks from those of others on the same database


class ImportBusyError(Exception):
    """Another import of this organisation is running."""


async def import_files(
    connection: Connection,
    organisation_id: int,
    files: Sequence[ImportFile],
    *,
    now: datetime,
    progress: Progress = no_progress,
    events_by: Clock | None = None,
) -> ImportReport:
    """Import the files in the order in which their kinds refer to each other; all, or with any fault none.

    `now` stands where a line gives no time; with `events_by`, a clock, the events of what was added or changed are
    stored, each at the time that it gives then. Devices are told of wallet passes that show something else now. Raises
    ImportBusyError, OSError when a file cannot be read, and the driver's errors, among them a unique violation when
    somebody else writes the same rows meanwhile; nothing is changed then.
    """
    started = time.monotonic()
    report = ImportReport()
    transaction = connection.transaction()
    await transaction.start()
    try:
        await _prepare(connection, organisation_id)
        await showing.begin(connection)
        if events_by is not None:
            await connection.execute(telling.CREATE)
        noting = showing.NOTING | ({} if events_by is None else telling.NOTING)
        unsure: set[str] = set()
        for file in sorted(files, key=lambda one: KINDS.index(one.kind)):
            one = _FileImport(connection, organisation_id, file, now, progress, noting)
            report.files.append(await one.run(unsure))
            if not one.written:
                # What is not written cannot be found by later files, and that is no fault of theirs.
                unsure |= {table.name for table in one.tables}
        if events_by is not None and report.ok:
            report.events = await telling.tell(connection, organisation_id, events_by)
        if report.ok:
            await showing.mark(connection, organisation_id)
    except BaseException:
        if not connection.is_closed():
            await transaction.rollback()
        raise
    if report.ok:
        await transaction.commit()
        await showing.tell(connection, organisation_id, now)
    else:
        await transaction.rollback()
    report.seconds = round(time.monotonic() - started, 3)
    return report


async def _prepare(connection: Connection, organisation_id: int) -> None:
    await connection.execute(
        "SELECT set_config('rxdesk.organisation_id', $1, true), set_config('statement_timeout', '0', true), "
        "set_config('lock_timeout', '10s', true), "
        "set_config('idle_in_transaction_session_timeout', '0', true), "
        "set_config('work_mem', '64MB', true), set_config('jit', 'off', true), "
        # An import that is killed does not leave its statement running.
        "set_config('client_connection_check_interval', '2s', true), "
        # Custom plans would be made anew for each foreign key's check, and from statistics that may not know
        # yet of an organisation whose rows came in this transaction.
        "set_config('plan_cache_mode', 'force_generic_plan', true)",
        str(organisation_id),
    )
    if not await connection.fetchval(
        "SELECT pg_try_advisory_xact_lock($1, $2)", _LOCK_CLASS, organisation_id
    ):
        raise ImportBusyError("another import of this organisation is running")


class _FileImport:
    """One file on its way: what every step of it needs."""

    def __init__(
        self,
        connection: Connection,
        organisation_id: int,
        file: ImportFile,
        now: datetime,
        progress: Progress,
        noting: Mapping[str, str],
    ) -> None:
        self.connection = connection
        self.organisation_id = organisation_id
        self.file = file
        self.now = now
        self.progress = progress
        self.noting = noting
        self.tables = TABLES[file.kind]
        self.report = FileReport(str(file.path), file.kind)
        self.last_line = 0
        self.written = False
        self.used: dict[str, bool] = {}  # the tables in which the organisation has rows already

    async def run(self, unsure: set[str]) -> FileReport:
        """Stage, check and write; the caller ends the transaction.

        `unsure`: the tables whose files were not written. A file that refers to one of them is checked only,
        without those references: its rows could not be written without the rows that they name.
        """
        started = time.monotonic()
        for table in self.tables:
            await self.connection.execute(statements.create_staged(table))
        await self._read()
        for table in self.tables:
            for statement in statements.index_staged(table):
                await self.connection.execute(statement)
        await self._lock_queues()
        for table in self.tables:
            self.used[table.name] = await self.connection.fetchval(
                statements.is_used(table), self.organisation_id
            )
        for number, table in enumerate(self.tables):
            self._tell("checking", number, len(self.tables))
            await self._check(table, unsure)
        leans = {reference.table for table in self.tables for reference in table.references} & unsure
        if not leans and not self.report.fault_count:
            await self._write()
            self.written = True
        for table in self.tables:
            await self.connection.execute(statements.drop_staged(table))
        self.report.seconds = round(time.monotonic() - started, 3)
        return self.report

    def _tell(self, phase: Phase, done: int, total: int) -> None:
        self.progress(phase, self.file.path.name, done, total, self.report.rows)

    # ------------------------------------------------------------------------------------------------ reading
    async def _read(self) -> None:
        total = self.file.path.stat().st_size
        for rows, done in self._batches():
            for table in self.tables:
                if rows[table.name]:
                    await self.connection.copy_records_to_table(
                        table.staged,
                        schema_name="pg_temp",
                        columns=statements.staged_columns(table),
                        records=rows[table.name],
                    )
                    self.report.rows += len(rows[table.name])
            self._tell("reading", min(done, total), total)

    def _batches(self) -> Iterator[tuple[Rows, int]]:
        """Yield rows of a bounded number of lines, and how many bytes of the file are read."""
        rows: Rows = {table.name: [] for table in self.tables}
        lines = batch = done = 0
        for line in read_lines(self.file.path):
            done += len(line.data) + 1
            batch += len(line.data)
            lines += 1
            self.last_line = line.number
            if line.problem is not None:
                self.report.add_faults([Fault(line.number, "", line.problem)])
                continue
            self.report.lines += 1
            decoded = decode(self.file.kind, line.data)
            if isinstance(decoded, list):
                self._refuse(line.number, decoded)
                stage_legible(self.file.kind, line.data, line.number, rows)
            else:
                stage(decoded, line.number, rows)
            if lines >= _BATCH_LINES or batch >= _BATCH_BYTES:
                yield rows, done
                rows = {table.name: [] for table in self.tables}
                lines = batch = 0
        yield rows, done

    def _refuse(self, line: int, faults: Sequence[tuple[str, str]]) -> None:
        if len(self.report.faults) < MAX_FAULTS:
            self.report.add_faults([Fault(line, field, reason) for field, reason in faults])
        else:  # lines come in order, so the first 1,000 are known: the rest is counted
            self.report.add_faults([], len(faults))

    # ----------------------------------------------------------------------------------------------- checking
    async def _check(self, table: Table, unsure: set[str]) -> None:
        await self._find(
            table,
            statements.twice_in_file(table),
            "uid",
            'the {noun} "{what}" stands on line {other} already',
            organisation=False,
        )
        if table.parent is not None and self.used[table.name]:
            await self._find(
                table,
                statements.other_parent(table),
                "uid",
                'the {noun} "{what}" belongs to the {parent} "{other}"',
            )
        for reference in table.references:
            if reference.table not in unsure:
                await self._find(
                    table,
                    statements.missing(table, reference),
                    reference.field,
                    f'no {reference.noun} "{{what}}" in this organisation',
                )
        for unique in table.uniques:
            await self._check_unique(table, unique)

    async def _check_unique(self, table: Table, unique: Unique) -> None:
        await self._find(
            table,
            statements.taken_in_file(table, unique),
            unique.field,
            "taken on line {other} already",
            organisation=False,
        )
        message = "taken: " + unique.message.format(uid='"{other}"')
        await self._find(table, statements.taken(table, unique), unique.field, message)

    async def _find(
        self, table: Table, statement: str, field: str, message: str, *, organisation: bool = True
    ) -> None:
        arguments = (self.organisation_id,) if organisation else ()
        found = await self.connection.fetch(statement, *arguments)
        faults = [
            Fault(
                row["line"],
                table.field_path(field, row["i"], row["j"]),
                message.format(
                    noun=table.noun, parent=table.parent_noun, what=row["what"], other=row["other"]
                ),
            )
            for row in found
        ]
        self.report.add_faults(faults, found[0]["total"] if found else 0)

    # ------------------------------------------------------------------------------------------------ writing
    async def _write(self) -> None:
        for table in self.tables:
            written = self.report.written[table.name] = Written()
            await showing.lock(self.connection, self.organisation_id, table.name)
            if self.used[table.name]:
                for unique in table.uniques:
                    await self.connection.execute(
                        statements.park(table, unique, showing.NOTING.get(table.name, "")),
                        self.organisation_id,
                        self.now,
                    )
            if self.used[table.name] and table.is_child:
                written.removed = await self.connection.fetchval(
                    statements.remove_unlisted(table, self.tables[0], self.noting.get(table.name, "")),
                    self.organisation_id,
                    self.now,
                )
        extra = {_VISITS.name: ("turn", "s.turn")}
        upserts = {
            table.name: statements.upsert(
                table,
                used=self.used[table.name],
                extra=extra.get(table.name),
                told=self._noting(table),
            )
            for table in self.tables
        }
        for first in range(1, self.last_line + 1, _LINES_A_STATEMENT):
            last = first + _LINES_A_STATEMENT - 1
            for table in self.tables:
                row = await self.connection.fetchrow(
                    upserts[table.name], self.organisation_id, self.now, first, last
                )
                written = self.report.written[table.name]
                written.added += row["added"] if row else 0
                written.changed += row["changed"] if row else 0
            self._tell("writing", min(last, self.last_line), self.last_line)
        if self.file.kind == "waiting_room":
            rooms = await self.connection.fetch(_LAST_TURNS, self.organisation_id)
            await self.connection.execute(RELEARN, self.organisation_id, [room["uid"] for room in rooms])

    def _noting(self, table: Table) -> str:
        """Give what notes a table's rows; of what passes show nothing is noted where nothing was shown before."""
        return (
            ""
            if table.name in showing.NOTING and not self.used[table.name]
            else self.noting.get(table.name, "")
        )

    # ------------------------------------------------------------------------------------------- waiting room
    async def _lock_queues(self) -> None:
        """Take the lock of each waiting room of the file, in one order, before anything is asked about it."""
        if self.file.kind == "waiting_room":
            await self.connection.execute(_MAKE_ROOMS, self.organisation_id)
            await self.connection.execute(_LOCK_ROOMS, self.organisation_id)
            await self.connection.execute(f"ALTER TABLE {_VISITS.staged} ADD COLUMN turn bigint")
            await self.connection.execute(_GIVE_TURNS, self.organisation_id)


_VISITS = TABLES["waiting_room"][0]

_MAKE_ROOMS = """
INSERT INTO waiting_rooms (organisation_id, uid, last_turn)
SELECT s.organisation_id, s.uid, 0 FROM shops s
WHERE s.organisation_id = $1 AND s.uid IN (SELECT v.shop_uid FROM import_waiting_room_visits v)
ORDER BY s.uid
ON CONFLICT (organisation_id, uid) DO NOTHING
"""

_LOCK_ROOMS = """
SELECT FROM waiting_rooms r
WHERE r.organisation_id = $1 AND r.uid IN (SELECT v.shop_uid FROM import_waiting_room_visits v)
ORDER BY r.uid FOR UPDATE
"""

# A visit that is known keeps its turn; new ones come behind the last, in the order of the file.
_GIVE_TURNS = """
UPDATE import_waiting_room_visits AS s SET turn = given.turn
FROM (
  SELECT v.line, coalesce(old.turn, r.last_turn + row_number() OVER (
    PARTITION BY v.shop_uid, old.uid IS NULL ORDER BY v.line)) AS turn
  FROM import_waiting_room_visits v
  JOIN waiting_rooms r ON r.organisation_id = $1 AND r.uid = v.shop_uid
  LEFT JOIN waiting_room_visits old ON old.organisation_id = $1 AND old.uid = v.uid
) given
WHERE s.line = given.line
"""

_LAST_TURNS = """
UPDATE waiting_rooms AS r SET last_turn = greatest(r.last_turn, given.turn), revision = r.revision + 1
FROM (SELECT v.shop_uid, max(v.turn) AS turn FROM import_waiting_room_visits v GROUP BY v.shop_uid) given
WHERE r.organisation_id = $1 AND r.uid = given.shop_uid
RETURNING r.uid
"""
