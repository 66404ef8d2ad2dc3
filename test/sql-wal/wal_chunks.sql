-- Large transactions leave in chunks as they grow, and the session's memory does not grow with them.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE SCHEMA chunks;
SET search_path = chunks;
CREATE TABLE big (id int PRIMARY KEY, v text);
CREATE TABLE other (id int PRIMARY KEY, v text);
SELECT plank.track('big'), plank.track('other');
CREATE TABLE measured (bytes bigint NOT NULL);
INSERT INTO measured VALUES (0);
-- Fires after the capture trigger.
CREATE FUNCTION measure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE chunks.measured SET bytes = greatest(bytes, plank_test.buffer_bytes());
	RETURN NULL;
END $$;
CREATE TRIGGER z_measure AFTER INSERT ON big FOR EACH ROW WHEN (NEW.id % 9973 = 0) EXECUTE FUNCTION measure();

-- A million rows
SELECT pg_current_wal_insert_lsn() AS since \gset
INSERT INTO big SELECT n, repeat('x', n % 200) FROM generate_series(1, 1000000) n;
SELECT bytes > 0 AND bytes < 256 * 1024 AS is_bounded FROM measured;
SELECT sum(records) AS records, max(number) + 1 = count(*) AS all_numbered, max(bytes) < 66 * 1024 AS small_chunks,
	min(bytes) FILTER (WHERE number < 100) > 32 * 1024 AS full_chunks, count(DISTINCT top) AS transactions
FROM plank_test.chunks(:'since');

-- All of them are told, in order, with both tables' changes between each other.
TRUNCATE big, other;
SELECT pg_current_wal_insert_lsn() AS since \gset
DO $$
BEGIN
	FOR i IN 1 .. 20000 LOOP
		INSERT INTO big VALUES (i, 'x');
		INSERT INTO other VALUES (i, 'y');
		IF i % 100 = 0 THEN
			PERFORM plank.send('progress', to_jsonb(i));
		END IF;
	END LOOP;
END $$;
SELECT count(*), bool_and(change = CASE n % 201
		WHEN 0 THEN format('message progress %s', n / 201 * 100)
		ELSE format('insert chunks.%s {"key":{"id":%2$s},"new":{"id":%2$s,"v":"%3$s"}}',
			CASE WHEN n % 201 % 2 = 1 THEN 'big' ELSE 'other' END, n / 201 * 100 + (n % 201 + 1) / 2,
			CASE WHEN n % 201 % 2 = 1 THEN 'x' ELSE 'y' END) END) AS in_order
FROM plank_test.written(:'since') WITH ORDINALITY w (transaction, change, n);

-- Records larger than a chunk are whole, and alone; what is larger than any message resets its table.
TRUNCATE big;
SELECT pg_current_wal_insert_lsn() AS since \gset
BEGIN;
INSERT INTO big VALUES (1, 'small'), (2, repeat('x', 200000)), (3, 'small'), (4, repeat('y', 3000000)), (5, 'small');
COMMIT;
SELECT left(change, 50) AS change, length(change) FROM plank_test.written(:'since');
SELECT number, records, bytes / 1000 AS kilobytes FROM plank_test.chunks(:'since');
SELECT pg_current_wal_insert_lsn() AS since \gset
INSERT INTO other SELECT 30001, repeat('x', 68 * 1024 * 1024);
UPDATE other SET v = 'small' WHERE id = 30001;
SELECT left(change, 70) AS change FROM plank_test.written(:'since');
SELECT plank.send('jobs', to_jsonb(repeat('x', 68 * 1024 * 1024)));

-- Many tables in one transaction: each chunk names the shapes of its own records only.
DO $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text)', i);
		PERFORM plank.track(format('t%s', i));
	END LOOP;
END $$;
SELECT pg_current_wal_insert_lsn() AS since \gset
DO $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		EXECUTE format('INSERT INTO t%s SELECT n, repeat(''x'', 900) FROM generate_series(1, 10) n', i);
	END LOOP;
	INSERT INTO t1 VALUES (11);
END $$;
SELECT count(*) FROM plank_test.written(:'since');
SELECT count(*) > 20 AS many_chunks, max(bytes) < 70 * 1024 AS small_chunks FROM plank_test.chunks(:'since');

DROP SCHEMA chunks CASCADE;
DROP EXTENSION plank, plank_test;
