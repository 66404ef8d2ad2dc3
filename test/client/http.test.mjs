// HTTP on the worker's port: what it serves, and which pages may connect.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';

const cluster = await Cluster.start({ 'plank.allowed_origins': 'https://app.example.com, http://other.example:8080', 'plank.max_connections': 8 });
const dist = (name) => readFileSync(new URL(`../../client/dist/${name}`, import.meta.url));

// fetch() normalises paths and forbids headers; this sends what it is told.
function request(path, { method = 'GET', headers = {} } = {}) {
	return new Promise((resolve, reject) => {
		const sent = http.request({ host: 'localhost', port: cluster.port, path, method, headers, agent: false }, (response) => {
			const parts = [];
			response.on('data', (part) => parts.push(part));
			response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
		});
		sent.on('error', reject);
		sent.end();
	});
}

test('/health says ready, with the database and the version', async () => {
	const { status, headers, body } = await request('/health');
	const health = JSON.parse(body);
	assert.equal(status, 200);
	assert.match(headers['content-type'], /^application\/json/);
	assert.equal(health.status, 'ready');
	assert.equal(health.database, 'app');
});

test('/health says 503 and why while the extension is missing, and connections get 503', async (t) => {
	await cluster.sql(`CREATE TABLE item (id int PRIMARY KEY); SELECT plank.track('item')`, 'other');
	const client = await cluster.client(t, { database: 'other' });
	await client.subscribed({ id: 'a', table: 'item' });
	await cluster.sql('DROP EXTENSION plank CASCADE', 'other');
	const ended = [await client.next('unsubscribed'), await client.next('unsubscribed')].map(({ id, code }) => [id, code]);
	assert.deepEqual(ended.sort(), [['a', '42P01'], ['marker', '42501']]);
	const url = cluster.url('other', '/health');
	const response = await until(async () => {
		const answer = await fetch(url);
		return answer.status !== 200 && answer;
	}, 'another status than 200');
	assert.equal(response.status, 503);
	assert.match((await response.json()).reason, /CREATE EXTENSION plank/);
	const upgrade = await cluster.client(t, { database: 'other', marker: false }).catch((error) => error);
	assert.equal(upgrade.status, 503);
	await cluster.sql('CREATE EXTENSION plank', 'other');
	assert.equal((await cluster.query(`SELECT plank.wait_until_ready('180s') AS ready`, [], 'other')).rows[0].ready, true);
	assert.equal((await fetch(url)).status, 200);
	await cluster.sql(`SELECT plank.expose('marker')`, 'other');
});

test('the extension is dropped while somebody locks a table: subscribers hear of it when they can be told', async (t) => {
	await cluster.sql(`CREATE TABLE locked (id int PRIMARY KEY); SELECT plank.track('locked')`, 'other');
	const client = await cluster.client(t, { database: 'other', marker: false });
	await client.subscribed({ id: 'a', table: 'locked' });
	const [dropper, locker] = await Promise.all([cluster.session({ database: 'other' }), cluster.session({ database: 'other' })]);
	await dropper.query('BEGIN; DROP EXTENSION plank CASCADE');
	const locked = locker.query('BEGIN; LOCK TABLE locked');
	await until(async () => (await cluster.query(`SELECT FROM pg_locks WHERE NOT granted AND relation = 'locked'::regclass`, [], 'other')).rowCount, 'the lock to be waited for');
	await dropper.query('COMMIT');
	await locked;
	await until(async () => (await fetch(cluster.url('other', '/health'))).status === 503, 'the worker to see the drop');
	await locker.query('COMMIT');
	assert.equal((await client.next('unsubscribed')).code, '42P01');
	await cluster.sql(`CREATE EXTENSION plank; SELECT plank.expose('marker')`, 'other');
	assert.equal((await cluster.query(`SELECT plank.wait_until_ready('180s') AS ready`, [], 'other')).rows[0].ready, true);
});

