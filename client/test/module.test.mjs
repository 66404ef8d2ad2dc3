// plank.js as a file: what it needs, what it declares, where it runs.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import WebSocket from 'ws';
import { connect, version } from '../dist/plank.js';
import { startServer } from './fake-server.mjs';
import { reached } from './helpers.mjs';

const dist = new URL('../dist/', import.meta.url).pathname;
const tsc = new URL('../node_modules/typescript/bin/tsc', import.meta.url).pathname;

function folder(t) {
	const path = mkdtempSync(join(tmpdir(), 'plank-client-'));
	t.after(() => rmSync(path, { recursive: true }));
	cpSync(join(dist, 'plank.js'), join(path, 'plank.mjs'));
	cpSync(join(dist, 'plank.d.ts'), join(path, 'plank.d.mts'));
	return path;
}

test('the version is that of the extension', () => {
	const control = readFileSync(new URL('../../plank.control', import.meta.url), 'utf8');
	assert.match(control, new RegExp(`default_version = '${version.replaceAll('.', '\\.')}'`));
	assert.equal(JSON.parse(readFileSync(`${dist}package.json`, 'utf8')).version, version);
});

test('a bundler for browsers finds nothing to resolve', async () => {
	const { metafile } = await build({ entryPoints: [`${dist}plank.js`], bundle: true, format: 'esm', platform: 'browser', write: false, metafile: true });
	assert.deepEqual(Object.values(metafile.inputs).flatMap(({ imports }) => imports), []);
});

test('an injected WebSocket is used', async (t) => {
	const server = await startServer();
	t.after(() => server.stop());
	const made = [];
	const plank = connect(server.url.replace('http', 'ws'), {
		WebSocket: class extends WebSocket {
			constructor(...parts) {
				super(...parts);
				made.push(parts);
			}
		},
	});
	t.after(() => plank.close());
	await reached(plank, 'open');
	assert.deepEqual(made, [[`ws://127.0.0.1:${server.port}/ws`, ['plank.v1']]]);
});

test('without any WebSocket the error says what to install', (t) => {
	const path = folder(t);
	writeFileSync(join(path, 'main.mjs'), `
		delete globalThis.WebSocket;
		const { connect } = await import('./plank.mjs');
		const plank = connect('ws://127.0.0.1:1').on('error', ({ code, hint }) => console.log(code, hint));
		plank.on('state', ({ state }) => console.log(state));
	`);
	const output = execFileSync(process.execPath, ['main.mjs'], { cwd: path, encoding: 'utf8' });
	assert.match(output, /^08001 .*npm install ws.*\nclosed\n$/);
});

test('an exception with nobody to hear it is uncaught, after the others were called', (t) => {
	const path = folder(t);
	writeFileSync(join(path, 'main.mjs'), `
		import { connect } from './plank.mjs';
		process.on('uncaughtException', (error) => { console.log('uncaught', error.message); process.exit(0); });
		class Socket { readyState = 1; constructor() { setImmediate(() => this.onmessage({ data: '{"type":"welcome"}' })); } send() {} close() {} }
		connect('ws://127.0.0.1', { WebSocket: Socket })
			.on('welcome', () => { throw new Error('mine'); })
			.on('welcome', () => console.log('second'));
	`);
	assert.equal(execFileSync(process.execPath, ['main.mjs'], { cwd: path, encoding: 'utf8' }), 'second\nuncaught mine\n');
});

test('URLs: http and ws, with /ws where there is no path', () => {
	const never = { token: () => new Promise(() => {}) };
	const urls = ['http://h', 'https://h:1/', 'ws://h/ws', 'wss://h/other?x=1#y'].map((url) => {
		const plank = connect(url, never);
		plank.close();
		return plank.url;
	});
	assert.deepEqual(urls, ['ws://h/ws', 'wss://h:1/ws', 'ws://h/ws', 'wss://h/other?x=1']);
	for (const url of ['ftp://h', 'nonsense', '']) assert.throws(() => connect(url), { code: '22023' });
	assert.throws(() => connect('ws://h', { token: 'a b' }), { code: '22023' });
	assert.throws(() => connect('ws://h', { numbers: 'both' }), { code: '22023' });
});

test('the declarations stand alone and are strict', (t) => {
	const path = folder(t);
	writeFileSync(join(path, 'use.mts'), `
		import { connect, Mirror, PlankError, type Change, type Plank, type Transaction } from './plank.mjs';
		const plank: Plank = connect('ws://h', { token: async () => null, numbers: 'text' });
		const watch = plank.table('items', { events: ['insert'] }).subscribe((change: Change) => void change.key);
		plank.table('items').on('insert', ({ new: row }) => void row).on('error', (error: PlankError) => void error.hint);
		plank.channel('jobs').on('message', ({ payload, xid }) => void [payload, xid]);
		plank.on('transaction', (whole: Transaction) => void whole.changes.length).on('state', ({ state, retryIn }) => void [state, retryIn]);
		const key: string[] | null = (await watch.ready).key;
		new Mirror({ numbers: 'text' }).put({ rows: [{ id: 1 }] });
		// @ts-expect-error not an operation
		plank.table('items', { events: ['upsert'] });
		// @ts-expect-error not an event of a channel
		plank.channel('jobs').on('insert', () => {});
		// @ts-expect-error internal
		watch.deliver;
		export { key };
	`);
	execFileSync(process.execPath, [tsc, '--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--types', '', '--lib', 'es2022,dom', 'use.mts'], { cwd: path, stdio: 'inherit' });
});
