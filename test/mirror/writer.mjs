// What writes: sessions that survive the server, and the random transactions of one of them. Every transaction that
// changes a mirrored table ends with a line in the ledger: who wrote it, which of the writer's it is, counted without a
// gap, and how many changes of each table it holds.

import { pg } from '../client/cluster.mjs';
import { facetRows, facets, versioned } from './schema.mjs';

/** What ends a transaction and not the run: conflicts with others, and DDL in between, or DDL that was done before a fault hid it. */
export const conflicts = new Set(['40P01', '40001', '55P03', '23505', '23514', '42701', '42703', '42P01', '42804', '42809', '57014']);
/** What ends the session: faults of the server. */
export const lost = (error) => (error instanceof pg.DatabaseError
	? /^(08|57P|58|53300)/.test(error.code)
	: /^(ECONNREFUSED|ECONNRESET|EPIPE|ENOENT)$/.test(error.code) || /^(Connection terminated|Client has encountered|Client was closed)/.test(error.message));

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A session that numbers its transactions and knows after a fault which of them were committed. */
export class Scribe {
	/** Transactions that were committed. */
	committed = 0;
	#servers;
	#session = null;
	#n = null;
	#queue = Promise.resolve();

	constructor(servers, writer) {
		this.#servers = servers;
		this.writer = writer;
	}

	/** Runs `work(session)` in a transaction until it was committed; one at a time. Resolves with what it gave. */
	commit(work) {
		return this.#inTurn(async () => {
			for (;;) {
				const outcome = await this.attempt(work);
				if (outcome.committed) return outcome.value;
				await pause(20);
			}
		});
	}

	/** The same, but a conflict ends it; resolves with whether it was committed. */
	try(work) {
		return this.#inTurn(async () => (await this.attempt(work)).committed);
	}

	/** Once. `end(session)` ends the transaction and tells whether it was committed. Other than what a conflict or a fault ends is thrown. */
	async attempt(work, end = async (session) => (await session.query('COMMIT'), true)) {
		let ending = false;
		try {
			const session = (this.#session ??= await this.#connect());
			await session.query('BEGIN');
			const value = await work(session);
			await session.query('INSERT INTO ledger VALUES ($1, $2, counts())', [this.writer, this.#n + 1]);
			ending = true;
			const committed = await end(session);
			if (committed) {
				this.#n += 1;
				this.committed += 1;
			}
			return { committed, value };
		} catch (error) {
			if (!lost(error) && !conflicts.has(error.code)) throw error;
			// Half of an end may be done, as of one in two phases: the next session finds out.
			if (ending || lost(error)) this.#drop();
			else await this.#session?.query('ROLLBACK').catch(() => this.#drop());
			return { committed: false };
		}
	}

	async close() {
		await this.#queue;
		await this.#session?.end().catch(() => {});
	}

	get gid() {
		return `mirror ${this.writer}`;
	}

	#inTurn(task) {
		const result = this.#queue.then(task);
		this.#queue = result.catch(() => {});
		return result;
	}

	#drop() {
		this.#session?.end().catch(() => {});
		this.#session = null;
	}

	// Whatever was under way when the last session died is decided now.
	async #connect() {
		const session = await this.#servers.session();
		try {
			await session.query(`SET lock_timeout = '2s'`);
			const { rows: prepared } = await session.query('SELECT 1 FROM pg_prepared_xacts WHERE gid = $1', [this.gid]);
			if (prepared.length > 0) await session.query(`COMMIT PREPARED '${this.gid}'`);
			const { rows: [{ n }] } = await session.query('SELECT coalesce(max(n), 0)::int AS n FROM ledger WHERE writer = $1', [this.writer]);
			this.#n = n;
			return session;
		} catch (error) {
			session.end().catch(() => {});
			throw error;
		}
	}
}

/** One writer of random transactions. */
export class Writer {
	#scribe;
	#random;
	#twoPhase;
	#asynchronous;
	#definitions;
	#rate;
	#stopped = false;

	constructor({ servers, writer, random, rate, twoPhase, asynchronous, definitions }) {
		this.#scribe = new Scribe(servers, writer);
		this.#random = random;
		this.#rate = rate;
		this.#twoPhase = twoPhase;
		this.#asynchronous = asynchronous;
		this.#definitions = definitions;
	}

	get committed() {
		return this.#scribe.committed;
	}

	stop() {
		this.#stopped = true;
	}

