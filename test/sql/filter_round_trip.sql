-- What capture writes of a value and the worker reads again is the very same value: for every built-in type, and for
-- domains, enums, composites, ranges and types of extensions, whatever the session's settings are.
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
CREATE SCHEMA trips;
SET search_path = trips, public, contrib;
SET extra_float_digits = -15;
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'America/St_Johns';
SET IntervalStyle = 'sql_standard';
SET bytea_output = 'escape';

CREATE TYPE mood AS ENUM ('sad', 'ok', 'é "x"');
CREATE TYPE part AS (a int8, "b""" text, c numeric[], d timestamptz, e money, f "char");
CREATE TYPE words AS RANGE (subtype = citext);
CREATE TYPE prices AS RANGE (subtype = money);
CREATE DOMAIN word AS varchar(200) CHECK (value <> 'never');
CREATE DOMAIN wordlist AS word[];
CREATE DOMAIN attributes AS hstore;
CREATE TABLE public.tripping (id int);

CREATE TABLE sample (type text, value text);
INSERT INTO sample VALUES
	('bool', 'true'), ('bool', 'false'), ('int2', '-32768'), ('int4', '2147483647'), ('int8', '-9223372036854775808'),
	('float4', '-0'), ('float4', '1e-45'), ('float4', '3.4028235e38'), ('float4', '0.1'), ('float4', 'NaN'), ('float4', '-Infinity'),
	('float8', '-0'), ('float8', '0'), ('float8', '5e-324'), ('float8', '1.7976931348623157e308'), ('float8', '0.1'), ('float8', 'NaN'), ('float8', 'Infinity'),
	('numeric', '1.00'), ('numeric', '0'), ('numeric', '0.000'), ('numeric', '-12345678901234567890.123456789'), ('numeric', 'NaN'), ('numeric', '-Infinity'), ('numeric', repeat('9', 1000) || '.' || repeat('1', 500)),
	('money', '-$12,345.67'), ('money', '$0.01'), ('money', '-92233720368547758.08'), ('money', '92233720368547758.07'),
	('oid', '4294967295'), ('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), ('bytea', '\x00ff0a5c22'), ('bytea', ''),
	('date', '2000-12-31'), ('date', 'infinity'), ('date', '-infinity'), ('date', '0044-03-15 BC'), ('date', '5874897-12-31'),
	('time', '24:00:00'), ('time', '12:34:56.000001'), ('timetz', '12:34:56.5+05:30'), ('timetz', '00:00:00-15:59:59'),
	('timestamp', '2000-12-31 12:34:56.789'), ('timestamp', 'infinity'), ('timestamp', '4713-01-01 BC'), ('timestamp', '294276-12-31 23:59:59.999999'),
	('timestamptz', '2000-12-31 12:34:56.789+13'), ('timestamptz', '-infinity'), ('timestamptz', '0001-01-01 00:00:00+00 BC'), ('timestamptz', '12000-06-01 00:00+00'),
	('interval', '1 year -2 months 3 days -04:05:06.7'), ('interval', '-1 day +2:03'), ('interval', '0'), ('interval', '-178000000 years'), ('interval', '0.000001 s'),
	('text', ''), ('text', E'a"b\\c\n\t\u00e9\U0001F600\x01\x7f'), ('varchar', 'x'), ('varchar(3)', 'abc'), ('bpchar', 'ab  '), ('char(5)', 'ab'), ('name', 'n"é'),
	('"char"', 'a'), ('"char"', ''), ('"char"', '\'), ('json', '{"a":1, "a" : 2, "b":"\u0000"}'), ('json', ' [1, 1.0] '), ('json', '"x"'), ('json', 'null'),
	('jsonb', '{"b": 1.00, "a": [null, "é\"\\", 1e3]}'), ('jsonb', 'null'), ('jsonb', '""'), ('jsonpath', '$.a[*] ? (@.b > 1)'), ('xml', '<?xml version="1.0" encoding="utf-8"?><a b="c">é</a>'), ('xml', 'text'),
	('inet', '192.168.0.1/24'), ('inet', '::1'), ('cidr', '10.0.0.0/8'), ('macaddr', '08:00:2b:01:02:03'), ('macaddr8', '08:00:2b:01:02:03:04:05'),
	('bit(5)', '10101'), ('varbit', ''), ('varbit', '1'), ('tsvector', '''a b'':1A,2 c:3'), ('tsquery', '''a'' & !b:*A | (c <-> d)'),
	('point', '(-0,1e300)'), ('line', '{1,-2,0.1}'), ('lseg', '[(0,0),(1,1)]'), ('box', '(2,2),(0,0)'), ('path', '((0,0),(1,1))'), ('path', '[(0,0),(1,1)]'), ('polygon', '((0,0),(1,1),(2,0))'), ('circle', '<(0,0),0.1>'),
	('pg_lsn', '16/B374D848'), ('xid', '7'), ('xid8', '18446744073709551615'), ('cid', '7'), ('tid', '(1,2)'), ('pg_snapshot', '10:20:10,14'), ('txid_snapshot', '10:20:10,14'), ('refcursor', 'c'),
	('int2vector', '1 2 3'), ('oidvector', '1 2'), ('int2vector', ''), ('aclitem', 'postgres=r/postgres'),
	('regclass', 'public.tripping'), ('regclass', 'pg_catalog.pg_class'), ('regclass', '4294967000'), ('regclass', '-'), ('regtype', 'trips.mood'), ('regproc', 'now'), ('regprocedure', 'lower(text)'), ('regoper', '||/'), ('regoperator', '=(int4,int4)'), ('regconfig', 'english'), ('regdictionary', 'simple'), ('regrole', 'pg_monitor'), ('regnamespace', 'trips'), ('regcollation', '"C"'),
	('int4range', '[1,5)'), ('int4range', 'empty'), ('int8range', '(,5)'), ('numrange', '(1.00,2.0]'), ('daterange', '[2000-01-01,infinity)'), ('tsrange', '["2000-01-01 10:00",)'), ('tstzrange', '("2000-01-01 10:00+02","2001-01-01 10:00+02"]'), ('words', '["A","b""c")'), ('prices', '[$1.00,$1000.00)'),
	('int4multirange', '{[1,2),[5,9)}'), ('int8multirange', '{[1,2)}'), ('nummultirange', '{[1.0,2.00]}'), ('datemultirange', '{[2000-01-01,2000-02-01)}'), ('tsmultirange', '{(,"2000-01-01 10:00"]}'), ('tstzmultirange', '{}'),
	('int4[]', '{}'), ('int4[]', '{1,NULL,3}'), ('int4[]', '[0:1]={1,2}'), ('int4[]', '[-1:0][2:3]={{1,2},{3,4}}'), ('text[]', '{"",NULL,"NULL","a,b","{","\"é\\"}'), ('float8[]', '{-0,0,NaN,0.1}'), ('money[]', '{-$1234.56}'), ('json[]', '{"{\"a\":1,\"a\":2}"}'), ('jsonb[]', '{"[1,2]","null"}'), ('bytea[]', '{"\\\\x00ff"}'), ('"char"[]', '{a,""}'), ('timestamptz[]', '{"2000-01-01 00:00+01"}'), ('interval[]', '{"-1 day +2:03"}'), ('regclass[]', '{public.tripping}'),
	('mood', 'é "x"'), ('mood[]', '{ok,NULL}'), ('word', 'w'), ('wordlist', '{a,b}'), ('word[]', '{a,NULL}'), ('part', '(1,"a""b","{1.0,NaN}","2000-01-01 00:00+01",$5.00,x)'), ('part', '(,,,,,)'), ('part[]', '{"(1,,,,,)",NULL}'),
	('citext', 'Case é'), ('citext[]', '{A}'), ('hstore', 'a=>1, b=>NULL, "c d"=>"\"é"'), ('hstore', ''), ('attributes', 'a=>1'), ('hstore[]', '{"a=>1"}'), ('cube', '(0.1,1e-7),(3,4)'), ('isbn13', '978-0-393-04002-9'), ('ltree', 'a.b.c'), ('ltree', ''), ('lquery', '*.a{1,2}'), ('seg', '1.5 .. 2.5');

SELECT type, m FROM sample, plank_test.round_trip_of(format('%L::%s', value, type)) m WHERE m IS NOT NULL;
-- No built-in type that a column may have is missing above, but for those that have no input.
SELECT typname FROM pg_type t WHERE typtype IN ('b', 'r', 'm') AND typnamespace = 'pg_catalog'::regnamespace AND typelem = 0 AND typinput <> 'array_in'::regproc
	AND NOT EXISTS (SELECT FROM sample WHERE sample.type::regtype = t.oid) ORDER BY 1;
-- Bytes that no text has.
SELECT m FROM generate_series(-128, 127) n, LATERAL plank_test.round_trip(n::int4::"char") m WHERE m IS NOT NULL;
-- Values that are stored compressed or out of line, and a record that nests.
SELECT m FROM plank_test.round_trip(repeat('é"', 500000)) m WHERE m IS NOT NULL;
SELECT m FROM plank_test.round_trip(array_fill('é"'::text, ARRAY[100, 100])) m WHERE m IS NOT NULL;
-- Which columns carry text: those of ordinary tables do not.
CREATE TABLE plain (a int8, b text, c numeric(10,2), d timestamptz, e jsonb, f bool, g uuid, h date, i bytea, j mood, k citext, l word, m int4range, n inet, o interval, p json);
CREATE TABLE special (a int[], b part, c float8, d "char", e hstore, f regclass, g xml, h words);
SELECT relname, plank_test.texts(oid) FROM pg_class WHERE relname IN ('plain', 'special') ORDER BY 1;

\set VERBOSITY terse
DROP SCHEMA trips CASCADE;
DROP TABLE public.tripping;
DROP SCHEMA contrib CASCADE;
DROP EXTENSION plank_test;
