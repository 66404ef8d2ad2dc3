\echo Use "CREATE EXTENSION plank_test" to load this file. \quit

-- What Plank sends for a value, and the same as bytes for databases that are not UTF-8.
CREATE FUNCTION plank_test.value_json(anyelement) RETURNS pg_catalog.text
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'plank_test_value_json';
CREATE FUNCTION plank_test.value_bytes(anyelement) RETURNS pg_catalog.bytea
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'plank_test_value_json';

-- Keeps the process busy for some milliseconds and looks for no interrupts meanwhile, as some of PostgreSQL's own do.
CREATE FUNCTION plank_test.busy(pg_catalog.int4) RETURNS pg_catalog.int4
	LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'plank_test_busy';

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

-- Sets what capture believes of the notification queue, in thousandths, until a worker looks at it again.
CREATE FUNCTION plank_test._set_queue_usage(pg_catalog.int4, bytes pg_catalog.int8) RETURNS pg_catalog.void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_set_queue_usage';
CREATE FUNCTION plank_test.set_queue_usage(thousandths pg_catalog.int4) RETURNS pg_catalog.void
	LANGUAGE sql VOLATILE STRICT AS $$
	SELECT plank_test._set_queue_usage(thousandths, size) FROM pg_catalog.pg_shmem_allocations
	WHERE name OPERATOR(pg_catalog.=) 'plank'
$$;

-- A client of this database's worker, inside the session: connects, sends a message, reads the next frame.
CREATE FUNCTION plank_test._connect(port pg_catalog.int4) RETURNS pg_catalog.void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_connect';
CREATE FUNCTION plank_test._request(message pg_catalog.text) RETURNS pg_catalog.void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_request';
CREATE FUNCTION plank_test._next_frame() RETURNS pg_catalog.text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'plank_test_next_frame';

-- Subscribes to tables, and to the channel "mark"; returns when all of that is promised.
CREATE FUNCTION plank_test.watch(VARIADIC tables pg_catalog.text[]) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	port pg_catalog.int4;
	answer pg_catalog.jsonb;
	watched pg_catalog.text;
BEGIN
	-- The role of clients may have been made a moment ago.
	LOOP
		SELECT s.port INTO port FROM plank.stat s WHERE s.database OPERATOR(pg_catalog.=) pg_catalog.current_database();
		PERFORM plank_test._connect(port);
		EXIT WHEN plank_test._next_frame()::pg_catalog.jsonb OPERATOR(pg_catalog.->>) 'role' IS NOT NULL;
		PERFORM pg_catalog.pg_sleep(0.05);
	END LOOP;
	FOREACH watched IN ARRAY tables LOOP
		PERFORM plank_test._request(pg_catalog.json_build_object('type', 'subscribe', 'id', watched, 'table', watched)::pg_catalog.text);
		answer := plank_test._next_frame()::pg_catalog.jsonb;
		IF answer OPERATOR(pg_catalog.->>) 'type' OPERATOR(pg_catalog.<>) 'subscribed' THEN
			RAISE EXCEPTION '%', answer;
		END IF;
	END LOOP;
	PERFORM plank_test._request('{"type":"subscribe","id":"mark","channel":"mark"}');
	PERFORM plank_test._next_frame();
END $$;

-- Everything that the client was sent before the next event on the channel "mark": one row for each transaction, in
-- order, with its changes in a few words each.
CREATE FUNCTION plank_test.seen() RETURNS SETOF pg_catalog.text
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	message pg_catalog.jsonb;
	change pg_catalog.jsonb;
	words pg_catalog.text := '';
BEGIN
	LOOP
		FOR message IN SELECT m FROM (SELECT plank_test._next_frame()::pg_catalog.jsonb AS frame) f,
			LATERAL pg_catalog.jsonb_array_elements(CASE pg_catalog.jsonb_typeof(frame) WHEN 'array' THEN frame
				ELSE pg_catalog.jsonb_build_array(frame) END) m
		LOOP
			-- When a new shape is told depends on when the worker looks.
			IF message OPERATOR(pg_catalog.->>) 'type' OPERATOR(pg_catalog.=) ANY ('{position,subscribed}') THEN
				CONTINUE;
			ELSIF message OPERATOR(pg_catalog.->>) 'type' OPERATOR(pg_catalog.<>) 'transaction' THEN
				RETURN NEXT (message OPERATOR(pg_catalog.-) 'position')::pg_catalog.text;
				CONTINUE;
			END IF;
			FOR change IN SELECT pg_catalog.jsonb_array_elements(message OPERATOR(pg_catalog.->) 'changes') LOOP
				IF change OPERATOR(pg_catalog.->>) 'channel' OPERATOR(pg_catalog.=) 'mark' THEN
					RETURN;
				END IF;
				words := pg_catalog.concat_ws(' ', NULLIF(words, '') OPERATOR(pg_catalog.||) ';',
					change OPERATOR(pg_catalog.->>) 'op', pg_catalog.substr(change OPERATOR(pg_catalog.->>) 'table', 8),
					COALESCE(change OPERATOR(pg_catalog.->) 'new', change OPERATOR(pg_catalog.->) 'old'));
			END LOOP;
			IF NOT (message OPERATOR(pg_catalog.->) 'more')::pg_catalog.bool THEN
				RETURN NEXT words;
				words := '';
			END IF;
		END LOOP;
	END LOOP;
