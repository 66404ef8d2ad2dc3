// What writes the rows that identities see parts of: random transactions over all tables, as the superuser.

import { conflicts, lost, pause } from '../writer.mjs';
import { insert, names, tables, values } from './tables.mjs';

export class RowWriter {
	committed = 0;
	#servers;
	#random;
	#rate;
	#session = null;
	#stopped = false;

	constructor({ servers, random, rate }) {
		this.#servers = servers;
		this.#random = random;
		this.#rate = rate;
	}

	stop() {
		this.#stopped = true;
	}

	async run() {
		while (!this.#stopped) {
			await this.#transaction();
			await pause(this.#random.unit() * 2000 / this.#rate);
		}
		await this.#session?.end().catch(() => {});
	}

	async #transaction() {
		const random = this.#random;
		try {
			const session = (this.#session ??= await this.#connect());
			await session.query('BEGIN');
			for (let i = random.between(1, 4); i > 0; i -= 1) {
				const held = random.percent(25);
				if (held) await session.query('SAVEPOINT s');
				await session.query(this.#operation());
				if (held) await session.query(random.percent(50) ? 'ROLLBACK TO s' : 'RELEASE s');
			}
			const end = random.percent(92) ? 'COMMIT' : 'ROLLBACK';
			await session.query(end);
			if (end === 'COMMIT') this.committed += 1;
		} catch (error) {
			if (lost(error)) this.#drop();
			else if (conflicts.has(error.code)) await this.#session?.query('ROLLBACK').catch(() => this.#drop());
			else throw error;
		}
	}

	// What it held is let go, also where the server lives.
	#drop() {
		this.#session?.end().catch(() => {});
		this.#session = null;
	}

	async #connect() {
		const session = await this.#servers.session();
		await session.query(`SET lock_timeout = '2s'`);
		return session;
	}

	#operation() {
		const random = this.#random;
		const name = random.pick(names);
		const id = random.between(1, 90);
		const some = Object.keys(values).filter((column) => random.percent(40) && column !== (tables[name].partitioned && random.percent(50) ? 'tenant' : ''));
		const set = (some.length > 0 ? some : ['tag']).map((column) => `${column} = ${values[column]}`).join();
		const conflict = tables[name].key ? ' ON CONFLICT DO NOTHING' : '';
		return random.weighted([
			[6, () => `${insert(name, `generate_series(${id}, ${id + random.between(0, 3)})`)}${conflict}`],
			[9, () => `UPDATE ${name} SET ${set} WHERE id BETWEEN ${id} AND ${id + random.between(0, 3)}`],
			[1, () => `UPDATE ${name} SET id = id + 100, ${set} WHERE id = ${id}${tables[name].key ? ` AND NOT EXISTS (SELECT FROM ${name} other WHERE other.id = ${id + 100})` : ''}`],
			[4, () => `DELETE FROM ${name} WHERE id BETWEEN ${id} AND ${id + 2} OR id > 100 AND id % 7 = ${id % 7}`],
			[0.3, () => `${insert(name, `generate_series(1001, ${random.between(1100, 1500)})`)}${conflict}`],
			[0.6, () => `DELETE FROM ${name} WHERE id > 1000`],
			[0.1, () => `TRUNCATE ${name}`],
		])();
	}
}
