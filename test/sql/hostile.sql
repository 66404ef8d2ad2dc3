-- A hostile role plants look-alikes in front of everything a superuser's call could resolve by name. None of them runs:
-- each raises an error that begins with HOSTILE.
CREATE EXTENSION plank;
CREATE ROLE regress_mallory;
CREATE SCHEMA hostile AUTHORIZATION regress_mallory;
CREATE TABLE public.hostile_items (id int PRIMARY KEY, name text, price numeric);

SET ROLE regress_mallory;
SET search_path = hostile, pg_catalog;
CREATE FUNCTION trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE trap'; END $$;
CREATE FUNCTION trap_text(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE ='; END $$;
CREATE FUNCTION trap_oid(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE oid ='; END $$;
CREATE FUNCTION trap_name(name, name) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE name ='; END $$;
CREATE FUNCTION trap_char("char", "char") RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE char ='; END $$;
CREATE FUNCTION trap_int2(int2, int2) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE int2 ='; END $$;
CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = trap_text);
CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap_oid);
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = name, FUNCTION = trap_name);
CREATE OPERATOR = (LEFTARG = "char", RIGHTARG = "char", FUNCTION = trap_char);
CREATE OPERATOR <> (LEFTARG = "char", RIGHTARG = "char", FUNCTION = trap_char);
CREATE OPERATOR = (LEFTARG = int2, RIGHTARG = int2, FUNCTION = trap_int2);
CREATE OPERATOR > (LEFTARG = int2, RIGHTARG = int2, FUNCTION = trap_int2);
CREATE FUNCTION array_remove(text[], text) RETURNS text[] LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE array_remove'; END $$;
CREATE FUNCTION unnest(int2[]) RETURNS SETOF int2 LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE unnest'; END $$;
CREATE FUNCTION octet_length(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE octet_length'; END $$;
CREATE FUNCTION starts_with(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE starts_with'; END $$;
CREATE FUNCTION capture() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE capture'; END $$;
CREATE TABLE channel (channel text, role regrole);
CREATE TABLE pg_trigger (tgname name);
CREATE TABLE hostile_items (id int);
CREATE DOMAIN name AS text CHECK (trap());
CREATE DOMAIN regclass AS text CHECK (trap());
CREATE DOMAIN regrole AS text CHECK (trap());
CREATE DOMAIN jsonb AS text CHECK (trap());
RESET ROLE;
SELECT 'a'::text = 'a'::text;

-- The superuser's calls, with that search_path.
SHOW search_path;
SELECT plank.track('public.hostile_items', columns => '{name}');
SELECT * FROM plank.tracked;
SELECT plank.track('public.hostile_items', columns => '{name,price}');
SELECT plank.track('public.hostile_items', notify => 'x');
SELECT plank.expose('jobs');
SELECT plank.expose('jobs', 'regress_mallory');
SELECT plank.send('jobs', '{}');
SELECT plank.unexpose('jobs');
INSERT INTO public.hostile_items VALUES (1, 'one', 1);
UPDATE public.hostile_items SET price = 2;
ALTER TABLE public.hostile_items RENAME COLUMN name TO title;
ALTER TABLE public.hostile_items DROP COLUMN title;
ALTER TABLE public.hostile_items ADD COLUMN name text DEFAULT 'x';
TRUNCATE public.hostile_items;
SELECT plank.untrack('public.hostile_items');
SELECT * FROM hostile.channel;

-- Names in a filter are the caller's own; once resolved they stay what they were, whoever reads them later.
SELECT plank.track('public.hostile_items', filter => 'name = ''x''');
SET search_path = public;
SELECT plank.track('hostile_items', filter => 'name = ''x''');
SET search_path = hostile, pg_catalog;
SELECT filter FROM plank.tracked;
INSERT INTO public.hostile_items VALUES (2, 1, 'x');
SELECT plank.track('public.hostile_items', filter => 'name OPERATOR(pg_catalog.=) ''x''');
INSERT INTO public.hostile_items VALUES (3, 1, 'x');
DROP TABLE public.hostile_items;

-- Installing with that search_path, and after planting in the schema itself.
DROP EXTENSION plank;
CREATE EXTENSION plank;
SELECT plank.expose('jobs');
SELECT * FROM plank.channel;
DROP EXTENSION plank;
CREATE SCHEMA plank;
GRANT ALL ON SCHEMA plank TO regress_mallory;
SET ROLE regress_mallory;
CREATE FUNCTION plank.capture() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE capture'; END $$;
RESET ROLE;
SET search_path = public;
\set SHOW_CONTEXT never
CREATE EXTENSION plank;
DROP SCHEMA plank CASCADE;

SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
DROP ROLE regress_mallory;
