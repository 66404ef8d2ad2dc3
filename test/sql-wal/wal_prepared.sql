-- Two-phase commit: told with COMMIT PREPARED, whole, and not at all after ROLLBACK PREPARED.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE SCHEMA prepared;
SET search_path = prepared;
CREATE TABLE t (id int PRIMARY KEY, v text);
SELECT plank.track('t');

SELECT pg_current_wal_insert_lsn() AS since \gset
BEGIN;
INSERT INTO t VALUES (1, 'prepared');
SAVEPOINT a;
INSERT INTO t VALUES (2, 'back');
ROLLBACK TO a;
SELECT plank.send('jobs', '2');
PREPARE TRANSACTION 'one';
INSERT INTO t VALUES (3, 'between');
BEGIN;
INSERT INTO t VALUES (4, 'never');
PREPARE TRANSACTION 'two';
SELECT * FROM plank_test.written(:'since');
ROLLBACK PREPARED 'two';
COMMIT PREPARED 'one';
SELECT * FROM plank_test.written(:'since');

-- Everything may have left before PREPARE.
SELECT pg_current_wal_insert_lsn() AS since \gset
BEGIN;
INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(10, 3000) n;
PREPARE TRANSACTION 'large';
COMMIT PREPARED 'large';
SELECT count(*) AS changes FROM plank_test.written(:'since');
SELECT count(*) > 3 AS several FROM plank_test.chunks(:'since');

-- A transaction that changed the catalog only
BEGIN;
CREATE TABLE plain (id int);
PREPARE TRANSACTION 'catalog';
COMMIT PREPARED 'catalog';

-- More of them than can be prepared: the one too many fails, the others are told.
SELECT pg_current_wal_insert_lsn() AS since \gset
SELECT format($$BEGIN; INSERT INTO t VALUES (%s); PREPARE TRANSACTION 'p%1$s'$$, n) FROM generate_series(1001000, 1001005) n \gexec
SELECT format($$COMMIT PREPARED 'p%s'$$, n) FROM generate_series(1001000, 1001004) n \gexec
SELECT * FROM plank_test.written(:'since');

-- Where the oldest open transaction began to speak is known as long as it is open, prepared or not.
SELECT plank_test.oldest_first_message() IS NULL AS silent;
SELECT pg_current_wal_insert_lsn() AS since \gset
BEGIN;
INSERT INTO t VALUES (2000000);
SELECT plank_test.oldest_first_message() IS NULL AS silent;
INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(2000001, 2001000) n;
SELECT plank_test.oldest_first_message() BETWEEN :'since' AND pg_current_wal_insert_lsn() AS speaks;
ROLLBACK;
SELECT plank_test.oldest_first_message() IS NULL AS silent;
BEGIN;
INSERT INTO t VALUES (2000000);
PREPARE TRANSACTION 'first';
SELECT plank_test.oldest_first_message() AS first \gset
SELECT :'first'::pg_lsn > :'since' AS speaks;
BEGIN;
INSERT INTO t VALUES (2000001);
PREPARE TRANSACTION 'second';
SELECT plank_test.oldest_first_message() = :'first' AS unchanged;
COMMIT PREPARED 'first';
SELECT plank_test.oldest_first_message() > :'first' AS goes_on;
ROLLBACK PREPARED 'second';
SELECT plank_test.oldest_first_message() IS NULL AS silent;
BEGIN;
SAVEPOINT a;
INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(2000001, 2001000) n;
ROLLBACK TO a;
SELECT plank_test.oldest_first_message() IS NOT NULL AS speaks;
COMMIT;
SELECT plank_test.oldest_first_message() IS NULL AS silent;

DROP SCHEMA prepared CASCADE;
DROP EXTENSION plank, plank_test;
