// What raw clients and those of the library have in common: a copy of every table, what they may be told, and the
// comparison at the end.

import { CalmClock } from './clock.mjs';
import { canonical, Copy } from './copy.mjs';
import { Finding, History } from './failures.mjs';
import { Ledger } from './ledger.mjs';
import { Reader } from './reading.mjs';
import { tables } from './schema.mjs';
import { Scribe } from './writer.mjs';

// How long after its reason a reset may come, at the most.
const grace = 20_000;

export class Follower {
	/** Since the start. */
	transactions = 0;
	changes = 0;
	connections = 0;
	resumes = 0;
	resets = 0;

	constructor({ name, number, servers, random, failures, allowance, options, snapshot, makeRows }) {
		Object.assign(this, { name, servers, random, failures, allowance, options, snapshot });
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
		if (this.asksRows(table)) copy.await(reason);
		else this.read(table, reason);
		if (table === 'ledger') this.ledger.reread();
	}

	/** Whether the server sends the rows. */
	asksRows() {
		return this.snapshot;
	}

	/** The same, by SELECT. */
	read(table, reason) {
		this.reader.refill(this.copies.get(table), reason, () => this.guard(() => this.filled(table))).catch((error) => this.fail(error));
	}

	/** The last rows of a snapshot. */
	served(table, rows) {
		this.copies.get(table).serverRows(rows);
		if (tables.includes(table)) this.ledger.outOfStep();
		this.filled(table);
	}

	filled(table) {
		if (table === 'ledger') this.ledger.reread();
	}

	/** A reset of a table, which must have a reason. */
	reset(table, reason) {
		this.resets += 1;
		// A snapshot may be begun again at any time: its reader ended, or the log could not keep what came meanwhile.
		const { awaitsRows, of } = this.copies.get(table);
		// Each row from before a DDL that a condition meets after it is such a reason.
		const unreadable = reason.startsWith('a row was written with another definition') && this.allowance.isRecent(of);
		if (!awaitsRows && !unreadable && !this.account(table).take(of)) {
			throw new Finding(`a reset of ${table} that nothing asked for: ${reason}`, { messages: this.history.about(table, null) });
		}
		this.refill(table, `reset, ${reason}`);
	}

	get whole() {
		return [...this.copies.values()].every(({ whole }) => whole);
	}

	/** The account that pays for resets of a copy. */
	account() {
		return this.permitted;
	}

	/** What `compare` compares, by name. */
	comparable() {
		return this.copies;
	}

	/** What it waits for before that: names of copies. `arrived(table, rows)` tells whether a table's last row is there. */
	lacks(arrived) {
		return tables.filter((table) => !this.copies.get(table).whole || !arrived(table, this.copies.get(table).rows));
	}

	/** How far a copy has come, for who looks at a failure. */
	standing(id) {
		const { whole, awaitsRows, source } = this.copies.get(id);
		return { id, whole, awaitsRows, source, last: this.history.about(id, null, 3) };
	}

	/** Everything has arrived: compares all copies with what the tables hold. */
	compare(expected) {
		this.ledger.check('the end');
		for (const [table, copy] of this.comparable()) {
			const left = new Map();
			for (const row of expected.get(copy.source)) {
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
	#granted = new Map(tables.map((table) => [table, []]));
	/** Set when resets need no reason, as from a server that cannot resume. */
	any = false;
	clock = new CalmClock();

	grant(...names) {
		for (const table of names) this.#granted.get(table).push(this.clock.now());
	}

	/** Whether a reset of the table may still be under way. */
	isRecent(table) {
		return (this.#granted.get(table).at(-1) ?? -Infinity) > this.clock.now() - grace;
	}

	grantAll() {
		this.grant(...tables);
	}

	/** `late` when it is opened amid faults, the last of which may still have their resets to come. */
	account({ late = false } = {}) {
		const since = late ? this.clock.now() - grace : Infinity;
		const taken = new Map([...this.#granted].map(([table, times]) => [table, times.filter((time) => time < since).length]));
		return {
			take: (table) => {
				if (this.any) return true;
				if (taken.get(table) >= this.#granted.get(table).length) return false;
				taken.set(table, taken.get(table) + 1);
				return true;
			},
		};
	}
}
