-- Doctor statistics are read far more often than written, so what an answer is put together from is kept nearer to it:
-- each day's part of it as text, and sums of the histogram's buckets.

-- As before, but not STRICT: a strict function with a CASE cannot be inlined, and each call of it costs 2 µs. Of NULL
-- both still make NULL.
CREATE OR REPLACE FUNCTION decision_bucket(seconds bigint) RETURNS integer
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN seconds <= 100 THEN greatest(seconds, 0)::integer
              ELSE 100 + ceil(ln(seconds / 100.0::float8) / ln(1.01::float8) - 1e-9)::integer END;

CREATE OR REPLACE FUNCTION decision_bucket_seconds(bucket integer) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN bucket <= 100 THEN bucket::bigint
              ELSE round(100 * power(1.01::float8, bucket - 100) * 2 / 2.01)::bigint END;

-- A day as `daily` shows it; NULL for other spans and for a day without work. The date is taken apart since casts of
-- dates, and to_char, depend on settings in PostgreSQL's eyes, which a generated column may not.
ALTER TABLE doctor_statistics ADD COLUMN day_json text COLLATE "C" GENERATED ALWAYS AS (
  CASE WHEN span = 'day' AND waiting_for_doctor + approved + signed + declined + cancelled + on_hold
    + non_qes_signed + externally_signed > 0
  THEN '{"date": "' || lpad(extract(year FROM starts_on)::integer::text, 4, '0')
    || '-' || lpad(extract(month FROM starts_on)::integer::text, 2, '0')
    || '-' || lpad(extract(day FROM starts_on)::integer::text, 2, '0')
    || '", "total": ' || (waiting_for_doctor + approved + signed + declined + cancelled + on_hold
    + non_qes_signed + externally_signed)::text
    || ', "signed": ' || signed::text || ', "declined": ' || declined::text || '}' END) STORED;

-- The histogram by blocks of 32 buckets: a quantile is looked for among a few dozen blocks, then inside one of them.
CREATE TABLE doctor_decision_blocks (
  organisation_id integer NOT NULL,
  doctor_uid text COLLATE "C" NOT NULL,
  span text COLLATE "C" NOT NULL CHECK (span IN ('day', 'month', 'all')),
  starts_on date NOT NULL,
  block integer NOT NULL,                 -- bucket / 32
  decided bigint NOT NULL,
  PRIMARY KEY (organisation_id, doctor_uid, span, starts_on, block),
  FOREIGN KEY (organisation_id, doctor_uid) REFERENCES doctors (organisation_id, uid)
);
ALTER TABLE doctor_decision_blocks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON doctor_decision_blocks USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);

-- Whatever writes buckets writes their blocks, in the order of the key, as buckets are. An upsert calls it for what it
-- inserted and again for what it updated, and one of them is often nothing.
CREATE FUNCTION doctor_decision_times_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO doctor_decision_blocks AS kept
    SELECT organisation_id, doctor_uid, span, starts_on, bucket / 32, sum(decided) FROM added
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (organisation_id, doctor_uid, span, starts_on, block)
    DO UPDATE SET decided = kept.decided + excluded.decided;
  ELSE
    INSERT INTO doctor_decision_blocks AS kept
    SELECT organisation_id, doctor_uid, span, starts_on, bucket / 32, sum(n) FROM (
      SELECT organisation_id, doctor_uid, span, starts_on, bucket, decided AS n FROM added
      UNION ALL
      SELECT organisation_id, doctor_uid, span, starts_on, bucket, -decided FROM removed
    ) changes
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (organisation_id, doctor_uid, span, starts_on, block)
    DO UPDATE SET decided = kept.decided + excluded.decided;
  END IF;
  RETURN NULL;
END $$;

-- The triggers before the sums: from here on nobody else writes buckets until this is committed.
CREATE TRIGGER doctor_decision_times_counted_insert AFTER INSERT ON doctor_decision_times
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION doctor_decision_times_counted();
CREATE TRIGGER doctor_decision_times_counted_update AFTER UPDATE ON doctor_decision_times
  REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION doctor_decision_times_counted();

INSERT INTO doctor_decision_blocks
SELECT organisation_id, doctor_uid, span, starts_on, bucket / 32, sum(decided)
FROM doctor_decision_times GROUP BY 1, 2, 3, 4, 5;
