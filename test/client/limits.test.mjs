// Where the transport `notify` has limits, it says so in time: reset, or an error with its reason, never a lost change and
// never a failed commit.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start({ 'plank.notify_limit': '1MB', max_prepared_transactions: 4 });
await cluster.sql(`
	CREATE TABLE item (id int PRIMARY KEY, t text); CREATE TABLE beside (id int PRIMARY KEY); CREATE TABLE untold (id int);
	SELECT plank.track('item'), plank.track('beside')`);

async function watching(t) {
	const client = await cluster.client(t);
	await client.subscribed({ id: 'item', table: 'item' });
	await client.subscribed({ id: 'beside', table: 'beside' });
	return client;
}

test('a transaction above plank.notify_limit commits, and its tables\' subscribers get reset', async (t) => {
	const client = await watching(t);
	const { position } = await client.ask({ type: 'subscribe', id: 'same', table: 'item' }, 'subscribed');
	await cluster.sql(`INSERT INTO item SELECT i, repeat('x', 1000) FROM generate_series(1, 3000) i`);
	assert.equal((await cluster.query('SELECT count(*)::int AS n FROM item')).rows[0].n, 3000);
	const resets = [await client.next('reset'), await client.next('reset')];
	assert.deepEqual(resets.map(({ id }) => id).sort(), ['item', 'same']);
	for (const reset of resets) {
		assert.match(reset.reason, /notify_limit/);
		assert.equal(typeof reset.position, 'string');
		assert.notEqual(reset.position, position);
	}
	// The stream goes on from there.
	await cluster.sql('DELETE FROM item WHERE id = 7; INSERT INTO beside VALUES (1)');
	const { changes } = await client.transaction();
	assert.deepEqual(changes.map(({ ids, op }) => [ids.join(), op]), [['item,same', 'delete'], ['beside', 'insert']]);
	await client.silent();
});

test('above the limit in a savepoint that is rolled back: what is left arrives whole', async (t) => {
	const client = await watching(t);
	await cluster.psql(`
		BEGIN; INSERT INTO beside VALUES (10); SAVEPOINT s; UPDATE item SET t = repeat('y', 2000); ROLLBACK TO s; INSERT INTO beside VALUES (11); COMMIT;`);
	const seen = await client.caughtUp();
	const kinds = seen.map((message) => (message.type === 'transaction' ? message.changes.map(({ key }) => key.id).join() : `${message.type} ${message.id}`));
	// Either is a promise kept: all of what committed, or a reset for every table that it touched.
	assert.ok(kinds.join() === '10,11' || kinds.includes('reset beside'), JSON.stringify(kinds));
});

test('PREPARE TRANSACTION with tracked changes fails and says why; without them it works (C4)', async (t) => {
	const client = await watching(t);
	const session = await cluster.session();
	await session.query('BEGIN');
	await session.query('INSERT INTO beside VALUES (20)');
	await assert.rejects(session.query(`PREPARE TRANSACTION 'p'`), (error) => {
		assert.equal(error.code, '0A000');
		assert.match(`${error.message} ${error.detail} ${error.hint}`, /plank\.transport/);
		return true;
	});
	await session.query('ROLLBACK');
	assert.equal((await cluster.query('SELECT FROM beside WHERE id = 20')).rowCount, 0);
	await session.query('BEGIN');
	await session.query('INSERT INTO untold VALUES (1)');
	await session.query(`PREPARE TRANSACTION 'q'`);
	await session.query(`COMMIT PREPARED 'q'`);
	await session.query('BEGIN');
	await session.query('SAVEPOINT s; INSERT INTO beside VALUES (21); ROLLBACK TO s');
	await session.query(`PREPARE TRANSACTION 'r'`);
	await session.query(`ROLLBACK PREPARED 'r'`);
	await client.silent();
});

test('an idle listener that holds the queue back cannot make a commit fail (P16)', async (t) => {
	const client = await watching(t);
	const idle = await cluster.session();
	await idle.query('LISTEN anything');
	await idle.query('BEGIN');
	for (let i = 0; i < 20; i += 1) await cluster.sql(`UPDATE beside SET id = id + 1000; UPDATE item SET t = repeat('z', ${500 + i}) WHERE id <= 500`);
	await idle.query('COMMIT');
	for (let i = 0; i < 20; i += 1) {
		const { changes } = await client.transaction();
		assert.equal(changes.filter(({ ids }) => ids.includes('item')).length, 499);
	}
	await client.silent();
});
