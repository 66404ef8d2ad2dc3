// What raw clients and those of the library have in common: a copy of every table, what they may be told, and the
// comparison at the end.

import { canonical, Copy } from './copy.mjs';
import { Finding, History } from './failures.mjs';
import { Ledger } from './ledger.mjs';
import { Reader } from './reading.mjs';
import { tables } from './schema.mjs';
import { Scribe } from './writer.mjs';

export class Follower {
	/** Since the start. */
	transactions = 0;
	changes = 0;
	connections = 0;
	resumes = 0;
	resets = 0;

	constructor({ name, number, servers, random, failures, allowance, options, makeRows }) {
		Object.assign(this, { name, servers, random, failures, allowance, options });
		this.history = new History();
		this.copies = new Map(tables.map((table) => [table, new Copy(table, makeRows(table), this.history)]));
		this.ledger = new Ledger(this.copies);
		this.reader = new Reader(servers, new Scribe(servers, 1000 + number));
		this.permitted = allowance.account();
		this.stopped = false;
	}

	/** Runs a listener's work; what it finds wrong is this client's failure. */
	guard(work) {
		if (this.failed || this.stopped) return undefined;
		try {
			return work();
		} catch (error) {
			this.fail(error);
			return undefined;
		}
	}

	fail(error) {
		if (this.stopped) return;
		this.failed = true;
		this.failures.add(this.name, error);
	}

	/** The copy is void: read anew, unless the server sends the rows. */
	refill(table, reason) {
		const copy = this.copies.get(table);
		if (this.options.snapshot) copy.void(reason);
		else this.reader.refill(copy, reason, () => this.guard(() => this.filled(table))).catch((error) => this.fail(error));
		if (table === 'ledger') this.ledger.reread();
	}

	filled(table) {
		if (table === 'ledger') this.ledger.reread();
	}

	/** A reset of a table, which must have a reason. */
	reset(table, reason) {
		this.resets += 1;
		if (!this.permitted.take(table)) {
			throw new Finding(`a reset of ${table} that nothing asked for: ${reason}`, { messages: this.history.about(table, null) });
		}
		this.refill(table, `reset, ${reason}`);
	}

	get whole() {
		return [...this.copies.values()].every(({ whole }) => whole);
	}

	/** Everything has arrived: compares all copies with what the tables hold. */
	compare(expected) {
		this.ledger.check('the end');
		for (const table of tables) {
			const copy = this.copies.get(table);
			const left = new Map();
			for (const row of expected.get(table)) {
				const text = canonical(row);
				left.set(text, (left.get(text) ?? 0) + 1);
			}
			const surplus = [];
			for (const row of copy.rows.all()) {
				const text = canonical(row);
				const count = left.get(text) ?? 0;
				if (count === 0) surplus.push(row);
				else if (count === 1) left.delete(text);
				else left.set(text, count - 1);
			}
			if (surplus.length === 0 && left.size === 0) continue;
			const missing = [...left.keys()].map((text) => JSON.parse(text));
			const row = copy.name(missing[0] ?? surplus[0]);
			this.fail(copy.finding(`differs from the table: ${missing.length} rows missing, ${surplus.length} too many`, row, {
				expected: missing.find((other) => copy.name(other) === row) ?? 'no such row',
				held: surplus.find((other) => copy.name(other) === row) ?? 'no such row',
			}));
		}
	}
}

/**
 * The resets that clients may be told of. Each client has an account of every table: what has happened so far, and what
 * it has taken of that.
 */
export class Allowance {
	#granted = new Map(tables.map((table) => [table, 0]));
	/** Set when resets need no reason, as from a server that cannot resume. */
	any = false;

	grant(...names) {
		for (const table of names) this.#granted.set(table, this.#granted.get(table) + 1);
	}

	grantAll() {
		this.grant(...tables);
	}

	account() {
		const taken = new Map(this.#granted);
		return {
			take: (table) => {
				if (this.any) return true;
				if (taken.get(table) >= this.#granted.get(table)) return false;
				taken.set(table, taken.get(table) + 1);
				return true;
			},
		};
	}
}
