-- Values of types that did not come with PostgreSQL: printed as to_jsonb prints them, by their output function or their
-- cast to json. A function that fails costs a null and one warning, never the writer's statement.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE SCHEMA contrib;
CREATE EXTENSION citext SCHEMA contrib;
CREATE EXTENSION cube SCHEMA contrib;
CREATE EXTENSION hstore SCHEMA contrib;
CREATE EXTENSION isn SCHEMA contrib;
CREATE EXTENSION ltree SCHEMA contrib;
CREATE EXTENSION seg SCHEMA contrib;
SET search_path = public, contrib;
SET extra_float_digits = -15;
SET DateStyle = 'SQL, DMY';

CREATE TYPE word_range AS RANGE (subtype = citext);
CREATE TYPE cube_range AS RANGE (subtype = cube);
CREATE DOMAIN attributes AS hstore;
SELECT m FROM (SELECT plank_test.mismatch_of(replace(pattern, '@', e)) AS m FROM unnest(ARRAY[
	'''Case "Kept"''::citext', 'repeat(''é'', 5000)::citext', '''(0.1,1e-7),(3,4)''::cube', '''978-0-393-04002-9''::isbn13',
	'''a.b.c''::ltree', '''*.a{1,2}''::lquery', '''1.5 .. 2.5''::seg', '''a=>1, "b \"q\""=>NULL, c=>"é"''::hstore', '''''::hstore',
	'''a=>1''::attributes', 'word_range(''a'', ''B'')', 'cube_range(''(1)'', ''(2)'')', 'word_multirange(word_range(''a'', ''b''))'
]) e, (VALUES ('@'), ('ARRAY[@, NULL, @]'), ('ROW(@, ARRAY[@])')) AS p (pattern)) c WHERE m IS NOT NULL;
SELECT plank_test.value_json('a=>1, b=>NULL'::hstore), plank_test.value_json('(0.1,1e-7)'::cube),
	plank_test.value_json('A"b'::citext);

-- Casts to json written in SQL and PL/pgSQL.
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE odd AS RANGE (subtype = int4);
CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE sql AS $$ SELECT json_build_object('mood', $1::text, 'at', '2000-12-31'::date) $$;
CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
CREATE FUNCTION odd_json(odd) RETURNS json LANGUAGE plpgsql SET DateStyle = 'German' AS $$
BEGIN
	CASE lower($1)
		WHEN 1 THEN RAISE EXCEPTION 'no odd today' USING ERRCODE = 'P0042';
		WHEN 2 THEN RETURN NULL;
		WHEN 3 THEN RETURN 1 / 0;
		WHEN 4 THEN PERFORM set_config('search_path', 'public', false), set_config('TimeZone', 'Asia/Tokyo', true);
			RAISE EXCEPTION 'after settings';
		WHEN 5 THEN INSERT INTO public.written VALUES (5);
		WHEN 6 THEN INSERT INTO public.written VALUES (6); RAISE EXCEPTION 'after a write';
		WHEN 7 THEN PERFORM pg_sleep(60);
		ELSE NULL;
	END CASE;
	RETURN json_build_object('odd', lower($1), 'day', '2000-12-31'::date, 'path', current_setting('search_path'));