	/** Until `stop`. */
	async run() {
		while (!this.#stopped) {
			await this.#scribe.attempt((session) => this.#work(session), (session) => this.#end(session));
			await pause(this.#random.unit() * 2000 / this.#rate);
		}
		// A prepared transaction must not be left behind; connecting decides it.
		await this.#scribe.commit(async () => {});
		await this.#scribe.close();
	}

	async #work(session) {
		const random = this.#random;
		if (this.#asynchronous && random.percent(10)) await session.query('SET LOCAL synchronous_commit = off');
		for (let i = random.between(1, 4); i > 0; i -= 1) {
			if (random.percent(75)) await this.#operation(session);
			else await this.#savepoint(session, 1);
		}
		if (random.percent(1)) await session.query(`DELETE FROM ledger WHERE writer = ${this.#scribe.writer} AND n < (SELECT max(n) - 300 FROM ledger WHERE writer = ${this.#scribe.writer})`);
	}

	async #savepoint(session, depth) {
		const random = this.#random;
		await session.query(`SAVEPOINT s${depth}`);
		await this.#operation(session);
		if (depth < 3 && random.percent(30)) await this.#savepoint(session, depth + 1);
		await session.query(random.percent(50) ? `ROLLBACK TO s${depth}` : `RELEASE s${depth}`);
	}

	async #end(session) {
		const random = this.#random;
		const way = random.weighted([[85, 'COMMIT'], [8, 'ROLLBACK'], [this.#twoPhase ? 7 : 0, 'PREPARE']]);
		if (way !== 'PREPARE') {
			await session.query(way);
			return way === 'COMMIT';
		}
		const { gid } = this.#scribe;
		await session.query(`PREPARE TRANSACTION '${gid}'`);
		// Others run into its locks meanwhile, and a fault may come between.
		await pause(random.unit() * 100);
		const second = random.percent(75) ? 'COMMIT' : 'ROLLBACK';
		await session.query(`${second} PREPARED '${gid}'`);
		return second === 'COMMIT';
	}

	#operation(session) {
		const random = this.#random;
		return session.query(random.weighted([
			[25, () => this.#transfer()], [25, () => this.#facets()], [25, () => this.#items()], [15, () => this.#pairs()], [12, () => this.#bag()],
			[15, () => this.#parts()], [4, () => this.#added()], [1.2, () => this.#bulk()], [1, () => this.#blocks()], [1.5, () => this.#large()],
			[0.15, () => `TRUNCATE ${random.pick(['items', 'audit', 'pairs', 'bag', 'parts', 'facets'])}`],
		])());
	}

	#transfer() {
		const random = this.#random;
		const [from, to] = random.percent(50) ? ['checking', 'savings'] : ['savings', 'checking'];
		const amount = random.between(1, 30);
		return `UPDATE ${from} SET balance = balance - ${amount}, version = nextval('versions') WHERE id = ${random.between(1, 20)};
			UPDATE ${to} SET balance = balance + ${amount}, version = nextval('versions') WHERE id = ${random.between(1, 20)}`;
	}

	#items() {
		const random = this.#random;
		const id = random.between(1, 400);
		const name = random.pick(['plain', 'nest', 'ünïcödé \\ "quoted"', '']);
		return random.weighted([
			[4, `INSERT INTO items VALUES (${id}, '${name} ${id}', md5(random()::text), now(), nextval('versions')) ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = nextval('versions')`],
			[4, `UPDATE items SET body = md5(random()::text), version = nextval('versions') WHERE id BETWEEN ${id} AND ${id + random.between(0, 9)}`],
			[2, `UPDATE items SET name = '${name}' || id, version = nextval('versions') WHERE id = ${id}`],
			[2, `UPDATE items SET id = ${random.between(401, 9999)}, version = nextval('versions') WHERE id = ${id}`],
			[2, `UPDATE items SET id = -id, version = nextval('versions') WHERE id BETWEEN 401 AND 9999`],
			[3, `DELETE FROM items WHERE id BETWEEN ${id} AND ${id + 2} OR id < -400`],
			[1, `DELETE FROM audit WHERE id < (SELECT max(id) - 500 FROM audit)`],
		]);
	}

	#pairs() {
		const random = this.#random;
		const [a, b] = [random.between(1, 100), random.pick(['a', 'b', 'c', 'ß', ' '])];
		return random.weighted([
			[4, `INSERT INTO pairs VALUES (${a}, '${b}', ${random.between(0, 999)} / 4.0, nextval('versions')) ON CONFLICT DO NOTHING`],
			[4, `UPDATE pairs SET v = v + 0.25, version = nextval('versions') WHERE a = ${a}`],
			[3, `UPDATE pairs SET b = '${random.pick(['a', 'b', 'c', 'd'])}', version = nextval('versions') WHERE (a, b) = (${a}, '${b}')`],
			[2, `UPDATE pairs SET v = NULL, version = nextval('versions') WHERE b = '${b}' AND a < 10`],
			[2, `DELETE FROM pairs WHERE a BETWEEN ${a} AND ${a + 5}`],
		]);
	}

