// TLS, the Unix-domain socket, trusted proxies and the rates, as the settings have them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Cluster, until } from './cluster.mjs';
import { Wire } from './wire.mjs';

const folder = mkdtempSync(join(tmpdir(), 'plank-tls-'));
after(() => rmSync(folder, { recursive: true, force: true }));
chmodSync(folder, 0o755);
const owner = process.getuid() === 0 ? Number(execFileSync('id', ['-u', 'postgres'], { encoding: 'utf8' })) : process.getuid();
function certificate(name) {
	const [crt, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
	execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-keyout', key, '-out', crt], { stdio: 'ignore' });
	chmodSync(key, 0o600);
	chownSync(key, owner, -1);
	return [crt, key];
}
const [crt, key] = certificate('one');
const [otherCrt, otherKey] = certificate('two');

const cluster = await Cluster.start({ 'plank.ssl_cert_file': crt, 'plank.ssl_key_file': key, 'plank.trusted_proxies': '127.0.0.1, unix', 'plank.connection_rate': 1 });
await cluster.sql(`CREATE TABLE item (id int PRIMARY KEY); SELECT plank.track('item')`);
const set = async (settings) => {
	for (const [name, value] of Object.entries(settings)) await cluster.query(`ALTER SYSTEM SET ${name} = '${value}'`);
	await cluster.query('SELECT pg_reload_conf()');
};
const open = async (t, options = {}, url = `wss://127.0.0.1:${cluster.port}/ws`) => {
	const wire = await Wire.open(url, { rejectUnauthorized: false, ...options });
	t.after(() => wire.close());
	return wire;
};
const name = (wire) => wire.socket._socket.getPeerCertificate().subject.CN;
const get = (options, library = https) => new Promise((resolve, reject) => {
	library.get({ port: cluster.port, host: '127.0.0.1', path: '/health', agent: false, rejectUnauthorized: false, ...options }, (response) => {
		let body = '';
		response.on('data', (data) => { body += data; }).on('end', () => resolve({ status: response.statusCode, body }));
	}).on('error', reject);
});
let next = 0;
const hears = async (wire) => {
	next += 1;
	await cluster.sql(`INSERT INTO item VALUES (${next})`);
	assert.deepEqual((await wire.transaction()).changes[0].key, { id: next });
};

test('changes, pages and large transactions arrive over TLS', async (t) => {
	const wire = await open(t);
	await wire.subscribed({ id: 'a', table: 'item' });
	await hears(wire);
	await cluster.sql('INSERT INTO item SELECT generate_series(1000, 60000)');
	assert.equal((await wire.transaction()).changes.length, 59001);
	assert.equal((await get({})).status, 200);
	assert.match((await get({ path: '/plank.js' })).body, /connect/);
	assert.equal((await get({}, http)).status, 400);
});

test('another certificate comes with a reload, a bad one does not, and no client is dropped', async (t) => {
	const old = await open(t);
	await old.subscribed({ id: 'a', table: 'item' });
	assert.equal(name(old), 'one');
	await set({ 'plank.ssl_cert_file': otherCrt, 'plank.ssl_key_file': otherKey });
	await until(async () => name(await open(t)) === 'two', 'the other certificate');
	await set({ 'plank.ssl_cert_file': crt });
	await until(() => /two.key" cannot be used for TLS: it is not the key of the certificate/.test(cluster.log()), 'a line about the key');
	assert.match(cluster.log(), /HINT: {2}Name a certificate and its private key, both in PEM/);
	assert.equal(name(await open(t)), 'two');
	await hears(old);
	await set({ 'plank.ssl_cert_file': '', 'plank.ssl_key_file': '' });
	await until(async () => (await get({}, http).catch(() => ({}))).status === 200, 'plain HTTP');
	await hears(old);
	await set({ 'plank.ssl_cert_file': crt, 'plank.ssl_key_file': key });
	await until(async () => (await get({}).catch(() => ({}))).status === 200, 'TLS again');
	assert.equal(name(await open(t)), 'one');
	await hears(old);
});

test('the Unix-domain socket serves clients without TLS, and comes and goes with its setting', async (t) => {
	const path = join(cluster.folder, `.s.plank.${cluster.port}`);
	await set({ 'plank.unix_socket_directory': cluster.folder });
	// The file is there a little before anybody listens.
	const wire = await until(() => existsSync(path) && open(t, {}, `ws+unix:${path}:/ws`).catch(() => false), 'the socket');
	await wire.subscribed({ id: 'a', table: 'item' });
	await hears(wire);
	assert.equal((await get({ socketPath: path }, http)).status, 200);
	const proxied = await open(t, { headers: { 'X-Forwarded-For': '6.6.6.6, 192.0.2.9' } }, `ws+unix:${path}:/ws`);
	const address = async ({ welcome }) => (await cluster.query('SELECT client_addr FROM plank.clients WHERE session = $1', [welcome.session])).rows[0].client_addr;
	assert.equal(await address(wire), null);
	assert.equal(await address(proxied), '192.0.2.9');
	assert.equal(await address(await open(t)), '127.0.0.1');
	await set({ 'plank.unix_socket_directory': '/no/such/folder' });
	await until(() => /could not listen on Unix-domain socket "\/no\/such\/folder\/.s.plank/.test(cluster.log()), 'a line about the folder');
	await until(() => !existsSync(path), 'the former socket to go');
	await hears(wire);
	await set({ 'plank.unix_socket_directory': '' });
});

test('an address that comes too often gets 429, others and this machine do not', async (t) => {
	const come = (address) => open(t, { headers: { 'X-Forwarded-For': address } }).then(() => 101, ({ status }) => status);
	for (let i = 0; i < 10; i += 1) assert.equal(await come('192.0.2.1'), 101);
	// One a second is let in meanwhile, however long each takes; of so many at once not all are.
	const got = await Promise.all(Array.from({ length: 60 }, () => come('192.0.2.1')));
	assert.ok(got.includes(429), `${got}`);
	assert.equal(await come('192.0.2.2'), 101);
	for (let i = 0; i < 15; i += 1) assert.equal(await open(t).then(() => 101), 101);
	await set({ 'plank.connection_rate': 0 });
	await until(async () => (await come('192.0.2.1')) === 101, 'no limit');
});

test('subscriptions beyond plank.subscribe_rate wait, and none is refused', async (t) => {
	await set({ 'plank.subscribe_rate': 2 });
	const wire = await open(t);
	await until(async () => (await cluster.query('SHOW plank.subscribe_rate')).rows[0]['plank.subscribe_rate'] === '2', 'the setting');
	// New sessions show it when the worker has been told; it takes it between two turns.
	for (let i = 0; i < 2; i += 1) await wire.ask({ type: 'ping' }, 'pong');
	const start = Date.now();
	for (let i = 0; i < 24; i += 1) wire.send({ type: 'subscribe', id: `${i}`, table: 'item' });
	for (let i = 0; i < 24; i += 1) assert.equal((await wire.next('subscribed')).id, `${i}`);
	assert.ok(Date.now() - start > 1000, `${Date.now() - start} ms`);
	await set({ 'plank.subscribe_rate': 100 });
});

test('entries of plank.trusted_proxies that are no networks are told of', async () => {
	await set({ 'plank.trusted_proxies': '10.0.0.0/8, fred' });
	await until(() => /plank.trusted_proxies holds what is no address or network: "fred"/.test(cluster.log()), 'a line about fred');
	await set({ 'plank.trusted_proxies': '127.0.0.1, unix' });
});
