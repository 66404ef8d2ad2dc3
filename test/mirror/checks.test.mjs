// The mirror test's own checks: that each of them finds what it is there for. Without a server.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { until } from '../client/cluster.mjs';
import { WebSocketServer } from '../client/wire.mjs';
import { CalmClock } from './clock.mjs';
import { Copy, MirrorRows, ModelRows } from './copy.mjs';
import { Finding, History } from './failures.mjs';
import { Allowance } from './follower.mjs';
import { Ledger } from './ledger.mjs';
import { Random } from './random.mjs';
import { RawClient } from './raw_client.mjs';
import { keys, tables, total } from './schema.mjs';
import { Snapshot } from './snapshot.mjs';
import { query, randomView } from './views.mjs';

const columns = (...names) => names.map((name) => ({ name, type: 'integer' }));

function copyOf(table, Rows, rows = [], snapshot = null) {
	const copy = new Copy(table, new Rows(table), new History());
	copy.shape({ key: keys[table], columns: columns('id', 'v', 'version'), resumed: null });
	copy.fill(copy.void('test'), { rows, columns: ['id', 'v', 'version'], snapshot });
	return copy;
}

const insert = (now) => ({ op: 'insert', key: null, new: now });
const update = (old, now) => ({ op: 'update', key: null, old, new: now });
const remove = (old) => ({ op: 'delete', key: null, old });
const row = (id, v, version = 1) => ({ id, v, version });

test('rows that were read before a column was added have it, as null', () => {
	const copy = new Copy('items', new ModelRows('items'), new History());
	const reading = copy.void('test');
	copy.shape({ key: keys.items, columns: columns('id', 'v', 'version', 'x1'), resumed: null });
	copy.fill(reading, { rows: [row(1, 'a'), row(2, 'b')], columns: ['id', 'v', 'version'], snapshot: null });
	assert.deepEqual(copy.rows.all(), [{ ...row(1, 'a'), x1: null }, { ...row(2, 'b'), x1: null }]);
});

for (const Rows of [ModelRows, MirrorRows]) {
	const name = Rows.name;
	test(`${name}: what is right passes`, () => {
		const copy = copyOf('items', Rows, [row(1, 'a')]);
		copy.transaction('10', [insert(row(2, 'b')), update({ id: 1, v: 'a', version: 1 }, row(1, 'c', 2)), update({ id: 2, version: 1 }, row(3, 'b', 2)), remove(row(3, 'b', 2))]
			.map((change) => ({ ...change, key: { id: (change.new ?? change.old).id } })));
		assert.deepEqual(copy.rows.all(), [row(1, 'c', 2)]);
		copy.transaction('11', [{ op: 'truncate' }]);
		assert.equal(copy.rows.size, 0);
	});

	const wrong = [
		['inserted twice', [insert(row(1, 'a'))]],
		['updated, but not held', [update({ id: 9, version: 1 }, row(9, 'a', 2))]],
		['deleted, but not held', [remove(row(9, 'a'))]],
		['deleted, but another', [remove(row(1, 'z'))]],
		['a lost update', [update({ id: 1, v: 'b', version: 2 }, row(1, 'c', 3))]],
		['an update twice', [update({ id: 1, v: 'a', version: 1 }, row(1, 'b', 2)), update({ id: 1, v: 'a', version: 1 }, row(1, 'b', 2))]],
		['an update that keeps a former value to itself', [update({ id: 1, version: 1 }, row(1, 'b', 2))]],
		['under the key of another row', [{ ...insert(row(2, 'b')), key: { id: 3 } }]],
		['an older update', [update({ id: 1, v: 'a' }, row(1, 'b', 0))]],
	];
	for (const [what, changes] of wrong) {
		test(`${name}: ${what}`, () => {
			const copy = copyOf('items', Rows, [row(1, 'a')]);
			const keyed = changes.map((change) => ({ ...change, key: change.key ?? { id: (change.new ?? change.old).id } }));
			assert.throws(() => copy.transaction('10', keyed), (error) => {
				assert.ok(error instanceof Finding);
				assert.ok(error.facts.messages.some((line) => line.includes('xid 10')));
				return true;
			});
		});
	}

	test(`${name}: a reading leaves out what it has seen, and takes what came meanwhile`, () => {
		const copy = copyOf('items', Rows);
		const reading = copy.void('reset');
		const keyed = (id, version) => ({ ...insert(row(id, 'x', version)), key: { id } });
		copy.transaction('100', [keyed(1)]);
		copy.transaction('105', [keyed(5)]);
		assert.equal(copy.fill(reading - 1, { rows: [row(9, 'old')], columns: [], snapshot: null }), false, 'an older reading');
		copy.fill(reading, { rows: [row(1, 'x')], columns: ['id', 'v', 'version'], snapshot: new Snapshot('101:110:103,105') });
		assert.deepEqual(copy.rows.all().map(({ id }) => id), [1, 5]);
		copy.transaction('104', [keyed(4)]);
		copy.transaction('103', [keyed(3)]);
		assert.deepEqual(copy.rows.all().map(({ id }) => id), [1, 5, 3]);
	});
}

