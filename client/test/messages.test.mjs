// Frames, transactions in parts, and what handles get to see of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { insert, next, pair, settled, transaction } from './helpers.mjs';

test('a frame holds one message or an array of messages in order', async (t) => {
	const { server, plank } = await pair(t);
	const seen = [];
	const watch = plank.table('items').subscribe((change) => seen.push(change.new.id));
	await watch.ready;
	server.send(transaction('1', [insert(['s1'], { id: 1 })]));
	server.send([transaction('2', [insert(['s1'], { id: 2 })]), transaction('3', [insert(['s1'], { id: 3 })])]);
	server.send([]);
	await settled(plank);
	assert.deepEqual(seen, [1, 2, 3]);
});

test('a change carries its own fields and those of its transaction', async (t) => {
	const { server, plank } = await pair(t);
	const seen = [];
	await plank.table('items').subscribe((change) => seen.push(change)).ready;
	server.send(transaction('812', [
		{ ids: ['s1'], table: 'public.items', op: 'update', key: { id: 7 }, new: { id: 7, name: 'y' }, old: { id: 7, name: 'x' } },
		{ ids: ['s1'], table: 'public.items', op: 'delete', key: { id: 8 }, old: { id: 8, name: 'z' }, cause: 'update' },
		{ ids: ['s1'], table: 'public.items', op: 'truncate' },
	]));
	await settled(plank);
	const facts = { xid: '812', committed_at: '2026-11-22T14:05:00.123456Z', position: 'p812' };
	assert.deepEqual(seen, [
		{ op: 'update', table: 'public.items', key: { id: 7 }, new: { id: 7, name: 'y' }, old: { id: 7, name: 'x' }, cause: null, ...facts },
		{ op: 'delete', table: 'public.items', key: { id: 8 }, new: null, old: { id: 8, name: 'z' }, cause: 'update', ...facts },
		{ op: 'truncate', table: 'public.items', key: null, new: null, old: null, cause: null, ...facts },
	]);
});

test('parts of a transaction arrive together, even with a pong between them', async (t) => {
	const { server, plank } = await pair(t);
	const seen = [];
	const transactions = [];
	plank.on('transaction', (whole) => transactions.push(whole));
	await plank.table('items').subscribe((change) => seen.push(change.new.id)).ready;
	server.send(transaction('5', [insert(['s1'], { id: 1 })], { more: true, position: undefined }));
	await settled(plank);
	server.send(transaction('5', [insert(['s1'], { id: 2 })], { more: true, position: undefined }));
	await settled(plank);
	assert.deepEqual(seen, []);
	server.send(transaction('5', [insert(['s1'], { id: 3 })]));
	await settled(plank);
	assert.deepEqual(seen, [1, 2, 3]);
	assert.equal(transactions.length, 1);
	assert.equal(transactions[0].xid, '5');
	assert.equal(transactions[0].position, 'p5');
	assert.deepEqual(transactions[0].changes.map((change) => change.new.id), [1, 2, 3]);
});

test('an unfinished transaction is dropped with its connection', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0 });
	const transactions = [];
	plank.on('transaction', ({ xid, changes }) => transactions.push([xid, changes.map((change) => change.new.id)]));
	const watch = plank.table('items').subscribe();
	await watch.ready;
	server.send(transaction('5', [insert(['s1'], { id: 1 })], { more: true }));
	await settled(plank);
	const again = next(watch, 'reset');
	server.client.terminate();
	await again;
	server.send(transaction('6', [insert(['s2'], { id: 2 })]));
	await settled(plank);
	assert.deepEqual(transactions, [['6', [2]]]);
});

test('listeners by operation get their operation only', async (t) => {
	const { server, plank } = await pair(t);
	const seen = [];
	const items = plank.table('items');
	for (const op of ['insert', 'update', 'delete', 'truncate']) items.on(op, (change) => seen.push([op, change.op]));
	await items.ready;
	server.send(transaction('1', [
		insert(['s1'], { id: 1 }),
		{ ids: ['s1'], table: 'public.items', op: 'update', key: { id: 1 }, new: { id: 1 }, old: { id: 1 } },
		{ ids: ['s1'], table: 'public.items', op: 'delete', key: { id: 1 }, old: { id: 1 } },
		{ ids: ['s1'], table: 'public.items', op: 'truncate' },
	]));
	await settled(plank);
	assert.deepEqual(seen, [['insert', 'insert'], ['update', 'update'], ['delete', 'delete'], ['truncate', 'truncate']]);
	assert.equal(server.received.filter(({ type }) => type === 'subscribe').length, 1);
});

