// Under concurrent writers an independent client's copy stays equal to the tables, and no state it passes through is one
// that no transaction left behind.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mirror } from '../../client/dist/plank.js';
import { Cluster } from './cluster.mjs';
import { Model, textOf } from './model.mjs';

const cluster = await Cluster.start({ deadlock_timeout: '20ms' });
const patience = 180_000;

// A table's rows as a client would get them, told by PostgreSQL's own to_jsonb under rule 8's settings.
async function tableTexts(table) {
	const session = await cluster.session();
	await session.query(`SET TimeZone = 'UTC'; SET DateStyle = 'ISO'`);
	const { rows } = await session.query(`SELECT to_jsonb(x) AS row FROM ${table} x`);
	return rows.map(({ row }) => textOf(row)).sort();
}

test('pgbench\'s TPC-B with 8 clients leaves a mirror equal to its tables', async (t) => {
	const tables = ['pgbench_accounts', 'pgbench_branches', 'pgbench_tellers', 'pgbench_history'];
	await cluster.program('pgbench', '-i', '-q', '-I', 'dtp');
	for (const table of tables) await cluster.query(`SELECT plank.track($1)`, [table]);
	const client = await cluster.client(t);
	const models = tables.map((table) => new Model(table));
	const mirrors = tables.map((table) => new Mirror({ id: table }));
	const take = (message) => [...models.map((model) => model.take(message)), ...mirrors.map((mirror) => mirror.apply(message))];
	for (const table of tables) take(await client.subscribed({ id: table, table }));
	assert.equal(models[3].key, null, 'history has no key');
	// The initial rows arrive like any other change: one transaction of 100,000.
	await cluster.program('pgbench', '-i', '-q', '-I', 'G');
	await cluster.program('pgbench', '-n', '-c', '8', '-j', '2', '-t', '200');
	const begun = Date.now();
	for (let done = 0; done < 1600;) {
		const message = await client.next('transaction', patience);
		take(message);
		if (!message.more && message.changes.at(-1).table === 'public.pgbench_history' && message.changes.at(-1).op === 'insert') {
			done += 1;
			assert.deepEqual(message.changes.map(({ table, op }) => [table, op]), [
				['public.pgbench_accounts', 'update'], ['public.pgbench_tellers', 'update'], ['public.pgbench_branches', 'update'],
				['public.pgbench_history', 'insert'],
			]);
		}
		assert.ok(Date.now() - begun < patience);
	}
	await client.silent();
	for (const [i, table] of tables.entries()) {
		const expected = await tableTexts(table);
		assert.equal(models[i].resets, undefined);
		assert.ok(textsEqual(models[i].texts(), expected), `${table}: the independent client's copy`);
		assert.ok(textsEqual(mirrors[i].rows().map(textOf).sort(), expected), `${table}: the client library's mirror`);
	}
	assert.equal(models[3].texts().length, 1600);
});

// assert.deepEqual on 100,000 texts takes minutes when they differ.
function textsEqual(a, b) {
	return a.length === b.length && a.every((text, i) => text === b[i]);
}