END $$;
CREATE CAST (odd AS json) WITH FUNCTION odd_json(odd);
SELECT m FROM unnest(ARRAY['''ok''::mood', 'ARRAY[''ok''::mood, NULL]', 'odd(9, 10)', 'ARRAY[odd(9, 10), NULL]']) e, plank_test.mismatch_of(e) m
WHERE m IS NOT NULL;

-- Failures.
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE TABLE public.written (a int);
CREATE FUNCTION sent(odd) RETURNS text LANGUAGE sql AS 'SELECT plank_test.value_json($1)';
BEGIN;
INSERT INTO written VALUES (1);
\set VERBOSITY default
SELECT plank_test.value_json(odd(1, 10));
SELECT plank_test.value_json(odd(n, 10)) FROM generate_series(1, 4) n;
SELECT plank_test.value_json(ARRAY[odd(1, 10), odd(8, 10), odd(3, 10)]);
SELECT plank_test.value_json(ROW('2000-12-31 00:00+00'::timestamptz, odd(4, 10), '2000-12-31 00:00+00'::timestamptz, odd(9, 10),
	'2000-12-31'::date));
SELECT plank_test.value_json(odd(5, 10)) IS NOT NULL;
SELECT plank_test.value_json(odd(6, 10));
SELECT current_setting('search_path'), current_setting('DateStyle'), current_setting('TimeZone') = 'Asia/Tokyo', '2000-12-31'::date;
INSERT INTO written VALUES (2);
COMMIT;
SELECT string_agg(a::text, ' ' ORDER BY a) FROM written;

-- A cancel passes through.
BEGIN;
SAVEPOINT here;
SET LOCAL statement_timeout = '200ms';
SELECT plank_test.value_json(odd(7, 10));
ROLLBACK TO here;
SELECT '2000-12-31'::date, plank_test.value_json(odd(8, 10));
ROLLBACK;

-- Bytes that are not valid text: "char" can hold any before PostgreSQL 16, and so can what is made of it.
SELECT plank_test.value_json(('\' || n)::"char") IN ('"' || U&'\FFFD' || '"', '"\\' || n || '"') FROM (VALUES ('377'), ('200')) v (n);
SELECT plank_test.value_json(to_jsonb('\377'::"char")) IN ('"' || U&'\FFFD' || '"', '"\\377"');
SELECT plank_test.value_json(ROW('\377'::"char", 'é')) IN ('{"f1":"' || U&'\FFFD' || '","f2":"é"}', '{"f1":"\\377","f2":"é"}');

-- A composite that changes while a session prints it.
CREATE TYPE grows AS (a int8, b text);
CREATE TABLE growing (c grows, d grows[]);
INSERT INTO growing SELECT ROW(1, 'x')::grows, ARRAY[ROW(2, 'y')::grows] FROM generate_series(1, 3);
BEGIN;
DECLARE printing CURSOR FOR SELECT replace(plank_test.value_json(c) || plank_test.value_json(d), E'\x01', '|') FROM growing;
FETCH printing;
ALTER TYPE grows ADD ATTRIBUTE c numeric;
FETCH printing;
ALTER TYPE grows RENAME ATTRIBUTE b TO "B";
FETCH printing;
COMMIT;
CREATE TYPE plain AS (a text);
SELECT plank_test.numbers(ROW('x')::plain), plank_test.numbers(ARRAY[ROW('x')::plain]);

-- An enum whose labels change, and a row type of a table with columns added after its rows.
CREATE TYPE size AS ENUM ('s', 'm');
CREATE TABLE sized (s size, r int);
INSERT INTO sized VALUES ('s', 1), ('m', 2), ('m', 3);
BEGIN;
DECLARE printing CURSOR FOR SELECT plank_test.value_json(s) FROM sized;
FETCH printing;
ALTER TYPE size RENAME VALUE 'm' TO 'middle "m"';
FETCH printing;
COMMIT;
ALTER TABLE sized ADD extra numeric DEFAULT 1.50, ADD more text;
SELECT plank_test.mismatch(sized) FROM sized WHERE plank_test.mismatch(sized) IS NOT NULL;
SELECT plank_test.value_json(sized) = replace('{"s":"s","r":1,"extra":@1.50@,"more":null}', '@', E'\x01') FROM sized WHERE r = 1;

\set VERBOSITY terse
RESET search_path;
DROP TABLE public.written, public.growing, public.sized;
DROP FUNCTION public.sent(public.odd);
DROP CAST (public.mood AS json);
DROP CAST (public.odd AS json);
DROP FUNCTION public.mood_json(public.mood), public.odd_json(public.odd);
DROP TYPE public.mood, public.odd, public.word_range, public.cube_range, public.grows, public.plain, public.size;
DROP DOMAIN public.attributes;
DROP SCHEMA contrib CASCADE;
DROP EXTENSION plank_test;
