// A private PostgreSQL with Plank for the tests of one file: databases `app` and `other`, each with a port of its own.
// It lives below TMPDIR, runs as the user postgres when the tests run as root, listens on no TCP port but the workers',
// and is stopped and removed after the file's last test, which fails when a server process was killed by a signal.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { promisify } from 'node:util';
import pg from 'pg';
import { Wire } from './wire.mjs';

export { pg };

const run = promisify(execFile);
const bindir = process.env.PLANK_BINDIR ??
	execFileSync(new URL('../../scripts/private-postgres', import.meta.url).pathname, { encoding: 'utf8' }).trim();
const asServer = process.getuid() === 0 ? ['runuser', '-u', 'postgres', '--'] : ['env'];

// Below the ports that the system gives to outgoing connections: one of those could take it while the worker is away. Each
// once, for nobody listens on it yet when the next one is looked for.
const given = new Set();
async function freePort() {
	for (;;) {
		const port = 10_000 + Math.floor(Math.random() * 22_000);
		if (given.has(port)) continue;
		const server = net.createServer().listen(port, '127.0.0.1');
		const free = await new Promise((resolve) => server.once('listening', () => resolve(true)).once('error', () => resolve(false)));
		if (!free) continue;
		await new Promise((resolve) => server.close(resolve));
		given.add(port);
		return port;
	}
}

