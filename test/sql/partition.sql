-- Partitioned tables are tracked under one name, whatever happens to their partitions.
\set VERBOSITY terse
CREATE EXTENSION plank;
CREATE SCHEMA partition;
SET search_path = partition;
CREATE VIEW capture_triggers AS
	SELECT tgrelid::regclass AS relation, count(*) AS triggers, bool_and(tgenabled = 'A') AS always,
		min((plank._arguments(tgargs)).columns::text) AS columns
	FROM pg_trigger WHERE tgfoid = 'plank.capture()'::regprocedure GROUP BY tgrelid ORDER BY tgrelid::regclass::text;
CREATE TABLE events (id int, day int, kind text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (10);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
CREATE TABLE events_2a PARTITION OF events_2 FOR VALUES FROM (10) TO (15);

SELECT plank.track('events', columns => '{kind}', filter => 'kind <> ''noise''');
SELECT * FROM plank.tracked;
SELECT * FROM capture_triggers;

-- Later partitions are captured too, and partitions that go are not.
CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM (20) TO (30);
CREATE TABLE events_2b PARTITION OF events_2 FOR VALUES FROM (15) TO (20);
CREATE TABLE events_4 (LIKE events INCLUDING ALL);
ALTER TABLE events ATTACH PARTITION events_4 FOR VALUES FROM (30) TO (40);
SELECT * FROM capture_triggers;
INSERT INTO events SELECT i, i, 'x' FROM generate_series(1, 39) i;
UPDATE events SET day = day + 1 WHERE day = 9;
ALTER TABLE events DETACH PARTITION events_4;
ALTER TABLE events DETACH PARTITION events_3 CONCURRENTLY;
SELECT * FROM capture_triggers;
INSERT INTO events_4 VALUES (50, 39, 'x');

-- Renames reach the partitions' triggers.
ALTER TABLE events RENAME COLUMN kind TO sort;
SELECT * FROM capture_triggers;
SELECT columns, filter FROM plank.tracked;
UPDATE events SET sort = 'y' WHERE id = 1;
ALTER TABLE events DROP COLUMN sort;
ALTER TABLE events DROP COLUMN sort CASCADE;
SELECT * FROM capture_triggers;

-- A partition has no tracking of its own beside its root's.
SELECT plank.track('events');
SELECT plank.track('events_1');
SELECT plank.track('events_2a');
SELECT plank.untrack('events_2');
-- Calling it again, and changing it, reaches the partitions.
SELECT plank.track('events', '{insert,delete}', '{id}');
SELECT * FROM capture_triggers;
ALTER TABLE events_1 DISABLE TRIGGER plank_insert;
SELECT enabled FROM plank.tracked;
ALTER TABLE events_1 ENABLE ALWAYS TRIGGER plank_insert;
SELECT enabled FROM plank.tracked;
ALTER TABLE events DISABLE TRIGGER plank_insert;
SELECT * FROM capture_triggers;
SELECT plank.track('events', '{insert,delete}', '{id}');
SELECT * FROM capture_triggers;
SELECT enabled FROM plank.tracked;

-- Nor has a table partitions that are tracked by themselves.
SELECT plank.untrack('events');
SELECT * FROM capture_triggers;
SELECT plank.track('events_2a');
SELECT plank.track('events_2');
SELECT plank.track('events');
SELECT plank.track('events_1');
SELECT relation FROM plank.tracked ORDER BY relation::text;
SELECT plank.untrack('events_2a'), plank.untrack('events_1');
SELECT plank.track('events_2');
SELECT * FROM capture_triggers;
SELECT plank.untrack('events_2');

-- Somebody's trigger of the same name in a partition is not replaced.
CREATE FUNCTION own_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER plank_insert AFTER INSERT ON events_1 FOR EACH ROW EXECUTE FUNCTION own_trigger();
SELECT plank.track('events');
SELECT tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'events_1'::regclass AND tgname = 'plank_insert';
DROP TRIGGER plank_insert ON events_1;

-- A tracked table cannot become a partition of one until it is untracked.
SELECT plank.track('events'), plank.track('events_4');
ALTER TABLE events_4 DROP COLUMN kind;
ALTER TABLE events ATTACH PARTITION events_4 FOR VALUES FROM (30) TO (40);
SELECT plank.untrack('events_4');
ALTER TABLE events ATTACH PARTITION events_4 FOR VALUES FROM (30) TO (40);

TRUNCATE events_1;
TRUNCATE events;
DROP TABLE events_1, events_2;
SELECT * FROM capture_triggers;
DROP TABLE events;
SELECT * FROM plank.tracked;

SET client_min_messages = warning;
DROP SCHEMA partition CASCADE;
DROP EXTENSION plank;
