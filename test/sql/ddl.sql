-- Tracking follows the table through ALTER and RENAME without a second command.
CREATE EXTENSION plank;
CREATE SCHEMA ddl;
CREATE SCHEMA ddl_other;
SET search_path = ddl;
SET client_min_messages = warning;
CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, note text);
SELECT plank.track('items', columns => '{name,price,note}', filter => 'price < 10');
SELECT * FROM plank.tracked;

-- Columns renamed, even in a circle
ALTER TABLE items RENAME COLUMN name TO "Ti,t""le";
ALTER TABLE items RENAME COLUMN price TO cost;
ALTER TABLE items RENAME COLUMN id TO item_id;
SELECT columns, filter, key FROM plank.tracked;
ALTER TABLE items RENAME COLUMN cost TO x;
ALTER TABLE items RENAME COLUMN note TO cost;
ALTER TABLE items RENAME COLUMN x TO note;
SELECT columns, filter FROM plank.tracked;
INSERT INTO items VALUES (1, 'one', 1, 'note');
BEGIN;
ALTER TABLE items RENAME COLUMN "Ti,t""le" TO gone;
ROLLBACK;
SELECT columns FROM plank.tracked;
SELECT tgname, (plank._arguments(tgargs)).* FROM pg_trigger WHERE tgrelid = 'items'::regclass ORDER BY 1;

-- A dropped column leaves the list; a later one of the same name is not let out.
ALTER TABLE items DROP COLUMN "Ti,t""le";
SELECT columns FROM plank.tracked;
ALTER TABLE items ADD COLUMN "Ti,t""le" text;
SELECT columns FROM plank.tracked;
ALTER TABLE items ADD COLUMN secret text;
ALTER TABLE items DROP COLUMN cost, ADD COLUMN cost text;
ALTER TABLE items RENAME COLUMN secret TO other;
SELECT columns FROM plank.tracked;
-- Also when the column goes with its type.
CREATE DOMAIN short AS text;
ALTER TABLE items ADD COLUMN gone short;
SELECT plank.track('items', columns => '{gone,other}');
DROP DOMAIN short CASCADE;
ALTER TABLE items ADD COLUMN gone text;
SELECT columns FROM plank.tracked;
-- A list can become empty: the key alone is sent.
CREATE TABLE keyless (a int, b int);
SELECT plank.track('keyless', columns => '{a}');
ALTER TABLE keyless DROP COLUMN a;
SELECT columns FROM plank.tracked WHERE relation = 'keyless'::regclass;
INSERT INTO keyless VALUES (1);
DROP TABLE keyless;

-- The table renamed and moved
ALTER TABLE items RENAME TO goods;
ALTER TABLE goods SET SCHEMA ddl_other;
ALTER SCHEMA ddl_other RENAME TO ddl_third;
SELECT relation FROM plank.tracked;
ALTER TABLE ddl_third.goods SET SCHEMA ddl;
ALTER TABLE goods RENAME TO items;

-- The key follows too.
ALTER TABLE items DROP CONSTRAINT items_pkey;
SELECT key FROM plank.tracked;
ALTER TABLE items ADD PRIMARY KEY (item_id, note);
SELECT key FROM plank.tracked;

-- Dropping a column that the filter needs takes CASCADE, and then the table is tracked no more.
SELECT plank.track('items', filter => 'other IS NULL');
\set VERBOSITY terse
SET client_min_messages = notice;
ALTER TABLE items DROP COLUMN other;
ALTER TABLE items DROP COLUMN other CASCADE;
SELECT * FROM plank.tracked;
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid = 'items'::regclass;
-- As when a function of the filter goes.
CREATE FUNCTION is_good(int) RETURNS boolean IMMUTABLE RETURN $1 > 1;
SELECT plank.track('items', filter => 'is_good(item_id)');
SELECT filter FROM plank.tracked;
DROP FUNCTION is_good;
DROP FUNCTION is_good CASCADE;
SELECT * FROM plank.tracked;
-- Changing the type of such a column is refused, as for any trigger.
SELECT plank.track('items', filter => 'item_id > 1');
ALTER TABLE items ALTER COLUMN item_id TYPE bigint;
SELECT plank.track('items');

-- Disabled triggers show.
ALTER TABLE items DISABLE TRIGGER plank_update;
SELECT enabled FROM plank.tracked;
ALTER TABLE items ENABLE TRIGGER plank_update;
SELECT enabled FROM plank.tracked;
ALTER TABLE items ENABLE ALWAYS TRIGGER plank_update;
SELECT enabled FROM plank.tracked;
ALTER TABLE items DISABLE TRIGGER ALL;
SELECT enabled FROM plank.tracked;
SELECT plank.track('items');
SELECT enabled FROM plank.tracked;

-- Renamed triggers are still Plank's, and plank.track puts their names right.
ALTER TRIGGER plank_update ON items RENAME TO mine;
SELECT events FROM plank.tracked;
SELECT plank.track('items');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass AND NOT tgisinternal ORDER BY 1;

-- Owners change; the new one rules.
CREATE ROLE regress_ddl;
GRANT USAGE ON SCHEMA ddl TO regress_ddl;
ALTER TABLE items OWNER TO regress_ddl;
SET ROLE regress_ddl;
SELECT plank.track('items', '{insert}');
SELECT plank.untrack('items');
RESET ROLE;

-- Inheritance: a parent is tracked as ONLY, a child follows the parent's columns.
CREATE TABLE parent (id int PRIMARY KEY, name text);
CREATE TABLE child (extra int) INHERITS (parent);
SELECT plank.track('parent', columns => '{name}'), plank.track('child', columns => '{name,extra}');
ALTER TABLE parent RENAME COLUMN name TO title;
SELECT relation, columns FROM plank.tracked ORDER BY relation::text;
ALTER TABLE parent DROP COLUMN title;
SELECT relation, columns FROM plank.tracked ORDER BY relation::text;

-- Gone with the table
DROP TABLE parent CASCADE;
SELECT * FROM plank.tracked;
-- DDL elsewhere, in the same words, is left alone.
CREATE TEMP TABLE items (id int, name text);
ALTER TABLE pg_temp.items RENAME COLUMN name TO title;
ALTER TABLE IF EXISTS nowhere ADD COLUMN a int;
ALTER TABLE IF EXISTS nowhere RENAME COLUMN a TO b;
ALTER TABLE nowhere ADD COLUMN a int;
TRUNCATE nowhere;
DROP TABLE pg_temp.items;

SET client_min_messages = warning;
DROP SCHEMA ddl, ddl_third CASCADE;
DROP ROLE regress_ddl;
DROP EXTENSION plank;
