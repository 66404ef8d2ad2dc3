// plank.max_memory: near it newcomers are refused, above it the clients that take most are closed with 1013, and nobody
// else notices: not those who take little, not the writers (P4).

import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';

const limit = 64 << 20;
const clusters = {};
for (const transport of ['notify', 'wal']) {
	clusters[transport] = await Cluster.start({
		'plank.transport': transport, wal_keep_size: '256MB', 'plank.max_memory': '64MB', 'plank.max_subscriptions': 10_000,
		'plank.subscribe_rate': 0, 'plank.send_timeout': '1h',
	});
	await clusters[transport].sql(`
		CREATE TABLE small (id int PRIMARY KEY); CREATE TABLE load (id serial PRIMARY KEY, t text);
		SELECT plank.track('small'), plank.track('load')`);
}

const stat = async (cluster) => (await cluster.query(`
	SELECT clients::int, clients_shed::int AS shed, memory_bytes::int AS memory, log_bytes::int AS log FROM plank.stat WHERE database = 'app'`)).rows[0];
const health = (cluster) => fetch(cluster.url('app', '/health'));
const letsIn = async (cluster) => (await health(cluster)).status === 200;

function upgrade(cluster) {
	return new Promise((resolve, reject) => {
		const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': `${'x'.repeat(21)}w==` };
		http.get(cluster.url('app', '/ws'), { headers }, (response) => resolve(response.resume())).on('error', reject);
	});
}

/** Clients that do not read, and no two of them watch the same: each holds a frame of its own. */
async function stall(t, cluster, count) {
	const clients = await Promise.all(Array.from({ length: count }, () => cluster.client(t, { marker: false })));
	await Promise.all(clients.map((client) => client.subscribed({ id: client.welcome.session, table: 'load' })));
	for (const client of clients) {
		client.ignores = true;
		client.socket.pause();
	}
	return clients;
}

// As much as fills a stalled client's socket, in messages of 1 MB.
async function fill(cluster) {
	for (let i = 0; i < 10; i += 1) await cluster.query(`INSERT INTO load (t) VALUES (repeat('x', 1000000))`);
}

// Different ones, some kB each once they are compiled.
const condition = (i) => `id > ${Array.from({ length: 20 }, (_, bit) => (i & (1 << bit) ? 'id + id' : 'id * id')).join(' + ')}`;

/** Subscribes with conditions of its own until `count` are there or one is refused, and resolves with the last answer. */
async function subscribe(client, count) {
	for (let i = 0; ; i += 1) {
		client.send({ type: 'subscribe', id: `${i}`, table: 'load', events: ['delete'], where: condition(i) });
		const answer = await client.next();
		if (answer.type === 'error' || i === count - 1) return { ...answer, i };
	}
}

test('near the limit new clients and subscriptions are refused, and those that are there go on', async (t) => {
	const cluster = clusters.notify;
	const modest = await cluster.client(t);
	await modest.subscribed({ id: 'small', table: 'small' });
	const stalled = [];
	await until(async () => {
		if (!await letsIn(cluster)) return true;
		stalled.push(...await stall(t, cluster, 2));
		await fill(cluster);
		return false;
	}, 'memory to be low', 600_000);
	assert.match((await (await health(cluster)).json()).reason, /memory/);
	await assert.rejects(cluster.client(t), { status: 503 });
	const { statusCode, headers } = await upgrade(cluster);
	assert.deepEqual([statusCode, headers['retry-after']], [503, '5']);
	assert.match(cluster.log(), /short of memory.*\n.*DETAIL: .*64 MB.*\n.*HINT: .*plank\.max_memory/);
	const refused = await modest.ask({ type: 'subscribe', id: 'more', table: 'load' }, 'error');
	assert.equal(refused.code, '53400');
	assert.match(refused.hint, /plank\.max_memory/);
	await cluster.sql('INSERT INTO small VALUES (1)');
	assert.equal((await modest.transaction()).changes[0].key.id, 1);
	await until(async () => (await stat(cluster)).log < 4 << 20, 'history to give way');
	assert.equal((await stat(cluster)).shed, 0, 'nobody is closed for it');
	for (const client of stalled) client.close();
	await until(() => letsIn(cluster), 'new clients to be let in again');
	await (await cluster.client(t)).subscribed({ id: 'a', table: 'load' });
	await modest.subscribed({ id: 'more', table: 'load' });
	assert.match(cluster.log(), /has memory again/);
});

