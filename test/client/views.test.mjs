// plank.clients, plank.subscriptions, plank.stat and plank.tracked: what they show, to whom, and what the worker shows of
// itself in pg_stat_activity.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';

const cluster = await Cluster.start();
await cluster.sql(`CREATE TABLE item (id int PRIMARY KEY); SELECT plank.track('item'); SELECT plank.expose('jobs')`);

test('clients and subscriptions show who is connected and what they watch', async (t) => {
	const client = await cluster.client(t);
	const mute = await cluster.client(t, { marker: false });
	await client.subscribed({ id: 'one', table: 'item', events: ['insert', 'delete'], numbers: 'text' });
	await client.subscribed({ id: 'two', channel: 'jobs' });
	const monitor = await cluster.session({ user: 'monitor' });
	const clients = async () => (await monitor.query(`
		SELECT database, role, host(client_addr) AS addr, session, subscriptions, bytes_received > 0 AS heard, bytes_sent > 0 AS told,
			connected_at > now() - interval '1 minute' AS recent, waiting_bytes::int
		FROM plank.clients ORDER BY connected_at`)).rows;
	const seen = await clients();
	assert.deepEqual(seen.map(({ session }) => session), [client.welcome.session, mute.welcome.session]);
	assert.match(seen[0].addr, /^(127\.0\.0\.1|::1)$/);
	delete seen[0].addr;
	assert.deepEqual(seen[0], { database: 'app', role: 'web', session: client.welcome.session, subscriptions: 3, heard: true, told: true, recent: true, waiting_bytes: 0 });
	const { rows } = await monitor.query(`
		SELECT id, relation::text, channel, events, numbers, condition, columns, snapshot FROM plank.subscriptions WHERE session = $1 ORDER BY id`, [client.welcome.session]);
	assert.deepEqual(rows, [
		{ id: 'marker', relation: null, channel: 'marker', events: null, numbers: rows[0].numbers, condition: null, columns: null, snapshot: null },
		{ id: 'one', relation: 'item', channel: null, events: ['insert', 'delete'], numbers: 'text', condition: null, columns: null, snapshot: false },
		{ id: 'two', relation: null, channel: 'jobs', events: null, numbers: rows[2].numbers, condition: null, columns: null, snapshot: null },
	]);
	await client.ask({ type: 'unsubscribe', id: 'one' }, 'unsubscribed');
	assert.equal((await monitor.query('SELECT FROM plank.subscriptions')).rowCount, 2);
	mute.socket.close();
	await mute.end();
	await until(async () => (await clients()).length === 1, 'the closed client to be gone');
});

test('clients and subscriptions are for pg_monitor, stat and tracked for everybody', async () => {
	const stranger = await cluster.session({ user: 'stranger' });
	for (const what of ['plank.clients', 'plank.subscriptions', 'plank._clients()', 'plank._subscriptions()']) {
		await assert.rejects(stranger.query(`SELECT * FROM ${what}`), { code: '42501' }, what);
	}
	assert.ok((await stranger.query('SELECT * FROM plank.stat')).rowCount > 0);
	assert.ok((await stranger.query('SELECT * FROM plank.tracked')).rowCount > 0);
});

test('stat counts what happens, and never backwards', async (t) => {
	const stat = async () => {
		const { rows } = await cluster.query(`SELECT * FROM plank.stat WHERE database = 'app'`);
		assert.equal(rows.length, 1);
		return Object.fromEntries(Object.entries(rows[0]).map(([name, value]) => [name, /^\d+$/.test(value) ? Number(value) : value]));
	};
	await cluster.counted('changes'); // what came before has been told
	const before = await stat();
	assert.deepEqual([before.state, before.transport, before.port, before.database], ['ready', 'notify', cluster.port, 'app']);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'item' });
	await cluster.sql('INSERT INTO item SELECT generate_series(1, 10)');
	await cluster.sql(`NOTIFY jobs`);
	await client.transaction();
	await cluster.sql('DELETE FROM item');
	await client.transaction();
	client.send('{');
	await client.next('error');
	const refused = await cluster.client(t, { headers: { Origin: 'https://evil.example' } }).catch(({ status }) => status);
	assert.equal(refused, 403);
	const grown = { transactions: 2, changes: 20, messages: 1, errors: 1, clients_accepted: 1, clients_refused: 1, frames_sent: 5, bytes_sent: 1000, bytes_received: 100 };
	const after = await until(async () => {
		const now = await stat();
		return Object.entries(grown).every(([name, by]) => now[name] - before[name] >= by) && now;
	}, 'the counters').catch(async (error) => {
		const now = await stat();
		throw new Error(`${error.message}: ${JSON.stringify(Object.keys(grown).map((name) => [name, now[name] - before[name]]))}`);
	});
	assert.equal(after.clients, 1);
	assert.equal(after.subscriptions, 2);
	assert.equal(after.changes - before.changes, 20);
});

