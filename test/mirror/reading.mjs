// Fills void copies: reads the table in a transaction of its own while the stream goes on, and tries again when a fault
// or DDL comes in between. With the option `snapshot` the server sends the rows, and nothing is to be done here.

import { pause } from './writer.mjs';
import { lasting, readTable } from './snapshot.mjs';

const summed = new Set(['checking', 'savings']);

export class Reader {
	#servers;
	#scribe;
	#stopped = false;

	/** Readings that were begun. */
	count = 0;

	constructor(servers, scribe) {
		this.#servers = servers;
		this.#scribe = scribe;
	}

	/** Makes the copy void, and whole again as soon as it can be read; `filled` is called then. */
	async refill(copy, reason, filled) {
		const reading = copy.void(reason);
		this.count += 1;
		while (!this.#stopped) {
			let session;
			try {
				session = await this.#servers.session();
				const result = await readTable(session, copy);
				await lasting(session);
				// A row that is written after the reading tells when the stream has come past it.
				if (!copy.awaits(reading)) return;
				const mark = summed.has(copy.table) ? await this.#scribe.commit((writing) => marked(writing, copy.table)) : null;
				if (copy.fill(reading, { ...result, mark })) filled();
				return;
			} catch (error) {
				// Servers come back, and tables are there all the time: anything else is found by the copy's emptiness.
				if (/^[A-Z]\w*Error$/.test(error.name) && error.name !== 'DatabaseError') throw error;
				await pause(50);
			} finally {
				await session?.end().catch(() => {});
			}
		}
	}

	stop() {
		this.#stopped = true;
	}
}

async function marked(session, table) {
	const { rows: [{ version }] } = await session.query(`UPDATE ${table} SET version = nextval('versions') WHERE id = 0 RETURNING version`);
	return Number(version);
}