test('conditions may take a quarter of it, and who has one that is known gets it', async (t) => {
	const cluster = clusters.notify;
	const hungry = await cluster.client(t, { marker: false });
	const refused = await subscribe(hungry, 10_000);
	assert.equal(refused.code, '53400');
	assert.match(refused.message, /conditions/);
	assert.match(refused.hint, /plank\.max_memory/);
	await until(async () => (await stat(cluster)).memory < limit / 2, 'memory to be given back to the system');
	const other = await cluster.client(t);
	await other.subscribed({ id: 'known', table: 'load', where: condition(1) });
	await other.subscribed({ id: 'none', table: 'load' });
	assert.equal((await other.ask({ type: 'subscribe', id: 'new', table: 'load', where: condition(77_777) }, 'error')).code, '53400');
	hungry.close();
	await until(async () => (await stat(cluster)).clients === 1, 'the hungry client to be gone');
	await other.subscribed({ id: 'new', table: 'load', where: condition(77_777) });
});

for (const [transport, cluster] of Object.entries(clusters)) {
	test(`above the limit those who take most are closed with 1013; who takes little misses nothing (${transport})`, async (t) => {
		const { shed: before } = await stat(cluster);
		const modest = await cluster.client(t);
		await modest.subscribed({ id: 'small', table: 'small' });
		const hungry = await cluster.client(t, { marker: false });
		assert.equal((await subscribe(hungry, 150)).type, 'subscribed');
		const stalled = await stall(t, cluster, 80);
		let most = 0;
		const watching = setInterval(() => stat(cluster).then(({ memory }) => { most = Math.max(most, memory); }, () => {}), 20);
		let id = 100;
		try {
			await until(async () => {
				await cluster.sql(`INSERT INTO small VALUES (${id}); INSERT INTO load (t) VALUES (repeat('x', 1000000))`);
				id += 1;
				return (await stat(cluster)).shed > before;
			}, 'somebody to be closed', 600_000);
		} finally {
			clearInterval(watching);
		}
		assert.deepEqual(await hungry.end(), { code: 1013, reason: 'the server is short of memory' });
		for (let next = 100; next < id; next += 1) assert.equal((await modest.transaction()).changes[0].key.id, next);
		await modest.silent();
		const { shed } = await stat(cluster);
		assert.ok(shed - before < 60, `${shed - before} clients were closed`);
		assert.ok(most < 1.2 * limit, `the worker took ${Math.round(most / (1 << 20))} MB`);
		assert.match(cluster.log(), /too much memory.*\n.*DETAIL: .*64 MB.*\n.*HINT: .*plank\.max_memory/);
		await until(() => letsIn(cluster), 'new clients to be let in again');
		assert.match(cluster.log(), /has memory again.*; \d+ clients were closed/);
		// The others have been told nothing, and get all that waits for them.
		for (const { socket } of stalled) socket.resume();
		const gone = () => stalled.filter(({ closed }) => closed);
		await until(async () => gone().length === (await stat(cluster)).shed - before - 1, 'the closed to be gone', 600_000);
		// Who does not read is not waited for, and may find the connection broken instead.
		for (const { closed } of gone()) assert.ok([1013, 1006].includes(closed.code), `${closed.code}`);
		const again = await cluster.client(t);
		await again.subscribed({ id: 'a', table: 'small' });
		await cluster.sql('INSERT INTO small VALUES (1000)');
		assert.equal((await again.transaction()).changes[0].key.id, 1000);
		assert.equal((await modest.transaction()).changes[0].key.id, 1000);
		await modest.silent();
	});
}
