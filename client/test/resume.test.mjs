// Resuming: positions kept for each subscription, what moves them, and what a handle hears when a resume works and when
// it does not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mirror } from '../dist/plank.js';
import { insert, next, pair, reached, settled, transaction } from './helpers.mjs';

const subscribes = (server) => server.received.filter(({ type }) => type === 'subscribe').map(({ client, type, ...rest }) => rest);
const table = { table: 'public.items', key: ['id'], columns: [{ name: 'id', type: 'bigint' }], position: 'p0' };

// Answers every subscribe that has `since` with what `answer` says; the others as usual.
const resuming = (answer) => ({
	onMessage: (message) => (message.type === 'subscribe' && message.since !== undefined ? answer(message) : undefined),
});
const resumed = ({ id, since }) => ({ type: 'subscribed', id, ...table, position: since, resumed: true });

function recorded(watch) {
	const events = [];
	watch.on('subscribed', (message) => events.push(['subscribed', message.resumed]))
		.on('reset', ({ reason }) => events.push(['reset', reason]))
		.on('change', (change) => events.push([change.op, change.new.id]));
	return events;
}

async function lose(server, plank, code) {
	const again = next(plank, 'welcome');
	if (code === undefined) server.client.terminate();
	else server.client.close(code);
	await again;
	await settled(plank);
}

test('after a reconnect it goes on from where it was, without a reset', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0, server: resuming(resumed) });
	const watch = plank.table('items').subscribe();
	const jobs = plank.channel('jobs').subscribe();
	const events = recorded(watch);
	await Promise.all([watch.ready, jobs.ready]);
	assert.equal(watch.position, '0');
	server.send(transaction('1', [insert(['s1'], { id: 1 })]));
	await settled(plank);
	await lose(server, plank, 1001);
	assert.deepEqual(subscribes(server).slice(2), [{ id: 's3', table: 'items', since: 'p1' }, { id: 's4', channel: 'jobs', since: 'p1' }]);
	server.send(transaction('2', [insert(['s3'], { id: 2 })], { catchup: 's3' }));
	await settled(plank);
	assert.deepEqual(events, [['subscribed', null], ['insert', 1], ['subscribed', true], ['insert', 2]]);
	assert.deepEqual([watch.position, jobs.position], ['p2', 'p1']);
});

test('a late joiner of a shared subscription resumes with it', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0, server: resuming(resumed) });
	const first = plank.table('items').subscribe();
	await first.ready;
	server.send(transaction('1', [insert(['s1'], { id: 1 })]));
	await settled(plank);
	const late = plank.table('items').subscribe();
	const events = recorded(late);
	assert.deepEqual(await late.ready, { ...table, table: 'items', channel: null, columns: [], position: 'p1', resumed: null });
	await lose(server, plank);
	server.send(transaction('2', [insert(['s2'], { id: 2 })], { catchup: 's2' }));
	await settled(plank);
	assert.equal(subscribes(server).length, 2);
	assert.deepEqual(events, [['subscribed', null], ['subscribed', true], ['insert', 2]]);
	assert.deepEqual([first.position, late.position], ['p2', 'p2']);
});

test('who joins in the middle of a transaction gets none of it', async (t) => {
	const { server, plank } = await pair(t);
	let late;
	let seen;
	const watch = plank.table('items').subscribe(() => {
		late ??= plank.table('items').subscribe();
		seen ??= recorded(late);
	});
	await watch.ready;
	server.send(transaction('1', [insert(['s1'], { id: 1 }), insert(['s1'], { id: 2 })]));
	await settled(plank);
	server.send(transaction('2', [insert(['s1'], { id: 3 })]));
	await settled(plank);
	assert.deepEqual(seen, [['subscribed', null], ['insert', 3]]);
	assert.equal(subscribes(server).length, 1);
});

test('a newcomer while the others resume has a subscription of its own, and hears nothing older', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0, server: resuming(resumed) });
	const watch = plank.table('items').subscribe();
	const events = recorded(watch);
	await watch.ready;
	server.client.terminate();
	await reached(plank, 'reconnecting');
	const early = recorded(plank.table('items').subscribe());
	await next(plank, 'welcome');
	await settled(plank);
	const during = plank.table('items').subscribe();
	await during.ready;
	assert.deepEqual(subscribes(server).slice(1), [
		{ id: 's2', table: 'items', since: '0' }, { id: 's3', table: 'items' },
	]);
	server.send(transaction('1', [insert(['s2'], { id: 1 })], { catchup: 's2' }), transaction('2', [insert(['s2', 's3'], { id: 2 })]));
	await settled(plank);
	assert.deepEqual(events, [['subscribed', null], ['subscribed', true], ['insert', 1], ['insert', 2]]);
	assert.deepEqual(early, [['subscribed', null], ['insert', 2]]);
	assert.equal(during.position, 'p2');
	// All have caught up: from now on they share again.
	await plank.table('items').subscribe().ready;
	assert.equal(subscribes(server).length, 3);
});

