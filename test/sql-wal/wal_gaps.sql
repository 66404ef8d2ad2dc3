-- Where nobody records changes, transactions say which tables they changed: positions outlive this run of the server.
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT current_database() AS served \gset
CREATE DATABASE regression_unserved;
\c regression_unserved
SET client_min_messages = warning;
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY);
SELECT pg_current_wal_insert_lsn() AS since \gset
SELECT plank.track('a'), plank.track('b');
INSERT INTO a VALUES (1), (2);
BEGIN;
UPDATE a SET id = 3 WHERE id = 1;
INSERT INTO b VALUES (1);
DELETE FROM a;
COMMIT;
BEGIN;
INSERT INTO b VALUES (2);
ROLLBACK;
SELECT plank.send('jobs', '1');
BEGIN;
INSERT INTO b VALUES (3);
PREPARE TRANSACTION 'gap';
COMMIT PREPARED 'gap';
ALTER TABLE a ADD COLUMN v int DEFAULT 3;
TRUNCATE b;
INSERT INTO a SELECT generate_series(1, 10000);
SELECT * FROM plank_test.written(:'since');
SELECT max(bytes) < 100 AS small_chunks FROM plank_test.chunks(:'since');
\c :served
DROP DATABASE regression_unserved;
