-- plank.track and plank.untrack: what they make of their arguments, and what they refuse.
CREATE EXTENSION plank;
CREATE SCHEMA track;
SET search_path = track;
CREATE VIEW capture_triggers AS
	SELECT tgrelid::regclass AS relation, tgname AS trigger, tgenabled AS enabled,
		regexp_replace(pg_get_triggerdef(oid), '^CREATE TRIGGER \S+ ', '') AS definition
	FROM pg_trigger WHERE tgfoid = 'plank.capture()'::regprocedure ORDER BY 1, 2;

CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, open boolean NOT NULL DEFAULT true);
SELECT plank.track('items');
SELECT * FROM plank.tracked;
SELECT * FROM capture_triggers;

-- The same again changes nothing.
CREATE TEMP TABLE before AS SELECT oid, xmin::text AS version FROM pg_trigger WHERE tgrelid = 'items'::regclass;
SELECT plank.track('items');
SELECT plank.track('items', events => '{truncate,delete,update,insert}');
SELECT count(*) AS unchanged FROM before JOIN pg_trigger t USING (oid) WHERE t.xmin::text = before.version;

-- Other arguments change what is tracked, whatever it was.
SELECT plank.track('items', '{insert}');
SELECT * FROM plank.tracked;
SELECT plank.track('items', '{update,delete}', '{name}', 'price < 10 AND open', 'items_changed');
SELECT * FROM plank.tracked;
SELECT * FROM capture_triggers;
SELECT plank.track('items', filter => 'open');
SELECT * FROM capture_triggers;
SELECT plank.track('items', '{truncate}');
SELECT * FROM plank.tracked;
SELECT plank.track('items', '{insert,truncate}', filter => 'name = ''x''');
SELECT * FROM capture_triggers;
BEGIN;
SELECT plank.track('items');
ROLLBACK;
SELECT events, filter FROM plank.tracked;

-- Equal filters are equal however they are written, and columns in whatever order.
SELECT plank.track('items', columns => '{price,name}', filter => 'price<10  and items.open');
TRUNCATE before;
INSERT INTO before SELECT oid, xmin::text AS version FROM pg_trigger WHERE tgrelid = 'items'::regclass;
SELECT plank.track('items', columns => '{name,price}', filter => '(((price < 10)) /* cheap */ AND open = true)'), 'differs';
SELECT plank.track('items', columns => '{name,price}', filter => 'price < 10 AND open');
TRUNCATE before;
INSERT INTO before SELECT oid, xmin::text AS version FROM pg_trigger WHERE tgrelid = 'items'::regclass;
SELECT plank.track('items', columns => '{id,price,name}', filter => '(price < 10) -- cheap' || E'\n' || 'AND (open)');
SELECT count(*) AS unchanged FROM before JOIN pg_trigger t USING (oid) WHERE t.xmin::text = before.version;
SELECT columns, filter FROM plank.tracked;

-- A trigger that was disabled or dropped comes back.
ALTER TABLE items DISABLE TRIGGER plank_insert;
DROP TRIGGER plank_delete ON items;
SELECT events, enabled FROM plank.tracked;
SELECT plank.track('items', columns => '{name,price}', filter => 'price < 10 AND open');
SELECT events, enabled FROM plank.tracked;

-- untrack
SELECT plank.untrack('items');
SELECT plank.untrack('items');
SELECT * FROM plank.tracked;
SELECT * FROM capture_triggers;

-- Keys: the primary key unless DEFERRABLE, else the replica identity index, else none.
CREATE TABLE k_none (a int UNIQUE NOT NULL);
CREATE TABLE k_deferrable (a int PRIMARY KEY DEFERRABLE);
CREATE TABLE k_deferrable_identity (a int PRIMARY KEY DEFERRABLE, b int NOT NULL, c int NOT NULL, UNIQUE (c, b));
ALTER TABLE k_deferrable_identity REPLICA IDENTITY USING INDEX k_deferrable_identity_c_b_key;
CREATE TABLE k_both (a int PRIMARY KEY, b int NOT NULL UNIQUE);
ALTER TABLE k_both REPLICA IDENTITY USING INDEX k_both_b_key;
CREATE TABLE k_included (a int, b int, c int, PRIMARY KEY (b, a) INCLUDE (c));
CREATE TABLE k_full (a int);
ALTER TABLE k_full REPLICA IDENTITY FULL;
SELECT plank.track(t) FROM unnest('{k_none,k_deferrable,k_deferrable_identity,k_both,k_included,k_full}'::regclass[]) t;
SELECT relation, key FROM plank.tracked ORDER BY relation::text;
-- Key columns leave the server even when they are not listed.
SELECT plank.track('k_deferrable_identity', columns => '{a}'), plank.track('k_included', columns => '{c}');
SELECT relation, columns FROM plank.tracked WHERE columns IS NOT NULL ORDER BY relation::text;

