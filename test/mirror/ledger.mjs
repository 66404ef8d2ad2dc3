// What one client's copies must have in common. Whenever all of them stand at the same position: every transaction that
// was seen came whole, by its line in the ledger; each writer's lines are counted without a gap; and the sum over two
// tables is what it always was.

import { Finding } from './failures.mjs';
import { tables, total } from './schema.mjs';

export class Ledger {
	/** Transactions that were found whole. */
	verified = 0;
	#copies;
	#seen = new Map();
	#last = new Map();
	#inStep = true;

	constructor(copies) {
		this.#copies = copies;
	}

	/** Changes of one transaction, of one table, as they arrive. */
	count(table, xid, changes) {
		let seen = this.#seen.get(xid);
		if (seen === undefined) this.#seen.set(xid, (seen = { counts: {}, expected: null }));
		if (table !== 'ledger') {
			seen.counts[table] = (seen.counts[table] ?? 0) + changes.length;
			return;
		}
		for (const { op, new: line } of changes) {
			if (op !== 'insert') continue;
			if (seen.expected !== null) throw new Finding(`ledger: transaction ${xid} has two lines, or was sent twice`, { line, before: seen.expected });
			seen.expected = line.counts;
			// Read ahead of the stream: the copy knows later ones already.
			if (this.#copies.get('ledger').covers(xid)) continue;
			const last = this.#last.get(line.writer);
			if (last !== undefined && line.n !== last + 1) {
				throw new Finding(`ledger: writer ${line.writer}'s transaction ${line.n} (xid ${xid}) came after its ${last}`, {
					expected: last + 1, messages: this.#copies.get('ledger').history.about('ledger', `[${line.writer},${last}]`),
				});
			}
			this.#last.set(line.writer, line.n);
		}
	}

	/** The lines are void, or were read from the table: where each writer stands is known from what is held, or not. */
	reread() {
		this.#last.clear();
		for (const { writer, n } of this.#copies.get('ledger').rows.all()) this.#last.set(writer, Math.max(n, this.#last.get(writer) ?? 0));
	}

	/** Rows came from the server, who does not say which transactions they have: those until all copies meet again may be seen in part. */
	outOfStep() {
		this.#inStep = false;
	}

	/** All copies stand at one position. */
	check(position) {
		const copies = this.#copies;
		if (tables.some((table) => !copies.get(table).whole)) return;
		if (!this.#inStep) this.#seen.clear();
		this.#inStep = true;
		for (const [xid, { counts, expected }] of this.#seen) {
			const covered = (table) => copies.get(table).covers(xid);
			if (expected === null && !covered('ledger')) throw new Finding(`transaction ${xid} came without its line in the ledger`, { counts, position });
			for (const table of expected === null ? [] : tables) {
				const [due, got] = [expected[table] ?? 0, counts[table] ?? 0];
				if (due === got || covered(table) || table === 'ledger') continue;
				throw new Finding(`transaction ${xid} came in part: ${got} of ${due} changes of ${table}`, {
					expected, got: counts, position, messages: copies.get(table).history.about(table, null),
				});
			}
			this.verified += 1;
		}
		this.#seen.clear();
		this.#sum(position);
	}

	#sum(position) {
		const accounts = ['checking', 'savings'].map((table) => this.#copies.get(table));
		if (accounts.some(({ mark }) => mark !== null)) return;
		const sum = accounts.reduce((sum, { rows }) => rows.all().reduce((part, { balance }) => part + balance, sum), 0);
		if (sum !== total) throw new Finding(`the sum over checking and savings is ${sum}`, { expected: total, position });
	}
}
