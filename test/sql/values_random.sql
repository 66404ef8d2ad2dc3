-- Random values of many types print as to_jsonb prints them. On a difference the seed is printed; run it again with
-- PGOPTIONS="-c plank_test.seed=<seed>".
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE SCHEMA random_values;
SET search_path = random_values, public;
SET TimeZone = 'America/St_Johns';
SET DateStyle = 'German';
SET extra_float_digits = -10;
SET bytea_output = 'escape';
SET IntervalStyle = 'sql_standard';

SELECT coalesce(nullif(current_setting('plank_test.seed', true), ''), trunc(extract(epoch FROM clock_timestamp()) * 1000 % 1000000)::text)
	AS seed \gset
SELECT setseed(:seed / 1000000.0) IS NOT NULL;

CREATE FUNCTION whole(low float8, high float8) RETURNS int8 LANGUAGE sql VOLATILE AS
	$$ SELECT floor(low + random() * (high - low))::int8 $$;
-- Of any length up to `longest`, rarely long; from characters that JSON, UTF-8 or the copying loop treats differently.
CREATE FUNCTION random_text(longest int) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(string_agg(CASE whole(0, 24)
		WHEN 0 THEN '"' WHEN 1 THEN '\' WHEN 2 THEN chr(whole(1, 32)::int) WHEN 3 THEN chr(whole(127, 2047)::int)
		WHEN 4 THEN chr(whole(2048, 55295)::int) WHEN 5 THEN chr(whole(65536, 1114111)::int)
		WHEN 6 THEN repeat(chr(whole(97, 122)::int), whole(0, 40)::int)
		ELSE chr(whole(32, 126)::int) END, ''), '')
	FROM generate_series(1, (longest * random() ^ 3)::int) $$;
CREATE FUNCTION random_numeric() RETURNS numeric LANGUAGE sql VOLATILE AS $$
	SELECT ((CASE WHEN random() < 0.5 THEN '-' ELSE '' END)
		|| (SELECT string_agg(whole(0, 10)::text, '') FROM generate_series(0, (60 * random() ^ 3)::int))
		|| (CASE WHEN random() < 0.6 THEN '.' || (SELECT string_agg(whole(0, 10)::text, '') FROM generate_series(0, (40 * random() ^ 3)::int)) ELSE '' END)
	)::numeric $$;
CREATE FUNCTION random_int8() RETURNS int8 LANGUAGE sql VOLATILE AS
	$$ SELECT (whole(-2147483648, 2147483648) << 32 | whole(0, 4294967296)) >> whole(0, 64)::int $$;
CREATE FUNCTION random_float() RETURNS float8 LANGUAGE sql VOLATILE AS $$
	SELECT CASE whole(0, 4)
		WHEN 0 THEN whole(-1000000, 1000000) / 1000.0
		WHEN 1 THEN whole(-1e15, 1e15)
		WHEN 2 THEN (random() - 0.5) * 10 ^ whole(-20, 25)
		ELSE (random() - 0.5) * 10 ^ whole(-300, 300) END $$;
CREATE FUNCTION random_timestamp() RETURNS timestamp LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN random() < 0.7 THEN '0001-01-01'::timestamp + whole(0, 315537897599e6) * '1 microsecond'::interval
		ELSE '4713-01-01 BC'::timestamp + whole(0, 9e12) * '1 second'::interval END $$;
CREATE FUNCTION random_json() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_build_object(random_text(10), random_text(40), random_text(10), random_numeric(), 'a',
		jsonb_build_array(random_float(), NULL, random() < 0.5, jsonb_build_object(random_text(4), random_text(4)))) $$;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'é "x"');
CREATE TYPE part AS (a int8, "b""" text, c numeric[], d timestamptz);
CREATE DOMAIN word AS varchar(200);
CREATE TABLE sample AS SELECT
	random() < 0.5 AS a_bool, whole(-32768, 32768)::int2 AS a_int2, whole(-2147483648, 2147483648)::int4 AS a_int4, random_int8() AS an_int8,
	(CASE WHEN random() < 0.5 THEN random() ELSE 1e6 END * 10 ^ whole(-30, 30))::float4 AS a_float4, random_float() AS a_float8, random_numeric() AS a_numeric,
	(random_int8()::numeric / 100 / (10 ^ whole(0, 15))::numeric)::money AS a_money, random_text(30) AS a_text, random_text(3000) AS a_long_text,
	left(random_text(100), 200)::word AS a_word, left(random_text(30), 20)::char(40) AS a_char, random_text(30)::name AS a_name,
	convert_to(random_text(300), 'UTF8') AS a_bytea, random_json() AS a_jsonb, md5(random()::text)::uuid AS a_uuid,
	CASE WHEN random() < 0.7 THEN '0001-01-01'::date + whole(0, 3652059)::int ELSE '4713-01-01 BC'::date + whole(0, 2147483493)::int END AS a_date,
	'00:00'::time + whole(0, 86400e6) * '1 microsecond'::interval AS a_time,
	(('00:00'::time + whole(0, 86400) * '1 second'::interval)::text || '+' || lpad(whole(0, 15)::text, 2, '0') || ':30')::timetz AS a_timetz,
	random_timestamp() AS a_timestamp, random_timestamp()::timestamptz AS a_timestamptz,
	make_interval(whole(-1000, 1000)::int, whole(-30, 30)::int, 0, whole(-1000, 1000)::int, 0, 0, whole(-1e12, 1e12) / 1e6) AS an_interval,
	('0.0.0.0'::inet + whole(0, 4294967295)) AS an_inet, whole(0, 4294967296)::oid AS an_oid,
	point(random_float(), random_float()) AS a_point, whole(0, 65536)::int::bit(16)::varbit AS a_varbit,
	to_tsvector('simple', random_text(60)) AS a_tsvector, (enum_range(NULL::mood))[whole(1, 4)] AS a_mood,
	int8range(least(x, y), greatest(x, y)) AS a_range, ARRAY[random_int8(), NULL, random_int8()] AS int8s,
	ARRAY[[random_text(20), NULL], [random_text(20), random_text(100)]] AS texts, ARRAY[random_float(), random_float()] AS floats,
	ROW(random_int8(), random_text(20), ARRAY[random_numeric(), 'NaN'], random_timestamp())::part AS a_part,
	ARRAY[ROW(random_int8(), NULL, '{}', NULL)::part, NULL] AS parts
FROM generate_series(1, 500) g, LATERAL (SELECT random_int8() + g * 0 AS x, random_int8() + g * 0 AS y) r;

CREATE FUNCTION differences(seed int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	attribute name;
BEGIN
	FOR attribute IN SELECT attname FROM pg_attribute WHERE attrelid = 'sample'::regclass AND attnum > 0 ORDER BY attnum LOOP
		RETURN QUERY EXECUTE format('SELECT %L || plank_test.mismatch(%I) FROM sample WHERE plank_test.mismatch(%2$I) IS NOT NULL LIMIT 3',
			format('seed %s, %s: ', seed, attribute), attribute);
	END LOOP;
	RETURN QUERY SELECT format('seed %s, row: %s', seed, plank_test.mismatch(sample)) FROM sample WHERE plank_test.mismatch(sample) IS NOT NULL LIMIT 3;
END $$;
SELECT count(*), count(DISTINCT a_text) > 300, count(DISTINCT a_timestamp) > 400, count(DISTINCT an_int8) > 300 FROM sample;
SELECT differences(:seed);

\set VERBOSITY terse
DROP SCHEMA random_values CASCADE;
DROP EXTENSION plank_test;
