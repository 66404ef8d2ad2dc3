// Live rows: ordered, cut, told once for what came together, right again after every kind of reconnect.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { insert, next, pair, settled, transaction } from './helpers.mjs';

const columns = [{ name: 'id', type: 'bigint' }, { name: 'price', type: 'numeric' }];
const tables = [{ table: 'public.items', key: ['id'], columns }, { table: 'public.bag', key: null, columns }];
const subscribes = (server) => server.received.filter(({ type }) => type === 'subscribe').map(({ client, type, ...rest }) => rest);
const update = (ids, row, old) => ({ ids, table: 'public.items', op: 'update', key: { id: row.id }, new: row, old: { id: row.id, ...old } });
const remove = (ids, row) => ({ ids, table: 'public.items', op: 'delete', key: { id: row.id }, old: row });
const rows = (id, ...list) => ({ type: 'rows', id, rows: list, more: false, position: 'p9' });

async function live(t, options = {}, { server: serverOptions = {}, ...connectOptions } = {}) {
	const { server, plank } = await pair(t, { random: () => 0, server: { tables, ...serverOptions }, ...connectOptions });
	const told = [];
	const states = [];
	const handle = plank.table(options.table ?? 'items', options.options ?? {}).rows((list, info) => told.push({ list, info }));
	handle.on('state', ({ state, error }) => states.push(error === null ? state : `${state}: ${error.message}`));
	await server.message('subscribe');
	await settled(plank);
	return { server, plank, handle, told, states, ids: () => handle.rows.map(({ id }) => id) };
}

test('the snapshot first, in parts; then one call a transaction, however many changes it has', async (t) => {
	const { server, plank, handle, told, states } = await live(t, { options: { where: 'price > 1', columns: ['price'], orderBy: 'price', limit: 2 } });
	assert.deepEqual(subscribes(server), [{ id: 's1', table: 'items', where: 'price > 1', columns: ['price'], snapshot: true }]);
	server.send({ ...rows('s1', { id: 1, price: 30 }), more: true });
	await settled(plank);
	assert.deepEqual([told.length, handle.state, handle.rows], [0, 'loading', []]);
	server.send(rows('s1', { id: 2, price: 10 }, { id: 3, price: 20 }));
	await settled(plank);
	assert.deepEqual(told[0].list, [{ id: 2, price: 10 }, { id: 3, price: 20 }]);
	assert.deepEqual(told[0].info, { state: 'live', error: null, total: 3, key: ['id'], inexact: false });
	const first = handle.rows;
	server.send(transaction('1', [insert(['s1'], { id: 4, price: 5 }), remove(['s1'], { id: 3, price: 20 }), update(['s1'], { id: 2, price: 99 }, { price: 10 })]));
	await settled(plank);
	assert.equal(told.length, 2);
	assert.deepEqual(handle.rows, [{ id: 4, price: 5 }, { id: 1, price: 30 }]);
	assert.equal(first.length, 2, 'what was handed on is not changed afterwards');
	assert.deepEqual(states, ['live']);
	// Another subscription's transaction touches nothing here.
	const same = handle.rows;
	server.send(transaction('2', [insert(['s77'], { id: 9 })]), { type: 'position', position: 'p3' });
	await settled(plank);
	assert.deepEqual([told.length, handle.rows === same], [2, true]);
	handle.unsubscribe();
	await server.message('unsubscribe');
	server.send(transaction('3', [insert(['s1'], { id: 5, price: 1 })]));
	await settled(plank);
	assert.equal(told.length, 2);
});

test('a burst in one frame is one call', async (t) => {
	const { server, plank, told, ids } = await live(t);
	server.send(rows('s1'));
	await settled(plank);
	server.send(Array.from({ length: 500 }, (_, i) => transaction(String(i), [insert(['s1'], { id: 500 - i })])));
	await settled(plank);
	assert.equal(told.length, 2);
	assert.deepEqual(ids().slice(0, 3), [1, 2, 3]);
});