test('a failed resume is the server\'s reset, once', async (t) => {
	const { server, plank } = await pair(t, {
		random: () => 0, server: resuming(({ id }) => [
			{ type: 'subscribed', id, ...table, position: 'p7', resumed: false },
			{ type: 'reset', id, reason: 'the position is too old', position: 'p8' },
		]),
	});
	const watch = plank.table('items').subscribe();
	const events = recorded(watch);
	await watch.ready;
	await lose(server, plank);
	assert.deepEqual(events, [['subscribed', null], ['subscribed', false], ['reset', 'the position is too old']]);
	assert.equal(watch.position, 'p8');
});

test('a connection lost between a failed resume and its reset does not make a resume of it', async (t) => {
	const { server, plank } = await pair(t, {
		random: () => 0, server: resuming(({ id }) => ({ type: 'subscribed', id, ...table, position: 'p7', resumed: false })),
	});
	const watch = plank.table('items').subscribe();
	await watch.ready;
	for (let i = 0; i < 3; i += 1) await lose(server, plank);
	assert.deepEqual(subscribes(server).slice(1).map(({ since }) => since), ['0', '0', '0']);
	assert.equal(watch.position, '0');
	server.send({ type: 'reset', id: 's4', reason: 'too old', position: 'p9' });
	await settled(plank);
	assert.equal(watch.position, 'p9');
	await lose(server, plank);
	assert.equal(subscribes(server).at(-1).since, 'p9');
});

for (const code of ['0A000', '22023']) {
	test(`a server that refuses the position with ${code} is asked without it, and the reset is made here`, async (t) => {
		const { server, plank } = await pair(t, {
			random: () => 0, server: resuming(({ id }) => ({ type: 'error', id, code, message: 'since is not supported' })),
		});
		const watch = plank.table('items').subscribe();
		const events = recorded(watch);
		watch.on('error', (error) => events.push(['error', error.code]));
		await watch.ready;
		await lose(server, plank);
		await settled(plank);
		assert.deepEqual(subscribes(server), [
			{ id: 's1', table: 'items' }, { id: 's2', table: 'items', since: '0' }, { id: 's3', table: 'items' },
		]);
		assert.deepEqual(events.map(([name]) => name), ['subscribed', 'subscribed', 'reset']);
		assert.equal(events[1][1], false);
		assert.match(events[2][1], /since is not supported.*not received/);
		server.send(transaction('1', [insert(['s3'], { id: 1 })]));
		await settled(plank);
		assert.equal(watch.position, 'p1');
	});
}

test('any other refusal of a resume ends the subscription', async (t) => {
	const { server, plank } = await pair(t, {
		random: () => 0, server: resuming(({ id }) => ({ type: 'error', id, code: '42P01', message: 'no such table' })),
	});
	const watch = plank.table('items').subscribe();
	await watch.ready;
	const told = next(watch, 'error');
	await lose(server, plank);
	assert.equal((await told).code, '42P01');
	assert.deepEqual([watch.state, watch.position, subscribes(server).length], ['ended', null, 2]);
});

