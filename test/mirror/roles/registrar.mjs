// Changes privileges amid the load, one change in one transaction that locks the table: what was written before was judged
// by what was in force till then, and is asked of PostgreSQL itself before anything changes.

import { lost, pause } from '../writer.mjs';
import { margin } from './books.mjs';
import { claimsText, identities } from './identities.mjs';
import { initial, membership, next, statements } from './rights.mjs';
import { names, shadow } from './tables.mjs';

const conflicts = new Set(['40P01', '55P03', '57014', '42710', '42704', '23505']);

// When a row version was written and deleted, by the clock and by the commits of what did.
const milliseconds = (time) => `(extract(epoch FROM ${time}) * 1000)::float8`;
const committed = (xid) => milliseconds(`pg_xact_commit_timestamp(${xid})`);
const lived = `${milliseconds('born')} AS born, ${committed('born_by')} AS "bornCommit", ${milliseconds('died')} AS died, ${committed('died_by')} AS "diedCommit"`;

/** Runs `work` as that identity in the session's transaction. */
export async function as(session, identity, work) {
	await session.query(`SELECT set_config('request.jwt.claims', $1, true), set_config('role', $2, true)`, [claimsText(identity), identity.role]);
	const result = await work();
	await session.query(`SELECT set_config('role', 'none', true)`);
	return result;
}

export class Registrar {
	/** Changes that were committed. */
	count = 0;
	counts = new Map();
	#servers;
	#random;
	#books;
	#sightings;
	#session = null;
	#stopped = false;

	constructor({ servers, random, books, sightings }) {
		this.#servers = servers;
		this.#random = random;
		this.#books = books;
		this.#sightings = sightings;
	}

	/** Before there are clients. */
	async begin() {
		for (const change of initial(this.#random)) await this.#servers.primary.sql(statements(change));
	}

	async run(every) {
		while (!this.#stopped) {
			await pause(this.#random.unit() * 2 * every);
			if (this.#stopped) break;
			const change = this.#random.percent(15) ? membership(this.#random) : next(this.#random, await this.#policies());
			let from;
			const done = await this.#transaction(change.table === null ? names : [change.table], async (session) => {
				from = Date.now();
				// Clients may hear of it before this program does.
				this.#books.changed(change.table, change.roles, { reset: !change.members });
				await session.query(statements(change));
			});
			// Or was it, before the server went? Then it is in force since some time in between.
			if (done !== false) this.#books.changed(change.table, change.roles, { from, reset: !change.members });
			if (done !== true) continue;
			this.count += 1;
			const kind = /^(CREATE|ALTER|DROP) POLICY|^GRANT|^REVOKE|ROW LEVEL|members/.exec(change.sql)?.[0] ?? 'other';
			this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
		}
	}

	stop() {
		this.#stopped = true;
	}

	/** What the last privileges show. */
	async finish() {
		while ((await this.#transaction(names, () => {})) !== true) await pause(50);
		await this.#session.end();
	}

	async #policies() {
		const { rows } = await this.#servers.primary.query(
			`SELECT tablename AS table, policyname AS name, roles::text[] AS roles FROM pg_policies WHERE tablename = ANY ($1)`, [names]).catch(() => ({ rows: [] }));
		return rows;
	}

	// True: committed; false: not; null: nobody knows.
	async #transaction(tables, work) {
		let committing = false;
		try {
			const session = (this.#session ??= await this.#connect());
			await session.query('BEGIN');
			for (const name of tables) await session.query(`LOCK TABLE ${name} IN ACCESS EXCLUSIVE MODE`);
			await this.#judge(session, tables);
			await work(session);
			committing = true;
			await session.query('COMMIT');
			return true;
		} catch (error) {
			if (lost(error)) this.#drop();
			else if (conflicts.has(error.code)) await this.#session?.query('ROLLBACK').catch(() => this.#drop());
			else throw error;
			return committing ? null : false;
		}
	}

	// What it held is let go, also where the server lives.
	#drop() {
		this.#session?.end().catch(() => {});
		this.#session = null;
	}

	async #connect() {
		const session = await this.#servers.session();
		await session.query(`SET lock_timeout = '1s'`);
		return session;
	}

	/** Asks as each identity which row versions it could see since privileges last changed, and forgets those long dead. */
	async #judge(session, tables) {
		const list = (result) => result.rows.map(({ marker }) => marker);
		for (const name of tables) {
			const { rows: versions } = await session.query(`SELECT mark, pay, ${lived} FROM ${shadow(name)}`);
			this.#sightings.learn(versions.map((version) => ({ table: name, ...version })));
			for (const identity of identities) {
				const { rows: readable } = await session.query(
					`SELECT c AS column FROM unnest('{mark,pay}'::text[]) c WHERE has_column_privilege($1, $2, c, 'SELECT')`, [identity.role, shadow(name)]);
				for (const { column } of readable) {
					this.#sightings.allow(identity.name, list(await as(session, identity, () => session.query(`SELECT ${column} AS marker FROM ${shadow(name)}`))));
				}
			}
			await session.query(`DELETE FROM ${shadow(name)} WHERE died < clock_timestamp() - interval '${margin} ms'`);
		}
	}
}
