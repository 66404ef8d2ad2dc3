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

-- Null when Plank sends what it must, else both. Scalars must agree as text, arrays and composites as JSON values, and
-- the marks around their numbers must enclose numbers and nothing else.
CREATE FUNCTION plank_test.mismatch(value anyelement) RETURNS pg_catalog.text
	LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
	sent pg_catalog.text := plank_test.value_json(value);
	want pg_catalog.jsonb := plank_test.expected(value);
	unmarked pg_catalog.text := pg_catalog.regexp_replace(sent, E'\x01(-?[0-9]+([.][0-9]+)?)\x01', '\1', 'g');
	marks pg_catalog.text := plank_test.numbers(value);
	same pg_catalog.bool;
BEGIN
	IF pg_catalog.strpos(unmarked, E'\x01') OPERATOR(pg_catalog.>) 0 THEN
		RETURN pg_catalog.format('a mark encloses no number: %s', sent);
	ELSIF marks OPERATOR(pg_catalog.<>) 'nested' AND unmarked OPERATOR(pg_catalog.<>) sent THEN
		RETURN pg_catalog.format('marks where numbers are %s: %s', marks, sent);
	END IF;
	same := unmarked OPERATOR(pg_catalog.=) want::pg_catalog.text;
	IF pg_catalog.jsonb_typeof(want) OPERATOR(pg_catalog.=) ANY ('{array,object}') THEN
		same := unmarked::pg_catalog.jsonb OPERATOR(pg_catalog.=) want;
	END IF;
	IF same THEN
		RETURN NULL;
	END IF;
	RETURN pg_catalog.format('%s: sent %s, want %s', pg_catalog.pg_typeof(value), pg_catalog.left(sent, 500),
		pg_catalog.left(want::pg_catalog.text, 500));
END $$;

-- The same for a value written as an SQL expression.
CREATE FUNCTION plank_test.mismatch_of(expression pg_catalog.text) RETURNS pg_catalog.text
	LANGUAGE plpgsql STABLE AS $$
DECLARE
	result pg_catalog.text;
BEGIN
	EXECUTE pg_catalog.format('SELECT plank_test.mismatch(%s)', expression) INTO result;
	RETURN expression OPERATOR(pg_catalog.||) ' -> ' OPERATOR(pg_catalog.||) result;
END $$;

-- Nanoseconds per row for `rounds` passes over the table's rows in memory, printed by Plank or by row_to_json.
CREATE FUNCTION plank_test.benchmark(relation pg_catalog.regclass, rounds pg_catalog.int4, use_plank pg_catalog.bool)
	RETURNS pg_catalog.float8
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_benchmark';

-- Has this session say with INFO which table a statement resets, and why. DDL of plank.track shows too.
CREATE FUNCTION plank_test.show_resets(pg_catalog.bool) RETURNS pg_catalog.void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_show_resets';

-- What transactions of this database have told WAL since then, committed ones in the order of their commits. Fails when
-- what they wrote cannot be read or is not whole.
CREATE FUNCTION plank_test.written(since pg_catalog.pg_lsn, OUT transaction pg_catalog.int4, OUT change pg_catalog.text)
	RETURNS SETOF pg_catalog.record
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_written';

-- The transactional messages of this database since then, committed or not: the xid each was written under, whether it
-- has the secret, and what its chunk says.
CREATE FUNCTION plank_test.chunks(since pg_catalog.pg_lsn, OUT xid pg_catalog.int8, OUT genuine pg_catalog.bool,
	OUT top pg_catalog.int8, OUT number pg_catalog.int4, OUT records pg_catalog.int8, OUT bytes pg_catalog.int8)
	RETURNS SETOF pg_catalog.record
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_chunks';

-- What Plank's buffer of the current transaction takes.
CREATE FUNCTION plank_test.buffer_bytes() RETURNS pg_catalog.int8
	LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(pg_catalog.sum(total_bytes), 0) FROM pg_catalog.pg_backend_memory_contexts
	WHERE name OPERATOR(pg_catalog.=) 'plank transaction records' $$;

-- Where the oldest open transaction of the server began to speak in WAL; null when none has.
CREATE FUNCTION plank_test.oldest_first_message() RETURNS pg_catalog.pg_lsn
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'plank_test_oldest_first_message';

-- The release of the savepoint that is open now fails, after everybody has been told of it. Only where plank_test is
-- preloaded before Plank: its callback is then called last.
CREATE FUNCTION plank_test.fail_release() RETURNS pg_catalog.void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'plank_test_fail_release';