END $$;
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
-- What the server says to a condition over the table, of which these columns are tracked (none: all), or null when it
-- takes it.
CREATE FUNCTION plank_test.filter_fault(relation pg_catalog.regclass, condition pg_catalog.text,
	role pg_catalog.name DEFAULT current_user, columns pg_catalog.text DEFAULT '') RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_filter_fault';

-- How the worker judges each row's insert, delete, and update from the row before it, by all conditions at once. Rows
-- that pass neither before nor after are left out. `one_turn`: all in one turn of the worker, else each in its own.
-- `meanwhile`: a statement to run when the conditions have been added.
CREATE FUNCTION plank_test.filter_verdicts(relation pg_catalog.regclass, conditions pg_catalog.text[],
	role pg_catalog.name DEFAULT current_user, one_turn pg_catalog.bool DEFAULT false,
	meanwhile pg_catalog.text DEFAULT '', OUT filter pg_catalog.int4, OUT op "char", OUT number pg_catalog.int4,
	OUT before pg_catalog.bool, OUT after pg_catalog.bool, OUT failure pg_catalog.text) RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_filter_verdicts';

-- The same by PostgreSQL itself, over the rows where they lie.
CREATE FUNCTION plank_test.filter_expected(relation pg_catalog.regclass, conditions pg_catalog.text[])
	RETURNS TABLE (filter pg_catalog.int4, op "char", number pg_catalog.int4, before pg_catalog.bool, after pg_catalog.bool)
	LANGUAGE plpgsql VOLATILE STRICT
	SET DateStyle = 'ISO, MDY'
	SET TimeZone = 'UTC'
	SET IntervalStyle = 'postgres'
	SET bytea_output = 'hex'
	SET extra_float_digits = 1
	SET lc_monetary = 'C'
	AS $$
BEGIN
	FOR i IN 1 .. pg_catalog.array_length(conditions, 1) LOOP
		RETURN QUERY EXECUTE pg_catalog.format($query$
			WITH judged AS MATERIALIZED (
				SELECT pg_catalog.row_number() OVER (ORDER BY ctid)::pg_catalog.int4 AS number, (%s) IS TRUE AS passes
				FROM ONLY %s),
			pairs AS (SELECT number, passes, pg_catalog.lag(passes) OVER (ORDER BY number) AS passed FROM judged)
			SELECT %s, 'I'::"char", number, false, true FROM pairs WHERE passes
			UNION ALL SELECT %3$s, 'D', number, true, false FROM pairs WHERE passes
			UNION ALL SELECT %3$s, 'U', number, passed, passes FROM pairs WHERE passed IS NOT NULL AND (passed OR passes)
			$query$, conditions[i], relation, i);
	END LOOP;
END $$;

-- Where the two differ.
CREATE FUNCTION plank_test.filter_mismatches(relation pg_catalog.regclass, conditions pg_catalog.text[])
	RETURNS SETOF pg_catalog.text LANGUAGE plpgsql VOLATILE STRICT AS $$
BEGIN
	RETURN QUERY WITH v AS MATERIALIZED (SELECT * FROM plank_test.filter_verdicts(relation, conditions)),
		e AS MATERIALIZED (SELECT * FROM plank_test.filter_expected(relation, conditions))
	SELECT pg_catalog.format('%s: %s of row %s: worker %s %s %s, PostgreSQL %s %s', conditions[coalesce(v.filter, e.filter)],
		coalesce(v.op, e.op), coalesce(v.number, e.number), v.before, v.after, v.failure, e.before, e.after)
	FROM v FULL JOIN e ON v.filter = e.filter AND v.op = e.op AND v.number = e.number
	WHERE v.failure IS NOT NULL OR (v.before, v.after) IS DISTINCT FROM (e.before, e.after);
END $$;