test('a bag: an equal row must be held', () => {
	for (const Rows of [ModelRows, MirrorRows]) {
		for (const change of [remove({ a: 1 }), update({ a: 1 }, { a: 3 })]) {
			const copy = copyOf('bag', Rows, [{ a: 1 }, { a: 1 }]);
			copy.transaction('1', [remove({ a: 1 }), update({ a: 1 }, { a: 2 })]);
			assert.throws(() => copy.transaction('2', [change]), Finding);
		}
	}
});

test('renamed, dropped and added columns, also when the rows were read ahead', () => {
	const copy = copyOf('items', ModelRows, [{ id: 1, x1: 5, x2: 6 }]);
	copy.shape({ key: ['id'], columns: columns('id', 'x1', 'x2') });
	copy.shape({ key: ['id'], columns: columns('id', 'x1rr', 'x3') });
	assert.deepEqual(copy.rows.all(), [{ id: 1, x1rr: 5, x3: null }]);
	copy.fill(copy.void('reset'), { rows: [{ id: 1, x1rr: 5, x3: 7, x4: 8 }], columns: [], snapshot: null });
	copy.shape({ key: ['id'], columns: columns('id', 'x1rr', 'x3', 'x4') });
	assert.deepEqual(copy.rows.all(), [{ id: 1, x1rr: 5, x3: 7, x4: 8 }]);
	const mirror = copyOf('items', MirrorRows, [row(1, 'a')]);
	mirror.fill(mirror.void('reset'), { rows: [{ ...row(1, 'a'), x9: 3 }], columns: ['id', 'v', 'version', 'x9'], snapshot: null });
	assert.equal(mirror.rows.missing, null);
	mirror.shape({ key: ['id'], columns: columns('id', 'v', 'version', 'x9') });
	assert.notEqual(mirror.rows.missing, null, 'Mirror cannot know that the rows have the new column already');
});

function world() {
	const copies = new Map(tables.map((table) => {
		const copy = new Copy(table, new ModelRows(table), new History());
		copy.shape({ key: keys[table], columns: [] });
		const rows = ['checking', 'savings'].includes(table) ? Array.from({ length: 20 }, (_, id) => ({ id, balance: 100 })) : [];
		copy.fill(copy.void('test'), { rows, columns: [], snapshot: new Snapshot('10:10:') });
		return [table, copy];
	}));
	return { copies, ledger: new Ledger(copies) };
}
const line = (writer, n, counts) => [{ op: 'insert', new: { writer, n, counts } }];

