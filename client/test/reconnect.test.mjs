// Losing the connection and coming back: delays, states, resets, tokens, silence.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../dist/plank.js';
import { ManualClock } from './clock.mjs';
import { startServer } from './fake-server.mjs';
import { insert, next, pair, reached, settled, transaction } from './helpers.mjs';

// Node's own WebSocket, from version 22 on, tells no reason, and writes a blank behind commas.
const anyReason = (reason) => (globalThis.WebSocket ? /./ : reason);
const protocols = ({ headers }) => headers['sec-websocket-protocol'].replaceAll(', ', ',');

// A WebSocket that never works out, so that delays can be looked at one by one.
function failing(code = 1006) {
	return class {
		readyState = 0;
		constructor() {
			queueMicrotask(() => this.onclose({ code, reason: '' }));
		}
		close() {}
	};
}

async function delays(options, count) {
	const clock = new ManualClock();
	const plank = connect('ws://127.0.0.1', { clock, ...options });
	const result = [];
	while (result.length < count) {
		const status = await next(plank, 'state');
		if (status.state !== 'reconnecting' || status.retryIn === null) continue;
		result.push(status.retryIn);
		assert.equal(clock.next, status.retryIn);
		clock.advance(status.retryIn);
	}
	plank.close();
	assert.equal(clock.timers, 0);
	return result;
}

test('delays double up to 30 s, each with full jitter', async () => {
	assert.deepEqual(await delays({ WebSocket: failing(), random: () => 1 }, 9), [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
	assert.deepEqual(await delays({ WebSocket: failing(), random: () => 0.5 }, 3), [125, 250, 500]);
	assert.deepEqual(await delays({ WebSocket: failing(), random: () => 0 }, 3), [0, 0, 0]);
});

test('a server that is stopping or short of memory is given time', async () => {
	assert.deepEqual(await delays({ WebSocket: failing(1001), random: () => 1 }, 3), [1000, 2000, 4000]);
	assert.deepEqual(await delays({ WebSocket: failing(1013), random: () => 1 }, 3), [8000, 16000, 30000]);
});

test('delays begin anew only after a connection that lasted', async (t) => {
	const clock = new ManualClock();
	const { server, plank } = await pair(t, { clock, random: () => 1 });
	const lose = async () => {
		server.client.terminate();
		const { retryIn } = await reached(plank, 'reconnecting');
		clock.advance(retryIn);
		await reached(plank, 'open');
		return retryIn;
	};
	await reached(plank, 'open');
	assert.equal(await lose(), 250);
	clock.advance(9_999);
	assert.equal(await lose(), 500);
	clock.advance(10_000);
	assert.equal(await lose(), 250);
});

test('after a reconnect to a server that cannot resume all is subscribed again under new ids, and each handle gets a reset', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0 });
	const seen = [];
	const items = plank.table('items', { events: ['insert'] }).subscribe((change) => seen.push(change.new.id));
	const jobs = plank.channel('jobs').subscribe();
	const gone = plank.table('gone').subscribe();
	await Promise.all([items.ready, jobs.ready, gone.ready]);
	gone.unsubscribe();
	server.send(transaction('1', [insert(['s1'], { id: 1 })]));
	await settled(plank);
	const order = [];
	items.on('subscribed', () => order.push('subscribed')).on('reset', () => order.push('reset'));
	const resets = [next(items, 'reset'), next(jobs, 'reset')];
	server.client.close(1001);
	await reached(plank, 'reconnecting');
	assert.deepEqual([items.state, jobs.state, gone.state], ['subscribing', 'subscribing', 'ended']);
	const [reset] = await Promise.all(resets);
	assert.match(reset.reason, /stopping.*not received/);
	assert.deepEqual(order, ['subscribed', 'reset']);
	assert.equal(items.state, 'live');
	const again = server.received.filter(({ type }) => type === 'subscribe').slice(3);
	assert.deepEqual(again.map(({ client, type, ...rest }) => rest), [{ id: 's4', table: 'items', events: ['insert'], since: 'p1' }, { id: 's5', channel: 'jobs', since: 'p1' }]);
	server.send(transaction('2', [insert(['s1', 's4'], { id: 2 })]));
	await settled(plank);
	assert.deepEqual(seen, [1, 2]);
});

test('a subscription made while there is no connection is made later, without a reset', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0 });
	await reached(plank, 'open');
	server.client.terminate();
	await reached(plank, 'reconnecting');
	const watch = plank.table('items').subscribe();
	let resets = 0;
	watch.on('reset', () => (resets += 1));
	await watch.ready;
	await settled(plank);
	assert.equal(resets, 0);
});

test('a server that is not there yet is tried until it is', async (t) => {
	const server = await startServer();
	const { port } = server;
	await server.stop();
	const plank = connect(`ws://127.0.0.1:${port}`, { random: () => 0.1 });
	t.after(() => plank.close());
	const tables = plank.tables();
	const status = await reached(plank, 'reconnecting');
	assert.match(status.reason, anyReason(/ECONNREFUSED/));
	await assert.rejects(plank.ping(), { code: '08006' });
	const later = await startServer({ port });
	t.after(() => later.stop());
	assert.deepEqual(await tables, []);
});

