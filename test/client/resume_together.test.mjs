// A thousand clients that come back together under `plank.transport = wal` with a position that has left memory.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';

const kClients = 1000;
const kMissed = 40;

const cluster = await Cluster.start({
	'plank.transport': 'wal',
	wal_level: 'replica',
	wal_keep_size: '256MB',
	'plank.history_size': '1MB',
	'plank.ping_interval': '10min', // a worker that was stopped takes nobody for gone
});
await cluster.sql(`
	CREATE TABLE item (id int PRIMARY KEY, name text);
	CREATE TABLE filler (id int PRIMARY KEY, name text);
	SELECT plank.track('item'), plank.track('filler')`);
const counted = () => cluster.counted('wal_replayed', 'resumed_by_replay', 'resets', 'log_bytes', 'spill_bytes', 'pid');
const wal = async () => (await cluster.query('SELECT pg_current_wal_insert_lsn() - $1::pg_lsn AS at', ['0/0'])).rows[0].at;

test('each gets what it missed, once and in order, and they share the passes over WAL', async (t) => {
	const watcher = await cluster.client(t);
	await watcher.subscribed({ id: 'a', table: 'item' });
	await watcher.subscribed({ id: 'f', table: 'filler' });
	await cluster.sql(`INSERT INTO item VALUES (0, 'seen')`);
	const { position: since } = await watcher.transaction();
	const from = Number(await wal());

	const missed = [];
	for (let i = 1; i <= kMissed; i += 1) {
		await cluster.sql(`BEGIN; INSERT INTO item VALUES (${i}, 'x'); UPDATE item SET name = 'y${i}' WHERE id = ${i - 1}; COMMIT`);
		await cluster.sql(`BEGIN; INSERT INTO item VALUES (${-i}, 'gone'); ROLLBACK`);
		missed.push(`insert ${i} x, update ${i - 1} y${i}`);
		await watcher.transaction();
	}
	// It leaves memory.
	for (let i = 0; i < 30; i += 1) {
		await cluster.sql(`INSERT INTO filler SELECT i, repeat('x', 1000) FROM generate_series(${i * 100}, ${i * 100 + 99}) i`);
		await watcher.transaction();
	}
	const before = await until(async () => {
		const now = await counted();
		return now.log_bytes + now.spill_bytes < 1_200_000 && now;
	}, 'the log to be trimmed');
	const stretch = Number(await wal()) - from;

	const clients = [];
	for (let i = 0; i < kClients; i += 20)
		clients.push(...await Promise.all(Array.from({ length: 20 }, () => cluster.client(t, { marker: false }))));
	// All have asked before the worker reads the first.
	process.kill(before.pid, 'SIGSTOP');
	try {
		await Promise.all(clients.map((client) => new Promise((resolve) => {
			client.socket.send(JSON.stringify({ type: 'subscribe', id: 'a', table: 'item', since }), resolve);
		})));
	} finally {
		process.kill(before.pid, 'SIGCONT');
	}
	await Promise.all(clients.map(async (client, number) => {
		const { resumed } = await client.next('subscribed');
		assert.equal(resumed, true, `client ${number}`);
		for (const each of missed) {
			const { catchup, changes } = await client.transaction();
			assert.equal(catchup, 'a');
			assert.equal(changes.map(({ op, key, new: row }) => `${op} ${key.id} ${row.name}`).join(', '), each, `client ${number}`);
		}
	}));
	await cluster.sql(`INSERT INTO item VALUES (1000, 'live')`);
	await Promise.all(clients.map(async (client, number) => {
		const { catchup, changes } = await client.transaction();
		assert.deepEqual([catchup, changes.length, changes[0].key.id], [undefined, 1, 1000], `client ${number}: what is live comes next`);
	}));

	const after = await counted();
	const passes = (after.wal_replayed - before.wal_replayed) / stretch;
	t.diagnostic(`${kClients} clients, ${passes.toFixed(1)} passes over ${stretch} bytes`);
	assert.deepEqual([after.resumed_by_replay - before.resumed_by_replay, after.resets - before.resets], [kClients, 0]);
	// Who asks while a pass is under way may need the next one.
	assert.ok(passes > 0.5 && passes < kClients / 50, `${passes} passes`);
});
