-- What transactions tell WAL: every kind of change, in the order of commands, and nothing of what rolled back.
\set VERBOSITY terse
SET client_min_messages = warning;
SHOW plank.transport;
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE SCHEMA capture;
SET search_path = capture;
CREATE TABLE items (id int PRIMARY KEY, name text, price numeric);
CREATE TABLE notes (note text);
SELECT plank.track('items'), plank.track('notes');

SELECT pg_current_wal_insert_lsn() AS since \gset
INSERT INTO items VALUES (1, 'one', 1.50), (2, 'two', NULL);
UPDATE items SET name = 'uno', price = 2 WHERE id = 1;
UPDATE items SET id = 3 WHERE id = 2;
DELETE FROM items WHERE id = 3;
BEGIN;
INSERT INTO notes VALUES ('same'), ('same');
SELECT plank.send('jobs', '{"done": 3}');
INSERT INTO items VALUES (4, 'four', 4) ON CONFLICT DO NOTHING;
TRUNCATE notes;
COMMIT;
SELECT plank.send('jobs', '1');
BEGIN;
INSERT INTO items VALUES (5, 'five', 5);
ROLLBACK;
SELECT * FROM plank_test.written(:'since');

-- A transaction that changes the catalog only, or nothing that is tracked, writes nothing.
SELECT pg_current_wal_insert_lsn() AS since \gset
CREATE TABLE plain (id int);
INSERT INTO plain VALUES (1);
GRANT SELECT ON items TO PUBLIC;
UPDATE items SET name = 'none' WHERE false;
SELECT * FROM plank_test.chunks(:'since');

-- Tracking that begins or changes resets the table: its rows may have changed unseen.
SELECT plank.untrack('notes');
INSERT INTO notes VALUES ('unseen');
SELECT plank.track('notes');
SELECT plank.track('notes');
SELECT plank.untrack('notes');
CREATE TRIGGER plank_insert AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION plank.capture('insert', '', '');
INSERT INTO notes VALUES ('seen');
ALTER TABLE items ADD COLUMN extra int DEFAULT 1;
SELECT * FROM plank_test.written(:'since');

-- Nested triggers fire out of the commands' order: the update that trigger `more` makes of row 2 is captured before the
-- outer command's own change of it.
CREATE TABLE counter (id int PRIMARY KEY, n int);
CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() = 1 AND NEW.id = 1 THEN
		UPDATE counter SET n = n + 100 WHERE id = 2;
	END IF;
	RETURN NULL;
END $$;
INSERT INTO counter VALUES (1, 0), (2, 0);
SELECT plank.track('counter');
CREATE TRIGGER a_more AFTER UPDATE ON counter FOR EACH ROW EXECUTE FUNCTION more();
SELECT pg_current_wal_insert_lsn() AS since \gset
UPDATE counter SET n = n + 1;
SELECT * FROM counter ORDER BY id;
SELECT * FROM plank_test.written(:'since');

-- Partitions share their table's shape, and a row that moves is told as leaving and entering.
CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
SELECT plank.track('parts');
SELECT pg_current_wal_insert_lsn() AS since \gset
INSERT INTO parts VALUES (1, 'a'), (11, 'b');
UPDATE parts SET id = 12 WHERE id = 1;
TRUNCATE parts_2;
SELECT * FROM plank_test.written(:'since');

-- Deferred constraint triggers and cursors that hold rows back change what is captured at the very end of a transaction.
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO items VALUES (100, 'late'); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON parts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
SELECT pg_current_wal_insert_lsn() AS since \gset
INSERT INTO parts VALUES (2, 'deferred');
SELECT * FROM plank_test.written(:'since');

DROP SCHEMA capture CASCADE;
DROP EXTENSION plank, plank_test;