-- Names of every kind.
CREATE TABLE "Quote""d. Täble, 'x' \" ("k{}" int PRIMARY KEY, "ä,b" text, "NULL" text, "q""\'" text, " " text);
SELECT plank.track('"Quote""d. Täble, ''x'' \"', columns => ARRAY['ä,b', 'NULL', 'q"\''', ' '],
	filter => '"q""\''" <> E''\\''''"'' AND "NULL" IS NULL', notify => 'Ünïcode "ch\annel''');
SELECT * FROM plank.tracked WHERE relation = '"Quote""d. Täble, ''x'' \"'::regclass;
INSERT INTO "Quote""d. Täble, 'x' \" VALUES (1);

-- Refused relations
CREATE VIEW a_view AS SELECT 1 AS id;
CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS id;
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (id int);
CREATE UNLOGGED TABLE an_unlogged_table (id int);
CREATE TEMP TABLE a_temporary_table (id int);
CREATE FOREIGN DATA WRAPPER track_fdw;
CREATE SERVER track_server FOREIGN DATA WRAPPER track_fdw;
CREATE FOREIGN TABLE a_foreign_table (id int) SERVER track_server;
SELECT plank.track('a_view');
SELECT plank.track('a_matview');
SELECT plank.track('a_sequence');
SELECT plank.track('a_type');
SELECT plank.track('items_pkey');
SELECT plank.track('an_unlogged_table');
SELECT plank.track('a_temporary_table');
SELECT plank.track('a_foreign_table');
SELECT plank.track('pg_class');
SELECT plank.track(NULL);
SELECT plank.track(0);
SELECT plank.track('nowhere');
SELECT plank.untrack(NULL);
SELECT plank.untrack('a_view');

-- Refused events, columns, channels
SELECT plank.track('items', NULL);
SELECT plank.track('items', '{}');
SELECT plank.track('items', '{INSERT}');
SELECT plank.track('items', '{upsert}');
SELECT plank.track('items', '{insert,NULL}');
SELECT plank.track('items', '{insert,update,insert}');
SELECT plank.track('items', '{{insert},{update}}');
SELECT plank.track('items', columns => '{}');
SELECT plank.track('items', columns => '{id,NULL}');
SELECT plank.track('items', columns => '{id,colour}');
SELECT plank.track('items', columns => '{id,name,id}');
SELECT plank.track('items', columns => '{ctid}');
SELECT plank.track('items', notify => '');
SELECT plank.track('items', notify => repeat('x', 64));
SELECT plank.track('items', notify => 'plank:mine');

-- Refused filters: anything but one immutable condition over the row
SELECT plank.track('items', filter => '');
SELECT plank.track('items', filter => 'price');
SELECT plank.track('items', filter => 'colour = 1');
SELECT plank.track('items', filter => 'other.id = 1');
SELECT plank.track('items', filter => 'open)');
SELECT plank.track('items', filter => 'open) EXECUTE FUNCTION plank.capture(); DROP TABLE items; --');
SELECT plank.track('items', filter => 'open; DROP TABLE items');
SELECT plank.track('items', filter => 'open, open');
SELECT plank.track('items', filter => 'open AS x');
SELECT plank.track('items', filter => 'open FROM items');
SELECT plank.track('items', filter => 'open ORDER BY 1');
SELECT plank.track('items', filter => 'open LIMIT 1');
SELECT plank.track('items', filter => 'open FOR UPDATE');
SELECT plank.track('items', filter => 'DISTINCT open');
SELECT plank.track('items', filter => 'open UNION SELECT true');
SELECT plank.track('items', filter => '*');
SELECT plank.track('items', filter => 'items.*');
SELECT plank.track('items', filter => '(items).*');
SELECT plank.track('items', filter => '$1');
SELECT plank.track('items', filter => 'EXISTS (SELECT)');
SELECT plank.track('items', filter => 'id = (SELECT 1)');
SELECT plank.track('items', filter => 'count(*) > 1');
SELECT plank.track('items', filter => 'row_number() OVER () > 1');
SELECT plank.track('items', filter => 'generate_series(1, id) > 1');
SELECT plank.track('items', filter => 'random() < 0.5');
SELECT plank.track('items', filter => 'now() > ''2020-01-01''');
SELECT plank.track('items', filter => 'name = current_user');
SELECT plank.track('items', filter => 'ctid = ''(0,1)''');
SELECT plank.track('items', filter => 'tableoid = 1');
SELECT plank.track('items', filter => 'old.open AND new.open');
SELECT plank.track('items', '{truncate}', filter => 'open');
SELECT * FROM plank.tracked WHERE relation = 'items'::regclass;

-- A trigger of that name which is not Plank's stays as it is.
CREATE FUNCTION own_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER plank_update AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION own_trigger();
SELECT plank.track('items');
SELECT plank.track('items', '{insert}');
SELECT events FROM plank.tracked WHERE relation = 'items'::regclass;
SELECT plank.untrack('items');
SELECT tgname, tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'items'::regclass;
DROP TRIGGER plank_update ON items;

-- Arguments that an owner forged are no tracking, and break nobody's view.
CREATE TRIGGER a AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION plank.capture();
CREATE TRIGGER b AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION plank.capture('upsert', '', '');
CREATE TRIGGER c AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION plank.capture('insert', '{', '');
CREATE TRIGGER d AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION plank.capture('insert', '{a,}', '');
CREATE TRIGGER e AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION plank.capture('insert', '', 'plank:x');
CREATE TRIGGER f AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION plank.capture('insert', '', '', '');
SELECT * FROM plank.tracked WHERE relation = 'items'::regclass;
CREATE TRIGGER g AFTER INSERT ON items FOR EACH ROW WHEN (new.id > 1)
	EXECUTE FUNCTION plank.capture('insert', '{name,gone}', 'x');
SELECT * FROM plank.tracked WHERE relation = 'items'::regclass;
SELECT plank._arguments(''), plank._arguments('\x00'), plank._arguments('\x696e73657274000000'), plank._filter(0),
	plank._filter(1);

DROP FOREIGN DATA WRAPPER track_fdw CASCADE;
DROP SCHEMA track CASCADE;
DROP EXTENSION plank;
