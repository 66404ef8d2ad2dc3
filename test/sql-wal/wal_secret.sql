-- Messages of others are not taken for Plank's, and nobody learns by what Plank's are known.
\set VERBOSITY terse
SET client_min_messages = warning;
-- Nor do those who replicate all tables.
SELECT count(pg_create_logical_replication_slot('regress_secret', 'test_decoding')) AS slots;
CREATE EXTENSION plank;
CREATE TABLE seen (id int);
INSERT INTO seen VALUES (1);
SELECT data FROM pg_logical_slot_get_changes('regress_secret', NULL, NULL) WHERE data LIKE 'table%';
SELECT pg_drop_replication_slot('regress_secret');
DROP TABLE seen;

CREATE EXTENSION plank_test;
CREATE ROLE regress_secret;
CREATE SCHEMA secret;
GRANT ALL ON SCHEMA secret TO regress_secret;
SET search_path = secret;
CREATE TABLE t (id int PRIMARY KEY, v text);
GRANT ALL ON t TO regress_secret;
SELECT plank.track('t');
SELECT count(*), bool_and(secret ~ '^[0-9a-f]{32}$') FROM plank.secret;

SELECT pg_current_wal_insert_lsn() AS since \gset
SET ROLE regress_secret;
INSERT INTO t VALUES (1, 'genuine');
SELECT pg_logical_emit_message(true, 'plank:', 'forged') IS NOT NULL AS emitted;
SELECT pg_logical_emit_message(true, 'plank:00000000000000000000000000000000', '1forged') IS NOT NULL AS emitted;
SELECT pg_logical_emit_message(true, 'plank', '') IS NOT NULL AS emitted;
SELECT pg_logical_emit_message(false, 'plank:00000000000000000000000000000000', '1forged') IS NOT NULL AS emitted;
SELECT * FROM plank.secret;
UPDATE plank.secret SET secret = repeat('0', 32);
COPY plank.secret TO STDOUT;
CREATE VIEW mine AS SELECT * FROM plank.secret;
SELECT * FROM mine;
CREATE TABLE parent (secret text NOT NULL);
ALTER TABLE parent INHERIT plank.secret;
RESET ROLE;
SELECT genuine, records FROM plank_test.chunks(:'since');
SELECT * FROM plank_test.written(:'since');

-- Row security, rules and a second row have no say in it.
ALTER TABLE plank.secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE RULE other AS ON INSERT TO plank.secret DO ALSO NOTHING;
INSERT INTO plank.secret VALUES (repeat('0', 32));
\c -
SET client_min_messages = warning;
SET search_path = secret;
SELECT pg_current_wal_insert_lsn() AS since \gset
INSERT INTO t VALUES (2, 'genuine');
DELETE FROM plank.secret WHERE secret = repeat('0', 32);
INSERT INTO t VALUES (3, 'genuine');
SELECT * FROM plank_test.written(:'since');

-- An extension that is made anew has a new secret, and its sessions know.
SELECT secret AS former FROM plank.secret \gset
DROP EXTENSION plank CASCADE;
INSERT INTO t VALUES (4, 'untracked');
CREATE EXTENSION plank;
SELECT secret <> :'former' AS is_new FROM plank.secret;
SELECT plank.track('t');
SELECT pg_current_wal_insert_lsn() AS since \gset
INSERT INTO t VALUES (5, 'tracked');
SELECT * FROM plank_test.written(:'since');
-- Also when that was taken back.
BEGIN;
DROP EXTENSION plank CASCADE;
CREATE EXTENSION plank;
SELECT plank.track('t');
INSERT INTO t VALUES (6, 'never');
ROLLBACK;
INSERT INTO t VALUES (7, 'tracked');
SELECT * FROM plank_test.written(:'since');
-- Dropped by the transaction that has something to tell
BEGIN;
INSERT INTO t VALUES (8, 'told to nobody');
DROP EXTENSION plank CASCADE;
COMMIT;

-- Without a secret nothing could be told, and nothing is lost in silence.
CREATE EXTENSION plank;
SELECT plank.track('t');
DELETE FROM plank.secret;
\c -
SET client_min_messages = warning;
INSERT INTO secret.t VALUES (9, 'refused');

DROP EXTENSION plank CASCADE;
DROP EXTENSION plank_test;
DROP SCHEMA secret CASCADE;
DROP ROLE regress_secret;
