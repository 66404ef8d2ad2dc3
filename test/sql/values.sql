-- Every built-in type prints as to_jsonb prints it under the fixed settings, while the session's own are hostile: alone,
-- in arrays, composites and domains. Only what differs is printed.
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION plank_test;
CREATE SCHEMA hostile;

SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Asia/Kolkata';
SET IntervalStyle = 'iso_8601';
SET bytea_output = 'escape';
SET extra_float_digits = -15;
SET quote_all_identifiers = on;

CREATE TABLE hostile.sample (type text COLLATE "C", value text);

-- Values in the notation of each type's input function.
INSERT INTO hostile.sample
SELECT s.type, v FROM (VALUES
	('bool', ARRAY['t', 'f']),
	('int2', '{0,-1,7,-32768,32767}'),
	('int4', '{0,-1,10,99,100,12345678,-2147483648,2147483647}'),
	('int8', '{0,-1,9007199254740993,-9223372036854775808,9223372036854775807}'),
	('float4', '{0,-0,1,0.1,-1.5,1e6,123456,1234567,1e-5,1.5e-7,3.4028235e38,1e-45,1.17549435e-38,NaN,Infinity,-Infinity}'),
	('float8', '{0,-0,1,0.1,-1.5,100,1e15,123456789012345,1234567890123456.7,-1e-5,0.0001,1.5e-7,1.7976931348623157e308,'
		'4.9e-324,2.2250738585072014e-308,NaN,Infinity,-Infinity,3.141592653589793,1e22,1e23,-1.25e20}'),
	('numeric', ARRAY['0', '-0.00', '1', '-1', '1.0', '1.50', '1e20', '1e-20', '0.0001', '10000', '99999999.99', 'NaN',
		'Infinity', '-Infinity', repeat('9', 1000), '-' || repeat('123456789', 50) || '.' || repeat('0123456789', 60),
		'1e-16383', '1e131071']),
	('money', '{0,0.01,-0.01,1,-1,999.99,1000,-1234567.89,12345678901234.56,-92233720368547758.08,92233720368547758.07}'),
	('text', ARRAY['', 'a', 'it''s', '"', '\', E'\b\f\n\r\t\x01\x1f\x7f/', 'żółw', '日本語', '😀 mixed with ascii',
		repeat('x', 15) || '"', repeat('x', 16) || '\', repeat('x', 31) || E'\n' || repeat('é', 3), repeat('é', 700),
		repeat('1234567"', 300), repeat('ab\cd', 400), 'null', '{"a":1}', U&'\2028\2029\FFFD', repeat(E'\x01', 2000),
		repeat('toast me ', 120000)]),
	('varchar', ARRAY['', 'a "b"', repeat('long ', 1000)]),
	('bpchar', ARRAY['', 'ab  ', 'é ']),
	('name', ARRAY['', 'a', 'a"b', repeat('n', 63)]),
	('"char"', ARRAY['a', '"', '\', '']),
	('bytea', ARRAY['\x', '\x00', '\x0001ff7f80', '\x' || repeat('deadbeef', 1000)]),
	('json', ARRAY['{"a": 1}', '[1, "x"]', 'null', '"é"']),
	('jsonb', ARRAY['null', 'true', '1', '-1.50', '1e400', '"a\"b\\\u0001é"', '[]', '{}', '[1, [2, {"a": null}], "x"]',
		'{"b": [1.0, {"c": "é"}], "a": 12345678901234567890}']),
	('jsonpath', ARRAY['$.a[*] ? (@.b == "x")', 'strict $']),
	('uuid', '{00000000-0000-0000-0000-000000000000,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'),
	('date', ARRAY['2000-01-01', '1999-12-31', '2024-02-29', '0001-01-01', '9999-12-31', '10000-01-01', '0001-12-31 BC',
		'0044-03-15 BC', '4713-01-01 BC', '5874897-12-31', 'infinity', '-infinity']),
	('time', '{00:00:00,24:00:00,23:59:59.999999,12:34:56.7,01:02:03.000040}'),
	('timetz', '{00:00:00+00,24:00:00-15:59,23:59:59.999999+05:30,12:34:56.7+01:02:03,01:02:03.00004-08}'),
	('timestamp', ARRAY['2000-01-01 00:00:00', '1999-12-31 23:59:59.999999', '2024-02-29 12:34:56.1', '0001-01-01 00:00:00',
		'0001-12-31 23:59:59.9 BC', '9999-12-31 23:59:59.999999', '10000-01-01 00:00:00', '4713-01-01 00:00:00 BC',
		'294276-12-31 23:59:59.999999', 'infinity', '-infinity', '1969-07-20 20:17:40.000001']),
	('timestamptz', ARRAY['2000-01-01 00:00:00+00', '1999-12-31 23:59:59.999999-08', '2024-02-29 12:34:56.1+05:30',
		'0001-01-01 00:00:00+00', '0001-12-31 23:59:59.9+00 BC', '9999-12-31 23:59:59.999999+00', '10000-01-01 00:00:00+00',
		'4713-01-01 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00', 'infinity', '-infinity']),
	('interval', ARRAY['0', '1 year 2 mons -3 days 04:05:06.789', '-1 sec', '178000000 years', '-00:00:00.000001',
		'1 mon', '25:59:59']),
	('inet', '{127.0.0.1,10.0.0.0/8,::1,2001:db8::/32,192.168.1.5/24}'),
	('cidr', '{10.0.0.0/8,2001:db8::/32,192.168.1.0/24}'),
	('macaddr', '{08:00:2b:01:02:03}'),
	('macaddr8', '{08:00:2b:01:02:03:04:05}'),
	('bit', '{1,0}'),
	('varbit', '{"",1,010101,111111111111111111111}'),
	('xml', ARRAY['<a/>', '<?xml version="1.0" encoding="latin1"?><a b="c">é</a>', 'text &amp; not']),
	('tsvector', ARRAY['', '''a'':1A,2 ''b''', 'it''s "quoted" back\\slash']),
	('tsquery', ARRAY['a & !b | (c <-> d:*A)']),
	('point', ARRAY['(0,0)', '(0.1,-1e-7)', '(1e300,NaN)']),
	('line', '{"{1,-1,0.1}"}'),
	('lseg', ARRAY['[(0,0),(1.1,2.2)]']),
	('box', ARRAY['(1,1),(0.1,0)']),
	('path', ARRAY['((0,0),(1,1.5))', '[(0,0),(0.3,1)]']),
	('polygon', ARRAY['((0,0),(1,1),(2,0.7))']),
	('circle', ARRAY['<(0.1,2),3>']),
	('oid', '{0,1,4294967295}'),
	('xid', '{0,4294967295}'),
	('xid8', '{0,18446744073709551615}'),
	('cid', '{0,4294967295}'),
	('tid', ARRAY['(0,0)', '(4294967295,65535)']),
	('pg_lsn', '{0/0,FFFFFFFF/FFFFFFFF}'),
	('txid_snapshot', ARRAY['10:20:10,14,15']),
	('pg_snapshot', ARRAY['10:20:10,14,15']),
	('refcursor', ARRAY['a cursor', 'with "quotes"']),
	('aclitem', ARRAY[(acldefault('r', 10))[1]::text, '=r/' || quote_ident(current_user)]),
	('int2vector', ARRAY['', '1', '1 2 3']),
	('oidvector', ARRAY['', '4294967295 0']),
	('regclass', ARRAY['pg_catalog.pg_class', 'hostile.sample', '-', '4294967295']),
	('regtype', ARRAY['int4', 'timestamptz', 'hostile.sample', 'hostile.sample[]', '-']),
	('regproc', ARRAY['pg_catalog.now', 'pg_catalog.int4out', 'plank_test.mismatch', '-']),
	('regprocedure', ARRAY['pg_catalog.abs(int4)', 'plank_test.mismatch(anyelement)', '-']),
	('regoper', ARRAY['0', 'pg_catalog.||/']),
	('regoperator', ARRAY['pg_catalog.+(int4,int4)', '0']),
	('regnamespace', ARRAY['hostile', 'pg_catalog']),
	('regrole', ARRAY[current_user::text, 'pg_monitor']),
	('regcollation', ARRAY['"C"', '"default"']),
	('regconfig', ARRAY['pg_catalog.simple', 'english']),
	('regdictionary', ARRAY['simple', 'english_stem'])
) AS s (type, values), unnest(s.values) AS v;

-- Names that are visible here and not under pg_catalog, or the other way round.
CREATE TABLE hostile.pg_class (a int);
CREATE FUNCTION hostile.now() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hostile.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"hostile"'::jsonb $$;
CREATE TYPE hostile.int4 AS (a int);
SET search_path = hostile, public;

-- Types that have no sample here: those whose input functions refuse everything follow below.
SELECT 'no sample: ' || t.typname
FROM pg_catalog.pg_type t
WHERE t.typtype = 'b' AND t.oid < 16384 AND t.typsubscript <> 'pg_catalog.array_subscript_handler'::regproc
	AND NOT EXISTS (SELECT FROM sample s WHERE s.type::regtype = t.oid)
	AND t.typname !~ '^gtsvector$|^pg_(node_tree|ndistinct|dependencies|mcv_list|brin_.*)$'
ORDER BY 1;

SELECT count(*) > 200 FROM sample;

-- Alone, in one and two dimensions with other bounds and nulls, in a record.
SELECT m FROM (
	SELECT plank_test.mismatch_of(replace(pattern, '@', format('%L::pg_catalog.%s', value, type))) AS m
	FROM sample, (VALUES ('@'), ('ARRAY[@]'), ('ARRAY[@, NULL, @]'), ('ARRAY[[@, NULL], [NULL, @]]'),
		('ROW(@, NULL, @)'), ('ROW(ARRAY[@], ROW(@))'), ('ROW(ARRAY[ROW(@, 1)])')) AS p (pattern)) c WHERE m IS NOT NULL;
SELECT m FROM (SELECT plank_test.mismatch_of(e) AS m FROM unnest(ARRAY[
	'''{}''::pg_catalog.int4[]', '''[5:6]={1,2}''::pg_catalog.int8[]', '''{{{1,2},{3,4}},{{5,6},{7,NULL}}}''::pg_catalog.int8[]',
	'''{}''::pg_catalog.text[]', '''{NULL}''::pg_catalog.text[]', 'ARRAY[''{}''::pg_catalog.jsonb, ''[1]'']',
	'ROW()', 'ARRAY[''{"a" : 1}''::pg_catalog.json, ''[1e5, "\u00e9"]'']', 'ROW(''{"a" : 1}''::pg_catalog.json, 5::pg_catalog.int8)',
	'(SELECT array_agg(g) FROM generate_series(1, 5000) g)', '(SELECT array_agg(g::pg_catalog.numeric / 7) FROM generate_series(1, 500) g)',
	'(SELECT array_agg(CASE WHEN g % 3 = 0 THEN NULL ELSE ''x'' || g END) FROM generate_series(1, 100) g)',
	'(SELECT c FROM pg_catalog.pg_class c WHERE c.oid = 1259)', '(SELECT t FROM pg_catalog.pg_type t WHERE t.oid = 23)',
	'(SELECT p FROM pg_catalog.pg_proc p WHERE p.oid = 1242)', '(SELECT a FROM pg_catalog.pg_aggregate a LIMIT 1)'
]) e) c WHERE m IS NOT NULL;

-- Stored and compressed: what a table holds comes back through TOAST.
CREATE TABLE stored (a text, b jsonb, c bytea, d numeric[], e text);
ALTER TABLE stored ALTER a SET STORAGE EXTERNAL;
INSERT INTO stored SELECT repeat('é"', 500000), jsonb_build_object('k', repeat('v', 300000)), decode(repeat('00ff', 200000), 'hex'),
	array_agg(g / 3.0), repeat('z', 3000) FROM generate_series(1, 3000) g;
SELECT 'stored: ' || coalesce(plank_test.mismatch(a), plank_test.mismatch(b), plank_test.mismatch(c), plank_test.mismatch(d),
	plank_test.mismatch(e), plank_test.mismatch(stored), 'same') FROM stored;

-- Money in the notation of C, whatever the session's is.
DO $$
BEGIN
	SET lc_monetary = 'de_DE.UTF-8';
EXCEPTION WHEN invalid_parameter_value THEN
	NULL;  -- this machine has no such locale
END $$;
SELECT coalesce(max(plank_test.mismatch(n::money)), 'same') FROM unnest('{0,-0.01,999.99,-1234567.89,92233720368547758.07}'::numeric[]) n;
RESET lc_monetary;

-- Types without an input function, from the catalog.
CREATE TABLE correlated AS SELECT g % 10 AS a, g % 5 AS b FROM generate_series(1, 1000) g;
CREATE STATISTICS correlated_statistics ON a, b FROM correlated;
ANALYZE correlated;
SELECT coalesce(plank_test.mismatch(stxdndistinct), plank_test.mismatch(stxddependencies), plank_test.mismatch(stxdmcv), 'same')
FROM pg_catalog.pg_statistic_ext_data;
SELECT coalesce(max(plank_test.mismatch(ev_action)), 'same') FROM (SELECT ev_action FROM pg_catalog.pg_rewrite LIMIT 5) r;

-- Domains over each type, and over a domain, an array and a composite.
CREATE TYPE pair AS (a int8, "b ""quoted""" numeric[], gone text, c timestamptz);
ALTER TYPE pair DROP ATTRIBUTE gone;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'so "happy"', 'é');
CREATE TYPE span AS RANGE (subtype = timestamptz);
CREATE TYPE pairs AS (first pair, rest pair[], moods mood[], m mood, s span, j json);
CREATE DOMAIN many AS numeric[];
CREATE TYPE with_many AS (m many, n int8);
CREATE DOMAIN one_pair AS pair;
DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT DISTINCT type, row_number() OVER (ORDER BY type) AS n FROM (SELECT DISTINCT type FROM sample) s LOOP
		EXECUTE format('CREATE DOMAIN domain_%s AS pg_catalog.%s', t.n, t.type);
		EXECUTE format('CREATE DOMAIN deep_domain_%s AS domain_%s', t.n, t.n);
	END LOOP;
END $$;
SELECT m FROM (
	SELECT plank_test.mismatch_of(replace(pattern, '@', format('%L::pg_catalog.%s::deep_domain_%s', value, type, n))) AS m
	FROM (SELECT *, dense_rank() OVER (ORDER BY type) AS n FROM sample) s,
		(VALUES ('@'), ('ARRAY[@, NULL]'), ('ROW(@, NULL)')) AS p (pattern)) c WHERE m IS NOT NULL;

-- Ranges and multiranges, composites, enums and mixtures of all.
SELECT m FROM (SELECT plank_test.mismatch_of(replace(pattern, '@', e)) AS m FROM unnest(ARRAY[
	'int4range(1, 5)', '''empty''::int8range', 'int8range(NULL, 9223372036854775807)', 'numrange(1.50, 2, ''(]'')',
	'daterange(''2000-01-01'', ''infinity'')', 'tsrange(''2000-01-01'', NULL)', 'tstzrange(''2000-01-01 12:00+00'', ''2001-01-01 00:00+00'')',
	'span(''2000-01-01 12:00+00'', NULL)', '''{[1,2),[5,9)}''::int4multirange', '''{}''::nummultirange',
	'tstzmultirange(tstzrange(''2000-01-01 12:00+00'', ''2001-01-01 00:00+00''))', 'span_multirange(span(''2000-01-01 12:00+00'', NULL))',
	'''ok''::mood', '''so "happy"''::mood', '''é''::mood', 'ROW(1, ARRAY[1.5, NULL], now())::pair', 'ROW(NULL, NULL, NULL)::pair',
	'ROW(ROW(1, ''{2,3}'', ''infinity'')::pair, ARRAY[ROW(4, ''{}'', NULL)::pair, NULL], ARRAY[''sad''::mood, NULL], ''ok'', span(NULL, NULL), ''{"a": [1, 2.50]}'')::pairs',
	'ROW(ARRAY[1.5, ''NaN'', NULL], 1)::with_many', 'ROW(9007199254740993, ''{NaN,1.10}'', now())::pair::one_pair'
]) e, (VALUES ('@'), ('ARRAY[@, NULL]'), ('ROW(@, ARRAY[@])')) AS p (pattern)) c WHERE m IS NOT NULL;

-- Marks stand around each bigint and numeric inside, and nowhere else.
SELECT replace(plank_test.value_json(e), E'\x01', '|') || ' ' || plank_test.numbers(e) FROM (SELECT
	ROW(ROW(1, ARRAY[1.5, NULL, 'NaN'], NULL)::pair, ARRAY[ROW(-4, '{}', NULL)::pair], NULL, 'ok', NULL, '[1, 2.50]')::pairs) AS t (e);
SELECT plank_test.numbers(1), plank_test.numbers(1::int8), plank_test.numbers(1.5), plank_test.numbers('{}'::int8[]),
	plank_test.numbers('{}'::int4[]), plank_test.numbers('{1.5}'::many), plank_test.numbers('"a"'::jsonb);

-- Every day of four hundred years, and every month of the other years.
SELECT count(*) FROM generate_series(0, 146097) g WHERE plank_test.value_json('1900-01-01'::date + g) <> to_char('1900-01-01'::date + g, '"\""YYYY-MM-DD"\""');
SELECT count(*) FROM generate_series('0001-01-01'::timestamp, '9999-12-01', '1 month') first, LATERAL (VALUES (first), (first + '1 month' - '1 day'::interval)) d (day)
WHERE plank_test.value_json(day::date) <> to_char(day, '"\""YYYY-MM-DD"\""') OR plank_test.value_json(day) <> to_char(day, '"\""YYYY-MM-DD"T00:00:00\""');

-- json goes out as it came in.
SELECT count(*) FROM unnest(ARRAY['{ "a" : 1,"a":2 }', ' [1e5,	-0.0] ', '"\u0000\ud800"', E'{"é":\n"\\u00e9"}', 'null', '1.10']) j
WHERE plank_test.value_json(j::json) = j AND plank_test.numbers(j::json) = 'none';

-- The writer's own settings are untouched, and those that were lost from sight come back.
SELECT now()::text ~ '\+?0?5:?30|IST', '1 day'::interval, '\x00'::bytea, 0.1::float8 + 0.2, '2000-12-31'::date;

SET search_path = public;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
DROP EXTENSION plank_test;