-- Null when the value that the worker makes of what capture writes has the very same bytes.
CREATE FUNCTION plank_test.round_trip(anyelement) RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_round_trip';
CREATE FUNCTION plank_test.round_trip_of(expression pg_catalog.text) RETURNS pg_catalog.text
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	result pg_catalog.text;
BEGIN
	EXECUTE pg_catalog.format('SELECT plank_test.round_trip(%s)', expression) INTO result;
	RETURN expression OPERATOR(pg_catalog.||) ' -> ' OPERATOR(pg_catalog.||) result;
END $$;

-- How many filters the conditions become.
CREATE FUNCTION plank_test.filter_sharing(relation pg_catalog.regclass, conditions pg_catalog.text[],
	role pg_catalog.name DEFAULT current_user) RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_filter_sharing';

-- Figures of `count` filters (%s in the condition becomes 1, 2, ...) and `rounds` passes over the table's changes.
CREATE FUNCTION plank_test.filter_benchmark(relation pg_catalog.regclass, condition pg_catalog.text,
	count pg_catalog.int4, rounds pg_catalog.int4) RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_filter_benchmark';

-- The columns of a table that changes carry as text too.
CREATE FUNCTION plank_test.texts(relation pg_catalog.regclass) RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_texts';

-- How filters fare when a statement changes their table: the rows that pass among those written before it; what another
-- look at the table ends; then the rows that pass as they are now, and those written before once more.
CREATE FUNCTION plank_test.filter_after(relation pg_catalog.regclass, conditions pg_catalog.text[],
	statement pg_catalog.text) RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_filter_after';

-- Has a background worker try the evaluator outside any transaction, over a table that has been committed, and note what it
-- finds.
CREATE TABLE plank_test.noted (line pg_catalog.text);
CREATE FUNCTION plank_test.run_filter_worker(relation pg_catalog.regclass) RETURNS pg_catalog.void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_run_filter_worker';
-- Reads a table's rows as the worker has them read for a subscription: by a process of its own. The pool of processes
-- lives as long as the session. `keep`: the rows themselves and not only their number. `pause_for`: after the first batch
-- nothing more is taken until this advisory lock is free. `cancel_for`: once it is free, the request is cancelled; with
-- `pause_for` that is after the first batch.
CREATE FUNCTION plank_test.read_snapshot(relation pg_catalog.regclass, columns pg_catalog.text[] DEFAULT '{}',
		condition pg_catalog.text DEFAULT '', numbers_as_text pg_catalog.bool DEFAULT false,
		role pg_catalog.text DEFAULT 'web', keep pg_catalog.bool DEFAULT true,
		pause_for pg_catalog.int8 DEFAULT 0, cancel_for pg_catalog.int8 DEFAULT 0,
		claims pg_catalog.text DEFAULT '{}',
		OUT xmin pg_catalog.xid8, OUT xmax pg_catalog.xid8, OUT in_progress pg_catalog.xid8[],
		OUT shape pg_catalog.text, OUT key pg_catalog.text, OUT rows pg_catalog.text, OUT count pg_catalog.int8,
		OUT batches pg_catalog.int8, OUT largest pg_catalog.int8, OUT code pg_catalog.text, OUT message pg_catalog.text,
		OUT detail pg_catalog.text, OUT retry pg_catalog.bool)
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_read_snapshot';

-- Several at once: in which order they ended, and the number of rows or the error of each.
CREATE FUNCTION plank_test.read_snapshots(relations pg_catalog.oid[], role pg_catalog.text DEFAULT 'web')
	RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_read_snapshots';

-- One after another, every other one given up at some time, and the next begun at once; fails when an answer is another's.
-- Returns how many were begun to be answered.
CREATE FUNCTION plank_test.give_up_snapshots(relations pg_catalog.oid[], rounds pg_catalog.int4)
	RETURNS pg_catalog.int8
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_give_up_snapshots';

-- False, and the process that asks is cancelled once its transaction has committed.
CREATE FUNCTION plank_test.cancel_at_commit() RETURNS pg_catalog.bool
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'plank_test_cancel_at_commit';

-- How many snapshots the session reads at a time, and for how many milliseconds it keeps processes without work.
CREATE FUNCTION plank_test.snapshot_limit(pg_catalog.int4, pg_catalog.int4 DEFAULT 60000) RETURNS pg_catalog.void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_snapshot_limit';

