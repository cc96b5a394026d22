/** Raised with every change of the statements below: servers of different versions share a database while they are upgraded. */
export const schemaVersion = 1;

/** Other servers are told of the newest revision through it. */
export const channel = "k3ts_head";

/** Any number: whoever makes the tables holds the lock of it. */
export const setupLock = 7_305_114_632;

/** The SQLSTATE that a batch of a writer that was replaced fails with. */
export const fencedState = "K3F01";

/** Keys compare by bytes. A session may hold the log's lock for as long as one statement takes and no longer. */
export const schema = `
CREATE TABLE IF NOT EXISTS k3ts_log (
  revision bigint PRIMARY KEY,
  key text COLLATE "C" NOT NULL,
  deleted boolean NOT NULL,
  create_revision bigint NOT NULL,
  previous_revision bigint,
  value bytea NOT NULL,
  expires_at bigint
);
CREATE UNIQUE INDEX IF NOT EXISTS k3ts_log_key ON k3ts_log (key, revision DESC);
CREATE INDEX IF NOT EXISTS k3ts_log_expiry ON k3ts_log (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS k3ts_meta (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version int NOT NULL,
  head bigint NOT NULL,
  compacted bigint NOT NULL,
  compactions bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO k3ts_meta VALUES (true, ${schemaVersion}, 0, 0, 0) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS k3ts_swept (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), revision bigint NOT NULL);
INSERT INTO k3ts_swept VALUES (true, 0) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS k3ts_writers (
  id text PRIMARY KEY,
  fenced boolean NOT NULL DEFAULT false,
  batch bigint NOT NULL DEFAULT 0,
  before bigint NOT NULL DEFAULT 0,
  head bigint NOT NULL DEFAULT 0,
  seen_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);

-- The values of all writes come as one parameter, each from an offset on; an offset below 0 stands for a delete. The lock
-- comes first and in a statement of its own: what follows then sees all that its holders before wrote.
CREATE OR REPLACE FUNCTION k3ts_write(
  writer text, batch_number bigint, keys text[], expected bigint[], expires bigint[], offsets int[], lengths int[], bytes bytea
) RETURNS TABLE (head_before bigint, made bigint, revision bigint, create_revision bigint, value bytea)
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
  base bigint;
  written bigint;
BEGIN
  SELECT m.head INTO base FROM k3ts_meta m FOR UPDATE;
  RETURN QUERY
    WITH found AS MATERIALIZED (
      SELECT w.*, c.revision, c.create_revision, c.value, c.expires_at,
             coalesce(c.revision, 0) = w.expected AND (w.at >= 0 OR c.revision IS NOT NULL) AS fits
      FROM unnest(keys, expected, expires, offsets, lengths) WITH ORDINALITY AS w (key, expected, expires, at, length, n)
      LEFT JOIN LATERAL (
        SELECT * FROM (SELECT l.* FROM k3ts_log l WHERE l.key = w.key ORDER BY l.revision DESC LIMIT 1) newest
        WHERE NOT newest.deleted
      ) c ON true
    ), numbered AS MATERIALIZED (
      SELECT f.*, CASE WHEN f.fits THEN base + count(*) FILTER (WHERE f.fits) OVER (ORDER BY f.n) END AS made FROM found f
    ), added AS (
      INSERT INTO k3ts_log
      SELECT f.made, f.key, f.at < 0, coalesce(f.create_revision, f.made), f.revision,
             CASE WHEN f.at < 0 THEN ''::bytea ELSE substr(bytes, f.at + 1, f.length) END, f.expires
      FROM numbered f WHERE f.fits
    ), kept AS (
      -- Only the newest row of a key may expire.
      UPDATE k3ts_log l SET expires_at = NULL FROM numbered f
      WHERE f.fits AND f.expires_at IS NOT NULL AND l.revision = f.revision
    )
    SELECT base, f.made, f.revision, f.create_revision, f.value FROM numbered f ORDER BY f.n;
  SELECT coalesce(max(l.revision), base) INTO written FROM k3ts_log l WHERE l.revision > base;
  UPDATE k3ts_writers w SET batch = batch_number, before = base, head = written, seen_at = now()
    WHERE w.id = writer AND NOT w.fenced;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'another connection took this writer''s place' USING ERRCODE = '${fencedState}';
  END IF;
  IF written > base THEN
    UPDATE k3ts_meta SET head = written;
    PERFORM pg_notify('${channel}', written::text);
  END IF;
END $body$;

CREATE OR REPLACE FUNCTION k3ts_become_writer(new_id text, former text)
RETURNS TABLE (batch bigint, before bigint, head bigint) LANGUAGE plpgsql AS $body$
#variable_conflict use_column
BEGIN
  -- Whatever the former one had under way holds this lock, or will find itself fenced when it has it.
  PERFORM 1 FROM k3ts_meta FOR UPDATE;
  DELETE FROM k3ts_writers w WHERE w.seen_at < now() - interval '1 day' AND w.id IS DISTINCT FROM former;
  INSERT INTO k3ts_writers (id) VALUES (new_id);
  RETURN QUERY UPDATE k3ts_writers w SET fenced = true WHERE w.id = former RETURNING w.batch, w.before, w.head;
END $body$;

-- A row that was replaced, or that is a delete, goes once the row that tells so is compacted. By rows and not by numbers:
-- revisions that were raised have wide gaps.
CREATE OR REPLACE FUNCTION k3ts_sweep(step int) RETURNS boolean LANGUAGE plpgsql AS $body$
DECLARE
  low bigint;
  high bigint;
  compacted_at bigint;
BEGIN
  SELECT s.revision INTO low FROM k3ts_swept s FOR UPDATE SKIP LOCKED;
  SELECT m.compacted INTO compacted_at FROM k3ts_meta m;
  IF low IS NULL OR low >= compacted_at THEN RETURN false; END IF;
  SELECT l.revision INTO high FROM k3ts_log l
    WHERE l.revision >= low AND l.revision < compacted_at ORDER BY l.revision LIMIT 1 OFFSET step;
  high := coalesce(high, compacted_at);
  DELETE FROM k3ts_log WHERE revision IN (
    SELECT l.previous_revision FROM k3ts_log l
    WHERE l.revision >= low AND l.revision < high AND l.previous_revision IS NOT NULL);
  DELETE FROM k3ts_log l WHERE l.revision >= low AND l.revision < high AND l.deleted;
  UPDATE k3ts_swept SET revision = high;
  RETURN high < compacted_at;
END $body$;
`;