test('tracked shows how a table is tracked, and follows DDL', async () => {
	await cluster.sql(`
		CREATE TABLE told (id int PRIMARY KEY, a int, b text);
		SELECT plank.track('told', events => '{delete,insert}', columns => '{a}', filter => 'a > 1', notify => 'told_ch')`);
	const tracked = async () => (await cluster.query(`SELECT relation::text, events, columns::text[], filter, notify, key::text[], enabled FROM plank.tracked WHERE relation::text ~ 'told'`)).rows;
	const [row] = await tracked();
	assert.deepEqual({ ...row, filter: row.filter.replace(/[()]/g, '') },
		{ relation: 'told', events: ['insert', 'delete'], columns: row.columns, filter: 'a > 1', notify: 'told_ch', key: ['id'], enabled: true });
	assert.ok(row.columns.includes('a') && !row.columns.includes('b'));
	await cluster.sql('ALTER TABLE told RENAME a TO n; ALTER TABLE told RENAME TO told_again');
	const [renamed] = await tracked();
	assert.equal(renamed.relation, 'told_again');
	assert.ok(renamed.columns.includes('n'));
	assert.match(renamed.filter, /n > 1/);
	assert.equal((await cluster.query(`SELECT plank.untrack('told_again') AS was`)).rows[0].was, true);
	assert.equal((await cluster.query(`SELECT plank.untrack('told_again') AS was`)).rows[0].was, false);
	assert.deepEqual(await tracked(), []);
});

test('the worker is visible in pg_stat_activity and holds no snapshot while it waits (P15)', async () => {
	const rows = async () => (await cluster.query(`
		SELECT datname, state, backend_type, query <> '' AS has_query, backend_xmin IS NULL AND backend_xid IS NULL AS free
		FROM pg_stat_activity WHERE backend_type ~* 'plank' ORDER BY datname`)).rows;
	const idle = await until(async () => {
		const seen = await rows();
		return seen.length === 2 && seen.every(({ state, free }) => state === 'idle' && free) && seen;
	}, 'two idle workers');
	assert.deepEqual(idle.map(({ datname, has_query: query }) => [datname, query]), [['app', true], ['other', true]]);
});

// Last, for the process that reads rows stays for a while.
test('subscriptions shows conditions, columns and snapshots, long ones cut', async (t) => {
	await cluster.sql(`
		CREATE TABLE "a\tb" (id int PRIMARY KEY, "x\ty" int, "Größe" int, n int); SELECT plank.track('"a\tb"');
		REVOKE SELECT ON "a\tb" FROM web; GRANT SELECT (id, "x\ty", "Größe") ON "a\tb" TO web`);
	const client = await cluster.client(t, { marker: false });
	const table = '"a\tb"';
	await client.subscribed({ id: '1', table, where: '"x\ty" = 1\n or\n "Größe" = 2' });
	await client.subscribed({ id: '2', table, columns: ['Größe'], snapshot: true });
	await client.next('rows');
	await client.subscribed({ id: '3', table, where: `id in (${Array.from({ length: 1000 }, (_, i) => i)})` });
	const { rows } = await cluster.query(`
		SELECT id, condition, columns, snapshot FROM plank.subscriptions WHERE session = $1 ORDER BY id`, [client.welcome.session]);
	assert.deepEqual(rows.slice(0, 2), [
		{ id: '1', condition: '"x\ty" = 1\n or\n "Größe" = 2', columns: ['Größe', 'id', 'x\ty'], snapshot: false },
		{ id: '2', condition: null, columns: ['Größe'], snapshot: true },
	]);
	assert.match(rows[2].condition, /^id in \(0,1,2,.*…$/);
	assert.ok(rows[2].condition.length < 1100);
});
