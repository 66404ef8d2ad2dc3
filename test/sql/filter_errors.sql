-- What the server says to conditions that it does not take, and to those that fail later; and what it must bear.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE EXTENSION citext;
CREATE ROLE regress_reader;
CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, secret text, tags text[], at timestamptz, label citext, tree pg_node_tree);
GRANT SELECT (id, name, price, tags, at, label, tree) ON items TO regress_reader;
INSERT INTO items VALUES (1, 'one', 1.0, 'x', '{a}', '2000-01-01', 'A'), (0, 'zero', 0, 'y', '{}', NULL, NULL), (2, repeat('a', 2000), 2, 'z', NULL, NULL, 'b');

CREATE FUNCTION said(conditions text[], role name DEFAULT current_user) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT left(c, 60) || ' -> ' || coalesce(plank_test.filter_fault('items', c, role), 'taken') FROM unnest(conditions) c $$;
-- Syntax and types.
SELECT said(ARRAY['', ' ', 'id =', 'id = 1)', '((id = 1)', 'id = 1; DROP TABLE items', 'id = 1 -- comment', 'id = 1 /* open', 'id = 1, id = 2', 'id = 1 AS x', 'DISTINCT id = 1', 'id = 1 FROM items', 'id = 1 ORDER BY id', 'id = 1 LIMIT 1', 'id = 1 UNION SELECT true', '*', 'items.*', 'items', 'id', '1', '''x''', '''true''',
	'id = ''abc''', 'id = name', 'price = ''1,0''', 'at = ''yesterday is not a time''', 'nofunction(id)', 'lower(id)', 'id @@@ 1', 'id::nosuchtype = 1', 'name COLLATE nosuch = ''a''', 'ä = 1', 'name = ''ä'' AND ö = 1', '$1 = id', 'id = :x', 'ROW(1, 2)']);
-- Columns.
SELECT said(ARRAY['nosuch = 1', 'items.nosuch = 1', 'other.id = 1', 'public.items.id = 1', 'nosuch.items.id = 1', 'items.id = 1', '"ID" = 1', 'ctid = ''(0,1)''', 'xmin = 1', 'tableoid = 1', 'items IS NULL', 'tree IS NULL']);
SELECT said(ARRAY['secret = ''x''', 'secret = 1', 'items.secret IS NULL', 'secret + 1 = 2', 'name = ''x'''], 'regress_reader');
SELECT plank_test.filter_fault('items', c, columns => '{name}') FROM unnest(ARRAY['id = 1', 'name = ''a''', 'price = 1', 'nosuch = 1']) c;
-- What filters must not use.
SELECT said(ARRAY['(SELECT true)', 'id IN (SELECT 1)', 'EXISTS (SELECT 1 FROM items)', 'id = ANY (ARRAY(SELECT 1))', 'count(*) > 1', 'max(id) = 1', 'row_number() OVER () = 1', 'generate_series(1, id) = 1', 'unnest(tags) = ''a''', 'grouping(id) = 1', 'random() > 0.5', 'now() > at', 'clock_timestamp() > at', 'CURRENT_TIMESTAMP > at', 'current_date > at', 'current_user = name', 'session_user = name', 'pg_sleep(1) IS NULL', 'pg_read_file(name) = ''x''', 'current_setting(name) = ''x''', 'set_config(''a.b'', name, false) = ''x''', 'pg_terminate_backend(id)', 'nextval(''x'') = 1', 'lo_import(name) = 1', 'query_to_xml(name, true, true, name) IS NULL', 'at::text = ''x''', 'at::date = ''2000-01-01''', 'name::date = ''2000-01-01''', 'to_char(at, ''YYYY'') = ''2000''',
	'at > ''now''', 'at > ''today''', 'at > ''Tomorrow 10:00''', 'at > timestamp ''yesterday''', 'at = ANY (''{now,2000-01-01}'')', '''[now,)''::tstzrange @> at', 'at > ''now''::text::timestamptz', 'at > ''epoch''', 'name = ''now''', '''items''::regclass = 5', '''1259''::regclass = 5', '''nosuch''::regrole = 5', 'to_tsvector(''english'', name) @@ ''one''', 'to_tsvector(name) @@ ''one''', 'xmlelement(name x) IS NULL', 'name IS DOCUMENT', 'array_fill(1, ARRAY[id]) IS NULL', 'lpad(name, 5) = ''  one''', 'label = ''a''']);
