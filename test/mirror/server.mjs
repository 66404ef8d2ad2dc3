// The servers of a run: one that writers write to, with `--standby` a hot standby beside it. Kills them, starts them
// again, and knows at the end which deaths in their logs were its own doing.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster, pg, until } from '../client/cluster.mjs';
import { pause } from './writer.mjs';

class Server extends Cluster {
	killed = new Set();

	/** A copy of a running server that follows it. */
	static async follow(primary, settings) {
		const server = new Server();
		await server.prepareFolder();
		await server.tool('pg_basebackup', '-h', primary.folder, '-U', 'postgres', '-D', server.data, '-R', '-X', 'stream', '-c', 'fast');
		const all = { unix_socket_directories: server.folder, wal_retrieve_retry_interval: '200ms', 'plank.databases': `app:${server.port}, other:${server.otherPort}`, ...settings };
		const lines = Object.entries(all).map(([name, value]) => `${name} = '${value}'\n`);
		writeFileSync(join(server.data, 'postgresql.conf'), lines.join(''), { flag: 'a' });
		await server.start();
		return server;
	}

	/** Until it runs: after a kill the old processes may hold its shared memory for a moment. */
	async start() {
		const start = () => this.tool('pg_ctl', 'start', '-s', '-w', '-t', '180', '-D', this.data, '-l', this.logFile);
		await until(() => start().then(() => true, () => pause(100)), 'the server\'s start');
	}

	/** Not an error when it has ended meanwhile: one fault may find what the former has left dying. */
	kill(pid, signal = 'SIGKILL') {
		this.killed.add(pid);
		try {
			process.kill(pid, signal);
		} catch (error) {
			if (error.code !== 'ESRCH') throw error;
		}
	}

	get postmaster() {
		return Number(readFileSync(join(this.data, 'postmaster.pid'), 'utf8').split('\n')[0]);
	}

	async worker() {
		const { rows } = await this.query(`SELECT pid FROM pg_stat_activity WHERE backend_type = 'plank worker' AND datname = 'app'`);
		return rows[0]?.pid ?? null;
	}

	/**
	 * Until the server takes sessions and its worker clients. `former` is a worker that was told to end: for a moment it and
	 * the server may answer as if nothing had happened. Asked often, and not waited for in the query, whose snapshot would
	 * be in the way of a standby's replay.
	 */
	ready(former = null) {
		const ask = `SELECT plank.wait_until_ready('0') AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1) AS ready`;
		return until(() => this.query(ask, [former]).then(({ rows }) => rows[0].ready, () => false), 'the worker\'s return');
	}

	connect(options = {}) {
		const session = new pg.Client({ host: this.folder, user: 'postgres', database: 'app', ...options });
		session.on('error', () => {});
		return session.connect().then(() => session);
	}

	async close({ keep }) {
		// Killed, and not started again.
		if (this.dead) rmSync(join(this.data, 'postmaster.pid'), { force: true });
		await this.shutDown().finally(() => keep || rmSync(this.folder, { recursive: true, force: true }));
	}

	/** Lines of the log that no fault of the run explains. */
	complaints() {
		return this.log().split('\n').filter((line) => {
			if (/PANIC|TRAP|AddressSanitizer/.test(line)) return true;
			const died = /\(PID (\d+)\) was terminated by signal/.exec(line);
			return died !== null && !this.killed.has(Number(died[1]));
		});
	}
}

export class Servers {
	// What new sessions and clients wait for while servers change their roles.
	#change = Promise.resolve();
	standby = null;

	/** Null when this version of Plank has not the transport. */
	static async launch({ transport, historySize, settings = {} }) {
		const servers = new Servers();
		servers.primary = new Server();
		try {
			await servers.primary.create({
				'plank.transport': transport, 'plank.crash_limit': 0, 'plank.history_size': historySize, 'plank.send_timeout': '2s', 'plank.ping_interval': '3s',
				wal_keep_size: '1GB', max_prepared_transactions: 20, max_connections: 100, deadlock_timeout: '50ms', ...settings,
			});
		} catch (error) {
			const refused = /plank\.transport = .* is not supported by this version/.test(servers.primary.log());
			await servers.stop({ keep: !refused });
			if (refused) return null;
			throw error;
		}
		return servers;
	}

	/** From here on what is committed is on both servers, so that a failover takes nothing back. */
	async addStandby() {
		this.standby = await Server.follow(this.primary, {});
		await this.standby.ready();
		await this.primary.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
		await this.primary.query('SELECT pg_reload_conf()');
	}

	/** A session on the server that takes writes. */
	async session() {
		await this.#change;
		return this.primary.connect();
	}

	/** The WebSocket's address for a client that prefers one of the servers. */
	async url(prefersStandby) {
		await this.#change;
		const server = prefersStandby && this.standby !== null ? this.standby : this.primary;
		return `ws://localhost:${server.port}/ws`;
	}

	/** The primary dies in the middle of it all, and the standby takes over. */
	promote() {
		this.#change = this.#promote();
		return this.#change;
	}

	async #promote() {
		const { primary, standby } = this;
		await this.#replicated();
		// The worker first. Commits that wait for the standby are let go when the postmaster dies, and until the worker sees
		// that, it would tell of what the failover takes back.
		const worker = await until(() => primary.worker().catch(() => null), 'the primary\'s worker');
		primary.kill(worker);
		primary.kill(primary.postmaster);
		primary.dead = true;
		// Not waited for in that query: its snapshot could be in the way of the rows' removal that is still to be replayed,
		// and replay would wait for it as it waits for replay. Asked again where a conflict with replay has ended it.
		const promoted = `SELECT CASE WHEN pg_is_in_recovery() THEN pg_promote(false) END, NOT pg_is_in_recovery() AS done`;
		await until(() => standby.query(promoted).then(({ rows }) => rows[0].done || pause(100), () => false), 'the standby\'s promotion');
		this.retired = primary;
		this.primary = standby;
		this.standby = null;
		await this.primary.ready();
	}

	// What the primary shows is on the standby too. After a crash it shows what was on the way there, and no commit waits for
	// that any more.
	async #replicated() {
		const ask = (text, values) => until(() => this.primary.query(text, values).then(({ rows }) => rows[0].answer, () => false), 'the standby to have what the primary has');
		const lsn = await ask('SELECT pg_current_wal_flush_lsn() AS answer');
		await ask('SELECT count(*) > 0 AS answer FROM pg_stat_replication WHERE flush_lsn >= $1', [lsn]);
	}

	get all() {
		return [this.primary, this.standby, this.retired].filter(Boolean);
	}

	complaints() {
		return this.all.flatMap((server) => server.complaints());
	}

	async stop({ keep }) {
		for (const server of this.all) await server.close({ keep }).catch((error) => process.stderr.write(`${error.stack}\n`));
	}
}