test('the ledger: whole transactions in each writer\'s order pass, others do not', () => {
	const { ledger } = world();
	ledger.count('items', '20', [{}, {}]);
	ledger.count('ledger', '20', line(1, 1, { items: 2 }));
	ledger.check('p');
	assert.equal(ledger.verified, 1);
	for (const [what, play] of [
		['a change too few', (l) => (l.count('items', '21', [{}]), l.count('ledger', '21', line(1, 2, { items: 2 })))],
		['a change too many', (l) => (l.count('items', '21', [{}, {}]), l.count('ledger', '21', line(1, 2, { items: 1 })))],
		['a table without its changes', (l) => l.count('ledger', '21', line(1, 2, { bag: 1 }))],
		['no line', (l) => l.count('items', '21', [{}])],
		['a line twice', (l) => (l.count('ledger', '21', line(1, 1, {})), l.count('ledger', '21', line(1, 2, {})))],
		['a transaction lost', (l) => (l.count('ledger', '21', line(1, 1, {})), l.count('ledger', '22', line(1, 3, {})))],
		['out of order', (l) => (l.count('ledger', '22', line(1, 2, {})), l.count('ledger', '21', line(1, 1, {})))],
	]) {
		const { ledger: own } = world();
		assert.throws(() => (play(own), own.check('p')), Finding, what);
	}
	// Transactions that a reading has seen may come in part.
	const { ledger: reread } = world();
	reread.count('items', '9', [{}]);
	reread.count('ledger', '9', line(1, 7, { items: 3 }));
	reread.check('p');
});

test('the ledger: after rows from the server it begins to look when all copies have met', () => {
	const { ledger } = world();
	ledger.outOfStep();
	ledger.count('items', '21', [{}]);
	ledger.count('ledger', '21', line(1, 1, { items: 2 }));
	ledger.check('p');
	ledger.count('items', '22', [{}]);
	ledger.count('ledger', '22', line(1, 2, { items: 2 }));
	assert.throws(() => ledger.check('q'), Finding);
});

test('rows that the server sends are taken once, and not where they were not asked for', () => {
	const copy = copyOf('items', ModelRows);
	assert.throws(() => copy.serverRows([]), Finding);
	copy.await('reset');
	copy.serverRows([row(1, 'a')]);
	assert.equal(copy.rows.size, 1);
	assert.throws(() => copy.serverRows([]), Finding);
});

test('random views are what a seed decides, and say what they hold', () => {
	const take = (seed) => Array.from({ length: 20 }, function () {
		return randomView(this);
	}, new Random(seed));
	assert.deepEqual(take(3), take(3));
	assert.notDeepEqual(take(3), take(4));
	assert.equal(query({ table: 'pairs', where: 'v = 1', columns: ['v', 'a'] }), 'SELECT b,a,v FROM pairs WHERE v = 1');
	assert.equal(query({ table: 'bag' }), 'SELECT * FROM bag');
});

test('the sum over two tables', () => {
	const { copies, ledger } = world();
	ledger.check('p');
	copies.get('checking').rows.put({ id: 1, balance: 99 });
	assert.throws(() => ledger.check('p'), /1999|3999/);
});

test('a reset needs a reason, once for each', () => {
	const allowance = new Allowance();
	const [one, other] = [allowance.account(), allowance.account()];
	assert.equal(one.take('items'), false);
	allowance.grant('items');
	assert.deepEqual([one.take('items'), one.take('items'), one.take('bag'), other.take('items')], [true, false, false, true]);
	allowance.grantAll();
	assert.deepEqual([one.take('bag'), one.take('bag')], [true, false]);
});

test('an account that is opened late still has what happened just now', () => {
	const allowance = new Allowance();
	allowance.grant('items');
	assert.equal(allowance.account().take('items'), false);
	const late = allowance.account({ late: true });
	assert.deepEqual([late.take('items'), late.take('items'), late.take('bag')], [true, false, false]);
});

test('how long ago something was is counted without the time that a server was away', (t) => {
	let now = 1_000_000;
	t.mock.method(Date, 'now', () => now);
	const allowance = new Allowance();
	allowance.grant('items');
	allowance.clock.stop();
	now += 100_000;
	assert.ok(allowance.isRecent('items'), 'while it is away');
	allowance.clock.go();
	assert.ok(allowance.isRecent('items'), 'when it is back');
	assert.equal(allowance.account({ late: true }).take('items'), true);
	now += 100_000;
	assert.equal(allowance.isRecent('items'), false);
	assert.equal(allowance.account({ late: true }).take('items'), false);
	const clock = new CalmClock();
	const before = clock.now();
	now += 5_000;
	clock.stood(4_000);
	assert.equal(clock.now() - before, 1_000);
});

