-- A role that may create objects where an extension lives plants look-alikes, types whose CHECK runs its code, and casts.
-- Conditions that would use any of them are refused, all others mean what they always meant, and nothing of it runs:
-- whatever runs raises an error that begins with HOSTILE.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE EXTENSION citext SCHEMA public;
CREATE ROLE regress_mallory;
GRANT CREATE ON SCHEMA public TO regress_mallory;
SET ROLE regress_mallory;
CREATE FUNCTION trap() RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE trap'; END $$;
CREATE FUNCTION trap(anyelement) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE trap'; END $$;
CREATE DOMAIN evil AS text;
CREATE DOMAIN bounded AS int CHECK (value < 1000);
CREATE DOMAIN later AS text;
CREATE TYPE evil_part AS (a evil);
CREATE TYPE evil_range AS RANGE (subtype = evil);
CREATE TYPE deep AS (parts evil_part[]);
CREATE TYPE bounded_part AS (a bounded);
CREATE TYPE mood AS ENUM ('sad', 'ok');
-- Better matches than PostgreSQL's and citext's own.
CREATE FUNCTION trap_citext(citext, text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE citext ='; END $$;
CREATE OPERATOR public.= (LEFTARG = citext, RIGHTARG = text, FUNCTION = trap_citext);
CREATE FUNCTION trap_mood(mood, mood) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE mood ='; END $$;
CREATE OPERATOR public.= (LEFTARG = mood, RIGHTARG = mood, FUNCTION = trap_mood);
CREATE FUNCTION lower(mood) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE lower'; END $$;
CREATE FUNCTION length(citext) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE length'; END $$;
CREATE FUNCTION make(text) RETURNS evil_part IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE make'; END $$;
CREATE FUNCTION take(evil_part) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE take'; END $$;
CREATE FUNCTION sql_trap(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT trap()';
CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
CREATE FUNCTION mood_text(mood) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE cast'; END $$;
CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS IMPLICIT;
CREATE DOMAIN public.int4 AS text CHECK (trap());
CREATE COLLATION public."C" FROM "POSIX";
CREATE FUNCTION pg_temp.note(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE temp'; END $$;
CREATE FUNCTION pg_temp.upper(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'HOSTILE temp'; END $$;
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (trap());
RESET ROLE;
CREATE TABLE items (id pg_catalog.int4, name pg_catalog.text, label citext, mood mood, top evil, part evil_part, parts evil_part[], evils evil[], span evil_range, deep deep, bounded bounded_part, later later[], plain bounded[]);
INSERT INTO items VALUES (1, 'a', 'A', 'ok', 'x', ROW('x'), ARRAY[ROW('x')::evil_part], '{x}', '[x,y]', ROW(NULL), ROW(5), '{x}', '{1,2}'), (2, 'B', 'b', 'sad', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
ALTER DOMAIN evil ADD CHECK (trap(value)) NOT VALID;

SET search_path = pg_temp, public, pg_catalog;
SELECT pg_catalog.left(c, 50) || ' -> ' || coalesce(pg_catalog.regexp_replace(plank_test.filter_fault('items', c), E'\n  A filter may.*|(?<=pg_temp)_[0-9]+', '', 'g'), 'taken') FROM unnest(ARRAY[
	'trap()', 'public.trap()', 'public.trap(id)', 'sql_trap(name)', 'pg_temp.note(name)', 'note(name)', 'name === ''a''', 'name OPERATOR(public.===) ''a''', 'name OPERATOR(pg_temp.===) ''a''', 'label = name', 'label = ''a''::text', 'mood = ''ok''', 'lower(mood) = ''ok''', 'length(label) = 1', 'mood || '''' = ''ok''',
	'''x''::evil = name', 'name::evil = ''x''', '''(x)''::evil_part IS NULL', '''{x}''::evil[] IS NULL', '''[x,y]''::evil_range IS NULL', 'ROW(name)::evil_part IS NULL', 'make(name) = ''(x)''', 'make(''x'') IS NULL', 'take(''(x)'')', 'take(ROW(name))', 'part = ''(x)''', '''(x)'' = part', 'part IS NULL', '(part).a = ''x''', 'parts IS NULL', 'evils = ''{x}''', 'span = ''[x,y]''', 'deep IS NULL', 'top = ''x''', 'top IS NULL', '1 = ''x''::public.int4::text::int', 'name = ''x''::public.int4',
	'bounded = ''(5)''::public.bounded_part', '(bounded).a = 5', 'plain = ''{1,2}''', 'plain[1] = 1', '''{2000}''::public.bounded[] = plain', 'later = ''{x}''', 'upper(name) = ''A''', 'id = 1::int4', 'name < ''b'' COLLATE "C"', 'name = ''a''::text', 'label = ''a''', 'label = ''a''::citext', 'lower(name) = ''a''']) c;
SELECT plank_test.filter_mismatches('items', ARRAY['upper(name) = ''A''', 'top IS NULL', 'top = ''x''', 'name < ''b'' COLLATE pg_catalog."C"', 'name = ''a''::pg_catalog.text', 'lower(name) = ''b''', '(bounded).a = 5', 'plain = ''{1,2}''', 'plain[1] = 1', 'later = ''{x}''', 'bounded IS NULL']);
-- citext still means citext.
SELECT filter, op, number FROM plank_test.filter_verdicts('items', ARRAY['label = ''a''', 'label = ''B''::public.citext', 'label IN (''B'', ''c'')']) ORDER BY 1, 2, 3;

-- A check that comes when filters are there already: the next value is not read.
SELECT filter, op, number, failure FROM plank_test.filter_verdicts('items', ARRAY['later = ''{x}''', 'id = 1'], meanwhile => 'ALTER DOMAIN public.later ADD CHECK (public.trap(value)) NOT VALID') ORDER BY 1, 3, 2;

-- A function that was made a member of an extension is nobody's word for its being harmless.
ALTER EXTENSION citext ADD FUNCTION public.trap();
SELECT plank_test.filter_fault('items', 'trap()');
ALTER EXTENSION citext DROP FUNCTION public.trap();
-- What the role may not execute, and a table that it may not read, are out of reach.
CREATE ROLE regress_client;
GRANT SELECT ON items TO regress_client;
SELECT plank_test.filter_fault('items', 'md5(name) = ''x''', 'regress_client');
REVOKE EXECUTE ON FUNCTION pg_catalog.md5(pg_catalog.text) FROM PUBLIC;
SELECT plank_test.filter_fault('items', 'md5(name) = ''x''', 'regress_client');
SELECT plank_test.filter_fault('items', 'md5(''x'') = name', 'regress_client');
GRANT EXECUTE ON FUNCTION pg_catalog.md5(pg_catalog.text) TO PUBLIC;
SELECT current_user = session_user, pg_catalog.current_setting('search_path');

\set VERBOSITY terse
SET search_path = public;
DROP TABLE items;
DROP OWNED BY regress_mallory, regress_client CASCADE;
DROP ROLE regress_mallory, regress_client;
DROP EXTENSION plank_test, citext;