test('a thousand random transactions leave the same as ordering everything anew', async (t) => {
	const seed = Date.now() % 100_000;
	t.diagnostic(`seed ${seed}`);
	let state = seed;
	const random = (n) => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) % n;
	const { server, plank, handle } = await live(t, { options: { orderBy: [{ column: 'price', direction: 'desc' }] } });
	server.send(rows('s1'));
	const model = new Map();
	for (let xid = 0; xid < 1000; xid += 1) {
		const changes = Array.from({ length: 1 + random(4) }, () => {
			const id = random(40);
			const former = model.get(id);
			if (former !== undefined && random(3) === 0) {
				model.delete(id);
				return remove(['s1'], former);
			}
			const row = { id: former && random(4) === 0 ? 100 + random(1000) : id, price: random(10) === 0 ? null : random(12) };
			model.delete(id);
			model.set(row.id, row);
			return former === undefined ? insert(['s1'], row) : { ...update(['s1'], row, {}), old: { ...former } };
		});
		server.send(transaction(String(xid), changes));
		if (random(20) > 0) continue;
		await settled(plank);
		const expected = [...model.values()].sort((a, b) => (b.price ?? Infinity) - (a.price ?? Infinity) || a.id - b.id
			|| (a.price === null) - (b.price === null));
		assert.deepEqual(handle.rows, expected);
	}
});

test('numbers as text are ordered by value, nulls as PostgreSQL does, ties by the key', async (t) => {
	const { server, plank, ids, handle } = await live(t, { options: { numbers: 'text', orderBy: 'price' } });
	const prices = ['10', '9.50', '9.5', null, '-3', '-20', 'NaN', 'Infinity', '-Infinity', '123456789012345678901', '123456789012345678900', '0.0', '-0'];
	server.send(rows('s1', ...prices.map((price, i) => ({ id: String(i + 1), price }))));
	await settled(plank);
	assert.deepEqual(ids(), ['9', '6', '5', '12', '13', '2', '3', '1', '11', '10', '8', '7', '4']);
	assert.equal(handle.info.inexact, false);
	assert.throws(() => plank.table('items', { orderBy: { column: 'price', direction: 'down' } }).rows(), { code: '22023' });
	assert.throws(() => plank.table('items', { limit: -1 }).rows(), { code: '22023' });
	assert.throws(() => plank.table('items', { events: ['insert'] }).rows(), { code: '22023' });
});

test('a table without a key is a bag', async (t) => {
	const { server, plank, handle } = await live(t, { table: 'bag', options: { orderBy: 'id' } });
	server.send(rows('s1', { id: 2 }, { id: 1 }, { id: 1 }));
	await settled(plank);
	server.send(transaction('1', [{ ids: ['s1'], table: 'public.bag', op: 'delete', key: null, old: { id: 1 } }]));
	await settled(plank);
	assert.deepEqual(handle.rows, [{ id: 1 }, { id: 2 }]);
	server.send(transaction('2', [{ ids: ['s1'], table: 'public.bag', op: 'truncate' }]));
	await settled(plank);
	assert.deepEqual(handle.rows, []);
});

test('a reconnect that resumes keeps the rows and shows what was missed', async (t) => {
	const { server, plank, ids, states, told } = await live(t, {}, { server: {
		onMessage: ({ type, id, since }) => (type === 'subscribe' && since ? { type: 'subscribed', id, table: 'public.items', key: ['id'], columns, position: since, resumed: true } : undefined),
	} });
	server.send(rows('s1', { id: 1 }, { id: 2 }));
	await settled(plank);
	const again = next(plank, 'welcome');
	server.client.terminate();
	await again;
	await settled(plank);
	assert.equal(subscribes(server)[1].since, 'p9');
	assert.deepEqual(states, ['live', 'loading', 'live']);
	const transactions = [];
	plank.on('transaction', (whole) => transactions.push(whole));
	server.send(transaction('5', [insert(['s2'], { id: 3 })], { catchup: 's2' }));
	await settled(plank);
	assert.deepEqual([ids(), told.length, transactions], [[1, 2, 3], 3, []]);
});

