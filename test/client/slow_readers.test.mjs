// Clients that do not read, read slowly or talk too much: they are cut or wait, the others do not notice, and the
// worker's memory stays where it was (N1, N2, N4).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';

// Long enough that a reader on a busy machine is not taken for one that has stopped, and that one that is cut can still
// read why.
const sendTimeout = 20_000;
const cluster = await Cluster.start({
	'plank.send_buffer': '1MB', 'plank.send_timeout': `${sendTimeout}ms`, 'plank.history_size': '16MB', 'plank.notify_limit': '512MB', 'plank.max_subscriptions': 100,
});
const patience = 180_000;
await cluster.sql(`CREATE TABLE load (id int PRIMARY KEY, t text); CREATE TABLE small (id int PRIMARY KEY); SELECT plank.track('load'), plank.track('small')`);

const stat = async () => (await cluster.query(`SELECT pid, clients::int, clients_too_slow::int AS slow FROM plank.stat WHERE database = 'app'`)).rows[0];
async function workerMemory() {
	const { pid } = await stat();
	return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
}

// Counts rows and forgets them; resolves when so many have come.
function counting(client, rows) {
	client.rows = 0;
	client.transactions = 0;
	return new Promise((resolve, reject) => {
		client.onMessage = (message) => {
			if (message.type !== 'transaction') {
				if (message.type !== 'position') reject(new Error(`unexpected ${JSON.stringify(message).slice(0, 200)}`));
				return;
			}
			client.rows += message.changes.length;
			client.transactions += message.more ? 0 : 1;
			if (client.rows >= rows) resolve();
		};
		client.socket.once('close', (code) => reject(new Error(`closed with ${code} after ${client.rows} rows`)));
	});
}

async function load(transactions, rows, from = 0) {
	for (let i = 0; i < transactions; i += 1) {
		await cluster.query(`INSERT INTO load SELECT $1::int + i, repeat('x', 1000) FROM generate_series(1, $2::int) i`, [from + i * rows, rows]);
	}
}

for (const count of [1, 50]) {
	test(`${count} that stop reading are cut with 4008; those that read get everything`, async (t) => {
		await cluster.sql('TRUNCATE load');
		const { slow: before } = await stat();
		const readers = await Promise.all([1, 2, 3].map(() => cluster.client(t, { marker: false })));
		const stalled = await Promise.all(Array.from({ length: count }, () => cluster.client(t, { marker: false })));
		for (const client of [...readers, ...stalled]) await client.subscribed({ id: 'a', table: 'load' });
		const all = readers.map((client) => counting(client, 40_000));
		const memory = await workerMemory();
		let most = 0;
		for (const { socket } of stalled) socket.pause();
		const watching = setInterval(() => workerMemory().then((now) => { most = Math.max(most, now); }, () => {}), 50);
		try {
			await load(40, 1000);
			await until(async () => (await stat()).slow - before >= count, `${count} clients cut`, patience);
			// The server waits for their close handshake no longer than it waited for them to read.
			for (const client of stalled) {
				client.ignores = true;
				client.socket.resume();
			}
			await Promise.all(all);
		} finally {
			clearInterval(watching);
		}
		assert.equal((await stat()).slow - before, count);
		// 40 MB are on their way, to 50 clients; the log keeps 16 MB and frames that are being written come on top.
		assert.ok(most - memory < 150 << 20, `the worker grew by ${Math.round((most - memory) / (1 << 20))} MB`);
		assert.deepEqual(readers.map(({ transactions }) => transactions), [40, 40, 40]);
		const codes = await Promise.all(stalled.map(async (client) => (await client.end()).code));
		assert.deepEqual([...new Set(codes)], [4008]);
	});
}

test('a client that reads slowly gets a transaction of 100 MB whole', async (t) => {
	await cluster.sql('TRUNCATE load');
	const { slow: before } = await stat();
	const client = await cluster.client(t, { marker: false });
	await client.subscribed({ id: 'a', table: 'load' });
	const done = counting(client, 100_000);
	let frames = 0;
	client.onFrame = () => {
		frames += 1;
		client.socket.pause();
		// Longer than the server's patience in sum, never in one go.
		setTimeout(() => client.socket.resume(), frames <= 3 ? 0.4 * sendTimeout : 10);
	};
	const memory = await workerMemory();
	await load(1, 100_000);
	await done;
	assert.deepEqual([client.rows, client.transactions], [100_000, 1]);
	assert.equal((await stat()).slow, before);
	client.onFrame = null;
	client.onMessage = null;
	await cluster.sql('INSERT INTO load VALUES (0)');
	assert.equal((await client.transaction()).changes.length, 1);
	await until(async () => await workerMemory() - memory < 200 << 20, 'the worker to give memory back', patience);
});

test('a flood of pings from a client that does not read waits in its own socket, and is answered whole', async (t) => {
	const flooder = await cluster.client(t, { marker: false });
	const other = await cluster.client(t);
	await other.subscribed({ id: 'a', table: 'small' });
	flooder.socket.pause();
	const pings = 200_000;
	for (let i = 0; i < pings; i += 1) flooder.send(`{"type":"ping","id":"${i}"}`);
	// The server has stopped reading when what it holds for the client does not grow any more.
	const held = async () => (await cluster.query(`SELECT waiting_bytes::int AS n, bytes_received::int AS read FROM plank.clients WHERE session = $1`, [flooder.welcome.session])).rows[0];
	let last = await held();
	await until(async () => {
		const now = await held();
		const still = now.read === last.read && now.read > 0;
		last = now;
		return still;
	}, 'the server to stop reading', patience);
	assert.ok(last.n < 1 << 20, `${last.n} bytes wait`);
	await cluster.sql('INSERT INTO small VALUES (1)');
	assert.equal((await other.transaction()).changes[0].key.id, 1);
	let next = 0;
	const answered = new Promise((resolve, reject) => {
		flooder.onMessage = (message) => {
			if (message.type === 'position') return;
			if (message.type !== 'pong' || message.id !== String(next)) reject(new Error(`expected pong ${next}, got ${JSON.stringify(message)}`));
			next += 1;
			if (next === pings) resolve();
		};
		flooder.socket.once('close', (code) => reject(new Error(`closed with ${code} after ${next} pongs`)));
	});
	flooder.socket.resume();
	await answered;
});

test('a flood of subscribes and faults keeps nobody else waiting, and each is answered', async (t) => {
	const flooder = await cluster.client(t, { marker: false });
	const other = await cluster.client(t);
	await other.subscribed({ id: 'a', table: 'small' });
	const count = 5000;
	const answers = {};
	const answered = new Promise((resolve) => {
		let left = 2 * count;
		flooder.onMessage = ({ type, code }) => {
			if (type === 'transaction' || type === 'position') return;
			answers[code ?? type] = (answers[code ?? type] ?? 0) + 1;
			left -= 1;
			if (left === 0) resolve();
		};
	});
	for (let i = 0; i < count; i += 1) {
		flooder.send({ type: 'subscribe', id: `s${i}`, table: 'small' });
		flooder.send({ type: 'subscribe', id: `m${i}`, table: 'missing' });
	}
	for (let id = 2; id <= 20; id += 1) {
		await cluster.query('INSERT INTO small VALUES ($1)', [id]);
		assert.equal((await other.transaction()).changes[0].key.id, id);
	}
	await answered;
	assert.equal(answers.subscribed, 100);
	assert.equal(answers['53400'] + (answers['42P01'] ?? 0), 2 * count - 100);
});
