// Subscriptions that go on where an earlier connection ended, as far as the worker's memory reaches.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';

const cluster = await Cluster.start({ 'plank.workers': 2, 'plank.history_size': '4MB', 'plank.ping_interval': '1h' });
await cluster.sql(`
	CREATE TABLE item (id int PRIMARY KEY, name text);
	CREATE TABLE other (id int PRIMARY KEY);
	SELECT plank.track('item'), plank.track('other');
	SELECT plank.expose('jobs')`);

// A client that has read to the end of one transaction and is gone: its last position.
async function position(t, id) {
	const client = await cluster.client(t, { marker: false });
	await client.subscribed({ id: 'a', table: 'item' });
	await cluster.query('INSERT INTO item VALUES ($1)', [id]);
	const { position } = await client.transaction();
	client.close();
	return position;
}
const keys = ({ changes }) => changes.map(({ op, key }) => `${op} ${key.id}`);

test('what was missed comes first, in order, with catchup, and then what is live; on either worker', async (t) => {
	const since = await position(t, 1);
	const made = [];
	const positions = [since];
	const write = async (text, ...changes) => {
		await cluster.sql(text);
		made.push(changes);
	};
	const resume = async (client, id, from) => {
		const subscribed = await client.subscribed({ id, table: 'item', since: positions[from] });
		assert.deepEqual([subscribed.resumed, subscribed.position], [true, positions[from]]);
		for (let i = from; i < made.length; i += 1) {
			const missed = await client.transaction();
			assert.deepEqual([missed.catchup, keys(missed)], [id, made[i]]);
			positions[i + 1] = missed.position;
		}
	};
	await write('INSERT INTO item VALUES (2)', 'insert 2');
	await write(`BEGIN; UPDATE item SET name = 'x' WHERE id = 2; DELETE FROM item WHERE id = 1; INSERT INTO other VALUES (1); COMMIT`, 'update 2', 'delete 1');
	for (let i = 0; i < 8; i += 1) {
		const client = await cluster.client(t);
		await resume(client, 'b', 0);
		await client.silent();
		await write(`INSERT INTO item VALUES (${10 + i})`, `insert ${10 + i}`);
		const live = await client.transaction();
		assert.deepEqual([live.catchup, ...keys(live)], [undefined, `insert ${10 + i}`]);
		// Beside it, from somewhere on the way: what it missed names it alone, what follows names both.
		await resume(client, 'c', 1 + i);
		await write(`DELETE FROM item WHERE id = ${10 + i}`, `delete ${10 + i}`);
		assert.deepEqual((await client.transaction()).changes[0].ids, ['b', 'c']);
		client.close();
	}
});

test('from the first `subscribed` on a position can be resumed', async (t) => {
	const client = await cluster.client(t);
	const { position: since } = await client.subscribed({ id: 'a', table: 'other' });
	await cluster.sql('INSERT INTO other VALUES (7)');
	await client.transaction();
	const again = await cluster.client(t);
	assert.equal((await again.subscribed({ id: 'a', table: 'other', since })).resumed, true);
	assert.deepEqual(keys(await again.transaction()), ['insert 7']);
	await again.silent();
});

test('application events are resumed with the rest, a plain NOTIFY is not', async (t) => {
	const since = await position(t, 100);
	const listener = await cluster.client(t);
	await listener.subscribed({ id: 'x', channel: 'jobs' });
	await cluster.sql(`SELECT plank.send('jobs', '{"n":1}')`);
	await cluster.sql(`NOTIFY jobs, 'plain'`);
	assert.deepEqual([(await listener.transaction()).changes[0].payload, (await listener.transaction()).changes[0].payload], [{ n: 1 }, 'plain']);
	const client = await cluster.client(t);
	assert.equal((await client.subscribed({ id: 'y', channel: 'jobs', since })).resumed, true);
	assert.deepEqual((await client.transaction()).changes, [{ ids: ['y'], channel: 'jobs', op: 'message', payload: { n: 1 } }]);
	await client.silent();
});

test('a table that was not tracked for a while, or made anew, cannot be resumed over that', async (t) => {
	const since = await position(t, 200);
	await cluster.sql(`SELECT plank.untrack('item'); INSERT INTO item VALUES (201)`);
	await cluster.sql(`SELECT plank.track('item')`);
	const client = await cluster.client(t);
	assert.equal((await client.subscribed({ id: 'a', table: 'item', since })).resumed, true);
	assert.equal((await client.next('reset')).id, 'a');
	await client.silent();
	const later = await position(t, 202);
	await cluster.sql(`DROP TABLE item; CREATE TABLE item (id int PRIMARY KEY, name text); SELECT plank.track('item')`);
	const again = await cluster.client(t);
	assert.equal((await again.subscribed({ id: 'a', table: 'item', since: later })).resumed, true);
	assert.equal((await again.next('reset')).id, 'a');
	await again.silent();
});

test('what has left memory, another server\'s positions and garbage: reset or 22023, and never silence', async (t) => {
	const since = await position(t, 300);
	const client = await cluster.client(t);
	const refusals = ['x', 'zz-', '-1', `${since}-w`, `${since} `, '0-0', 'a-99999999999999999999999', `${since}${since}`, '💥'];
	for (const bad of refusals) assert.equal((await client.ask({ type: 'subscribe', id: 'bad', table: 'item', since: bad }, 'error')).code, '22023', bad);
	const lost = [`0${since}`, since.replace(/-.*/, '-4611686018427387904'), since.replace(/-.*/, '-0-1')];
	for (const [i, past] of lost.entries()) {
		assert.equal((await client.subscribed({ id: `l${i}`, table: 'item', since: past })).resumed, false);
		const { reason, position } = await client.next('reset');
		assert.ok(reason.length > 10 && position.length > 0);
	}
	// More than plank.history_size has gone by: the position is forgotten.
	for (let i = 0; i < 10; i += 1) await cluster.sql(`INSERT INTO item SELECT ${1000 * (i + 1)} + n, repeat('x', 1000) FROM generate_series(1, 800) n`);
	// Once the worker has read all that.
	const again = await until(async () => {
		const probe = await cluster.client(t);
		return !(await probe.subscribed({ id: 'a', table: 'item', since })).resumed && probe;
	}, 'a position that is forgotten');
	assert.equal((await again.next('reset')).id, 'a');
	await cluster.sql('INSERT INTO item VALUES (-1)');
	assert.deepEqual(keys(await again.transaction()), ['insert -1']);
});

test('a shorter plank.ping_interval holds at once, for position messages too', async (t) => {
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'item' });
	const positions = [];
	client.onMessage = ({ type, position }) => type === 'position' && positions.push(position);
	await cluster.sql(`ALTER SYSTEM SET plank.ping_interval = '1s'`);
	await cluster.sql('SELECT pg_reload_conf()');
	await until(() => positions.length > 1, 'position messages');
	const { resumed } = await (await cluster.client(t)).subscribed({ id: 'a', table: 'item', since: positions[1] });
	assert.equal(resumed, true);
});
