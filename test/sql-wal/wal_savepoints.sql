-- Savepoints and PL/pgSQL blocks with EXCEPTION: what rolled back is not told, also when a part of it was written before.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE SCHEMA savepoints;
SET search_path = savepoints;
CREATE TABLE t (id int PRIMARY KEY, v text);
SELECT plank.track('t');
-- What is told, with runs of inserts cut short.
CREATE FUNCTION told(since pg_lsn) RETURNS TABLE (transaction int, changes bigint, first text, last text) LANGUAGE sql AS $$
	SELECT transaction, count(*), (array_agg(left(change, 60) ORDER BY n))[1], (array_agg(left(change, 60) ORDER BY n DESC))[1]
	FROM plank_test.written(since) WITH ORDINALITY w (transaction, change, n) GROUP BY 1 ORDER BY 1 $$;
-- True when what is told of inserts since then are exactly the rows of the table, in their order.
CREATE FUNCTION is_exact(since pg_lsn) RETURNS boolean LANGUAGE sql AS $$
	SELECT (SELECT array_agg(substring(change FROM '"id":(\d+)')::int ORDER BY n)
		FROM plank_test.written(since) WITH ORDINALITY w (transaction, change, n) WHERE change LIKE 'insert%')
		IS NOT DISTINCT FROM (SELECT array_agg(id ORDER BY id) FROM t) $$;

-- Small ones
SELECT pg_current_wal_insert_lsn() AS since \gset
BEGIN;
INSERT INTO t VALUES (1);
SAVEPOINT a;
INSERT INTO t VALUES (2);
SAVEPOINT b;
INSERT INTO t VALUES (3);
ROLLBACK TO b;
INSERT INTO t VALUES (4);
RELEASE a;
INSERT INTO t VALUES (5);
SAVEPOINT c;
INSERT INTO t VALUES (6);
ROLLBACK TO c;
COMMIT;
SELECT change FROM plank_test.written(:'since');
SELECT is_exact(:'since');
SELECT count(*) AS chunks, sum(records) AS records FROM plank_test.chunks(:'since');

-- A savepoint rolled back across a chunk boundary: its chunks are in WAL, its rows are not told.
TRUNCATE t;
SELECT pg_current_wal_insert_lsn() AS since \gset
BEGIN;
INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 40) n;
SAVEPOINT a;
INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(41, 300) n;
ROLLBACK TO a;
INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(301, 400) n;
RELEASE a;
INSERT INTO t VALUES (401);
COMMIT;
SELECT is_exact(:'since'), count(*) > 5 AS several_chunks, max(number) + 1 = count(*) AS all_numbered, sum(records) AS written
	FROM plank_test.chunks(:'since');
SELECT * FROM told(:'since');

-- An outer level's earlier records may be written later.
TRUNCATE t;
SELECT pg_current_wal_insert_lsn() AS since \gset
BEGIN;
INSERT INTO t VALUES (1);
SAVEPOINT a;
INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(2, 200) n;
SAVEPOINT b;
INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(201, 400) n;
RELEASE b;
RELEASE a;
INSERT INTO t VALUES (401);
COMMIT;
SELECT is_exact(:'since');

-- Half a million bytes in blocks with EXCEPTION, every third of which fails: not a chunk for every block.
TRUNCATE t;
SELECT pg_current_wal_insert_lsn() AS since \gset
DO $$
DECLARE
	most bigint := 0;
BEGIN
	FOR i IN 1 .. 5000 LOOP
		BEGIN
			INSERT INTO t VALUES (i, repeat('x', 100));
			IF i % 3 = 0 THEN
				RAISE EXCEPTION 'back';
			END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
		IF i % 100 = 0 THEN
			most := greatest(most, plank_test.buffer_bytes());
		END IF;
	END LOOP;
	IF most > 256 * 1024 THEN
		RAISE 'the buffer grew to % bytes', most;
	END IF;
END $$;
SELECT is_exact(:'since'), count(*) BETWEEN 7 AND 20 AS few_chunks FROM plank_test.chunks(:'since');

-- The same below a savepoint that goes back in the end, and one that stays.
TRUNCATE t;
SELECT pg_current_wal_insert_lsn() AS since \gset
CREATE FUNCTION fill(from_id int, to_id int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN from_id .. to_id LOOP
		BEGIN
			INSERT INTO t VALUES (i, repeat('x', 1000));
		EXCEPTION WHEN unique_violation THEN RAISE;
		END;
	END LOOP;
END $$;
BEGIN;
SELECT fill(1, 100);
SAVEPOINT a;
SELECT fill(101, 300);
ROLLBACK TO a;
SELECT fill(301, 400);
RELEASE a;
SELECT fill(401, 500);
COMMIT;
SELECT is_exact(:'since');

-- Many savepoints open at once
TRUNCATE t;
SELECT pg_current_wal_insert_lsn() AS since \gset
CREATE FUNCTION nest(depth int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t SELECT depth * 100 + n, repeat('x', 500) FROM generate_series(0, 20) n;
	IF depth = 40 THEN
		RETURN;
	END IF;
	BEGIN
		PERFORM nest(depth + 1);
		IF depth % 7 = 0 THEN
			RAISE EXCEPTION 'back';
		END IF;
	EXCEPTION WHEN raise_exception THEN
		INSERT INTO t SELECT depth * 100 + n FROM generate_series(30, 40) n;
	END;
	INSERT INTO t SELECT 100000 - depth * 100 + n, repeat('x', 500) FROM generate_series(0, 20) n;
END $$;
SELECT nest(1);
SELECT is_exact(:'since'), (SELECT count(*) FROM t) AS rows;

-- Procedures that commit in the middle, and random work: seeded, so that a failure can be repeated.
TRUNCATE t;
SELECT pg_current_wal_insert_lsn() AS since \gset
SELECT (random() * 1000000)::int AS seed \gset
CREATE PROCEDURE work(seed int) LANGUAGE plpgsql AS $$
DECLARE
	id int := 0;
BEGIN
	PERFORM setseed(seed / 1000000.0);
	FOR i IN 1 .. 30 LOOP
		FOR j IN 1 .. 20 LOOP
			BEGIN
				FOR k IN 1 .. (random() * 60)::int LOOP
					id := id + 1;
					INSERT INTO t VALUES (id, repeat('x', (random() * 800)::int));
				END LOOP;
				BEGIN
					FOR k IN 1 .. (random() * 60)::int LOOP
						id := id + 1;
						INSERT INTO t VALUES (id, repeat('x', (random() * 3000)::int));
					END LOOP;
					IF random() < 0.3 THEN
						RAISE EXCEPTION 'back';
					END IF;
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
				IF random() < 0.3 THEN
					RAISE EXCEPTION 'back';
				END IF;
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		END LOOP;
		IF random() < 0.5 THEN
			COMMIT;
		END IF;
	END LOOP;
END $$;
CALL work(:seed);
SELECT CASE WHEN is_exact(:'since') THEN 'exact' ELSE 'differs with seed ' || :seed END AS random_work;

DROP SCHEMA savepoints CASCADE;
DROP EXTENSION plank, plank_test;