test('8 writers that move money between two tables never show a broken sum', async (t) => {
	await cluster.sql(`
		CREATE TABLE checking (id int PRIMARY KEY, balance int NOT NULL); CREATE TABLE savings (id int PRIMARY KEY, balance int NOT NULL);
		SELECT plank.track('checking'), plank.track('savings')`);
	const clients = await Promise.all([1, 2, 3].map(() => cluster.client(t)));
	const watchers = [];
	for (const client of clients) {
		const models = ['checking', 'savings'].map((table) => new Model(table));
		for (const model of models) model.take(await client.subscribed({ id: model.id, table: model.id }));
		watchers.push({ client, models });
	}
	await cluster.sql(`INSERT INTO checking SELECT i, 100 FROM generate_series(1, 10) i; INSERT INTO savings SELECT i, 100 FROM generate_series(1, 10) i`);
	const each = 100;
	const seed = Math.floor(Math.random() * 2 ** 31);
	t.diagnostic(`seed ${seed}`);
	let state = seed;
	const random = (n) => {
		state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
		return (state >>> 8) % n;
	};
	const sessions = await Promise.all(Array.from({ length: 8 }, () => cluster.session()));
	const written = Promise.all(sessions.map(async (session) => {
		for (let i = 0; i < each; i += 1) {
			const tables = random(2) ? ['checking', 'savings'] : ['savings', 'checking'];
			const [from, to, amount] = [1 + random(10), 1 + random(10), 1 + random(50)];
			const undo = random(10) === 0;
			try {
				await session.query('BEGIN');
				await session.query(`UPDATE ${tables[0]} SET balance = balance - $1 WHERE id = $2`, [amount, from]);
				if (random(3) === 0) await session.query(`SAVEPOINT s; UPDATE ${tables[1]} SET balance = balance + 1000 WHERE id = ${to}; ROLLBACK TO s`);
				await session.query(`UPDATE ${tables[1]} SET balance = balance + $1 WHERE id = $2`, [amount, to]);
				await session.query(undo ? 'ROLLBACK' : 'COMMIT');
			} catch (error) {
				if (error.code !== '40P01') throw error;
				await session.query('ROLLBACK');
			}
		}
	}));
	const sum = (models) => models.reduce((total, model) => [...model.rows.values()].reduce((part, { balance }) => part + balance, total), 0);
	await written;
	for (const { client, models } of watchers) {
		let transactions = 0;
		for (const message of await client.caughtUp()) {
			assert.equal(message.type, 'transaction');
			for (const model of models) model.take(message);
			assert.equal(sum(models), 2000, `after xid ${message.xid}`);
			transactions += 1;
		}
		assert.ok(transactions > each, `${transactions} transactions`);
		assert.deepEqual(models[0].texts(), await tableTexts('checking'));
		assert.deepEqual(models[1].texts(), await tableTexts('savings'));
	}
});

test('a transaction that saw another\'s work comes after it (rule 2)', async (t) => {
	await cluster.sql(`CREATE TABLE chain (id int PRIMARY KEY, n int NOT NULL); INSERT INTO chain VALUES (1, 0); SELECT plank.track('chain')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'chain' });
	const sessions = await Promise.all(Array.from({ length: 8 }, () => cluster.session()));
	await Promise.all(sessions.map(async (session) => {
		for (let i = 0; i < 50; i += 1) await session.query('UPDATE chain SET n = n + 1');
	}));
	for (let n = 1; n <= 400; n += 1) {
		const [{ new: now, old }] = await client.changes();
		assert.deepEqual([now.n, old.n], [n, n - 1]);
	}
	await client.silent();
});

test('subscribed is a promise: what commits after it was read arrives, while writers never stop (rule 3)', async (t) => {
	await cluster.sql(`CREATE TABLE stream (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY); SELECT plank.track('stream')`);
	let going = true;
	const writers = Promise.all(Array.from({ length: 4 }, async () => {
		const session = await cluster.session();
		while (going) await session.query('INSERT INTO stream DEFAULT VALUES');
	}));
	try {
		for (let round = 0; round < 20; round += 1) {
			const client = await cluster.client(t);
			await client.subscribed({ id: 'a', table: 'stream' });
			const { rows: [{ id }] } = await cluster.query('INSERT INTO stream DEFAULT VALUES RETURNING id');
			const seen = new Set();
			for (const message of await client.caughtUp()) {
				for (const { key } of message.changes) {
					assert.ok(!seen.has(key.id), 'sent twice');
					seen.add(key.id);
				}
			}
			assert.ok(seen.has(id), `round ${round}: row ${id} was not sent`);
			client.close();
		}
	} finally {
		going = false;
		await writers;
	}
});