test('a reconnect that cannot resume, and a reset at any time: the old rows stay until the new ones are whole', async (t) => {
	const { server, plank, ids, handle, states } = await live(t, {}, { server: {
		onMessage: ({ type, id, since }) => (type === 'subscribe' && since
			? [{ type: 'subscribed', id, table: 'public.items', key: ['id'], columns, position: 'p20', resumed: false }, { type: 'reset', id, reason: 'too old', position: 'p20' }] : undefined),
	} });
	server.send(rows('s1', { id: 1 }, { id: 2 }));
	await settled(plank);
	const again = next(plank, 'welcome');
	server.client.terminate();
	await again;
	await settled(plank);
	assert.deepEqual([ids(), handle.state], [[1, 2], 'loading']);
	server.send({ ...rows('s2', { id: 7 }), more: true });
	await settled(plank);
	assert.deepEqual([ids(), handle.state], [[1, 2], 'loading']);
	server.send(rows('s2', { id: 8 }));
	await settled(plank);
	assert.deepEqual([ids(), handle.state], [[7, 8], 'live']);
	server.send({ type: 'reset', id: 's2', reason: 'rewritten', position: 'p30' });
	await settled(plank);
	assert.equal(handle.state, 'loading');
	server.send(rows('s2'));
	await settled(plank);
	assert.deepEqual([ids(), states], [[], ['live', 'loading', 'live', 'loading', 'live']]);
});

test('a connection lost within the snapshot: it begins anew, and nothing half is shown', async (t) => {
	const { server, plank, ids, told } = await live(t);
	server.send({ ...rows('s1', { id: 1 }, { id: 2 }), more: true });
	await settled(plank);
	const again = next(plank, 'welcome');
	server.client.terminate();
	await again;
	await settled(plank);
	assert.equal(subscribes(server)[1].since, undefined);
	server.send(rows('s2', { id: 2 }));
	await settled(plank);
	assert.deepEqual([ids(), told.length], [[2], 1]);
});

test('columns that cannot be told apart are read anew', async (t) => {
	const { server, plank, ids, handle } = await live(t);
	server.send(rows('s1', { id: 1, price: 5 }));
	await settled(plank);
	server.send({ type: 'subscribed', id: 's1', table: 'public.items', key: ['id'], columns: [columns[0], { name: 'cost', type: 'numeric' }], position: 'p10' });
	await server.message('subscribe', 2);
	assert.deepEqual([ids(), handle.state], [[1], 'loading']);
	await settled(plank);
	server.send(rows('s2', { id: 1, cost: 5 }));
	await settled(plank);
	assert.deepEqual(handle.rows, [{ id: 1, cost: 5 }]);
});

test('what is refused, ended or too much is an error with its reason, and nothing is left', async (t) => {
	const refused = await live(t, { options: { where: 'nonsense' } }, { server: {
		onMessage: ({ type, id }) => (type === 'subscribe' ? { type: 'error', id, code: '42601', message: 'bad condition', detail: null, hint: 'Mend it.' } : undefined),
	} });
	assert.deepEqual([refused.states, refused.handle.error.hint], [['error: bad condition'], 'Mend it.']);
	const ended = await live(t);
	ended.server.send(rows('s1', { id: 1 }), { type: 'unsubscribed', id: 's1', code: '42P01', message: 'the table is gone' });
	await settled(ended.plank);
	assert.deepEqual([ended.ids(), ended.states.at(-1)], [[], 'error: the table is gone']);
	const large = await live(t, { options: { maxRows: 2 } });
	large.server.send(rows('s1', { id: 1 }, { id: 2 }, { id: 3 }));
	await large.server.message('unsubscribe');
	assert.deepEqual([large.handle.error.code, large.states, large.told], ['53400', ['error: more than 2 rows'], []]);
});

test('the exception of a listener goes to the connection, and the rows go on', async (t) => {
	const { server, plank } = await pair(t, { server: { tables } });
	const errors = [];
	plank.on('error', (error) => errors.push(error.message));
	const handle = plank.table('items').rows(() => {
		throw new Error('mine');
	});
	await server.message('subscribe');
	server.send(rows('s1', { id: 1 }));
	await settled(plank);
	server.send(transaction('1', [insert(['s1'], { id: 2 })]));
	await settled(plank);
	assert.deepEqual([errors, handle.rows.length], [['mine', 'mine'], 2]);
	plank.table('items').unsubscribe();
	plank.close();
	assert.equal(handle.state, 'error');
});