SELECT said(ARRAY['xpath_exists(''//*//*'', ''<a/>'')', '(xpath(''/a'', ''<a/>''))[1]::text = name', 'xmlexists(''/a'' PASSING (''<a/>''::xml))', 'satisfies_hash_partition(1259, 1, 0, id)', 'pg_partition_root(1259::regclass) IS NULL']);
-- Of tables and schemas that the role may not read it hears what it would if they were not there.
CREATE TABLE hidden (id int);
CREATE SCHEMA hidden;
CREATE TABLE hidden.t (id int);
CREATE FUNCTION hidden.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE COLLATION hidden.c FROM "C";
CREATE TEXT SEARCH CONFIGURATION hidden.c (COPY = simple);
CREATE TABLE named (condition text);
INSERT INTO named SELECT unnest(ARRAY['NULL::hidden IS NULL', 'NULL::public.hidden IS NULL', '(NULL::hidden).id IS NULL', '(NULL::hidden).nosuch IS NULL', 'NULL::hidden[] IS NULL', 'NULL::_hidden IS NULL', '''(1)''::hidden IS NULL', 'hidden ''(1)'' IS NULL', 'ROW(1)::hidden IS NULL', 'CAST(NULL AS hidden) IS NULL',
	'hidden(name) IS NULL', 'hidden(''(1)'') IS NULL', 'hidden(nosuch) IS NULL', 'hidden(name, id) IS NULL', 'nosuch = 1 AND NULL::hidden IS NULL', 'NULL::hidden IS NULL AND nosuch = 1', 'id = ''x'' AND NULL::hidden(5) IS NULL', 'NULL::hidden(5) IS NULL',
	'NULL::hidden.t IS NULL', 'hidden.f(id) = 1', 'hidden.f(nosuch) = 1', 'id = ''x'' OR hidden.f(id) = 1', 'hidden.t(name) IS NULL', 'id OPERATOR(hidden.+) 1 = 1', 'nosuch OPERATOR(hidden.+) 1 = 1', 'name COLLATE hidden.c = ''a''', 'to_tsvector(''hidden.c'', name) IS NULL', 'hidden.t.id = 1', 'regression.hidden.f(id) = 1', 'other.hidden.f(id) = 1', 'NULL::a.b.hidden.t IS NULL', 'max(id ORDER BY id USING OPERATOR(hidden.<)) = 1']);
SELECT condition, told, told_of_absent FROM named, plank_test.filter_fault('items', condition, 'regress_reader') told,
	replace(plank_test.filter_fault('items', replace(condition, 'hidden', 'absent'), 'regress_reader'), 'absent', 'hidden') told_of_absent WHERE told IS DISTINCT FROM told_of_absent;