test('messages of a channel stand beside the rows of their transaction', async (t) => {
	const { server, plank } = await pair(t);
	const messages = [];
	const transactions = [];
	plank.on('transaction', (whole) => transactions.push(whole));
	const jobs = plank.channel('jobs').on('message', (message) => messages.push(message));
	await Promise.all([jobs.ready, plank.table('items').subscribe().ready]);
	assert.deepEqual(server.received.filter(({ type }) => type === 'subscribe').map(({ channel, table }) => channel ?? table), ['jobs', 'items']);
	server.send(transaction('9', [
		{ ids: ['s1'], channel: 'jobs', op: 'message', payload: { done: 3 } },
		insert(['s2'], { id: 1 }),
	]));
	server.send(transaction(null, [{ ids: ['s1'], channel: 'jobs', op: 'message', payload: 'plain' }]));
	await settled(plank);
	assert.deepEqual(messages.map(({ payload, channel, xid }) => [payload, channel, xid]), [[{ done: 3 }, 'jobs', '9'], ['plain', 'jobs', null]]);
	assert.deepEqual(transactions.map(({ changes }) => changes.length), [2, 1]);
});

test('unknown message types and fields are ignored', async (t) => {
	const { server, plank } = await pair(t);
	const errors = [];
	plank.on('error', (error) => errors.push(error));
	await plank.table('items').subscribe().ready;
	server.send({ type: 'novelty', id: 's1' }, { type: 'position', position: 'x', novelty: 1 });
	await settled(plank);
	assert.deepEqual(errors, []);
	assert.equal(plank.state, 'open');
});

test('a frame that cannot be read ends the connection, and the next one begins with a reset', async (t) => {
	for (const frame of ['{"type":', '[1]', '"text"', '{"type":7}', Buffer.from('{"type":"pong"}')]) {
		await t.test(String(frame), async (t) => {
			const { server, plank } = await pair(t, { random: () => 0 });
			const errors = [];
			plank.on('error', (error) => errors.push(error.code));
			const watch = plank.table('items').subscribe();
			await watch.ready;
			const reset = next(watch, 'reset');
			server.client.send(frame);
			assert.match((await reset).reason, /cannot be read/);
			assert.deepEqual(errors, ['08P01']);
		});
	}
});

test('numbers: text is asked for, per connection or per table', async (t) => {
	const { server, plank } = await pair(t, { numbers: 'text' });
	await plank.table('a').subscribe().ready;
	await plank.table('b', { numbers: 'json' }).subscribe().ready;
	assert.deepEqual(server.received.map(({ table, numbers }) => [table, numbers]), [['a', 'text'], ['b', undefined]]);
	const { server: other, plank: json } = await pair(t);
	await json.table('a', { numbers: 'text', where: 'x > 1', columns: ['x'], events: ['insert'] }).subscribe().ready;
	const { client, ...sent } = other.received[0];
	assert.deepEqual(sent, { type: 'subscribe', id: 's1', table: 'a', numbers: 'text', where: 'x > 1', columns: ['x'], events: ['insert'] });
});

test('100,000 changes of one transaction in parts', async (t) => {
	const { server, plank } = await pair(t);
	let count = 0;
	let last = 0;
	let ordered = true;
	const watch = plank.table('items').subscribe((change) => {
		ordered &&= change.new.id === last + 1;
		last = change.new.id;
		count += 1;
	});
	await watch.ready;
	for (let part = 0; part < 100; part += 1) {
		const changes = Array.from({ length: 1000 }, (_, i) => insert(['s1'], { id: part * 1000 + i + 1 }));
		server.send(transaction('1', changes, { more: part < 99 }));
	}
	await settled(plank);
	assert.equal(count, 100_000);
	assert.ok(ordered);
});