	#bag() {
		const random = this.#random;
		const a = random.between(0, 9);
		const one = `ctid = (SELECT ctid FROM bag WHERE a = ${a} LIMIT 1 FOR UPDATE)`;
		return random.weighted([
			[4, `INSERT INTO bag SELECT ${a}, 'x' FROM generate_series(1, ${random.between(1, 4)})`],
			[3, `UPDATE bag SET b = '${random.pick(['x', 'y'])}' WHERE ${one}`],
			[1, `UPDATE bag SET a = (a + 1) % 10 WHERE a = ${a}`],
			[3, `DELETE FROM bag WHERE ${one}`],
			[1, `DELETE FROM bag WHERE a = ${a} AND b = 'x'`],
		]);
	}

	#parts() {
		const random = this.#random;
		const id = random.between(1, 150);
		const region = random.pick(['north', 'south', 'east', 'west']);
		return random.weighted([
			[4, `INSERT INTO parts VALUES (${id}, '${region}', 'new', nextval('versions')) ON CONFLICT DO NOTHING`],
			[3, `UPDATE parts SET note = md5(random()::text), version = nextval('versions') WHERE id BETWEEN ${id} AND ${id + 5}`],
			[4, `UPDATE parts SET region = '${region}', version = nextval('versions') WHERE id = ${id} AND NOT EXISTS (SELECT FROM parts other WHERE other.id = ${id} AND other.region = '${region}') AND region = (SELECT min(region) FROM parts other WHERE other.id = ${id})`],
			[2, `DELETE FROM parts WHERE id BETWEEN ${id} AND ${id + 3}`],
		]);
	}

	#facets() {
		const random = this.#random;
		const id = random.between(1, 200);
		const some = Array.from({ length: random.between(1, 3) }, () => random.pick(Object.keys(facets))).filter((name, i, all) => all.indexOf(name) === i);
		const set = `${some.map((name) => `${name} = ${facets[name]}`)}, version = nextval('versions')`;
		return random.weighted([
			[5, `INSERT INTO facets ${facetRows(`generate_series(${id}, ${id + random.between(0, 5)}) i`, 'i')} ON CONFLICT DO NOTHING`],
			[8, `UPDATE facets SET ${set} WHERE id BETWEEN ${id} AND ${id + random.between(0, 7)}`],
			[2, `UPDATE facets SET id = id + 1000, ${set} WHERE id = ${id} AND NOT EXISTS (SELECT FROM facets other WHERE other.id = ${id + 1000})`],
			[1, `UPDATE facets SET id = -id, ${set} WHERE id > 1000 AND NOT EXISTS (SELECT FROM facets other WHERE other.id = -facets.id)`],
			[3, `DELETE FROM facets WHERE id BETWEEN ${id} AND ${id + 3} OR id < 0`],
		]);
	}

	// A column that DDL added, if there is one; it may be gone by now.
	#added() {
		const random = this.#random;
		const table = random.pick(['items', 'pairs', 'bag', 'parts']);
		const columns = this.#definitions.extra(table);
		if (columns.length === 0) return this.#items();
		const version = versioned.has(table) ? `, version = nextval('versions')` : '';
		return `UPDATE ${table} SET ${random.pick(columns)} = ${random.between(1, 99)}${version} WHERE ${table === 'items' || table === 'parts' ? 'id' : 'a'} BETWEEN 1 AND ${random.between(2, 20)}`;
	}

	// Many rows in one transaction: more than one message.
	#bulk() {
		const random = this.#random;
		const base = random.between(1, 9) * 100_000;
		return random.weighted([
			[3, `INSERT INTO items SELECT ${base} + i, 'bulk', repeat(md5(i::text), 8), now(), nextval('versions') FROM generate_series(1, ${random.between(500, 3000)}) i ON CONFLICT DO NOTHING`],
			[2, `UPDATE items SET body = body || '.', version = nextval('versions') WHERE id > 100000`],
			[3, `DELETE FROM items WHERE id > 100000`],
			[1, `INSERT INTO bag SELECT i % 10, 'x' FROM generate_series(1, 2000) i`],
			[1, `DELETE FROM bag`],
		]);
	}

	// More subtransactions than a session lists for others, 64; some are rolled back.
	#blocks() {
		const random = this.#random;
		const id = random.between(1, 380);
		return `DO $$ BEGIN
			FOR i IN 1 .. ${random.between(80, 150)} LOOP
				BEGIN
					INSERT INTO items VALUES (${id} + i % 20, 'block ' || i, md5(random()::text), now(), nextval('versions'))
						ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = nextval('versions');
					IF i % ${random.between(3, 9)} = 0 THEN RAISE EXCEPTION 'back'; END IF;
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END LOOP;
		END $$`;
	}

	#large() {
		const random = this.#random;
		const id = random.between(1, 400);
		return random.percent(50)
			? `UPDATE items SET body = repeat(md5(random()::text), ${random.between(1000, 12000)}), version = nextval('versions') WHERE id = ${id}`
			: `INSERT INTO pairs VALUES (${random.between(200, 299)}, repeat('b', ${random.between(1, 2000)}), 1, nextval('versions')) ON CONFLICT DO NOTHING`;
	}
}
