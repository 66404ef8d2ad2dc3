-- What CREATE EXTENSION plank makes. Tracking itself is stored nowhere here: the triggers that plank.track creates on a
-- table are the record, and plank.tracked reads them back.
\echo Use "CREATE EXTENSION plank" to load this file. \quit

-- A member of the extension: it comes and goes with it, dumps leave it to CREATE EXTENSION, and a schema that somebody
-- made beforehand is no place for functions that everybody calls: its owner could replace them.
CREATE SCHEMA plank;
REVOKE ALL ON SCHEMA plank FROM PUBLIC;
GRANT USAGE ON SCHEMA plank TO PUBLIC;
COMMENT ON SCHEMA plank IS 'Plank: row changes to WebSocket clients as transactions commit';

-- Capture

CREATE FUNCTION plank.capture() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'plank_capture';
REVOKE ALL ON FUNCTION plank.capture() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank.capture() TO PUBLIC;
COMMENT ON FUNCTION plank.capture() IS
	'trigger function of tracked tables; plank.track creates the triggers, restoring a dump recreates them';

-- Tracking

CREATE FUNCTION plank.track(
	relation regclass,
	events text[] DEFAULT '{insert,update,delete,truncate}',
	columns name[] DEFAULT NULL,
	filter text DEFAULT NULL,
	notify text DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'plank_track';
REVOKE ALL ON FUNCTION plank.track(regclass, text[], name[], text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank.track(regclass, text[], name[], text, text) TO PUBLIC;
COMMENT ON FUNCTION plank.track(regclass, text[], name[], text, text) IS
	'start tracking a table, or change how it is tracked: which events, only these columns, only rows that pass this condition, and a public NOTIFY channel that hears of every change';

CREATE FUNCTION plank.untrack(relation regclass) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'plank_untrack';
REVOKE ALL ON FUNCTION plank.untrack(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank.untrack(regclass) TO PUBLIC;
COMMENT ON FUNCTION plank.untrack(regclass) IS 'stop tracking a table; false when it was not tracked';

CREATE FUNCTION plank._arguments(tgargs bytea, OUT mode text, OUT columns name[], OUT notify text) RETURNS record
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'plank_arguments';
REVOKE ALL ON FUNCTION plank._arguments(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank._arguments(bytea) TO PUBLIC;
COMMENT ON FUNCTION plank._arguments(bytea) IS
	'arguments of a capture trigger, from pg_trigger.tgargs; nulls when they are not Plank''s';

CREATE FUNCTION plank._filter(trigger oid) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'plank_filter';
REVOKE ALL ON FUNCTION plank._filter(oid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank._filter(oid) TO PUBLIC;
COMMENT ON FUNCTION plank._filter(oid) IS
	'the filter that the WHEN condition of a capture trigger was made from, as SQL over the table''s columns';

CREATE VIEW plank.tracked AS
WITH RECURSIVE firing AS (
	SELECT t.oid, t.tgrelid, t.tgenabled
	FROM pg_catalog.pg_trigger t
	WHERE t.tgfoid OPERATOR(pg_catalog.=) 'plank.capture()'::regprocedure AND t.tgparentid OPERATOR(pg_catalog.=) 0
	UNION ALL
	SELECT t.oid, f.tgrelid, t.tgenabled
	FROM pg_catalog.pg_trigger t JOIN firing f ON t.tgparentid OPERATOR(pg_catalog.=) f.oid
), captured AS (
	SELECT t.tgrelid,
		pg_catalog.array_agg(a.mode) AS modes,
		pg_catalog.min(a.columns::text)::name[] AS columns,
		pg_catalog.min(a.notify) AS notify,
		pg_catalog.min(t.oid) FILTER (WHERE t.tgqual IS NOT NULL) AS filtered
	FROM pg_catalog.pg_trigger t
		CROSS JOIN LATERAL plank._arguments(t.tgargs) a
	WHERE t.tgfoid OPERATOR(pg_catalog.=) 'plank.capture()'::regprocedure
		AND t.tgparentid OPERATOR(pg_catalog.=) 0
		AND a.mode IS NOT NULL
	GROUP BY t.tgrelid
)
SELECT c.tgrelid::regclass AS relation,
	pg_catalog.array_remove(ARRAY[
		CASE WHEN 'insert' OPERATOR(pg_catalog.=) ANY (c.modes) THEN 'insert' END,
		CASE WHEN 'update' OPERATOR(pg_catalog.=) ANY (c.modes) THEN 'update' END,
		CASE WHEN 'delete' OPERATOR(pg_catalog.=) ANY (c.modes) THEN 'delete' END,
		CASE WHEN 'truncate' OPERATOR(pg_catalog.=) ANY (c.modes) THEN 'truncate' END
	], NULL) AS events,
	CASE WHEN c.columns IS NOT NULL THEN ARRAY(
		SELECT a.attname FROM pg_catalog.pg_attribute a
		WHERE a.attrelid OPERATOR(pg_catalog.=) c.tgrelid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
			AND a.attname OPERATOR(pg_catalog.=) ANY (c.columns)
		ORDER BY a.attnum
	) END AS columns,
	plank._filter(c.filtered) AS filter,
	c.notify,
	(
		SELECT ARRAY(
			SELECT a.attname
			FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
				JOIN pg_catalog.pg_attribute a
					ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND a.attnum OPERATOR(pg_catalog.=) k.attnum
			WHERE k.place OPERATOR(pg_catalog.<=) i.indnkeyatts
			ORDER BY k.place
		)
		FROM pg_catalog.pg_index i
		WHERE i.indrelid OPERATOR(pg_catalog.=) c.tgrelid AND i.indisvalid AND i.indimmediate
			AND (i.indisprimary OR i.indisreplident)
		ORDER BY i.indisprimary DESC
		LIMIT 1
	) AS key,
	NOT EXISTS (
		SELECT FROM firing f
		WHERE f.tgrelid OPERATOR(pg_catalog.=) c.tgrelid AND f.tgenabled OPERATOR(pg_catalog.<>) 'A'
	) AS enabled
FROM captured c;
REVOKE ALL ON plank.tracked FROM PUBLIC;
GRANT SELECT ON plank.tracked TO PUBLIC;
COMMENT ON VIEW plank.tracked IS 'tables being tracked, and how: read from their triggers';
COMMENT ON COLUMN plank.tracked.relation IS 'the table; for partitioned tables the one that plank.track was called for';
COMMENT ON COLUMN plank.tracked.events IS 'which of insert, update, delete and truncate are captured';
COMMENT ON COLUMN plank.tracked.columns IS 'the only columns that leave the server; null: all';
COMMENT ON COLUMN plank.tracked.filter IS 'only rows that pass this condition exist for clients; null: all';
COMMENT ON COLUMN plank.tracked.notify IS 'public channel on which each change is also sent with NOTIFY; null: none';
COMMENT ON COLUMN plank.tracked.key IS
	'columns that identify a row: the primary key unless it is DEFERRABLE, else the replica identity index, else null';
COMMENT ON COLUMN plank.tracked.enabled IS 'false when a capture trigger, of the table or of a partition, was disabled or does not fire ALWAYS';

-- Channels

-- A role is kept as regrole: it follows ALTER ROLE ... RENAME, and is dumped by name. Rows whose role was dropped are not
-- dumped: their number could be another role's where the dump is restored.
CREATE TABLE plank.channel (
	channel text NOT NULL
		CONSTRAINT channel_name CHECK (
			pg_catalog.octet_length(channel) OPERATOR(pg_catalog.>) 0
			AND pg_catalog.octet_length(channel) OPERATOR(pg_catalog.<) 64
			AND NOT pg_catalog.starts_with(channel, 'plank:')),
	role regrole,
	CONSTRAINT channel_key UNIQUE NULLS NOT DISTINCT (channel, role)
);
SELECT pg_catalog.pg_extension_config_dump('plank.channel',
	'WHERE role IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) role)');
REVOKE ALL ON plank.channel FROM PUBLIC;
GRANT SELECT, INSERT, DELETE ON plank.channel TO pg_database_owner;
COMMENT ON TABLE plank.channel IS 'channels that clients may subscribe to; plank.expose and plank.unexpose keep it';
COMMENT ON COLUMN plank.channel.channel IS 'name of the channel';
COMMENT ON COLUMN plank.channel.role IS 'role whose clients may subscribe; null: any role''s';
COMMENT ON CONSTRAINT channel_name ON plank.channel IS
	'1 to 63 bytes, as for NOTIFY; names that begin with plank: are reserved';
COMMENT ON CONSTRAINT channel_key ON plank.channel IS 'a channel is exposed once to each role';

CREATE FUNCTION plank._channel_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'plank_channel_changed';
REVOKE ALL ON FUNCTION plank._channel_changed() FROM PUBLIC;
COMMENT ON FUNCTION plank._channel_changed() IS 'tells the worker that plank.channel changed';
CREATE TRIGGER channel_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON plank.channel
	FOR EACH STATEMENT EXECUTE FUNCTION plank._channel_changed();
ALTER TABLE plank.channel ENABLE ALWAYS TRIGGER channel_changed;
COMMENT ON TRIGGER channel_changed ON plank.channel IS 'tells the worker that plank.channel changed';

CREATE FUNCTION plank.send(channel text, payload jsonb) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'plank_send';
REVOKE ALL ON FUNCTION plank.send(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank.send(text, jsonb) TO PUBLIC;
COMMENT ON FUNCTION plank.send(text, jsonb) IS
	'send an application event to the subscribers of a channel, on commit and beside the row changes of the transaction';

CREATE FUNCTION plank.expose(channel text, role regrole DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'plank_expose';
REVOKE ALL ON FUNCTION plank.expose(text, regrole) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank.expose(text, regrole) TO pg_database_owner;
COMMENT ON FUNCTION plank.expose(text, regrole) IS
	'let clients of a role, or of any role when it is null, subscribe to a channel';

CREATE FUNCTION plank.unexpose(channel text) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'plank_unexpose';
REVOKE ALL ON FUNCTION plank.unexpose(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank.unexpose(text) TO pg_database_owner;
COMMENT ON FUNCTION plank.unexpose(text) IS
	'let no client subscribe to a channel any more; false when it was not exposed';

-- The secret of this database's messages in WAL. Anybody may write logical messages, so Plank's own carry it. One row;
-- never dumped: a restored database has a secret of its own. It must stay what it is, for what older WAL says is known by
-- it. The table is logged only after it was filled: a publication FOR ALL TABLES must not carry the row to subscribers.
CREATE UNLOGGED TABLE plank.secret (
	secret text NOT NULL CONSTRAINT secret_form CHECK (secret OPERATOR(pg_catalog.~) '^[0-9a-f]{32}$')
);
REVOKE ALL ON plank.secret FROM PUBLIC;
INSERT INTO plank.secret SELECT pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(
	pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) OPERATOR(pg_catalog.||)
	pg_catalog.uuid_send(pg_catalog.gen_random_uuid())), 'hex'), 32);
ALTER TABLE plank.secret SET LOGGED;
COMMENT ON TABLE plank.secret IS
	'by this Plank knows its own messages in the WAL of plank.transport = ''wal''; for nobody to read or change';
COMMENT ON COLUMN plank.secret.secret IS '128 random bits as hex digits';
COMMENT ON CONSTRAINT secret_form ON plank.secret IS '32 hex digits';

-- Tokens

CREATE FUNCTION plank.sign(claims jsonb, ttl interval) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'plank_sign';
REVOKE ALL ON FUNCTION plank.sign(jsonb, interval) FROM PUBLIC;
COMMENT ON FUNCTION plank.sign(jsonb, interval) IS
	'a token with these claims, valid that long, signed with the secret in plank.jwt_key_file';

-- The worker, and who is connected to it

CREATE FUNCTION plank.wait_until_ready(timeout interval DEFAULT '10s') RETURNS boolean
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'plank_wait_until_ready';
REVOKE ALL ON FUNCTION plank.wait_until_ready(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank.wait_until_ready(interval) TO PUBLIC;
COMMENT ON FUNCTION plank.wait_until_ready(interval) IS
	'wait for this database''s worker; true once it accepts connections, false when it did not in time';

CREATE FUNCTION plank._stat(
	OUT database name, OUT worker int, OUT pid int, OUT state text, OUT started_at timestamptz, OUT transport text,
	OUT port int, OUT clients bigint, OUT subscriptions bigint, OUT transactions bigint, OUT changes bigint,
	OUT messages bigint, OUT resets bigint, OUT clients_accepted bigint, OUT clients_refused bigint,
	OUT clients_too_slow bigint, OUT clients_timed_out bigint, OUT frames_sent bigint, OUT bytes_sent bigint,
	OUT bytes_received bigint, OUT log_bytes bigint, OUT spill_bytes bigint, OUT notify_sent bigint,
	OUT notify_skipped bigint, OUT errors bigint, OUT transaction_bytes bigint, OUT resets_ddl bigint,
	OUT resets_lost bigint, OUT resets_resume bigint, OUT resumed_from_log bigint, OUT resumed_by_replay bigint,
	OUT wal_read bigint, OUT wal_skipped bigint, OUT wal_replayed bigint, OUT messages_forged bigint,
	OUT lag_bytes bigint, OUT lag interval, OUT oldest_position pg_lsn, OUT memory_bytes bigint,
	OUT clients_shed bigint
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'plank_stat';
REVOKE ALL ON FUNCTION plank._stat() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank._stat() TO PUBLIC;
COMMENT ON FUNCTION plank._stat() IS 'what the view plank.stat shows';

CREATE VIEW plank.stat AS SELECT * FROM plank._stat();
REVOKE ALL ON plank.stat FROM PUBLIC;
GRANT SELECT ON plank.stat TO PUBLIC;
COMMENT ON VIEW plank.stat IS 'one row per worker: its state and counters, which only grow until it starts again';
COMMENT ON COLUMN plank.stat.database IS 'database the worker serves';
COMMENT ON COLUMN plank.stat.worker IS 'number of the worker among those of its database';
COMMENT ON COLUMN plank.stat.pid IS 'process id; null when it is not running';
COMMENT ON COLUMN plank.stat.state IS 'what the worker is doing: ready, or why it is not';
COMMENT ON COLUMN plank.stat.started_at IS 'when the worker started';
COMMENT ON COLUMN plank.stat.transport IS 'how changes reach it: notify or wal';
COMMENT ON COLUMN plank.stat.port IS 'TCP port it listens on';
COMMENT ON COLUMN plank.stat.clients IS 'clients connected now';
COMMENT ON COLUMN plank.stat.subscriptions IS 'subscriptions of those clients';
COMMENT ON COLUMN plank.stat.transactions IS 'transactions received';
COMMENT ON COLUMN plank.stat.changes IS 'row changes received';
COMMENT ON COLUMN plank.stat.messages IS 'application events and notifications received';
COMMENT ON COLUMN plank.stat.resets IS 'resets sent to clients';
COMMENT ON COLUMN plank.stat.clients_accepted IS 'clients that were let in';
COMMENT ON COLUMN plank.stat.clients_refused IS 'connections refused: limits, origin or malformed requests';
COMMENT ON COLUMN plank.stat.clients_too_slow IS 'clients closed because they did not read (4008)';
COMMENT ON COLUMN plank.stat.clients_timed_out IS 'clients closed because they did not answer pings (4002)';
COMMENT ON COLUMN plank.stat.frames_sent IS 'WebSocket frames sent';
COMMENT ON COLUMN plank.stat.bytes_sent IS 'bytes sent to clients';
COMMENT ON COLUMN plank.stat.bytes_received IS 'bytes received from clients';
COMMENT ON COLUMN plank.stat.log_bytes IS 'memory that kept transactions take now';
COMMENT ON COLUMN plank.stat.spill_bytes IS 'bytes of kept transactions in temporary files now';
COMMENT ON COLUMN plank.stat.notify_sent IS 'notifications sent on the public channels of tracked tables';
COMMENT ON COLUMN plank.stat.notify_skipped IS 'notifications on public channels that could not be sent';
COMMENT ON COLUMN plank.stat.errors IS 'errors met and survived; the server log has them';
COMMENT ON COLUMN plank.stat.transaction_bytes IS 'bytes of the transactions received';
COMMENT ON COLUMN plank.stat.resets_ddl IS 'resets because a table''s contents changed without row changes';
COMMENT ON COLUMN plank.stat.resets_lost IS 'resets because changes could not be delivered';
COMMENT ON COLUMN plank.stat.resets_resume IS 'resets because a subscription could not be resumed';
COMMENT ON COLUMN plank.stat.resumed_from_log IS 'subscriptions resumed from memory';
COMMENT ON COLUMN plank.stat.resumed_by_replay IS 'subscriptions resumed by reading WAL again';
COMMENT ON COLUMN plank.stat.wal_read IS 'bytes of WAL read to follow it';
COMMENT ON COLUMN plank.stat.wal_skipped IS 'bytes of wal_read that held nothing for this database''s clients';
COMMENT ON COLUMN plank.stat.wal_replayed IS 'bytes of WAL read again for subscriptions that resume';
COMMENT ON COLUMN plank.stat.messages_forged IS 'logical messages passed over because they pretended to be Plank''s';
COMMENT ON COLUMN plank.stat.lag_bytes IS 'bytes of flushed (on a standby: replayed) WAL not yet delivered; null under notify';
COMMENT ON COLUMN plank.stat.lag IS 'age of the transaction being delivered; zero when nothing waits; null under notify';
COMMENT ON COLUMN plank.stat.oldest_position IS 'where the WAL that is left for resuming begins; null under notify';
COMMENT ON COLUMN plank.stat.memory_bytes IS 'memory of the worker now, as plank.max_memory counts it';
COMMENT ON COLUMN plank.stat.clients_shed IS 'clients closed because memory was short (1013)';

CREATE FUNCTION plank._clients(
	OUT database name, OUT worker int, OUT session text, OUT pid int, OUT role name, OUT client_addr inet,
	OUT connected_at timestamptz, OUT subscriptions int, OUT bytes_sent bigint, OUT bytes_received bigint,
	OUT waiting_bytes bigint
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'plank_clients';
REVOKE ALL ON FUNCTION plank._clients() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank._clients() TO pg_monitor;
COMMENT ON FUNCTION plank._clients() IS 'what the view plank.clients shows';

CREATE VIEW plank.clients AS SELECT * FROM plank._clients();
REVOKE ALL ON plank.clients FROM PUBLIC;
GRANT SELECT ON plank.clients TO pg_monitor;
COMMENT ON VIEW plank.clients IS 'one row per connected client';
COMMENT ON COLUMN plank.clients.database IS 'database the client is connected to';
COMMENT ON COLUMN plank.clients.worker IS 'number of the worker that serves it';
COMMENT ON COLUMN plank.clients.session IS 'the session that its welcome message named';
COMMENT ON COLUMN plank.clients.pid IS 'process id of the worker';
COMMENT ON COLUMN plank.clients.role IS 'role whose privileges it has; null before it has authenticated';
COMMENT ON COLUMN plank.clients.client_addr IS 'address it connected from';
COMMENT ON COLUMN plank.clients.connected_at IS 'when it connected';
COMMENT ON COLUMN plank.clients.subscriptions IS 'how many subscriptions it has';
COMMENT ON COLUMN plank.clients.bytes_sent IS 'bytes sent to it';
COMMENT ON COLUMN plank.clients.bytes_received IS 'bytes received from it';
COMMENT ON COLUMN plank.clients.waiting_bytes IS 'bytes waiting for it to read';

CREATE FUNCTION plank._subscriptions(
	OUT database name, OUT worker int, OUT session text, OUT id text, OUT relation regclass, OUT channel text,
	OUT events text[], OUT numbers text, OUT since_at timestamptz, OUT condition text, OUT columns text[],
	OUT snapshot boolean
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'plank_subscriptions';
REVOKE ALL ON FUNCTION plank._subscriptions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plank._subscriptions() TO pg_monitor;
COMMENT ON FUNCTION plank._subscriptions() IS 'what the view plank.subscriptions shows';

CREATE VIEW plank.subscriptions AS SELECT * FROM plank._subscriptions();
REVOKE ALL ON plank.subscriptions FROM PUBLIC;
GRANT SELECT ON plank.subscriptions TO pg_monitor;
COMMENT ON VIEW plank.subscriptions IS 'one row per live subscription';
COMMENT ON COLUMN plank.subscriptions.database IS 'database of the subscription';
COMMENT ON COLUMN plank.subscriptions.worker IS 'number of the worker that serves it';
COMMENT ON COLUMN plank.subscriptions.session IS 'session of the client, as in plank.clients';
COMMENT ON COLUMN plank.subscriptions.id IS 'the id that the client chose';
COMMENT ON COLUMN plank.subscriptions.relation IS 'table watched; null for a channel';
COMMENT ON COLUMN plank.subscriptions.channel IS 'channel watched; null for a table';
COMMENT ON COLUMN plank.subscriptions.events IS 'which events it gets; null for a channel';
COMMENT ON COLUMN plank.subscriptions.numbers IS 'how bigint and numeric are sent: json or text';
COMMENT ON COLUMN plank.subscriptions.since_at IS 'when it was subscribed';
COMMENT ON COLUMN plank.subscriptions.condition IS 'its where, as the client wrote it; a long one is cut; null without';
COMMENT ON COLUMN plank.subscriptions.columns IS
	'columns it was limited to, by its client or by the privileges of its role, without the key if not named; null: all';
COMMENT ON COLUMN plank.subscriptions.snapshot IS 'whether it asked for the rows, too; null for a channel';