test('/plank.js is the client and / the live page, with their types, policy and ETag', async () => {
	for (const [path, file, type] of [['/plank.js', 'plank.js', 'text/javascript; charset=utf-8'], ['/', 'index.html', 'text/html; charset=utf-8']]) {
		const { status, headers, body } = await request(path);
		assert.equal(status, 200);
		assert.equal(headers['content-type'], type);
		assert.equal(headers['x-content-type-options'], 'nosniff');
		assert.ok(body.equals(dist(file)), `${path} is ${file}`);
		assert.match(headers.etag, /^"[^"]+"$/);
		const again = await request(path, { headers: { 'If-None-Match': `"other", ${headers.etag}` } });
		assert.deepEqual([again.status, again.body.length, again.headers.etag], [304, 0, headers.etag]);
		assert.equal((await request(path, { headers: { 'If-None-Match': '"other"' } })).status, 200);
		const head = await request(path, { method: 'HEAD' });
		assert.deepEqual([head.status, head.body.length, head.headers['content-length']], [200, 0, String(body.length)]);
	}
	assert.equal((await request('/')).headers['content-security-policy'], dist('index.csp').toString().trim());
});

test('paths are names, not files: traversal and strangers get 404 or 400 (N8)', async () => {
	for (const path of ['/../plank.js', '/..%2fplank.js', '/%2e%2e/etc/passwd', '/../../../../etc/passwd', '//etc/passwd', '/plank.js/', '/index.html', '/plank.js%00', '/ws/../plank.js',
		'/postgresql.conf', '/PG_VERSION', '/.\\..\\etc']) {
		const { status, body } = await request(path);
		assert.ok(status === 404 || status === 400, `${path}: ${status}`);
		assert.ok(body.length < 200);
	}
	for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) assert.equal((await request('/', { method })).status, 405, method);
	assert.equal((await request('/ws')).status >= 400, true);
});

const origins = [
	['none: it is no browser', () => undefined, 101],
	['the page\'s own', () => `http://localhost:${cluster.port}`, 101],
	['the page\'s own behind TLS', () => `https://localhost:${cluster.port}`, 101],
	['a listed one', () => 'https://app.example.com', 101],
	['a listed one with a port', () => 'http://other.example:8080', 101],
	['a listed one in capitals', () => 'HTTPS://APP.example.com', 101],
	['null', () => 'null', 403],
	['an evil one', () => 'https://evil.example', 403],
	['a listed one with another scheme', () => 'http://app.example.com', 403],
	['a listed one with another port', () => 'https://app.example.com:8443', 403],
	['a suffix of a listed one', () => 'https://app.example.com.evil.example', 403],
	['a prefix of a listed one', () => 'https://evil-app.example.com', 403],
	['the own host on another port', () => `http://localhost:${cluster.otherPort}`, 403],
	['the own host without a port', () => 'http://localhost', 403],
	['the own host as a user name', () => `http://localhost:${cluster.port}@evil.example`, 403],
	['the own host as a prefix', () => `http://localhost:${cluster.port}.evil.example`, 403],
	['empty', () => '', 403],
	['with a path', () => `http://localhost:${cluster.port}/x`, 403],
];
for (const [what, origin, expected] of origins) {
	test(`origin ${what}: ${expected} (S13)`, async (t) => {
		const headers = origin() === undefined ? {} : { Origin: origin() };
		const outcome = await cluster.client(t, { marker: false, headers }).then(() => 101, ({ status }) => status);
		assert.equal(outcome, expected);
	});
}

test('beyond plank.max_connections an upgrade gets 503, until a place is free', async (t) => {
	const connected = async () => (await cluster.query(`SELECT count(*)::int AS n FROM plank.clients WHERE database = 'app'`)).rows[0].n;
	await until(async () => await connected() === 0, 'the clients of the tests before to have gone');
	const clients = [];
	for (;;) {
		const client = await cluster.client(t, { marker: false }).catch(({ status }) => status);
		if (typeof client === 'number') {
			assert.equal(client, 503);
			break;
		}
		clients.push(client);
		assert.ok(clients.length <= 8);
	}
	assert.equal(clients.length, 8);
	assert.equal((await request('/health')).status, 200);
	clients[0].socket.close();
	await until(() => cluster.client(t, { marker: false }).catch(() => false), 'a free place');
});
