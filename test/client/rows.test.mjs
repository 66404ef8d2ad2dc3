// The client's live rows against a real server: always what the same SELECT gives, under load and through restarts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../../client/dist/plank.js';
import { Cluster, until } from './cluster.mjs';

const cluster = await Cluster.start();
await cluster.sql(`
	CREATE TABLE item (id int PRIMARY KEY, price int, status text);
	CREATE TABLE bag (n int);
	INSERT INTO item SELECT i, i * 7 % 50, CASE i % 3 WHEN 0 THEN 'open' ELSE 'sold' END FROM generate_series(1, 300) i;
	SELECT plank.track('item'), plank.track('bag')`);

const options = { where: `status = 'open' AND price < 40`, columns: ['id', 'price'], orderBy: [{ column: 'price', direction: 'desc' }], limit: 20 };
const select = async () => (await cluster.query(
	`SELECT id, price FROM item WHERE status = 'open' AND price < 40 ORDER BY price DESC, id LIMIT 20`)).rows;

function connected(t) {
	const plank = connect(cluster.url('app', '/'));
	t.after(() => plank.close());
	return plank;
}

async function equal(actual, expected, what) {
	const want = await expected();
	await until(() => JSON.stringify(actual()) === JSON.stringify(want), what).catch(() => assert.deepEqual(actual(), want, what));
}

test('rows are what SELECT gives, while others write and when the connection is lost', async (t) => {
	const plank = connected(t);
	let calls = 0;
	const live = plank.table('item', options).rows(() => (calls += 1));
	await until(() => live.state === 'live', 'the rows');
	await equal(() => live.rows, select, 'the snapshot');
	const write = async (times) => {
		for (let i = 0; i < times; i += 1) {
			const id = 1 + Math.floor(Math.random() * 320);
			await cluster.sql([
				`INSERT INTO item VALUES (${id}, ${id % 45}, 'open') ON CONFLICT (id) DO UPDATE SET price = (item.price + 11) % 60`,
				`UPDATE item SET status = CASE status WHEN 'open' THEN 'sold' ELSE 'open' END WHERE id BETWEEN ${id} AND ${id + 3}`,
				`DELETE FROM item WHERE id = ${id}`, `UPDATE item SET id = id + 1000 WHERE id = ${id}`,
			][i % 4]);
		}
	};
	const before = calls;
	await write(120);
	await equal(() => live.rows, select, 'after writing');
	assert.ok(calls > before && calls <= before + 120, 'at most one call a transaction');
	await cluster.sql('BEGIN; UPDATE item SET price = 1; UPDATE item SET price = 2; COMMIT');
	await equal(() => live.rows, select, 'after a transaction that touches every row twice');
	// The worker goes and comes back; what was committed in between is there afterwards, however it resumed.
	await cluster.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'plank worker'`);
	await until(() => live.state === 'loading', 'the loss to be seen');
	await write(20);
	await until(() => live.state === 'live', 'the rows again');
	await equal(() => live.rows, select, 'after the reconnect');
	await cluster.sql('TRUNCATE item');
	await equal(() => live.rows, async () => [], 'after TRUNCATE');
});

test('a table without a key, and a definition that rewrites it', async (t) => {
	const plank = connected(t);
	const bag = plank.table('bag', { orderBy: 'n' }).rows();
	await until(() => bag.state === 'live', 'the rows');
	await cluster.sql('INSERT INTO bag VALUES (3), (1), (1); DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE n = 1)');
	await equal(() => bag.rows, async () => [{ n: 1 }, { n: 3 }], 'the bag');
	await cluster.sql('ALTER TABLE bag ALTER COLUMN n TYPE text USING n * 2');
	await equal(() => bag.rows, async () => [{ n: '2' }, { n: '6' }], 'the new type');
});

test('a condition that the server refuses is the error of the rows', async (t) => {
	const plank = connected(t);
	const errors = [];
	const live = plank.table('item', { where: 'nonsense = 1' }).rows().on('error', ({ code }) => errors.push(code));
	await until(() => live.state === 'error', 'the refusal');
	assert.deepEqual([errors, live.rows], [['42703'], []]);
});