test('a reading that another one has replaced is known as such', () => {
	const copy = copyOf('items', ModelRows);
	const [one, other] = [copy.void('reset'), copy.void('reset')];
	assert.deepEqual([copy.awaits(one), copy.awaits(other)], [false, true]);
	copy.fill(other, { rows: [], columns: [], snapshot: null });
	assert.equal(copy.awaits(other), false, 'it is whole');
});

test('visibility is PostgreSQL\'s', () => {
	const snapshot = new Snapshot('10:20:12,15');
	assert.deepEqual(['9', '10', '12', '13', '15', '19', '20', '9007199254740993'].map((xid) => snapshot.sees(xid)), [true, true, false, true, false, true, false, false]);
});

test('a seed decides everything', () => {
	const take = (random) => Array.from({ length: 5 }, () => random.between(0, 1e9));
	assert.deepEqual(take(new Random(7).fork('a')), take(new Random(7).fork('a')));
	assert.notDeepEqual(take(new Random(7).fork('a')), take(new Random(7).fork('b')));
	assert.notDeepEqual(take(new Random(7).fork('a')), take(new Random(8).fork('a')));
});

// A server whose tables are all but empty. It says nothing about views when they are resumed.
async function bareServer(t) {
	const server = new WebSocketServer({ port: 0 });
	t.after(() => server.close());
	await once(server, 'listening');
	const all = { sockets: [], asked: new Map() };
	server.on('connection', (socket) => {
		const send = (message) => socket.send(JSON.stringify(message));
		all.send = send;
		all.sockets.push(socket);
		send({ type: 'welcome' });
		socket.on('message', (data) => {
			const { type, id, table, columns: chosen, since, snapshot } = JSON.parse(data);
			all.asked.set(`${type} ${id}`, table);
			if (type !== 'subscribe' || (since !== undefined && id.startsWith('view'))) return;
			const key = keys[table.replace('public.', '')];
			all[id] = { type: 'subscribed', id, key, columns: columns(...new Set([...(key ?? []), ...(chosen ?? ['v'])])), position: 'p' };
			send({ ...all[id], ...(since !== undefined && { resumed: true }) });
			if (snapshot && since === undefined) send({ type: 'rows', id, rows: id === 'checking' ? [{ id: 1, balance: total }] : [], position: 'p' });
		});
	});
	return { all, servers: { url: async () => `ws://localhost:${server.address().port}` } };
}

test('a view is checked until its leaving is answered', async (t) => {
	const { all, servers } = await bareServer(t);
	const failures = [];
	// One whose view asks for the rows, and has a key.
	const client = [...Array(50).keys()].map((seed) => new RawClient({ name: 'raw', number: 0, servers, random: new Random(seed), failures: { add: (_, error) => failures.push(error.message) }, allowance: new Allowance(), options: { views: 1 }, snapshot: true }))
		.find((one) => one.asksRows('view 1') && one.copies.get('view 1').of === 'facets');
	t.after(() => client.stop());
	client.start();
	await until(() => client.copies.get('view 1').whole, 'the rows');
	all.sockets[0].terminate();
	await until(() => all.sockets.length === 2 && client.connections === 2, 'another connection');
	client.changeViews(1);
	await until(() => all.asked.has('unsubscribe view 1'), 'the view to be left');
	// What it should have caught up on was left out, and what is live was not.
	all.send({ ...all['view 1'], resumed: true });
	all.send({ type: 'transaction', xid: '7', position: 'q', changes: [{ ids: ['view 1'], table: 'public.facets', op: 'delete', key: { id: 7 }, old: { id: 7 } }] });
	all.send({ type: 'unsubscribed', id: 'view 1', code: null });
	await until(() => failures.length > 0 || !client.copies.has('view 1'), 'the answer');
	assert.deepEqual(failures, ['view 1: delete of a row that is not held']);
});
