\echo Use "CREATE EXTENSION plank_test" to load this file. \quit

-- What Plank sends for a value, and the same as bytes for databases that are not UTF-8.
CREATE FUNCTION plank_test.value_json(anyelement) RETURNS pg_catalog.text
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'plank_test_value_json';
CREATE FUNCTION plank_test.value_bytes(anyelement) RETURNS pg_catalog.bytea
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'plank_test_value_json';

-- What Plank says of the numbers in values of this type: none, scalar or nested.
CREATE FUNCTION plank_test.numbers(anyelement) RETURNS pg_catalog.text
	LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'plank_test_numbers';

-- What Plank must send: to_jsonb under the settings of protocol.md rule 8.
CREATE FUNCTION plank_test.expected(anyelement) RETURNS pg_catalog.jsonb
	LANGUAGE sql STABLE STRICT
	SET DateStyle = 'ISO, MDY'
	SET TimeZone = 'UTC'
	SET IntervalStyle = 'postgres'
	SET bytea_output = 'hex'
	SET extra_float_digits = 1
	SET lc_monetary = 'C'
	SET quote_all_identifiers = off
	SET search_path = pg_catalog
	AS $$ SELECT pg_catalog.to_jsonb($1) $$;

-- Nanoseconds per row for `rounds` passes over the table's rows in memory, printed by Plank or by row_to_json.
CREATE FUNCTION plank_test.benchmark(relation pg_catalog.regclass, rounds pg_catalog.int4, use_plank pg_catalog.bool)
	RETURNS pg_catalog.float8
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_benchmark';
