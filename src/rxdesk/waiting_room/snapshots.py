"""A shop's room as an estimate takes it: read in one statement, with what was learned of its consultations."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from rxdesk.access import Read
from rxdesk.waiting_room.estimates.forward import SIMULATED
from rxdesk.waiting_room.estimates.learning import Learned, Learner
from rxdesk.waiting_room.estimates.lengths import PRIOR, Lengths, LogNormal
from rxdesk.waiting_room.estimates.room import OnDuty, Room
from rxdesk.waiting_room.estimates.snapshot import Doctor, Snapshot, Waiting
from rxdesk.waiting_room.estimates.sums import HALF_LIFE_DAYS
from rxdesk.waiting_room.lifecycle import Rules

# So many who have not come yet are estimated behind the last one: the next to register are told what they would wait.
NEXT: Final = 64
# A longer consultation is no expectation of anybody's, whatever a shop says.
_LONGEST_PRIOR: Final = 1440
_MOST_ASSUMED: Final = 100
# Of a doctor who is still there so many seconds after the usual hour of going, it says nothing any more.
_LONG_PAST: Final = 7200.0

# A doctor who sees patients of two shops is busy in both. Lengths are of all who ever held a consultation there.
# Who was seen today is not expected to come yet.
# $4: shop's uid, $5: who was not seen since then is away, $6: how many of the queue, $7: now
SNAPSHOT = Read("""
SELECT json_build_object(
  'revision', coalesce(r.revision, 0),
  'attended', coalesce(r.attended, false),
  'consultation_minutes', s.consultation_minutes,
  'doctors_on_duty', s.doctors_on_duty,
  'doctors', coalesce((
    SELECT json_agg(json_build_object(
      'uid', d.uid,
      'paused', d.status = 'paused',
      'paused_at', extract(epoch FROM d.updated_at)::float8,
      'paused_until', extract(epoch FROM d.paused_until)::float8,
      'called_at', (
        SELECT extract(epoch FROM max(b.allocated_at))::float8 FROM waiting_room_visits b
        WHERE b.organisation_id = $1 AND b.doctor_uid = d.uid AND b.status = 'allocated' AND b.deleted_at IS NULL)
      ) ORDER BY d.uid)
    FROM doctor_duty_shops h
    JOIN doctor_duties d ON d.organisation_id = $1 AND d.uid = h.doctor_uid
    JOIN doctors o ON o.organisation_id = $1 AND o.uid = h.doctor_uid AND o.active AND o.deleted_at IS NULL
    WHERE h.organisation_id = $1 AND h.shop_uid = s.uid AND d.status <> 'off' AND d.seen_at >= $5::timestamptz), '[]'),
  'queue', coalesce((
    SELECT json_agg(json_build_object(
      'uid', w.uid,
      'since', extract(epoch FROM coalesce(w.requeued_at, w.created_at))::float8,
      'preferred_doctor', w.preferred_doctor_uid,
      'no_shows', w.no_shows,
      'passed_over_at', extract(epoch FROM w.passed_over_at)::float8) ORDER BY w.turn)
    FROM (
      SELECT * FROM waiting_room_visits
      WHERE organisation_id = $1 AND shop_uid = s.uid AND status = 'waiting' AND deleted_at IS NULL
      ORDER BY turn LIMIT $6::bigint
    ) w), '[]'),
  'waiting', (
    SELECT count(*) FROM waiting_room_visits w
    WHERE w.organisation_id = $1 AND w.shop_uid = s.uid AND w.status = 'waiting' AND w.deleted_at IS NULL),
  'lengths', coalesce((
    SELECT json_agg(json_build_object(
      'doctor', l.doctor_uid,
      'weight', l.weight,
      'total', l.total,
      'square_total', l.square_total,
      'updated_at', extract(epoch FROM l.updated_at)::float8))
    FROM consultation_lengths l WHERE l.organisation_id = $1 AND l.shop_uid = s.uid), '[]'),
  'time_zone', z.time_zone,
  'habits', h.learned,
  'seen_today', coalesce((
    SELECT json_agg(d.uid) FROM doctor_duties d
    WHERE d.organisation_id = $1
      AND d.seen_at >= date_trunc('day', $7::timestamptz AT TIME ZONE z.time_zone) AT TIME ZONE z.time_zone), '[]')
  )::text AS body