test('reconnect() ends the wait', async (t) => {
	const clock = new ManualClock();
	const { server, plank } = await pair(t, { clock, random: () => 1 });
	await reached(plank, 'open');
	server.client.close(1013, 'shed');
	const status = await reached(plank, 'reconnecting');
	assert.deepEqual(status, { state: 'reconnecting', reason: 'the server is short of memory: shed', closeCode: 1013, retryIn: 8000 });
	plank.reconnect();
	await reached(plank, 'open');
	plank.reconnect();
	assert.equal(plank.state, 'open');
	assert.equal(server.upgrades.length, 2);
});

test('a refused upgrade is retried, with its status as the reason', async (t) => {
	let refuse = true;
	const { plank } = await pair(t, { random: () => 0, server: { refuse: () => (refuse ? 503 : 0) } });
	const status = await reached(plank, 'reconnecting');
	assert.match(status.reason, anyReason(/503/));
	refuse = false;
	await reached(plank, 'open');
});

test('4001 ends it when the token cannot change', async (t) => {
	const { server, plank } = await pair(t, { token: 'aaa.bbb.ccc' });
	const watch = plank.table('items').subscribe();
	await watch.ready;
	assert.equal(protocols(server.upgrades[0]), 'plank.v1,plank.token.aaa.bbb.ccc');
	assert.equal(server.upgrades[0].url, '/ws');
	const told = next(watch, 'error');
	server.client.close(4001, 'expired');
	const status = await reached(plank, 'closed');
	assert.equal(status.closeCode, 4001);
	assert.equal((await told).code, '28000');
	await assert.rejects(plank.tables(), { code: '28000' });
	assert.equal(watch.state, 'ended');
});

test('4001 fetches another token when there is a function for it', async (t) => {
	let count = 0;
	const token = async () => {
		count += 1;
		if (count === 2) throw new Error('the token service is down');
		return `t${count}`;
	};
	const { server, plank } = await pair(t, {
		token, random: () => 0, server: {
			onMessage({ type, id }, client) {
				if (type !== 'subscribe' || server.upgrades.length > 1) return undefined;
				queueMicrotask(() => client.close(4001));
				return { type: 'error', id, code: '28000', message: 'token expired' };
			},
		},
	});
	const problems = [];
	plank.on('error', (error) => problems.push(error.message));
	const watch = plank.table('items').subscribe();
	const told = next(watch, 'error');
	assert.equal((await told).code, '28000');
	assert.equal(watch.state, 'subscribing');
	await watch.ready;
	assert.deepEqual(server.upgrades.map(protocols), ['plank.v1,plank.token.t1', 'plank.v1,plank.token.t3']);
	assert.deepEqual(problems, ['no token: the token service is down']);
});

test('silence is answered with a ping, and silence after that with another connection', async (t) => {
	const clock = new ManualClock();
	let mute = false;
	const { server, plank } = await pair(t, {
		clock, random: () => 0, server: { onMessage: ({ type }) => (mute && type === 'ping' ? null : undefined) },
	});
	await reached(plank, 'open');
	const pings = () => server.received.filter(({ type }) => type === 'ping').length;
	clock.advance(59_000);
	server.send({ type: 'position', position: '1' });
	await settled(plank);
	// The ping of `settled` and its answer count as life, so the next one is due 60 s later.
	clock.advance(59_999);
	await server.until(() => pings() === 1);
	clock.advance(1);
	await server.until(() => pings() === 2);
	await settled(plank);
	clock.advance(10_000);
	assert.equal(plank.state, 'open');
	mute = true;
	clock.advance(50_000);
	await server.until(() => pings() === 4);
	clock.advance(9_999);
	assert.equal(plank.state, 'open');
	clock.advance(1);
	assert.equal(plank.state, 'reconnecting');
	assert.match(plank.status.reason, /silent/);
	clock.advance(0);
	await reached(plank, 'open');
});

test('a server that accepts and says nothing is given up', async (t) => {
	const clock = new ManualClock();
	const { server, plank } = await pair(t, { clock, server: { welcome: false } });
	await server.until(() => server.client);
	clock.advance(19_999);
	assert.equal(plank.state, 'connecting');
	clock.advance(1);
	assert.equal(plank.state, 'reconnecting');
	assert.match(plank.status.reason, /did not answer/);
});

test('closing while connecting leaves nothing behind', async (t) => {
	const clock = new ManualClock();
	const server = await startServer();
	t.after(() => server.stop());
	const plank = connect(server.url, { clock, token: () => new Promise(() => {}) });
	plank.close();
	assert.deepEqual([plank.state, clock.timers], ['closed', 0]);
	const second = connect(server.url, { clock });
	await server.until(() => server.client);
	second.close();
	await server.until(() => server.clients.size === 0);
	assert.equal(clock.timers, 0);
});

test('a listener may close the connection in the middle of a frame', async (t) => {
	const { server, plank } = await pair(t);
	const seen = [];
	const watch = plank.table('items').subscribe((change) => {
		seen.push(change.new.id);
		plank.close();
	});
	await watch.ready;
	server.send([transaction('1', [insert(['s1'], { id: 1 }), insert(['s1'], { id: 2 })]), transaction('2', [insert(['s1'], { id: 3 })])]);
	await server.until(() => server.clients.size === 0);
	assert.deepEqual(seen, [1]);
});
