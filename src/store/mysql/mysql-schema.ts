/** Raised with every change of the statements below: servers of different versions share a database while they are upgraded. */
export const schemaVersion = 1;

/** The SQLSTATE that a batch of a writer that was replaced fails with. */
export const fencedState = "45F01";

/** Whoever makes the tables holds the lock of this name; the server has one name space for all databases. */
export const setupLock = (database: string) => `k3ts-setup-${database}`.slice(0, 64);

/** The writes of a batch as a table: their JSON has a key, the expected revision, and where the value stands. */
const writesTable = `JSON_TABLE(writes, '$[*]' COLUMNS (
    n FOR ORDINALITY,
    name VARCHAR(1024) CHARACTER SET utf8mb4 PATH '$.k',
    expected BIGINT PATH '$.e',
    expires BIGINT PATH '$.x',
    pos BIGINT PATH '$.p',
    len BIGINT PATH '$.l'
  )) w`;

/** The newest row of a write's key, where that is no delete. The subquery is one look into the index. */
const current = `k3ts_log c ON c.deleted = 0 AND c.revision = (
    SELECT l.revision FROM k3ts_log l WHERE l.name = CAST(w.name AS BINARY) ORDER BY l.revision DESC LIMIT 1)`;

/** Keys compare by bytes; an index takes up to 3072 of them. */
export const tables: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS k3ts_log (
    revision BIGINT NOT NULL PRIMARY KEY,
    name VARBINARY(1024) NOT NULL,
    deleted TINYINT NOT NULL,
    create_revision BIGINT NOT NULL,
    previous_revision BIGINT,
    value LONGBLOB NOT NULL,
    expires_at BIGINT,
    UNIQUE INDEX k3ts_log_name (name, revision),
    INDEX k3ts_log_expiry (expires_at)
  ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`,
  `CREATE TABLE IF NOT EXISTS k3ts_meta (
    only_row TINYINT NOT NULL PRIMARY KEY,
    version INT NOT NULL,
    head BIGINT NOT NULL,
    compacted BIGINT NOT NULL,
    compactions BIGINT NOT NULL,
    swept BIGINT NOT NULL
  ) ENGINE=InnoDB`,
  `INSERT IGNORE INTO k3ts_meta VALUES (1, 0, 0, 0, 0, 0)`,
  `CREATE TABLE IF NOT EXISTS k3ts_writers (
    id VARCHAR(64) CHARACTER SET ascii NOT NULL PRIMARY KEY,
    fenced TINYINT NOT NULL DEFAULT 0,
    batch BIGINT NOT NULL DEFAULT 0,
    base BIGINT NOT NULL DEFAULT 0,
    head BIGINT NOT NULL DEFAULT 0,
    seen_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
  ) ENGINE=InnoDB`,
];

const rollBack = "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;";

/** What runs in the server, so that the lock is held for as long as that takes, whatever becomes of the client. */
export const procedures: readonly (readonly [name: string, definition: string])[] = [
  [
    "k3ts_write",
    `CREATE PROCEDURE k3ts_write(writer VARCHAR(64), batch_number BIGINT, writes LONGTEXT CHARACTER SET utf8mb4, bytes LONGBLOB)
BEGIN
  DECLARE base_revision BIGINT;
  DECLARE made_count BIGINT;
  ${rollBack}
  START TRANSACTION;
  SELECT m.head INTO base_revision FROM k3ts_meta m FOR UPDATE;
  SELECT w.n, c.revision, c.create_revision, c.value FROM ${writesTable} JOIN ${current};
  INSERT INTO k3ts_log (revision, name, deleted, create_revision, previous_revision, value, expires_at)
    SELECT f.made, f.name, f.pos < 0, COALESCE(f.create_revision, f.made), f.revision,
           IF(f.pos < 0, '', SUBSTRING(bytes, f.pos + 1, f.len)), f.expires
    FROM (
      SELECT w.name, w.expires, w.pos, w.len, c.revision, c.create_revision,
             base_revision + ROW_NUMBER() OVER (ORDER BY w.n) AS made
      FROM ${writesTable} LEFT JOIN ${current}
      WHERE COALESCE(c.revision, 0) = w.expected AND (w.pos >= 0 OR c.revision IS NOT NULL)
    ) f;
  SET made_count = ROW_COUNT();
  UPDATE k3ts_writers SET batch = batch_number, base = base_revision, head = base_revision + made_count,
      seen_at = CURRENT_TIMESTAMP
    WHERE id = writer AND fenced = 0;
  IF ROW_COUNT() = 0 THEN
    SIGNAL SQLSTATE '${fencedState}' SET MESSAGE_TEXT = 'another connection took this writer''s place';
  END IF;
  IF made_count > 0 THEN
    UPDATE k3ts_meta SET head = base_revision + made_count;
    -- Only the newest row of a key may expire.
    UPDATE k3ts_log n JOIN k3ts_log o ON o.revision = n.previous_revision SET o.expires_at = NULL
      WHERE n.revision > base_revision AND o.expires_at IS NOT NULL;
  END IF;
  COMMIT;
  SELECT base_revision, made_count;
END`,
  ],
  [
    "k3ts_become_writer",
    `CREATE PROCEDURE k3ts_become_writer(new_id VARCHAR(64), former VARCHAR(64))
BEGIN
  DECLARE ignored BIGINT;
  ${rollBack}
  START TRANSACTION;
  -- Whatever the former one had under way holds this lock, or will find itself fenced when it has it.
  SELECT m.head INTO ignored FROM k3ts_meta m FOR UPDATE;
  DELETE FROM k3ts_writers WHERE seen_at < CURRENT_TIMESTAMP - INTERVAL 1 DAY AND NOT id <=> former;
  INSERT INTO k3ts_writers (id) VALUES (new_id);
  UPDATE k3ts_writers SET fenced = 1 WHERE id = former;
  COMMIT;
  SELECT batch, base, head FROM k3ts_writers WHERE id = former;
END`,
  ],
  [
    "k3ts_sweep",
    `CREATE PROCEDURE k3ts_sweep(step INT)
BEGIN
  -- A row that was replaced, or that is a delete, goes once the row that tells so is compacted. By rows and not by numbers:
  -- revisions that were raised have wide gaps.
  DECLARE low BIGINT;
  DECLARE high BIGINT;
  DECLARE compacted_at BIGINT;
  ${rollBack}
  SELECT swept, compacted INTO low, compacted_at FROM k3ts_meta;
  SELECT MAX(s.revision) INTO high FROM (
    SELECT l.revision FROM k3ts_log l WHERE l.revision >= low AND l.revision < compacted_at
    ORDER BY l.revision LIMIT step
  ) s;
  IF low >= compacted_at THEN
    SELECT 0;
  ELSE
    SET high = COALESCE(high + 1, compacted_at);
    START TRANSACTION;
    DELETE o FROM k3ts_log o JOIN k3ts_log n ON o.revision = n.previous_revision
      WHERE n.revision >= low AND n.revision < high;
    DELETE FROM k3ts_log WHERE revision >= low AND revision < high AND deleted = 1;
    -- Last, and unless another connection was faster: the lock of the log is held no longer than this takes.
    UPDATE k3ts_meta SET swept = high WHERE swept < high;
    COMMIT;
    SELECT high < compacted_at;
  END IF;
END`,
  ],
];