test('a stored position: resumed from the start, never shared', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0, server: resuming(resumed) });
	await plank.table('items').subscribe().ready;
	const stored = plank.table('items', { since: 'kept' });
	const watch = stored.subscribe();
	assert.equal(watch.position, 'kept');
	const events = recorded(watch);
	assert.equal((await watch.ready).resumed, true);
	assert.deepEqual(subscribes(server), [{ id: 's1', table: 'items' }, { id: 's2', table: 'items', since: 'kept' }]);
	assert.equal(watch.position, 'kept');
	const positions = [];
	watch.on('position', (position) => positions.push(position));
	server.send(
		transaction('4', [insert(['s2'], { id: 4 })], { catchup: 's2' }),
		// What others are sent meanwhile says nothing about this one.
		transaction('9', [insert(['s1'], { id: 9 })]),
		transaction('5', [insert(['s2'], { id: 5 })], { catchup: 's2' }),
		transaction('10', [insert(['s1', 's2'], { id: 10 })]),
		transaction('11', [insert(['s1'], { id: 11 })]),
		{ type: 'position', position: 'p12' },
	);
	await settled(plank);
	assert.deepEqual(positions, ['p4', 'p5', 'p10', 'p11', 'p12']);
	assert.deepEqual(events.map(([, id]) => id), [true, 4, 5, 10]);
	// A second listener with the same position is owed the same again.
	await stored.on('change', () => {}).ready;
	assert.deepEqual(subscribes(server).at(-1), { id: 's3', table: 'items', since: 'kept' });
	await plank.channel('jobs', { since: null }).subscribe().ready;
	assert.deepEqual(subscribes(server).at(-1), { id: 's4', channel: 'jobs' });
});

test('a stored position that a server does not know is answered with a reset', async (t) => {
	const { server, plank } = await pair(t);
	// Its `subscribed` says nothing of resuming.
	const watch = plank.table('items', { since: 'kept' }).subscribe();
	const events = recorded(watch);
	await watch.ready;
	await settled(plank);
	assert.equal(subscribes(server)[0].since, 'kept');
	assert.deepEqual(events.map(([name]) => name), ['subscribed', 'reset']);
	assert.deepEqual([events[0][1], watch.position], [false, '0']);
});

test('the position stays on a handle that was ended here, and goes with one that the server ended', async (t) => {
	const { server, plank } = await pair(t);
	const [left, ended, closed] = ['a', 'b', 'c'].map((name) => plank.table(name).subscribe());
	ended.on('error', () => {});
	await Promise.all([left.ready, ended.ready, closed.ready]);
	server.send(transaction('1', []));
	await settled(plank);
	left.unsubscribe();
	server.send({ type: 'unsubscribed', id: 's2', code: '42P01', message: 'dropped' }, transaction('2', []));
	await settled(plank);
	plank.close();
	assert.deepEqual([left.position, ended.position, closed.position], ['p1', null, 'p2']);
});

test('the position moves when all of a transaction was handed on, not before', async (t) => {
	const { server, plank } = await pair(t);
	const watch = plank.table('items').subscribe((change) => {
		seen.push(watch.position);
		if (change.new.id === 3) plank.close();
	});
	const seen = [];
	await watch.ready;
	server.send(transaction('1', [insert(['s1'], { id: 1 }), insert(['s1'], { id: 2 })]));
	server.send(transaction('2', [insert(['s1'], { id: 3 }), insert(['s1'], { id: 4 })]));
	await server.until(() => server.clients.size === 0);
	assert.deepEqual(seen, ['0', '0', 'p1']);
	assert.equal(watch.position, 'p1', 'the second was handed on in part');
});

test('an incomplete snapshot is not resumed', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0, server: resuming(resumed) });
	const watch = plank.table('items', { snapshot: true }).subscribe();
	const events = recorded(watch);
	await watch.ready;
	server.send({ type: 'rows', id: 's1', rows: [{ id: 1 }], more: true }, { type: 'position', position: 'p5' });
	await settled(plank);
	assert.equal(watch.position, null);
	await lose(server, plank);
	assert.deepEqual(subscribes(server)[1], { id: 's2', table: 'items', snapshot: true });
	assert.deepEqual(events.map(([name]) => name), ['subscribed', 'subscribed', 'reset']);
	server.send({ type: 'rows', id: 's2', rows: [{ id: 1 }], more: false, position: 'p6' });
	await settled(plank);
	await lose(server, plank);
	assert.deepEqual(subscribes(server)[2], { id: 's3', table: 'items', snapshot: true, since: 'p6' });
	assert.deepEqual(events.at(-1), ['subscribed', true]);
});

test('a new shape during a resume is told in its place', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0, server: resuming(resumed) });
	const watch = plank.table('items').subscribe();
	await watch.ready;
	await lose(server, plank);
	const seen = [];
	watch.on('subscribed', ({ columns, resumed: was }) => seen.push([columns.length, was])).on('change', (change) => seen.push(change.new));
	server.send([
		transaction('1', [insert(['s2'], { id: 1 })], { catchup: 's2' }),
		{ type: 'subscribed', id: 's2', ...table, columns: [...table.columns, { name: 'n', type: 'integer' }], position: 'p99' },
		transaction('2', [insert(['s2'], { id: 2, n: 2 })], { catchup: 's2' }),
	]);
	await settled(plank);
	assert.deepEqual(seen, [{ id: 1 }, [2, null], { id: 2, n: 2 }]);
	assert.equal(watch.position, 'p2');
});

