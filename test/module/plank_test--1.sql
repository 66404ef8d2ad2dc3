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

-- Reads a table's rows as the worker has them read for a subscription: by a process of its own. The pool of processes
-- lives as long as the session. `keep`: the rows themselves and not only their number. `pause_for`: after the first batch
-- nothing more is taken until this advisory lock is free. `cancel_for`: once it is free, the request is cancelled; with
-- `pause_for` that is after the first batch.
CREATE FUNCTION plank_test.read_snapshot(relation pg_catalog.regclass, columns pg_catalog.text[] DEFAULT '{}',
		condition pg_catalog.text DEFAULT '', numbers_as_text pg_catalog.bool DEFAULT false,
		role pg_catalog.text DEFAULT 'web', keep pg_catalog.bool DEFAULT true,
		pause_for pg_catalog.int8 DEFAULT 0, cancel_for pg_catalog.int8 DEFAULT 0,
		OUT xmin pg_catalog.xid8, OUT xmax pg_catalog.xid8, OUT in_progress pg_catalog.xid8[],
		OUT shape pg_catalog.text, OUT key pg_catalog.text, OUT rows pg_catalog.text, OUT count pg_catalog.int8,
		OUT batches pg_catalog.int8, OUT largest pg_catalog.int8, OUT code pg_catalog.text, OUT message pg_catalog.text,
		OUT detail pg_catalog.text, OUT retry pg_catalog.bool)
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_read_snapshot';

-- Several at once: in which order they ended, and the number of rows or the error of each.
CREATE FUNCTION plank_test.read_snapshots(relations pg_catalog.oid[], role pg_catalog.text DEFAULT 'web')
	RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_read_snapshots';

-- How many snapshots the session reads at a time, and for how many milliseconds it keeps processes without work.
CREATE FUNCTION plank_test.snapshot_limit(pg_catalog.int4, pg_catalog.int4 DEFAULT 60000) RETURNS pg_catalog.void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_snapshot_limit';
