// One client's copy of one table. It is whole, or void: after a reset, or a `subscribed` that did not resume, it is read
// from the table while the stream goes on, and what the reading has seen already is left out of the stream. Checks every
// change against the row that is held.

import { Mirror } from '../../client/dist/plank.js';
import { Model, textOf } from '../client/model.mjs';
import { Finding } from './failures.mjs';
import { identity, versioned } from './schema.mjs';
import { query } from './views.mjs';

/** Text that is equal when the values are, whatever the order of members. */
export function canonical(value) {
	if (value === null || typeof value !== 'object') return JSON.stringify(value);
	if (Array.isArray(value)) return `[${value.map(canonical)}]`;
	return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)}}`;
}

/** Rows by the page alone: the independent Model of the end-to-end tests. */
export class ModelRows extends Model {
	constructor(table) {
		super(table);
		this.rows = new Map();
		this.columns = [];
	}

	get size() {
		return this.key ? this.rows.size : [...this.rows.values()].reduce((sum, count) => sum + count, 0);
	}

	clear() {
		this.rows.clear();
	}

	/** The row with the key of `row`, where it is missing there from `otherwise`; a bag's if an equal one is held. */
	held(row, otherwise) {
		if (this.key) return this.rows.get(this.keyText(row, otherwise));
		return this.rows.has(textOf(row)) ? row : undefined;
	}

	/** A new definition. The schema names columns so that a renamed one is known. A row that was read ahead has it already. */
	shape({ key, columns }) {
		const names = columns.map(({ name }) => name);
		const same = JSON.stringify([key, names]) === JSON.stringify([this.key, this.columns]);
		const rows = same ? [] : this.all();
		this.key = key;
		this.columns = names;
		if (same) return;
		this.rows.clear();
		for (const row of rows) this.put(this.#shaped(row));
	}

	/** Rows that were read before a definition that the stream had come to meanwhile. What was read ahead keeps what it has. */
	filled(columns) {
		if (columns === null || this.columns.every((name) => columns.includes(name))) return;
		const rows = this.all();
		this.rows.clear();
		for (const row of rows) this.put({ ...this.#shaped(row), ...row });
	}

	#shaped(row) {
		const former = new Map(Object.keys(row).map((name) => [identity(name), name]));
		return Object.fromEntries(this.columns.map((name) => [name, row[name] ?? row[former.get(identity(name))] ?? null]));
	}

	all() {
		if (this.key) return [...this.rows.values()];
		return [...this.rows].flatMap(([text, count]) => Array(count).fill(Object.fromEntries(JSON.parse(text))));
	}

	get missing() {
		return null;
	}
}

/** Rows as the project's own client keeps them. */
export class MirrorRows {
	#mirror = new Mirror();
	// The rows were read under another definition than the stream has come to.
	#ahead = false;
	#renewed = false;

	get key() {
		return this.#mirror.key;
	}

	get size() {
		return this.#mirror.size;
	}

	clear() {
		this.#mirror.reset({ reason: 'void' });
	}

	held(row, otherwise = {}) {
		if (this.key === null) return undefined;
		return this.#mirror.get(Object.fromEntries(this.key.map((name) => [name, name in row ? row[name] : otherwise[name]])));
	}

	put(row) {
		this.#mirror.put({ rows: [row] });
	}

	filled(columns) {
		this.#mirror.put({ rows: [] });
		this.#ahead = columns !== null && JSON.stringify(columns) !== JSON.stringify(this.#mirror.columns.map(({ name }) => name));
	}

	shape(message) {
		this.#mirror.subscribed(message);
		this.#renewed = this.#ahead;
	}

	change(change) {
		const before = this.size;
		this.#mirror.change(change);
		const less = { update: 0, delete: 1 }[change.op];
		if (less !== undefined && before - this.size !== less) throw new Error(`${change.op} of a row that is not held`);
	}

	all() {
		return this.#mirror.rows();
	}

	/** Why the rows have to be read again. */
	get missing() {
		return this.#renewed ? 'read under another definition' : this.#mirror.missing;
	}
}

export class Copy {
	whole = false;
	/** Void, and the server is to send the rows. */
	awaitsRows = false;
	/** What the rows were read under. */
	snapshot = null;
	/** Only transactions after the one with this mark are in step with other copies: it was read ahead of the stream. */
	mark = null;
	#buffer = [];
	#reading = 0;

	/** `view` is what a subscription sees where that is not a whole table; `table` is then only its id. */
	constructor(table, rows, history, view) {
		this.table = table;
		this.of = view?.table ?? table;
		this.source = query(view ?? { table });
		this.rows = rows;
		this.history = history;
	}

	/** Void from here on; the number of the reading that will fill it. */
	void(reason) {
		this.history.add(this.table, null, ['void:', reason]);
		this.whole = false;
		this.awaitsRows = false;
		this.rows.clear();
		this.#buffer = [];
		return (this.#reading += 1);
	}

	/** Void until the server has sent the rows. */
	await(reason) {
		this.void(reason);
		this.awaitsRows = true;
	}

	/** Whether that reading is still to fill it. */
	awaits(reading) {
		return reading === this.#reading && !this.whole;
	}

	/** The table as read, unless it was made void again meanwhile; tells whether it was taken. */
	fill(reading, { rows, columns, snapshot, mark = null }) {
		if (!this.awaits(reading)) return false;
		this.history.add(this.table, null, [`read ${rows.length} rows under ${snapshot?.text ?? 'the server\'s snapshot'}`]);
		for (const row of rows) this.rows.put(row);
		this.rows.filled?.(columns);
		this.snapshot = snapshot;
		this.mark = mark;
		this.whole = true;
		this.awaitsRows = false;
		for (const [xid, changes] of this.#buffer.splice(0)) this.transaction(xid, changes);
		return true;
	}

	/** The rows that the server sent. */
	serverRows(rows) {
		if (!this.awaitsRows) throw this.finding('rows that nothing asked for', null, {});
		this.fill(this.#reading, { rows, columns: null, snapshot: null });
	}

	shape(message) {
		this.history.add(this.table, null, [`subscribed, resumed ${message.resumed}, position ${message.position}, key`, message.key, message.columns]);
		this.rows.shape(message);
	}

	/** Whether the rows were read with the transaction in them. */
	covers(xid) {
		return this.snapshot?.sees(xid) ?? false;
	}

	/** The table's changes of one transaction, or some of them. */
	transaction(xid, changes) {
		if (!this.whole) {
			this.#buffer.push([xid, changes]);
			return;
		}
		const covered = this.covers(xid);
		for (const change of changes) {
			const { op, key, old, new: now } = change;
			const row = this.name(key ?? old ?? now);
			this.history.add(this.table, op === 'truncate' ? null : row, [`${covered ? '(read already) ' : ''}xid ${xid}`, change]);
			if (covered) continue;
			this.#check(change, row, xid);
			try {
				this.rows.change(change);
			} catch (error) {
				throw this.finding(error.message, row, { change, xid });
			}
			if (this.mark !== null && op === 'update' && now.id === 0 && now.version >= this.mark) this.mark = null;
		}
	}

	name(row) {
		return row && this.rows.key ? JSON.stringify(this.rows.key.map((name) => row[name])) : canonical(row);
	}

	finding(message, row, facts) {
		return new Finding(`${this.table}: ${message}`, { row, rows: this.source, ...facts, messages: this.history.about(this.table, row) });
	}

	#check(change, name, xid) {
		const { op, key, old, new: now } = change;
		if (op === 'truncate') return;
		// An equal row must be held in a bag; that the rows check themselves.
		if (!this.rows.key) return;
		const named = this.rows.key.filter((column) => canonical(key[column]) !== canonical((now ?? old)[column]));
		if (named.length > 0) throw this.finding(`${op} under a key that is not its row's: ${named}`, name, { expected: now ?? old, change, xid });
		const held = op === 'insert' ? this.rows.held(now) : this.rows.held(old ?? now, now ?? old);
		if (op === 'insert') {
			if (held !== undefined) throw this.finding('inserted, but held already', name, { expected: 'no row', held, change, xid });
			return;
		}
		if (held === undefined) throw this.finding(`${op} of a row that is not held`, name, { expected: old, held: 'no row', change, xid });
		const other = Object.keys(old ?? {}).filter((column) => column in held && canonical(held[column]) !== canonical(old[column]));
		if (other.length > 0) throw this.finding(`${op} of a row that was another before: ${other}`, name, { expected: old, held, change, xid });
		const unsaid = op === 'update' ? Object.keys(now).filter((column) => column in held && !(column in (old ?? {})) && canonical(held[column]) !== canonical(now[column])) : [];
		if (unsaid.length > 0) throw this.finding(`an update that does not say what was before: ${unsaid}`, name, { expected: `old with ${unsaid}`, held, change, xid });
		if (op === 'update' && versioned.has(this.table) && now.version <= held.version) {
			throw this.finding('an update that is not newer', name, { expected: `a version above ${held.version}`, held, change, xid });
		}
	}
}