-- How the worker judges each row's insert, delete, and update from the row before it for clients of these roles and
-- claims with these conditions, all at once. Rows that pass neither before nor after are left out; op '-' is a client
-- that is refused. `meanwhile`: a statement to run when they have subscribed.
CREATE FUNCTION plank_test.policy_verdicts(relation pg_catalog.regclass, roles pg_catalog.text[],
	claims pg_catalog.text[], conditions pg_catalog.text[], meanwhile pg_catalog.text DEFAULT '',
	columns pg_catalog.text DEFAULT '', OUT watcher pg_catalog.int4, OUT op "char", OUT number pg_catalog.int4,
	OUT before pg_catalog.bool, OUT after pg_catalog.bool, OUT failure pg_catalog.text) RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_policy_verdicts';

-- What they see by PostgreSQL itself; `n` numbers the table's rows in their order.
CREATE FUNCTION plank_test.policy_expected(relation pg_catalog.regclass, roles pg_catalog.text[],
	claims pg_catalog.text[], conditions pg_catalog.text[], OUT watcher pg_catalog.int4, OUT op "char",
	OUT number pg_catalog.int4, OUT before pg_catalog.bool, OUT after pg_catalog.bool) RETURNS SETOF record
	LANGUAGE plpgsql VOLATILE STRICT AS $$
DECLARE
	seen pg_catalog.int4[];
	last pg_catalog.int4;
BEGIN
	EXECUTE pg_catalog.format('SELECT pg_catalog.max(n) FROM %s', relation) INTO last;
	FOR i IN 1 .. pg_catalog.array_length(roles, 1) LOOP
		PERFORM pg_catalog.set_config('request.jwt.claims', claims[i], true), pg_catalog.set_config('role', roles[i], true);
		EXECUTE pg_catalog.format('SELECT coalesce(pg_catalog.array_agg(n), ''{}'') FROM %s WHERE %s', relation,
			coalesce(nullif(conditions[i], ''), 'true')) INTO seen;
		PERFORM pg_catalog.set_config('role', 'none', true), pg_catalog.set_config('request.jwt.claims', '', true);
		RETURN QUERY SELECT i, 'I'::"char", n, false, true FROM pg_catalog.unnest(seen) n;
		RETURN QUERY SELECT i, 'D'::"char", n, true, false FROM pg_catalog.unnest(seen) n;
		RETURN QUERY SELECT i, 'U'::"char", n, n - 1 = ANY (seen), n = ANY (seen) FROM pg_catalog.generate_series(2, last) n
			WHERE n - 1 = ANY (seen) OR n = ANY (seen);
	END LOOP;
END $$;

-- Where the two differ.
CREATE FUNCTION plank_test.policy_mismatches(relation pg_catalog.regclass, roles pg_catalog.text[],
	claims pg_catalog.text[], conditions pg_catalog.text[]) RETURNS SETOF pg_catalog.text LANGUAGE plpgsql VOLATILE STRICT AS $$
BEGIN
	RETURN QUERY WITH v AS MATERIALIZED (SELECT * FROM plank_test.policy_verdicts(relation, roles, claims, conditions)),
		e AS MATERIALIZED (SELECT * FROM plank_test.policy_expected(relation, roles, claims, conditions))
	SELECT pg_catalog.format('%s %s %s: %s of row %s: worker %s %s %s, PostgreSQL %s %s', roles[coalesce(v.watcher, e.watcher)],
		claims[coalesce(v.watcher, e.watcher)], conditions[coalesce(v.watcher, e.watcher)], coalesce(v.op, e.op),
		coalesce(v.number, e.number), v.before, v.after, v.failure, e.before, e.after)
	FROM v FULL JOIN e ON v.watcher = e.watcher AND v.op = e.op AND v.number = e.number
	WHERE v.failure IS NOT NULL OR (v.before, v.after) IS DISTINCT FROM (e.before, e.after);
END $$;

-- The rows whose insert each client sees, what it is told when a statement has changed the table or who may see what of
-- it, and the rows whose insert it sees then.
CREATE FUNCTION plank_test.policy_after(relation pg_catalog.regclass, roles pg_catalog.text[], claims pg_catalog.text[],
	conditions pg_catalog.text[], statement pg_catalog.text) RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_policy_after';

-- Figures of `count` clients (%s in claims and condition becomes 1, 2, ...) and `rounds` passes over the table's changes.
CREATE FUNCTION plank_test.policy_benchmark(relation pg_catalog.regclass, role pg_catalog.text, claims pg_catalog.text,
	condition pg_catalog.text, count pg_catalog.int4, rounds pg_catalog.int4) RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_policy_benchmark';

-- Whether memory stays what it was while `count` clients come and go.
CREATE FUNCTION plank_test.policy_memory(relation pg_catalog.regclass, role pg_catalog.text, claims pg_catalog.text,
	condition pg_catalog.text, count pg_catalog.int4) RETURNS pg_catalog.text
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'plank_test_policy_memory';