/** Waits until `condition` gives something true; the test fails when it does not in time. */
export async function until(condition, what, ms = 180_000) {
	for (const end = Date.now() + ms; ;) {
		const result = await condition();
		if (result) return result;
		assert.ok(Date.now() < end, `${what}: not within ${ms} ms`);
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
}

/**
 * What the contract says takes a second at most: `attempt` tells how many milliseconds it took. A busy machine may be late
 * now and then; a server that is late is late every time, when each attempt begins where the former ended.
 */
export async function withinASecond(t, attempt) {
	const took = [];
	do {
		took.push(await attempt());
	} while (took.at(-1) > 1000 && took.length < 20);
	t.diagnostic(`${took} ms`);
	assert.ok(took.at(-1) <= 1000, `${took} ms`);
}

export class Cluster {
	#sessions = [];
	#pools = new Map();

	/** For use at a test file's top level: `const cluster = await Cluster.start({ 'plank.workers': 2 })`. */
	static async start(settings = {}) {
		const cluster = new Cluster();
		after(() => cluster.stop());
		await cluster.create(settings);
		return cluster;
	}

	/** A folder for the server, and its workers' ports. */
	async prepareFolder() {
		this.folder = mkdtempSync(join(tmpdir(), 'plank-e2e-'));
		this.data = join(this.folder, 'data');
		this.logFile = join(this.folder, 'server.log');
		chmodSync(this.folder, 0o755);
		if (process.getuid() === 0) {
			execFileSync('chown', ['postgres', this.folder]);
		}
		this.port = await freePort();
		this.otherPort = await freePort();
	}

	/** What `start` does but for the stop: for programs that are no test file. */
	async create(settings) {
		await this.prepareFolder();
		await this.tool('initdb', '-D', this.data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync');
		const all = {
			shared_preload_libraries: 'plank',
			listen_addresses: '',
			unix_socket_directories: this.folder,
			fsync: 'off',
			max_connections: 60,
			log_line_prefix: '%m [%p] %b ',
			'plank.databases': `app:${this.port}, other:${this.otherPort}`,
			'plank.anonymous_role': 'web',
			// Clients that do not read answer none.
			'plank.ping_interval': '1h',
			...settings,
		};
		const lines = Object.entries(all).map(([name, value]) => `${name} = '${value}'\n`);
		writeFileSync(join(this.data, 'postgresql.conf'), lines.join(''), { flag: 'a' });
		const single = spawn(asServer[0], [...asServer.slice(1), join(bindir, 'postgres'), '--single', '-D', this.data,
			'-c', 'shared_preload_libraries=', 'postgres'], { stdio: ['pipe', 'ignore', 'ignore'], cwd: this.folder });
		single.stdin.end(['app', 'other'].map((name) => `CREATE DATABASE ${name}\n`).join(''));
		await new Promise((resolve) => single.once('exit', resolve));
		await this.tool('pg_ctl', 'start', '-s', '-w', '-t', '180', '-D', this.data, '-l', this.logFile);
		await this.sql(`
			CREATE ROLE web;
			CREATE ROLE stranger LOGIN;
			CREATE ROLE keeper LOGIN;
			CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
			GRANT CREATE ON DATABASE app TO keeper`);
		for (const database of ['app', 'other']) {
			await this.sql(`
				CREATE EXTENSION plank;
				GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC;
				ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO web;
				ALTER DEFAULT PRIVILEGES FOR ROLE keeper GRANT SELECT ON TABLES TO web;
				SELECT plank.expose('marker')`, database);
			const { rows: [{ ready }] } = await this.query(`SELECT plank.wait_until_ready('180s') AS ready`, [], database);
			assert.ok(ready, `the worker of ${database} did not become ready`);
		}
	}

	/**
	 * A program of PostgreSQL's as the server's user. A daemon must not inherit the test's pipes, or whoever reads those
	 * waits for the server's end.
	 */
	tool(name, ...args) {
		return new Promise((resolve, reject) => {
			const child = spawn(asServer[0], [...asServer.slice(1), join(bindir, name), ...args],
				{ stdio: ['ignore', 'ignore', 'inherit'].map((way, i) => (i === 2 && name === 'pg_ctl' ? 'ignore' : way)), cwd: this.folder });
			child.once('error', reject);
			child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${name} ended with ${code}\n${this.log()}`))));
		});
	}

	#pool(database) {
		if (!this.#pools.has(database)) {
			const pool = new pg.Pool({ host: this.folder, user: 'postgres', database, max: 4 });
			pool.on('error', () => {});
			this.#pools.set(database, pool);
		}
		return this.#pools.get(database);
	}

	/** One query on any session of the superuser. */
	query(text, values, database = 'app') {
		return this.#pool(database).query(text, values);
	}

	/** Statements as the superuser; several in one string are one transaction. */
	async sql(text, database = 'app') {
		await this.query(text, undefined, database);
	}

	/** A session of its own, closed with the cluster. `notices` holds what the server told it aside. */
	async session({ user = 'postgres', database = 'app' } = {}) {
		const session = new pg.Client({ host: this.folder, user, database });
		session.notices = [];
		session.on('notice', (notice) => session.notices.push(notice));
		session.on('error', () => {});
		await session.connect();
		this.#sessions.push(session);
		return session;
	}

	/** psql as a person would use it; resolves with its output, rejects with its errors. `input` is typed into it. */
	async psql(input, { user = 'postgres', database = 'app' } = {}) {
		const child = run(join(bindir, 'psql'), ['-X', '-At', '-v', 'ON_ERROR_STOP=1', '-h', this.folder, '-U', user, database],
			{ env: { PATH: process.env.PATH, PGCLIENTENCODING: 'UTF8' }, maxBuffer: 1 << 28 });
		child.child.stdin.end(input);
		return (await child).stdout;
	}

	/** Another of PostgreSQL's programs, as the superuser on `app`. */
	async program(name, ...args) {
		return (await run(join(bindir, name), ['-h', this.folder, '-U', 'postgres', ...args, 'app'], { maxBuffer: 1 << 26 })).stdout;
	}

	/** Sums of counters of plank.stat, which are told twice a second, with all that has happened before the call. */
	async counted(...names) {
		const read = async () => (await this.query(`
			SELECT transactions::int, ${names.map((name) => `${name}::int`)} FROM plank.stat WHERE database = 'app'`)).rows[0];
		const { transactions: before } = await read();
		await this.sql(`SELECT plank.send('marker', '"counted"')`);
		const { transactions, ...counters } = await until(async () => {
			const now = await read();
			return now.transactions !== before && now;
		}, 'the counters to be told');
		return counters;
	}

	url(database = 'app', path = '') {
		return `http://localhost:${database === 'app' ? this.port : this.otherPort}${path}`;
	}

	/** A protocol client, past its `welcome`. It also watches the channel `marker`, for `silent` and `caughtUp`. */
	async client(t, { database = 'app', marker = true, ...options } = {}) {
		const wire = await Wire.open(`${this.url(database, '/ws').replace('http', 'ws')}`, options);
		t.after(() => wire.close());
		if (marker) {
			wire.mark = (text) => this.query(`SELECT plank.send('marker', to_jsonb($1::text))`, [text], database);
			await wire.subscribed({ id: 'marker', channel: 'marker' });
		}
		return wire;
	}

	log() {
		try {
			return readFileSync(this.logFile, 'utf8');
		} catch {
			return '';
		}
	}

	/** Ends the sessions, and the server if it runs. */
	async shutDown() {
		await Promise.allSettled([...this.#sessions.map((session) => session.end()), ...[...this.#pools.values()].map((pool) => pool.end())]);
		if (statSync(join(this.data, 'postmaster.pid'), { throwIfNoEntry: false })) {
			await this.tool('pg_ctl', 'stop', '-s', '-w', '-t', '180', '-m', 'fast', '-D', this.data);
		}
	}

	async stop() {
		try {
			await this.shutDown();
			const bad = this.log().split('\n').filter((line) => /terminated by signal|PANIC|TRAP/.test(line));
			assert.deepEqual(bad, [], `the server's log\n${this.log().slice(-4000)}`);
		} finally {
			rmSync(this.folder, { recursive: true, force: true });
		}
	}
}
