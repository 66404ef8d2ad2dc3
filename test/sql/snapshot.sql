-- The rows that a table holds already, read by a process of its own: what they say, which rows and columns they are, and
-- what happens when they cannot be read.
\set VERBOSITY terse
\pset format unaligned
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE ROLE regress_web;
CREATE SCHEMA snapshot;
GRANT USAGE ON SCHEMA snapshot TO regress_web;
SET search_path = snapshot;
ALTER DATABASE regression SET DateStyle = 'SQL, DMY';
ALTER DATABASE regression SET TimeZone = 'Asia/Kolkata';
ALTER DATABASE regression SET extra_float_digits = -15;
ALTER DATABASE regression SET bytea_output = 'escape';
ALTER DATABASE regression SET IntervalStyle = 'iso_8601';
ALTER DATABASE regression SET quote_all_identifiers = on;
ALTER DATABASE regression SET search_path = snapshot;
ALTER DATABASE regression SET default_transaction_isolation = 'read committed';
ALTER DATABASE regression SET transform_null_equals = on;
CREATE FUNCTION rows(relation regclass, columns text[] DEFAULT '{}', condition text DEFAULT '', numbers_as_text bool DEFAULT false)
	RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(code || ': ' || message || coalesce(' (' || detail || ')', '') || CASE WHEN retry THEN ' [again]' ELSE '' END,
		'[' || coalesce(rows, '') || ']')
	FROM plank_test.read_snapshot(relation, columns, condition, numbers_as_text, 'regress_web') $$;

CREATE TABLE items (id bigint PRIMARY KEY, name text, price numeric, "Odd ""name""" text);
GRANT SELECT ON items TO regress_web;
SELECT plank.track('items');

-- An empty table gives a header and no rows.
SELECT shape, key, rows, count, batches, code FROM plank_test.read_snapshot('items', role => 'regress_web');
INSERT INTO items VALUES (1, 'a', 1.50, NULL), (2, NULL, 'NaN', 'x"y'), (9007199254740993, '', 1e20, 'ż');
SELECT rows('items');
SELECT rows('items', '{"Odd \"name\"",id}');
SELECT rows('items', numbers_as_text => true);
SELECT rows('items', '{id}', 'price > 1.4 AND price <> ''NaN''');
SELECT rows('items', '{id}', 'name IS NULL OR name OPERATOR(pg_catalog.=) ''a''');
SELECT rows('items', '{id}', 'name = NULL');
SELECT rows('items', '{id}', 'items IS NOT NULL');

-- A condition is one condition, and an error in it ends that request alone.
SELECT rows('items', '{id}', '1 / (id - 2) > 0');
SELECT rows('items', '{id}', 'id = 1) OR (true');
SELECT rows('items', '{id}', 'id = 1 ORDER BY 1');
SELECT rows('items', '{id}', 'nothing = 1');
SELECT rows('items', '{id}', 'random() < 2');
SELECT rows('items', '{id}', 'EXISTS (SELECT 1)');
SELECT rows('items', '{id}', 'id = 1');

-- Every kind of value as a change has it: the same printer, and nothing of the session's or the database's settings.
CREATE SCHEMA contrib;
CREATE EXTENSION citext SCHEMA contrib;
CREATE EXTENSION hstore SCHEMA contrib;
CREATE TYPE mood AS ENUM ('sad', 'not "sad"');
CREATE TYPE pair AS (a bigint, b numeric[], c text);
CREATE DOMAIN money_like AS numeric CHECK (VALUE > 0);
CREATE TABLE kinds (a bool, b int2, c int4, d int8, e float4, f float8, g numeric, h text, i varchar(5), j char(4), k name,
	l bytea, m json, n jsonb, o uuid, p date, q time, r timetz, s timestamp, t timestamptz, u interval, v inet, w macaddr,
	x bit(3), y xml, z tsvector, aa point, ab int8[], ac text[], ad mood, ae pair, af pair[], ag money_like, ah int4range, am contrib.hstore, an contrib.citext,
	ai int8multirange, aj regclass, ak money, al oid);
GRANT SELECT ON kinds TO regress_web;
SELECT plank.track('kinds');
INSERT INTO kinds VALUES (true, -1, 2, 9007199254740993, 0.1, 1e-7, 12345678901234567890.10, E'a"\\\n', 'ab', 'ab', 'n',
	'\x00ff', '{"b" : 1, "b": [1,  2]}', '{"b": 1, "a": 12345678901234567890}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
	'2024-02-29', '12:34:56.7', '12:34:56+05:30', '2024-02-29 12:34:56', '2024-02-29 12:34:56+02', '1 year 2 days 03:04:05',
	'10.0.0.0/8', '08:00:2b:01:02:03', B'101', '<a/>', 'a b', '(1,2.5)', '{1,NULL,9007199254740993}', '{"a,b",NULL}',
	'not "sad"', ROW(1, '{1.5,NaN}', 'x'), ARRAY[ROW(9007199254740993, NULL, NULL)::pair], 7.25, '[1,5)', 'a=>1', 'Aa', '{[1,5)}',
	'snapshot.items', '12.34', 4294967295);
