-- What changes a table's contents without row changes resets its subscribers; what does not, does not.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE SCHEMA reset;
CREATE SCHEMA reset_parts;
SET search_path = reset;
SET TimeZone = 'UTC';
SELECT plank_test.show_resets(true);
-- Tracking without showing its own DDL
CREATE FUNCTION track(VARIADIC tables regclass[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM plank_test.show_resets(false), plank.untrack(t), plank.track(t) FROM unnest(tables) t;
	PERFORM plank_test.show_resets(true);
END $$;
CREATE FUNCTION track_rows(VARIADIC tables regclass[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM plank_test.show_resets(false), plank.untrack(t), plank.track(t, '{insert,update,delete}') FROM unnest(tables) t;
	PERFORM plank_test.show_resets(true);
END $$;

CREATE TABLE items (id int PRIMARY KEY, name text, at timestamp, short varchar(10));
CREATE TABLE untracked (id int PRIMARY KEY, name text);
INSERT INTO items VALUES (1, 'one', '2026-01-01', 'x');
INSERT INTO untracked VALUES (1, 'one');
SELECT track('items');

-- ALTER TABLE that gives rows other values
ALTER TABLE items ALTER COLUMN id TYPE bigint;
ALTER TABLE items ADD COLUMN stamp timestamptz DEFAULT clock_timestamp();
ALTER TABLE items ADD COLUMN count int NOT NULL DEFAULT 3;
ALTER TABLE items ADD COLUMN serial serial;
ALTER TABLE items ADD COLUMN twice int GENERATED ALWAYS AS (id * 2) STORED;
ALTER TABLE items ALTER COLUMN name TYPE text USING upper(name);
ALTER TABLE items ALTER COLUMN at TYPE timestamptz;
ALTER TABLE items ADD COLUMN a int, ALTER COLUMN count TYPE numeric, ADD COLUMN b int DEFAULT 1;

-- An unlogged table is not tracked, and a tracked one does not become one
ALTER TABLE items SET UNLOGGED;
ALTER TABLE items ADD COLUMN never int, SET UNLOGGED;
ALTER TABLE items SET LOGGED;
ALTER TABLE untracked SET UNLOGGED;
ALTER TABLE untracked SET LOGGED;

-- ALTER TABLE and others that do not
ALTER TABLE items ADD COLUMN plain int;
ALTER TABLE items ALTER COLUMN plain SET DEFAULT 7;
ALTER TABLE items ALTER COLUMN short TYPE varchar(20);
ALTER TABLE items DROP COLUMN count;
ALTER TABLE items DROP COLUMN b, ADD COLUMN c int;
ALTER TABLE items ALTER COLUMN name SET NOT NULL;
ALTER TABLE items ALTER COLUMN name SET STATISTICS 10;
ALTER TABLE items ALTER COLUMN name SET STORAGE external;
ALTER TABLE items ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;
ALTER TABLE items VALIDATE CONSTRAINT positive;
ALTER TABLE items SET (fillfactor = 50);
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
ALTER TABLE items DISABLE ROW LEVEL SECURITY;
ALTER TABLE items OWNER TO CURRENT_USER;
ALTER TABLE items SET TABLESPACE pg_default;
ALTER TABLE items RENAME COLUMN short TO brief;
ALTER TABLE items RENAME TO things;
ALTER TABLE things RENAME TO items;
CREATE INDEX items_name ON items (name);
CLUSTER items USING items_name;
VACUUM FULL items;
REINDEX TABLE items;
ANALYZE items;
COMMENT ON TABLE items IS 'things';
ALTER TABLE untracked ADD COLUMN a int DEFAULT 1, ALTER COLUMN id TYPE bigint;
TRUNCATE untracked;

-- Triggers that cease to fire, or fire again
ALTER TABLE items DISABLE TRIGGER plank_insert;
ALTER TABLE items DISABLE TRIGGER plank_insert;
ALTER TABLE items ENABLE REPLICA TRIGGER plank_insert;
ALTER TABLE items ENABLE ALWAYS TRIGGER plank_insert;
ALTER TABLE items DISABLE TRIGGER ALL;
ALTER TABLE items ENABLE ALWAYS TRIGGER plank_insert, ENABLE ALWAYS TRIGGER plank_update,
	ENABLE ALWAYS TRIGGER plank_delete, ENABLE ALWAYS TRIGGER plank_truncate;
DROP TRIGGER plank_insert ON items;
CREATE TRIGGER plank_insert AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION plank.capture('insert', '', '');
CREATE OR REPLACE TRIGGER plank_insert AFTER INSERT ON items FOR EACH ROW
	EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TRIGGER other BEFORE INSERT ON untracked FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
DROP TRIGGER plank_insert ON items;

-- TRUNCATE that its own trigger reports needs no reset, TRUNCATE that none reports does.
SELECT track('items');
TRUNCATE items;
SET session_replication_role = replica;
TRUNCATE items;
RESET session_replication_role;
SELECT track_rows('items');
TRUNCATE items;
BEGIN; TRUNCATE untracked, items; ROLLBACK;
CREATE TABLE referrer (id int PRIMARY KEY REFERENCES items);
SELECT track_rows('referrer');
TRUNCATE items CASCADE;
DROP TABLE referrer;

-- In PL/pgSQL, with savepoints
DO $$ BEGIN
	ALTER TABLE items ADD COLUMN d int DEFAULT 1;
	BEGIN
		TRUNCATE items;
		RAISE EXCEPTION 'back';
	EXCEPTION WHEN raise_exception THEN NULL;
	END;
END $$;
DROP TABLE items;

-- Partitions
CREATE TABLE events (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
CREATE TABLE reset_parts.events_2a PARTITION OF events_2 FOR VALUES FROM (10) TO (15);
CREATE TABLE events_3 (LIKE events INCLUDING ALL);
CREATE TABLE events_4 (LIKE events INCLUDING ALL);
SELECT track('events');
CREATE TABLE events_5 PARTITION OF events FOR VALUES FROM (50) TO (60);
TRUNCATE events;
TRUNCATE events_1;
TRUNCATE events_1, events_2;
TRUNCATE ONLY reset_parts.events_2a;
TRUNCATE events_1, events;
CREATE TABLE day (day int PRIMARY KEY);
ALTER TABLE reset_parts.events_2a ADD FOREIGN KEY (day) REFERENCES day;
TRUNCATE day CASCADE;
ALTER TABLE reset_parts.events_2a DROP CONSTRAINT events_2a_day_fkey;
ALTER TABLE events ATTACH PARTITION events_3 FOR VALUES FROM (30) TO (40);
ALTER TABLE events_2 ATTACH PARTITION events_4 FOR VALUES FROM (15) TO (20);
ALTER TABLE events DETACH PARTITION events_3;
ALTER TABLE events ATTACH PARTITION events_3 FOR VALUES FROM (30) TO (40);
-- Twice: before the commit in the middle, when rows begin to vanish, and at the end.
ALTER TABLE events DETACH PARTITION events_3 CONCURRENTLY;
ALTER TABLE events_1 SET UNLOGGED;
ALTER TABLE events_1 DISABLE TRIGGER plank_delete;
ALTER TABLE events_1 ENABLE ALWAYS TRIGGER plank_delete;
ALTER TABLE events ADD COLUMN note text DEFAULT 'x';
ALTER TABLE events ALTER COLUMN id TYPE bigint;
DROP TABLE events_5;
DROP TABLE events_4, events_1;
DROP SCHEMA reset_parts CASCADE;
DROP TABLE events;
-- A partition that is tracked by itself under a table that is not
CREATE TABLE outer_events (id int) PARTITION BY LIST (id);
CREATE TABLE inner_events PARTITION OF outer_events FOR VALUES IN (1);
SELECT track('inner_events');
ALTER TABLE outer_events ADD COLUMN a int DEFAULT 1;
TRUNCATE outer_events;
ALTER TABLE outer_events DETACH PARTITION inner_events;
DROP TABLE outer_events, inner_events;

-- Inheritance: what is done to a parent reaches tracked children.
CREATE TABLE parent (id int);
CREATE TABLE child () INHERITS (parent);
SELECT track('child');
ALTER TABLE parent ADD COLUMN a int DEFAULT 1;
ALTER TABLE ONLY parent ADD COLUMN IF NOT EXISTS a int DEFAULT 1;
TRUNCATE parent;
DROP TABLE child, parent;

-- Types that show in rows
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TYPE other AS ENUM ('a', 'b');
CREATE DOMAIN moods AS mood[];
CREATE TYPE person AS (name text, mood moods);
CREATE TABLE direct (mood mood);
CREATE TABLE deep (people person[]);
CREATE TABLE neither (other other);
CREATE TABLE typed OF person;
SELECT track('direct', 'deep', 'neither', 'typed');
ALTER TYPE mood ADD VALUE 'calm';
ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
ALTER TYPE mood RENAME TO feeling;
ALTER TYPE person ADD ATTRIBUTE age int CASCADE;
ALTER TYPE person RENAME ATTRIBUTE age TO years CASCADE;
DROP TABLE deep;
ALTER TYPE person ALTER ATTRIBUTE years TYPE bigint CASCADE;
DROP TABLE direct, neither, typed;
-- A table's row type in another table's column
CREATE TABLE address (street text);
CREATE TABLE customer (address address);
SELECT track('customer');
ALTER TABLE address RENAME COLUMN street TO road;
ALTER TABLE address ADD COLUMN city text;
DROP TABLE customer, address;

DROP SCHEMA reset CASCADE;
DROP EXTENSION plank, plank_test;
