"""How long consultations take: what is learned of each doctor in each shop, kept as the sums of `estimates.lengths`.

A length is added in the transaction that completes the visit, so nothing is lost with a process, and all of them take
one row for each doctor and shop. Logarithms and fading are those of `Lengths`.
"""

from __future__ import annotations

from rxdesk.waiting_room.estimates.lengths import LONGEST_MINUTES, SHORTEST_MINUTES
from rxdesk.waiting_room.estimates.sums import HALF_LIFE_DAYS

# The logarithm of a visit's minutes with the doctor, of a row `v`.
_VALUE = f"""ln(least(greatest(extract(epoch FROM v.ended_at - v.allocated_at)::float8 / 60,
    {SHORTEST_MINUTES}), {LONGEST_MINUTES}))"""
# What is left of a sum after so many seconds: of 1000 half-lives nothing, and more the database cannot count.
_LEFT = "power(0.5::float8, least(greatest(extract(epoch FROM {time})::float8 / 86400 / {days}, 0), 1000))"
_LEFT_BY_NOW = _LEFT.format(time="excluded.updated_at - l.updated_at", days=HALF_LIFE_DAYS)
_LEFT_BY_LATEST = _LEFT.format(time="w.latest - w.ended_at", days=HALF_LIFE_DAYS)

# Adds the length of the visit in the CTE `done`, if it is known who held it and since when.
LEARNED = f"""
length AS (
  SELECT v.shop_uid, v.doctor_uid, v.ended_at, {_VALUE} AS value FROM done v
  WHERE v.allocated_at IS NOT NULL AND v.doctor_uid IS NOT NULL
), learned AS (
  INSERT INTO consultation_lengths AS l (organisation_id, shop_uid, doctor_uid, weight, total, square_total, updated_at)
  SELECT $1, n.shop_uid, n.doctor_uid, 1, n.value, n.value * n.value, n.ended_at FROM length n
  ON CONFLICT (organisation_id, shop_uid, doctor_uid) DO UPDATE SET
    weight = l.weight * {_LEFT_BY_NOW} + 1,
    total = l.total * {_LEFT_BY_NOW} + excluded.total,
    square_total = l.square_total * {_LEFT_BY_NOW} + excluded.square_total,
    updated_at = greatest(l.updated_at, excluded.updated_at)
)"""

# Learns from all completed visits of shops anew, as after an import. $2: the shops
RELEARN = f"""
INSERT INTO consultation_lengths (organisation_id, shop_uid, doctor_uid, weight, total, square_total, updated_at)
SELECT $1, n.shop_uid, n.doctor_uid, sum(n.fade), sum(n.fade * n.value), sum(n.fade * n.value * n.value), n.latest
FROM (
  SELECT w.shop_uid, w.doctor_uid, w.latest, w.value,
    {_LEFT_BY_LATEST} AS fade
  FROM (
    SELECT v.shop_uid, v.doctor_uid, v.ended_at, {_VALUE} AS value,
      max(v.ended_at) OVER (PARTITION BY v.shop_uid, v.doctor_uid) AS latest
    FROM waiting_room_visits v
    WHERE v.organisation_id = $1 AND v.shop_uid = ANY ($2::text[]) AND v.status = 'completed' AND v.deleted_at IS NULL
      AND v.allocated_at IS NOT NULL AND v.ended_at >= v.allocated_at AND v.doctor_uid IS NOT NULL) w) n
GROUP BY n.shop_uid, n.doctor_uid, n.latest
ON CONFLICT (organisation_id, shop_uid, doctor_uid) DO UPDATE SET weight = excluded.weight, total = excluded.total,
  square_total = excluded.square_total, updated_at = excluded.updated_at"""