SELECT said(ARRAY['NULL::hidden IS NULL', 'hidden.f(id) = 1', 'hidden(''(1)'') IS NULL', 'NULL::items IS NULL', '(NULL::items).secret IS NULL', '(NULL::pg_authid).rolpassword IS NULL', '(NULL::pg_class).relname IS NULL'], 'regress_reader');
SELECT said(ARRAY['NULL::hidden IS NULL', '(NULL::hidden).id IS NULL', 'hidden(''(1)'') IS NULL', 'NULL::hidden.t IS NULL', 'NULL::items IS NULL', 'name COLLATE hidden.c = ''a''']);
DROP TABLE hidden, hidden.t, named;
DROP FUNCTION hidden.f;
DROP COLLATION hidden.c;
DROP TEXT SEARCH CONFIGURATION hidden.c;
DROP SCHEMA hidden;
-- Limits. Constants are made, and so can fail or last, when the condition is added. Whether time or memory ends it first
-- depends on the machine, the code does not.
SELECT said(ARRAY['1 / 0 = id', 'id = 99999999999', 'repeat(''a'', 1000000000) = name', 'lpad(name, 268000000) = name', 'rpad(''x'', 268000 * 1000) = name', 'repeat(''a'', 2000000 - 1999998) = ''aa''', 'repeat(repeat(''a'', 10000), 500) = name', 'factorial(100000) = price', 'name ~ ''(''']);
SELECT left(plank_test.filter_fault('items', c), 5) FROM unnest(ARRAY['repeat(repeat(''a'', 1000), 1000000) = name', 'repeat(repeat(''a'', 100000), 10000) || repeat(repeat(''b'', 100000), 10000) = name', repeat('(''1e65000''::numeric - 1) * (''1e65000''::numeric - 1) = price OR ', 500) || 'id = 1',
	repeat('(', 65536), repeat('(', 3000) || 'id = 1' || repeat(')', 3000), repeat('NOT ', 16000) || 'true', repeat('- ', 30000) || '1 = id', 'id = ' || repeat('1 + ', 16000) || '1', repeat('{', 30000), '''' || repeat('[', 60000) || '''::jsonb = name', repeat('case when true then ', 3000) || 'true' || repeat(' end', 3000)]) c;
-- What nothing can interrupt is kept small, or ends its own condition only.
SELECT said(ARRAY['strpos(repeat(''a'', 200000), ''b'' || repeat(''a'', 100000)) = id', 'repeat(''a'', 200000) LIKE ''%'' || repeat(''a'', 100000) || ''b''', 'repeat(''a'', 200000) ILIKE ANY (ARRAY[''%'' || repeat(''a'', 100000) || ''b''])', 'strpos(lower(CASE WHEN true THEN repeat(''a'', 200000)::varchar ELSE name END), ''b'' || repeat(''a'', 100000)) = id', 'string_to_array(repeat(''a,'', 100000), '','') <@ string_to_array(repeat(''b,'', 100000), '','')', 'repeat(''9'', 100000)::numeric * repeat(''9'', 100000)::numeric > price', 'position(repeat(''1'', 100000)::varbit IN repeat(''0'', 1000000)::varbit) = id', 'plank_test.busy(2500) = id']);
SELECT left(plank_test.filter_fault('items', c), 5) FROM unnest(ARRAY[(SELECT string_agg(format('strpos(repeat(''a'', 10000 + %s), ''b'' || repeat(''a'', 5000)) = id', n), ' OR ') FROM generate_series(1, 100) n),
	(SELECT string_agg(format('length(lpad(''a'', 900000 + %s)) = id', n), ' OR ') FROM generate_series(1, 500) n), (SELECT repeat('replace(', 20) || '''abc''' || repeat(', ''a'', ''b'')', 20) || ' = name')]) c;
SELECT plank_test.filter_mismatches('items', ARRAY['replace(replace(''one'', ''o'', ''t''), ''t'', ''o'') = name', 'name LIKE ''%n%''', 'name LIKE ANY (ARRAY[''o%'', ''%ero''])', '''one'' LIKE name', 'position(''n'' IN name) = 2', 'tags @> ''{a}''', 'price * 2 / 2 % 7 > 0', 'lpad(''one'', length(name)) = name', 'strpos(''abc'', ''c'') = id + 1', '''b'' LIKE ''a'' OR id = 1', 'CASE WHEN id = 0 THEN strpos(''abc'', ''b'') = 2 ELSE name LIKE NULL END', 'repeat(name, id) || '''' LIKE ''one%''', 'split_part(name, ''n'', 1) = ''o''']);
SELECT plank_test.filter_mismatches('items', ARRAY[(SELECT string_agg(format('id = %s', n), ' OR ') FROM generate_series(1, 1000) n), (SELECT string_agg(format('price = %s', n), ' OR ') || ' OR id = 5' FROM generate_series(1, 1000) n),
	(SELECT 'id IN (' || string_agg(n::text, ',') || ')' FROM generate_series(1, 9000) n), (SELECT 'id NOT IN (' || string_agg(n::text, ',') || ')' FROM generate_series(1, 9000) n)]);
-- Failures when a row is judged: each ends its own filter, once, and no other.
SELECT filter, op, number, before, after, regexp_replace(failure, '\n.*', '') FROM plank_test.filter_verdicts('items', ARRAY['1 / id = 1', 'id = 1', 'id < 5 AND 10 / id = 5', 'sqrt(price - 1) >= 0', 'id::text = ''1''', 'id = 2 AND price / (id - 2) = 1', 'price = 2 AND repeat(name, 100000000 * id) IS NULL', 'price = 2 AND md5(name) LIKE ''%'' AND id = 2']) ORDER BY 3, 2, 1;
-- What takes too long or too much memory, once or in a turn, is stopped.
SELECT filter, op, number, left(failure, 5) IN ('53400', '2201B') FROM plank_test.filter_verdicts('items', ARRAY['id = 2 AND name ~ ''(((a{1,100}){1,100}){1,100})''', 'id = 2 AND length(repeat(name, 400000)) = 1', 'id = 2 AND length(repeat(repeat(name, 10), 20 * id)) > 1']) ORDER BY 3, 2, 1;
CREATE TABLE many (id int, name text);
INSERT INTO many SELECT n, repeat('a', 1000) FROM generate_series(1, 300) n;
SELECT count(*) FILTER (WHERE failure IS NULL AND filter = 2), count(*) FILTER (WHERE failure IS NULL AND filter = 1) < 899, count(*) FILTER (WHERE failure LIKE '53400%')
	FROM plank_test.filter_verdicts('many', ARRAY['md5(repeat(name, 10000)) LIKE ''%''', 'id > 0'], one_turn => true);
DROP TABLE many;
SELECT filter, op, number, failure FROM plank_test.filter_verdicts('items', ARRAY['id = 2 AND strpos(repeat(name, 100 * id), ''b'' || repeat(name, 50 * id)) = 1', 'id = 2 AND repeat(name, 100 * id) LIKE ''%'' || repeat(name, 50 * id) || ''b''', 'id = 2 AND ''a'' LIKE ANY (ARRAY[repeat(name, 10), name])', 'id = 2 AND lpad(name, 2000000 * id) IS NULL', 'id = 2 AND plank_test.busy(1250 * id) = 0', 'id = 2']) ORDER BY 3, 2, 1;
-- Equal conditions are one filter.
SELECT plank_test.filter_sharing('items', ARRAY['id = 1', 'id=1', '(id) = (1)', 'items.id = 1 -- one', '1 = id', 'id = 2', 'id = ''1''', 'id = 0 + 1', 'ID = 1 AND true']);
SELECT plank_test.filter_sharing('items', ARRAY['price > 1', 'price > 1.0', 'price > 1', 'name = ''a'' AND price > 1', 'name=''a'' and price>1', 'price > 1 AND name = ''a''', 'false', '1 = 2', 'true']);
SELECT plank_test.filter_sharing('items', ARRAY(SELECT format('name = ''n%s'' AND price > %s', n % 100, n % 50) FROM generate_series(1, 1000) n));

\set VERBOSITY terse
DROP TABLE items;
DROP ROLE regress_reader;
DROP FUNCTION said;
DROP EXTENSION plank_test, citext;