FROM shops s
JOIN organisations z ON z.id = $1
LEFT JOIN waiting_room_habits h ON h.organisation_id = $1 AND h.uid = s.uid
LEFT JOIN waiting_rooms r ON r.organisation_id = $1 AND r.uid = s.uid
WHERE s.organisation_id = $1 AND s.uid = $4
""")


class _OnDuty(msgspec.Struct):
    uid: str
    paused: bool
    paused_at: float
    paused_until: float | None
    called_at: float | None


class _InQueue(msgspec.Struct):
    uid: str
    since: float
    preferred_doctor: str | None
    no_shows: int
    passed_over_at: float | None


class _Learned(Lengths, kw_only=True):
    doctor: str


class Seen(msgspec.Struct):
    """A room as it was read; times in Unix seconds. `attended`: a doctor was on duty there, if not now, before."""

    revision: int
    attended: bool
    consultation_minutes: int | None
    doctors_on_duty: int | None
    doctors: list[_OnDuty]
    queue: list[_InQueue]
    waiting: int
    lengths: list[_Learned]
    time_zone: str
    habits: Learned | None
    seen_today: list[str]


def read_for(rules: Rules, shop_uid: str, now: datetime) -> tuple[object, ...]:
    """Give the arguments of `SNAPSHOT`."""
    return shop_uid, now - rules.heartbeat, SIMULATED, now


def snapshot_of(seen: Seen, rules: Rules, doctors_on_duty: int, now: datetime) -> Snapshot:
    """Give what an estimate is made of, for all who wait and `NEXT` more.

    Where nobody is on duty, doctors are assumed who are free: one, and where no doctor ever was on duty as many as
    the shop says, else `doctors_on_duty`.
    """
    learner = _learner(seen, rules, now)
    at = now.timestamp()
    doctors = [_doctor(one, learner, at) for one in seen.doctors]
    if not doctors:
        said = seen.doctors_on_duty if seen.doctors_on_duty is not None else doctors_on_duty
        count = 1 if seen.attended else max(1, min(said, _MOST_ASSUMED))
        doctors = [Doctor(uid=f"-{number}", length=learner.shop_length) for number in range(count)]
    patience = rules.patience.total_seconds()
    queue = [
        Waiting(
            one.uid,
            one.since,
            one.preferred_doctor,
            one.no_shows,
            None if one.passed_over_at is None else one.passed_over_at + patience,
        )
        for one in seen.queue
    ]
    # The first of those who come next is walked through, so that there is somebody to go on from.
    queue.append(Waiting("", at))
    return Snapshot(
        now=at,
        doctors=doctors,
        queue=queue,
        behind=max(seen.waiting - len(seen.queue), 0) + NEXT - 1,
        # With nobody on duty one is assumed, and whoever may come is not.
        expected=learner.expected(at) if seen.doctors else (),
        shop_length=learner.shop_length,
        habits=learner.habits(),
        patience_minutes=patience / 60,
    )


def _learner(seen: Seen, rules: Rules, now: datetime) -> Learner:
    """Give what was learned of the shop, with the doctors who were seen there today."""
    at = now.timestamp()
    learned = seen.habits or Learned()
    learned.shop = _sum(seen.lengths, at)
    learned.doctors = {one.doctor: one for one in seen.lengths}
    prior = prior_of(seen.consultation_minutes or rules.consultation_minutes)
    learner = Learner(Room(), learned, ZoneInfo(seen.time_zone), prior)
    learner.room.doctors = {uid: OnDuty(uid, at) for uid in seen.seen_today}
    return learner


def prior_of(minutes: int) -> LogNormal:
    """Give what is assumed of consultations of which nothing is known, but that they take so long on average."""
    return PRIOR.with_mean(max(1, min(minutes, _LONGEST_PRIOR)))


def _doctor(one: _OnDuty, learner: Learner, at: float) -> Doctor:
    length, goes = learner.length(one.uid), learner.goes(one.uid, at - _LONG_PAST)
    if one.paused:
        return Doctor(one.uid, "paused", one.paused_at, one.paused_until, length, goes)
    if one.called_at is not None:
        return Doctor(one.uid, "busy", one.called_at, None, length, goes)
    return Doctor(one.uid, length=length, goes=goes)


def _sum(lengths: list[_Learned], at: float) -> Lengths:
    """Add up what is known of all doctors of a shop, as of the Unix second `at`."""
    found = Lengths(updated_at=at)
    for one in lengths:
        fade = 0.5 ** (max(at - one.updated_at, 0.0) / (HALF_LIFE_DAYS * 86400))
        found.weight += one.weight * fade
        found.total += one.total * fade
        found.square_total += one.square_total * fade
    return found
