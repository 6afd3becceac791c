"""How far off the estimates were that patients were given as they registered, from the visits that ended their wait."""

from __future__ import annotations

from typing import Final

import msgspec

from rxdesk.access import Read

DAYS: Final = 30

# What was estimated at the registration against what came: the time until a doctor first called. Of who
# registered while no doctor was on duty no range was kept. $4: since when
_MEASURED = """
SELECT v.shop_uid,
  count(*) FILTER (WHERE v.judged) AS count,
  avg(abs(v.estimated_minutes - v.minutes)) FILTER (WHERE v.judged) AS error,
  avg(v.estimated_minutes - v.minutes) FILTER (WHERE v.judged) AS bias,
  avg((v.minutes BETWEEN v.estimated_low AND v.estimated_high)::int) FILTER (WHERE v.judged) AS coverage,
  count(*) FILTER (WHERE v.no_shows > 0) AS no_shows,
  count(*) FILTER (WHERE v.first_allocated_at IS NULL AND v.status = 'cancelled') AS cancelled,
  count(*) FILTER (WHERE v.called AND v.estimated_low IS NULL) AS no_doctor_on_duty
FROM (
  SELECT w.*, w.first_allocated_at IS NOT NULL AND w.no_shows = 0 AS called,
    w.first_allocated_at IS NOT NULL AND w.no_shows = 0 AND w.estimated_low IS NOT NULL AS judged,
    extract(epoch FROM w.first_allocated_at - w.created_at)::float8 / 60 AS minutes
  FROM waiting_room_visits w
  WHERE w.organisation_id = $1 AND w.created_at >= $4::timestamptz AND w.estimated_minutes IS NOT NULL
    AND w.deleted_at IS NULL) v
GROUP BY GROUPING SETS ((), (v.shop_uid))"""

_SHOWN = """
  'count', m.count,
  'mean_absolute_error_minutes', round(m.error::numeric, 2),
  'bias_minutes', round(m.bias::numeric, 2),
  'coverage', round(m.coverage::numeric, 4),
  'no_shows', m.no_shows,
  'cancelled', m.cancelled,
  'no_doctor_on_duty', m.no_doctor_on_duty"""

# $4: since when, $5: how many days that are
CALIBRATION = Read(f"""
WITH m AS MATERIALIZED ({_MEASURED})
SELECT json_build_object(
  'days', $5::int,
  'overall', (SELECT json_build_object({_SHOWN}) FROM m WHERE m.shop_uid IS NULL),
  'shops', coalesce((
    SELECT json_agg(json_build_object('shop_uid', m.shop_uid, {_SHOWN}) ORDER BY m.shop_uid)
    FROM m WHERE m.shop_uid IS NOT NULL), '[]'))::text AS body
""")


class Measured(msgspec.Struct, kw_only=True):
    """Estimates given at registrations against the waits that they came to.

    `count` is how many waits ended with a call by a doctor; of these are the mean absolute error, the `bias_minutes`
    (above 0: patients were told too much) and the `coverage`, the share in the range that is meant to hold 0.8.
    Not among them are the `no_shows`, who were called and not there, the `cancelled`, who were never called, and those
    who registered with `no_doctor_on_duty`: no range holds their wait.
    """

    count: int
    mean_absolute_error_minutes: float | None
    bias_minutes: float | None
    coverage: float | None
    no_shows: int
    cancelled: int
    no_doctor_on_duty: int


class OfShop(Measured, kw_only=True):
    """The same of one shop."""

    shop_uid: str


class Calibration(msgspec.Struct, kw_only=True):
    """What is measured of the registrations of the last `days` days: of all, and of each shop that had any."""

    days: int
    overall: Measured
    shops: list[OfShop]


EXAMPLE = Calibration(
    days=DAYS,
    overall=Measured(
        count=1240,
        mean_absolute_error_minutes=3.81,
        bias_minutes=-0.42,
        coverage=0.8105,
        no_shows=61,
        cancelled=104,
        no_doctor_on_duty=37,
    ),
    shops=[
        OfShop(
            shop_uid="shop-456",
            count=1240,
            mean_absolute_error_minutes=3.81,
            bias_minutes=-0.42,
            coverage=0.8105,
            no_shows=61,
            cancelled=104,
            no_doctor_on_duty=37,
        )
    ],
)
