"""Reads of doctors: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

# $4: rows a page, $5: rows before it
DOCTORS = Read("""
SELECT json_build_object(
  'data', coalesce((
    SELECT json_agg(json_build_object(
      'uid', d.uid,
      'display_name', d.display_name,
      'email', d.email,
      'minutes_to_respond', d.minutes_to_respond,
      'can_sign_prescriptions', d.can_sign_prescriptions,
      'active', d.active) ORDER BY d.sort_key, d.uid)
    FROM (
      SELECT uid, display_name, sort_key, email, minutes_to_respond, can_sign_prescriptions, active
      FROM doctors WHERE organisation_id = $1 AND deleted_at IS NULL
      ORDER BY sort_key, uid LIMIT $4::bigint OFFSET $5::bigint
    ) d), '[]'),
  'totalRegistries', n.total,
  'totalPages', (n.total + $4::bigint - 1) / $4::bigint)::text AS body
FROM (SELECT count(*) AS total FROM doctors WHERE organisation_id = $1 AND deleted_at IS NULL) n
""")

_STATUSES = (
    "waiting_for_doctor",
    "approved",
    "signed",
    "declined",
    "cancelled",
    "on_hold",
    "non_qes_signed",
    "externally_signed",
)
_SUMS = ", ".join(f"coalesce(sum({status}), 0) AS {status}" for status in _STATUSES)
_KEPT = ", ".join(f"k.{status}" for status in _STATUSES)
_COUNTS = ", ".join(_STATUSES)
_ROW = ", ".join(f"(r.status = '{status}')::int::bigint AS {status}" for status in _STATUSES)
_TOTAL = " + ".join(_STATUSES)
_BY_STATUS = ", ".join(f"'{status}', t.{status}" for status in _STATUSES)
_SECONDS = "floor(date_part('epoch', decided_at - assigned_at))::bigint"
_BLOCK = 32  # buckets of doctor_decision_times in one of doctor_decision_blocks

# $4: doctor's uid, $5: from, $6: to (Unix seconds or NULL), $7: now.
#
# The period is cut into whole days of the organisation's calendar, which come from the rollup (months where a
# whole month fits, `all` where there are no bounds), and the cut days at its two ends, which come from the
# rows. Every branch is a range of an index, so that the work does not grow with the doctor's history.
#
# A clock that is put back over midnight lets a day end and begin again (St. John's until 2011, Casey), so a
# day counts as whole only when no such turn is near: a bound at midnight with a steady clock for the six
# hours next to it, else six hours of distance. What is left out comes from the rows, so the answer is exact
# either way.
STATISTICS = Read(f"""
WITH bounds AS (
  SELECT o.time_zone, to_timestamp($5::bigint) AS t1, to_timestamp($6::bigint) AS t2,
    to_timestamp($5::bigint) AT TIME ZONE o.time_zone AS l1,
    to_timestamp($6::bigint) AT TIME ZONE o.time_zone AS l2,
    (to_timestamp($5::bigint) - interval '6 hours') AT TIME ZONE o.time_zone AS before1,
    (to_timestamp($5::bigint) + interval '6 hours') AT TIME ZONE o.time_zone AS after1,
    (to_timestamp($6::bigint) - interval '6 hours') AT TIME ZONE o.time_zone AS before2,
    (to_timestamp($6::bigint) + interval '6 hours') AT TIME ZONE o.time_zone AS after2
  FROM organisations o WHERE o.id = $1
), days AS (
  -- whole days are [w1, w2)
  SELECT b.time_zone, b.t1, b.t2,
    CASE WHEN b.t1 IS NULL THEN '-infinity'::date
         WHEN b.l1 = date_trunc('day', b.l1) AND b.l1 - b.before1 = interval '6 hours' THEN b.l1::date
         ELSE b.after1::date + 1 END AS w1,
    CASE WHEN b.t2 IS NULL THEN 'infinity'::date
         WHEN b.l2 = date_trunc('day', b.l2) AND b.after2 - b.l2 = interval '6 hours' THEN b.l2::date
         ELSE b.before2::date END AS w2
  FROM bounds b
), spans AS (
  -- whole months are [m1, m2)
  SELECT b.*, b.w1 = '-infinity' AND b.w2 = 'infinity' AS unbounded,
    CASE WHEN b.w1 = date_trunc('month', b.w1::timestamp)::date THEN b.w1
         ELSE (date_trunc('month', b.w1::timestamp) + interval '1 month')::date END AS m1,
    date_trunc('month', b.w2::timestamp)::date AS m2
  FROM days b
), whole AS MATERIALIZED (
  SELECT k.span, k.starts_on, {_KEPT}, k.decided, k.decision_seconds FROM spans s CROSS JOIN LATERAL (VALUES
    ('all', '-infinity'::date, 'infinity'::date, s.unbounded),
    ('month', s.m1, s.m2, NOT s.unbounded),
    ('day', s.w1, least(s.m1, s.w2), NOT s.unbounded),
    ('day', greatest(s.m2, least(s.m1, s.w2), s.w1), s.w2, NOT s.unbounded)
  ) AS p (span, first_day, end_day, wanted)
  JOIN doctor_statistics k ON k.organisation_id = $1 AND k.doctor_uid = $4 AND k.span = p.span
    AND k.starts_on >= p.first_day AND k.starts_on < p.end_day
  WHERE p.wanted AND p.first_day < p.end_day
), cut AS MATERIALIZED (
  SELECT r.status, r.day, r.seconds, decision_bucket(r.seconds) AS bucket
  FROM spans s JOIN LATERAL (
    SELECT status, (assigned_at AT TIME ZONE s.time_zone)::date AS day, {_SECONDS} AS seconds
    FROM prescriptions
    WHERE organisation_id = $1 AND doctor_uid = $4 AND deleted_at IS NULL AND assigned_at >= s.t1
      AND assigned_at < s.t1 + interval '50 hours' AND assigned_at < coalesce(s.t2, 'infinity')
      AND (assigned_at AT TIME ZONE s.time_zone)::date < s.w1
    UNION ALL
    SELECT status, (assigned_at AT TIME ZONE s.time_zone)::date, {_SECONDS}
    FROM prescriptions
    WHERE organisation_id = $1 AND doctor_uid = $4 AND deleted_at IS NULL AND assigned_at < s.t2
      AND assigned_at >= s.t2 - interval '50 hours' AND assigned_at >= coalesce(s.t1, '-infinity')
      AND (assigned_at AT TIME ZONE s.time_zone)::date >= greatest(s.w2, s.w1)
  ) r ON true
), total AS (
  SELECT {_SUMS}, coalesce(sum(decided), 0) AS decided, coalesce(sum(decision_seconds), 0) AS decision_seconds
  FROM (
    SELECT {_COUNTS}, decided, decision_seconds FROM whole
    UNION ALL
    SELECT {_ROW}, (r.seconds IS NOT NULL)::int::bigint, coalesce(r.seconds, 0) FROM cut r
  ) parts
), blocks AS MATERIALIZED (
  SELECT block, sum(n) AS n, sum(sum(n)) OVER (ORDER BY block ROWS UNBOUNDED PRECEDING) AS upto
  FROM (
    SELECT k.block, k.decided AS n
    FROM whole w JOIN doctor_decision_blocks k ON k.organisation_id = $1 AND k.doctor_uid = $4
      AND k.span = w.span AND k.starts_on = w.starts_on
    UNION ALL
    SELECT bucket / {_BLOCK}, 1 FROM cut WHERE bucket IS NOT NULL
  ) parts GROUP BY block
), last_day AS MATERIALIZED (
  -- the end of the period, but not after today unless there is work after today
  SELECT least(
    CASE WHEN s.t2 IS NULL THEN 'infinity'::date
         ELSE ((s.t2 - interval '1 microsecond') AT TIME ZONE s.time_zone)::date END,
    greatest(($7::timestamptz AT TIME ZONE s.time_zone)::date, (
      SELECT starts_on FROM doctor_statistics
      WHERE organisation_id = $1 AND doctor_uid = $4 AND span = 'day' AND day_json IS NOT NULL
      ORDER BY starts_on DESC LIMIT 1))) AS day, s.w1, s.w2
  FROM spans s
), shown AS MATERIALIZED (
  -- Computed ahead of the join, where row security would have all days read first: a subtraction is not leakproof.
  SELECT day - 365 AS first_day, greatest(w1, day - 365) AS first_whole, least(w2, day + 1) AS end_whole
  FROM last_day
), daily AS (
  -- whole days and cut ones are never the same
  SELECT k.starts_on AS day, k.day_json
  FROM shown s JOIN doctor_statistics k ON k.organisation_id = $1 AND k.doctor_uid = $4 AND k.span = 'day'
    AND k.starts_on >= s.first_whole AND k.starts_on < s.end_whole AND k.day_json IS NOT NULL
  UNION ALL
  SELECT r.day, '{{"date": "' || r.day || '", "total": ' || count(*)
    || ', "signed": ' || count(*) FILTER (WHERE r.status = 'signed')
    || ', "declined": ' || count(*) FILTER (WHERE r.status = 'declined') || '}}'
  FROM shown s JOIN cut r ON r.day >= s.first_day GROUP BY r.day
)
SELECT left(json_build_object(
  'doctor_uid', d.uid,
  'from', $5::bigint,
  'to', $6::bigint,
  'prescriptions', json_build_object('total', {_TOTAL}, 'by_status', json_build_object({_BY_STATUS})),
  'approval_rate', round((approved + signed + non_qes_signed + externally_signed)::numeric
    / nullif(approved + signed + non_qes_signed + externally_signed + declined, 0), 2),
  'decision_seconds', CASE WHEN t.decided > 0 THEN (
    -- The first bucket up to which so many tenths of all were decided lies in the first such block.
    SELECT json_build_object(
      'median', max(decision_bucket_seconds(f.bucket)) FILTER (WHERE q.name = 'median'),
      'p90', max(decision_bucket_seconds(f.bucket)) FILTER (WHERE q.name = 'p90'),
      'mean', round(t.decision_seconds::numeric / t.decided))
    FROM (VALUES ('median', 5), ('p90', 9)) AS q (name, tenths)
    CROSS JOIN LATERAL (
      SELECT block, upto - n AS before FROM blocks WHERE upto * 10 >= t.decided * q.tenths
      ORDER BY block LIMIT 1
    ) b
    CROSS JOIN LATERAL (
      SELECT bucket FROM (
        SELECT bucket, b.before + sum(sum(n)) OVER (ORDER BY bucket ROWS UNBOUNDED PRECEDING) AS upto
        FROM (
          SELECT k.bucket, k.decided AS n
          FROM whole w JOIN doctor_decision_times k ON k.organisation_id = $1 AND k.doctor_uid = $4
            AND k.span = w.span AND k.starts_on = w.starts_on
            AND k.bucket >= b.block * {_BLOCK} AND k.bucket < (b.block + 1) * {_BLOCK}
          UNION ALL
          SELECT bucket, 1 FROM cut WHERE bucket >= b.block * {_BLOCK} AND bucket < (b.block + 1) * {_BLOCK}
        ) parts GROUP BY bucket
      ) buckets WHERE upto * 10 >= t.decided * q.tenths
      ORDER BY bucket LIMIT 1
    ) f) END)::text, -1) || ', "daily": ['
  || (SELECT coalesce(string_agg(day_json, ', ' ORDER BY day), '') FROM daily) || ']}}' AS body
FROM doctors d CROSS JOIN total t
WHERE d.organisation_id = $1 AND d.uid = $4 AND d.deleted_at IS NULL
""")