INSERT INTO kinds (b, e, f, g) VALUES (7, 'NaN', '-Infinity', 'Infinity');
SELECT rows('kinds');
SELECT rows('kinds', numbers_as_text => true);
-- The printer of changes, column by column.
SELECT string_agg(format('SELECT %L WHERE (SELECT (rows(''kinds'')::json->0)->>%1$L) IS DISTINCT FROM
	(SELECT regexp_replace(plank_test.value_json(%1$I), E''\x01'', '''', ''g'')::json #>> ''{}'' FROM kinds WHERE a)', attname), ' UNION ALL ')
	AS differing FROM pg_attribute WHERE attrelid = 'kinds'::regclass AND attnum > 0 \gset
:differing;

-- What plank.track was told counts for everybody: its columns, its filter, whose own columns need no privilege.
CREATE TABLE secrets (id int PRIMARY KEY, word text, open bool);
INSERT INTO secrets VALUES (1, 'yes', true), (2, 'no', false), (3, 'unknown', NULL);
SELECT plank.track('secrets', columns => '{word}', filter => 'open');
GRANT SELECT (id, word) ON secrets TO regress_web;
SELECT rows('secrets');
SELECT rows('secrets', '{id}', 'word <> ''x'' OR true');
SELECT rows('secrets', '{id}', 'open');
SELECT rows('secrets', '{open}');
-- Not even by an error does a condition see a row that the filter hides, cheap as the condition is.
CREATE FUNCTION costly(bool) RETURNS bool LANGUAGE plpgsql IMMUTABLE COST 100000 AS 'BEGIN RETURN $1; END';
SELECT plank.track('secrets', columns => '{word}', filter => 'costly(open)');
SELECT rows('secrets', '{id}', '1 / (id - 2) < 5');
REVOKE SELECT (word) ON secrets FROM regress_web;
SELECT rows('secrets');
SELECT rows('secrets', '{id}');
SELECT rows('secrets', '{id}', 'word = ''yes''');
SELECT rows('secrets', '{id}', 'secrets IS NOT NULL');

-- A partitioned table whole, whatever the order of its partitions' columns; of a parent its own rows alone.
CREATE TABLE events (id int, day int, kind text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (10);
CREATE TABLE events_2 (kind text, gone int, day int NOT NULL, id int NOT NULL);
ALTER TABLE events_2 DROP COLUMN gone;
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM (10) TO (20);
INSERT INTO events VALUES (1, 1, 'x'), (2, 11, 'y'), (3, 12, 'noise');
SELECT plank.track('events', filter => 'kind <> ''noise''');
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1, 'parent''s');
INSERT INTO child VALUES (2, 'child''s');
SELECT plank.track('parent');
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
SELECT plank.track('nothing');
GRANT SELECT ON events, parent, nothing TO regress_web;
SELECT rows('events');
SELECT rows('events', '{kind}', 'day > 10');
SELECT rows('parent');
SELECT rows('nothing');

-- What cannot be read at all.
CREATE TABLE untracked (id int);
CREATE TABLE hidden (id int);
SELECT plank.track('hidden');
GRANT SELECT ON untracked TO regress_web;
SELECT rows('untracked');
SELECT rows('hidden');
SELECT rows('pg_class');
SELECT code, message FROM plank_test.read_snapshot(4294967295, role => 'regress_web');
SELECT code, message FROM plank_test.read_snapshot('items', role => 'regress_nobody');
SELECT code, message FROM plank_test.read_snapshot('items', role => current_user);

-- The table's column is gone before the request comes.
ALTER TABLE items DROP COLUMN "Odd ""name""";
SELECT rows('items', '{id,"Odd \"name\""}');

-- Whatever functions an owner plants, they run as the client's role and change nothing.
CREATE FUNCTION planted(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE EXCEPTION 'run as %, %', current_user, current_setting('transaction_read_only');
END $$;
CREATE TABLE trap (id text);
INSERT INTO trap VALUES ('x');
GRANT SELECT ON trap TO regress_web;
SELECT plank.track('trap', filter => 'snapshot.planted(id)');
SELECT rows('trap');
CREATE OR REPLACE FUNCTION planted(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM set_config('role', 'none', true);
	RETURN true;
END $$;
SELECT rows('trap');

-- Rows larger than queue and batch.
CREATE TABLE large (id int PRIMARY KEY, v text);
GRANT SELECT ON large TO regress_web;
SELECT plank.track('large');
INSERT INTO large SELECT g, repeat('é', g * 1000000) FROM generate_series(1, 3) g;
SELECT count, md5(rows) = (SELECT md5(string_agg(format('{"id":%s,"v":"%s"}', id, v), ',' ORDER BY id)) FROM large)
	FROM plank_test.read_snapshot('large', role => 'regress_web');

-- In order, never more at a time than allowed, and one that fails takes nobody with it.
SELECT plank_test.snapshot_limit(1);
SELECT plank_test.read_snapshots(ARRAY['items', 'events', 'hidden', 'parent', 'large', 'kinds']::regclass[]::oid[], 'regress_web');
SELECT plank_test.snapshot_limit(3);
SELECT split_part(plank_test.read_snapshots(ARRAY['items', 'events', 'hidden', 'parent', 'large', 'kinds']::regclass[]::oid[],
	'regress_web'), ':', 1);

-- Between requests a process holds nothing.
SELECT DISTINCT state, backend_xmin IS NULL AS no_xmin,
	(SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid AND locktype <> 'virtualxid') AS locks
	FROM pg_stat_activity a WHERE backend_type = 'plank snapshot';

-- Without the extension nothing is tracked.
SET client_min_messages = warning;
DROP EXTENSION plank CASCADE;
SELECT rows('items');
DROP EXTENSION plank_test;
ALTER DATABASE regression RESET ALL;
DROP SCHEMA snapshot, contrib CASCADE;
DROP ROLE regress_web;