// A server that keeps a table's history and cuts connections wherever it likes, mid-transaction above all; two tables on
// one connection, so that one's catching up runs beside the other's live changes. The seed is in the message.
test('flapping connections: every change is applied once and in order, whole transactions only', { timeout: 180_000 }, async (t) => {
	const seed = Math.floor(Math.random() * 2 ** 31);
	let state = seed || 1;
	const random = (n) => {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		return (state >>> 0) % n;
	};
	const history = [];
	const grow = () => {
		const n = history.length;
		history.push(Array.from({ length: 1 + random(6) }, (_, i) => ({ name: random(2) ? 'a' : 'b', row: { id: n * 10 + i } })));
	};
	const ids = new Map();
	// The parts of one transaction for some of the subscriptions, as frames.
	const parts = (n, wanted, extra = {}) => {
		const changes = history[n - 1].filter(({ name }) => wanted.includes(name)).map(({ name, row }) => insert([ids.get(name)], row, name));
		const cut = 1 + random(changes.length || 1);
		const whole = (list, more) => transaction(String(n), list, { position: more ? undefined : `p${n}`, more, ...extra });
		return changes.length > 1 && cut < changes.length ? [whole(changes.slice(0, cut), true), whole(changes.slice(cut), false)] : [whole(changes, false)];
	};
	const { server, plank } = await pair(t, {
		random: () => 0,
		server: {
			onMessage({ type, id, table: name, since }) {
				if (type !== 'subscribe') return undefined;
				ids.set(name, id);
				return { type: 'subscribed', id, ...table, table: name, position: since ?? 'p0', ...(since !== undefined && { resumed: true }) };
			},
		},
	});
	const mirrors = new Map();
	const watches = [];
	for (const name of ['a', 'b']) {
		const mirror = new Mirror();
		const watch = plank.table(name).subscribe((change) => {
			assert.equal(mirror.get(change.key), undefined, `seed ${seed}: ${name} ${change.new.id} applied twice`);
			mirror.change(change);
		}).on('subscribed', (message) => mirror.subscribed(message)).on('reset', () => assert.fail(`seed ${seed}: a reset`));
		mirrors.set(name, mirror);
		watches.push(watch);
	}
	const expected = (name, upTo) => history.slice(0, upTo).flat().filter((change) => change.name === name).map(({ row }) => row.id);
	await Promise.all(watches.map((watch) => watch.ready));

	const cut = async (frames) => {
		const at = random(frames.length + 1);
		for (const frame of frames.slice(0, at)) server.send(frame);
		const again = next(plank, 'welcome');
		server.client[random(2) ? 'terminate' : 'close']();
		ids.clear();
		await again;
		await server.until(() => ids.size === 2);
	};
	for (let round = 0; round < 60; round += 1) {
		for (let i = random(4); i >= 0; i -= 1) grow();
		const positions = watches.map(({ position }) => Number(position.slice(1)));
		assert.ok(positions.every((position) => position >= 0 && position <= history.length));
		// Each catches up from where the client said it was, beside the other; then both are live.
		const frames = [];
		const behind = new Map([['a', positions[0]], ['b', positions[1]]]);
		while ([...behind.values()].some((position) => position < history.length)) {
			const name = random(2) ? 'a' : 'b';
			if (behind.get(name) === history.length) continue;
			behind.set(name, behind.get(name) + 1);
			frames.push(...parts(behind.get(name), [name], { catchup: ids.get(name) }));
		}
		if (random(2)) {
			grow();
			frames.push(...parts(history.length, ['a', 'b']));
		}
		if (random(2)) frames.push({ type: 'position', position: `p${history.length}` });
		if (random(4)) await cut(frames);
		else {
			server.send(...frames);
			await settled(plank);
			for (const [name, mirror] of mirrors) assert.deepEqual(mirror.rows().map(({ id }) => id), expected(name), `seed ${seed} round ${round}`);
			await cut([]);
		}
		for (const [i, [name, mirror]] of [...mirrors].entries()) {
			const upTo = Number(watches[i].position.slice(1));
			assert.deepEqual(mirror.rows().map(({ id }) => id), expected(name, upTo), `seed ${seed} round ${round}: ${name} holds what its position says`);
		}
	}
});
