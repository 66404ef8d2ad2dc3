-- Random conditions over random rows: the worker judges every row's insert, update and delete as PostgreSQL itself does.
-- Equality takes the index, everything else the executor, conjunctions both. On a difference the seed is printed; run it
-- again with PGOPTIONS="-c plank_test.seed=<seed>".
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE EXTENSION ltree;
CREATE SCHEMA random_filters;
SET search_path = random_filters, public;
SELECT coalesce(nullif(current_setting('plank_test.seed', true), ''), trunc(extract(epoch FROM clock_timestamp()) * 1000 % 1000000)::text)
	AS seed \gset
SELECT setseed(:seed / 1000000.0) IS NOT NULL;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE part AS (a int, b text);
CREATE DOMAIN code AS varchar(10) CHECK (value <> '');
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION german (provider = icu, locale = 'de');
CREATE FUNCTION whole(low int, high int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(low + random() * (high - low + 1))::int $$;
CREATE FUNCTION one_of(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT choices[whole(1, cardinality(choices))] $$;
CREATE FUNCTION one_from(choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT choices[whole(1, cardinality(choices))] $$;

-- Few values, so that conditions hold now and then, and those that look different and are equal.
CREATE TABLE kind (number int PRIMARY KEY, column_name text, type text, choices text[]);
INSERT INTO kind SELECT row_number() OVER (), * FROM (VALUES
	('a_bool', 'bool', ARRAY['true', 'false']), ('an_int2', 'int2', ARRAY['-1', '0', '1', '2', '32767']), ('an_int4', 'int4', ARRAY['-1', '0', '1', '2', '2147483647']),
	('an_int8', 'int8', ARRAY['-1', '0', '1', '2', '2147483647', '9223372036854775807']), ('a_float4', 'float4', ARRAY['0', '-0', '1', '0.1', 'NaN', 'Infinity']),
	('a_float8', 'float8', ARRAY['0', '-0', '1', '0.1', 'NaN', '1e300']), ('a_numeric', 'numeric', ARRAY['0', '0.0', '1', '1.00', '0.1', 'NaN', '1e50']),
	('a_money', 'money', ARRAY['$1.00', '-$1.00', '$1,000,000.00']), ('a_text', 'text', ARRAY['', 'a', 'A', 'a ', 'ä', 'b', 'it''s "x"\y']), ('a_varchar', 'varchar', ARRAY['', 'a', 'A', 'a ', 'b']),
	('a_char', 'char(5)', ARRAY['', 'a', 'A', 'b']), ('a_name', 'name', ARRAY['a', 'A', 'b']), ('a_byte', '"char"', ARRAY['a', '', 'b']),
	('a_loose', 'text COLLATE loose', ARRAY['a', 'A', 'ä', 'Ä', 'b']), ('a_german', 'text COLLATE german', ARRAY['a', 'A', 'ä', 'z']), ('a_c', 'text COLLATE "C"', ARRAY['a', 'A', 'ä', 'z']),
	('a_citext', 'citext', ARRAY['a', 'A', 'b', 'Ä', 'ä']), ('a_code', 'random_filters.code', ARRAY['a', 'A', 'b']), ('a_mood', 'random_filters.mood', ARRAY['sad', 'ok', 'happy']),
	('a_date', 'date', ARRAY['2000-01-01', '2020-02-29', 'infinity', '0001-01-01 BC']), ('a_time', 'time', ARRAY['00:00', '12:30', '24:00']), ('a_timetz', 'timetz', ARRAY['12:30+00', '13:30+01', '12:30+01']),
	('a_timestamp', 'timestamp', ARRAY['2000-01-01', '2000-01-01 12:00:00.000001', '-infinity']), ('a_timestamptz', 'timestamptz', ARRAY['2000-01-01 00:00', '2000-01-01 01:00+01', '2000-01-01 00:00+01', 'infinity']),
	('an_interval', 'interval', ARRAY['1 month', '30 days', '720:00', '-1 day']), ('a_uuid', 'uuid', ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000']),
	('a_bytea', 'bytea', ARRAY['', '\x00', '\xff', 'a']), ('an_inet', 'inet', ARRAY['10.0.0.1', '10.0.0.1/24', '::1', '10.0.0.0/8']), ('a_cidr', 'cidr', ARRAY['10.0.0.0/8', '10.0.0.0/24']), ('a_macaddr', 'macaddr', ARRAY['08:00:2b:01:02:03', '00:00:00:00:00:00']),
	('a_varbit', 'varbit', ARRAY['', '1', '10']), ('a_jsonb', 'jsonb', ARRAY['1', '1.0', '{"a": 1}', '{"a": [1, {"b": null}]}', 'null', '"a"']), ('ints', 'int[]', ARRAY['{}', '{1,2}', '[0:1]={1,2}', '{1,NULL}', '{{1,2},{3,4}}']),
	('texts', 'text[]', ARRAY['{}', '{a,b}', '{A}', '{NULL,""}']), ('a_range', 'int4range', ARRAY['empty', '[1,5)', '[1,4]', '(,2)']), ('a_numrange', 'numrange', ARRAY['[1,2]', '[1.0,2.00]', '[1,2)']), ('a_tstzrange', 'tstzrange', ARRAY['[2000-01-01 00:00,)', '["2000-01-01 01:00+01",)']),
	('a_part', 'random_filters.part', ARRAY['(1,a)', '(1,)', '(2,a)']), ('an_hstore', 'hstore', ARRAY['a=>1', 'a=>NULL', '', 'a=>1,b=>2']), ('an_ltree', 'ltree', ARRAY['a', 'a.b', 'a.c', '']), ('an_oid', 'oid', ARRAY['0', '1', '4294967295']), ('a_class', 'regclass', ARRAY['1259', '1247']),
	('a_lsn', 'pg_lsn', ARRAY['0/0', '0/1']), ('a_tsvector', 'tsvector', ARRAY['''a'' ''b''', '''a'':1', ''])) AS k;

SELECT format('CREATE TABLE sample (%s)', string_agg(column_name || ' ' || type, ', ' ORDER BY number)) FROM kind \gexec
CREATE FUNCTION fill(rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. rows LOOP
		-- Each row is the one before it with some columns changed.
		EXECUTE (SELECT format('INSERT INTO sample SELECT %s FROM (SELECT 1) one LEFT JOIN (SELECT * FROM sample ORDER BY ctid DESC LIMIT 1) s ON true',
			string_agg(CASE WHEN random() < 0.5 AND i > 1 THEN 's.' || column_name WHEN random() < 0.15 THEN 'NULL' ELSE format('%L::%s', one_from(choices), type) END, ', ' ORDER BY number)) FROM kind);
	END LOOP;
END $$;
SELECT fill(150);

-- A condition over one column.
CREATE FUNCTION simple() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	chosen int := whole(1, (SELECT max(number) FROM kind));
	k kind := (SELECT kind FROM kind WHERE number = chosen);
	-- A composite's literal needs its type: PostgreSQL compares records.
	cast_to text := CASE k.column_name WHEN 'a_part' THEN '::random_filters.part' ELSE '' END;
	x text := quote_literal(one_from(k.choices)) || cast_to;
	y text := quote_literal(one_from(k.choices)) || cast_to;
	plain text := split_part(k.type, ' ', 1);
BEGIN
	CASE whole(0, 9)
		WHEN 0, 1 THEN RETURN format('%s = %s', k.column_name, x);
		WHEN 2 THEN RETURN format('%s IN (%s, %s%s)', k.column_name, x, y, CASE WHEN random() < 0.2 THEN ', NULL' ELSE '' END);
		WHEN 3 THEN RETURN format('%s = %s OR %1$s = %s', k.column_name, x, y);
		WHEN 4 THEN RETURN format('%s::%s = %s', x, plain, k.column_name);
		WHEN 5 THEN RETURN format(one_of('%s IS NULL', '%s IS NOT NULL', '%s IS DISTINCT FROM %s', '%s <> %s', 'NOT (%s = %s)'), k.column_name, x);
		WHEN 6 THEN IF k.type LIKE '%[]' THEN RETURN format('%s IN (%s)', k.column_name, x); END IF;
			RETURN format('%s = ANY (ARRAY[%s, %s]::%s[])', k.column_name, x, y, plain);
		WHEN 7 THEN RETURN format(one_of('coalesce(%s, %s) = %2$s', 'CASE WHEN %s IS NULL THEN true ELSE %1$s = %s END', 'nullif(%s, %s) IS NULL'), k.column_name, x);
		ELSE IF k.column_name IN ('a_bool', 'a_class', 'an_hstore') THEN RETURN format('%s = %s', k.column_name, x); END IF;
			RETURN format(one_of('%s < %s', '%s >= %s', '%s BETWEEN %s AND %s', '%s > %s', 'greatest(%s, %s) = %1$s'), k.column_name, x, y);
	END CASE;
END $$;
-- What only some types have.
CREATE FUNCTION special() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT one_from(ARRAY[
	'an_int8 = an_int4', 'an_int8 = 1::int2', 'an_int4 = 1::int8', '2147483647 = an_int8', 'an_int2 = 1', 'an_int2 IN (1::int8, 2)', 'a_float4 = 0.1::float8', 'a_float8 = 1::float4', 'an_int4 = 1.0', 'an_int4 = ALL (''{1,2}'')', 'an_int4 = ALL (''{}'')', 'a_text <> ALL (''{a,b}'')', 'a_numeric = 1', 'a_numeric = 1.000', 'scale(a_numeric) = 2', 'a_numeric % 2 = 1',
	'abs(an_int4) = 1', 'an_int4 & 1 = 1', 'a_float8::text = ''-0''', 'a_float8 / 2 > 0.04', 'sqrt(abs(a_float8)) < 1', 'a_money > ''$10.00''', 'a_money * 2 = ''$2.00''',
	'lower(a_text) = ''a''', 'a_text LIKE ''a%''', 'a_text ILIKE ''A%''', 'a_text ~ ''^[a-c]$''', 'a_text || a_varchar = ''aa''', 'length(a_char) = 1', 'a_char = ''a ''', 'a_char::text = ''a''', 'a_varchar = ''a''::text', 'a_name = ''a''::text', 'a_name::text = a_text', 'upper(a_text) = ''Ä''', 'substring(a_text, 1, 1) = ''a''', 'a_text COLLATE "C" < ''b''', 'a_loose = ''A''', 'a_loose = a_german COLLATE "C"', 'a_loose IN (''A'', ''Ä'')', 'a_german < ''b''', 'a_german > a_c COLLATE "de-x-icu"', 'a_text SIMILAR TO ''(a|b)''', 'starts_with(a_text, ''a'')', 'a_text = E''it\''s "x"\\y''', 'char_length(a_text) BETWEEN 1 AND 2', 'a_text < a_varchar',
	'a_citext = ''A''', 'a_citext = ''a''::citext', 'a_citext = a_text::citext', 'a_citext LIKE ''A%''', 'a_citext <> ''Ä''', 'a_citext::text = ''A''', 'a_code = ''a''', 'a_mood > ''sad''', 'a_mood IN (''ok'', ''happy'')', 'a_mood BETWEEN ''sad'' AND ''ok''',
	'a_date > ''2000-01-01''', 'a_date + 1 = ''2000-01-02''', 'extract(year FROM a_date) = 2020', 'isfinite(a_date)', 'a_timestamptz = ''2000-01-01 00:00+00''', 'a_timestamptz < ''2000-01-01 01:00 Europe/Berlin''', 'a_timestamp::date = ''2000-01-01''', 'a_timestamp = ''2000-01-01''::timestamp', 'a_timestamp < a_date', 'a_timestamp + ''1 day''::interval > ''2000-01-02''', 'a_timestamptz AT TIME ZONE ''UTC'' = ''2000-01-01''', 'an_interval = ''1 month''', 'an_interval = ''720 hours''', 'justify_days(an_interval) = ''1 month''', 'an_interval > ''00:00''', 'a_timetz = ''12:30+00''', 'a_timetz > ''12:00+00''', 'date_trunc(''year'', a_timestamp) = ''2000-01-01''',
	'an_inet << ''10.0.0.0/8''', 'a_cidr >>= an_inet', 'host(an_inet) = ''10.0.0.1''', 'an_inet = ''10.0.0.1''::cidr', 'a_bytea || ''\x00'' = ''\x0000''', 'length(a_varbit) = 1', 'get_bit(a_varbit || B''1'', 0) = 1',
	'a_jsonb = ''1''', 'a_jsonb @> ''{"a": 1}''', 'a_jsonb ? ''a''', 'a_jsonb ->> ''a'' = ''1''', 'a_jsonb -> ''a'' -> 1 ->> ''b'' IS NULL', 'a_jsonb[''a''] = ''1''', 'jsonb_typeof(a_jsonb) = ''object''', 'a_jsonb @? ''$.a[*] ? (@ == 1)''', 'a_jsonb #> ''{a,0}'' = ''1''', 'a_jsonb = ''null''', 'a_jsonb::text = ''1.0''', 'jsonb_path_exists(a_jsonb, ''$.a'')',
	'ints[1] = 1', 'ints[0] = 1', 'ints @> ARRAY[1]', '1 = ANY (ints)', '3 <> ALL (ints)', 'an_int4 = ANY (ints)', 'ints && ''{2,3}''', 'ints = ''{1,2}''', 'array_lower(ints, 1) = 0', 'array_length(ints, 1) = 2', 'ints[1:2] = ''{1,2}''', 'ints::int8[] = ''{1,2}''', 'texts = ''{a,b}''', '''a'' = ANY (texts)', 'texts[1] IS NULL', 'cardinality(texts) = 0', 'ARRAY[an_int4, an_int2] = ARRAY[1, 1]',
	'a_range @> 1', 'a_range && ''[2,3)''', 'a_range = ''[1,4]''', 'isempty(a_range)', 'upper(a_range) = 5', 'a_numrange = ''[1,2]''', 'a_numrange @> 2.0', 'a_tstzrange @> ''2001-01-01 00:00+00''::timestamptz', 'lower_inf(a_range)',
	'(a_part).a = 1', 'a_part = ''(1,a)''::random_filters.part', '(a_part).b IS NULL', 'a_part IS NULL', 'a_part < ROW(2, '''')::random_filters.part', 'ROW(an_int4, a_text) = ROW(1, ''a'')', '(an_int4, an_int2) < (1, 2)', '(an_int4, an_int2) IN ((1, 1), (2, 2))',
	'an_hstore -> ''a'' = ''1''', 'an_hstore ? ''b''', 'an_hstore = ''a=>1''', 'an_hstore @> ''a=>1''', 'an_ltree <@ ''a''', 'an_ltree = ''a.b''', 'an_ltree ~ ''a.*''', 'nlevel(an_ltree) > 1', 'an_oid = 1', 'a_class = 1259', 'an_oid = a_class', 'a_lsn > ''0/0''', 'a_tsvector @@ ''a''', 'a_tsvector @@ to_tsquery(''english'', ''a'')', 'to_tsvector(''simple'', a_text) @@ ''a''::tsquery', 'a_uuid = ''00000000-0000-0000-0000-000000000000''', 'a_byte = ''a''', 'a_byte = ''''', 'num_nulls(a_text, an_int4) = 1', 'a_bool', 'NOT a_bool', 'a_bool IS UNKNOWN', 'a_bool IS NOT TRUE', 'a_bool = true', 'false', 'NULL', 'true', '1 = 1', 'a_text = NULL', 'md5(a_text) LIKE ''0%''', 'sample.an_int4 = 1']) $$;
CREATE FUNCTION condition(depth int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF depth = 0 OR random() < 0.2 THEN
		RETURN CASE WHEN random() < 0.5 THEN special() ELSE simple() END;
	END IF;
	RETURN format(one_of('(%s) AND (%s)', '(%s) AND (%s)', '(%s) OR (%s)', 'NOT (%s) AND (%s)'), condition(depth - 1), condition(depth - 1));
END $$;

-- As hostile to text as settings can be.
SET TimeZone = 'America/St_Johns';
SET DateStyle = 'German';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -10;
CREATE FUNCTION tried(conditions text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	differences text;
BEGIN
	SELECT string_agg(m, E'\n') INTO differences FROM (SELECT m FROM plank_test.filter_mismatches('sample', conditions) m LIMIT 5) first;
	RETURN differences;
END $$;
SELECT 'seed ' || :seed || ': ' || d FROM tried(ARRAY(SELECT simple() FROM generate_series(1, 400))) d WHERE d IS NOT NULL;
-- Each alone: where the index answers all of it, nothing else is looked at.
SELECT 'seed ' || :seed || ': ' || d FROM (SELECT tried(ARRAY[simple()]) AS d FROM generate_series(1, 200)) alone WHERE d IS NOT NULL;
SELECT 'seed ' || :seed || ': ' || d FROM tried(ARRAY(SELECT special() FROM generate_series(1, 400))) d WHERE d IS NOT NULL;
SELECT 'seed ' || :seed || ': ' || d FROM tried(ARRAY(SELECT condition(1 + n % 3) FROM generate_series(1, 400) n)) d WHERE d IS NOT NULL;
-- The test is worth something: most conditions hold for some rows and not for others.
SELECT count(*) > 100 FROM (SELECT filter FROM plank_test.filter_expected('sample', ARRAY(SELECT condition(1) FROM generate_series(1, 200)))
	WHERE op = 'I' GROUP BY filter HAVING count(*) BETWEEN 1 AND 149) f;

\set VERBOSITY terse
DROP SCHEMA random_filters CASCADE;
DROP EXTENSION plank_test, citext, hstore, ltree;
