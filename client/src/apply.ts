// Mirror: what a subscription's rows are now, by section 6 of the protocol. Pure: no sockets, no clocks; the only
// input is the messages. Works on whole messages of one subscription, or on single changes of a table's handle.

import { origins } from './columns.js';
import { Progress } from './progress.js';
import type {
	Column, Numbers, Operation, Row, RowsMessage, ServerMessage, SubscribedMessage, TransactionMessage,
	UnsubscribedMessage,
} from './protocol.js';

/** The part of a change that a mirror needs; both wire changes and those of a table's handle have it. */
export interface ApplicableChange {
	op: Operation | 'message';
	key?: Row | null;
	new?: Row | null;
	old?: Row | null;
}

export interface MirrorOptions {
	/** Take only what names this subscription; all that comes when absent. */
	id?: string;
	/** As asked for in the subscription. Under `json`, keys beyond 2^53 cannot be told apart: see `inexact`. */
	numbers?: Numbers;
	/** As asked for in the subscription: rows follow `subscribed`, and every reset. */
	snapshot?: boolean;
}

interface BagEntry {
	row: Row;
	count: number;
}

export class Mirror {
	readonly #id: string | undefined;
	readonly #numbers: Numbers;
	#key: string[] | null = null;
	#columns: Column[] | null = null;
	readonly #progress: Progress;
	#inexact = false;
	#missing: string | null = null;
	// Since the connection was made, or made again.
	#begun = false;
	#byKey = new Map<string, Row>();
	#bag = new Map<string, BagEntry>();
	#bagSize = 0;
	#parts: ApplicableChange[] = [];
	#catchup: string | null = null;

	constructor(options: MirrorOptions = {}) {
		this.#id = options.id;
		this.#numbers = options.numbers ?? 'json';
		this.#progress = new Progress({ snapshot: options.snapshot === true });
	}

	/** Names of the key columns; null when the rows are a bag. */
	get key(): readonly string[] | null {
		return this.#key;
	}

	get columns(): readonly Column[] | null {
		return this.#columns;
	}

	/** What `since` takes, when whole messages are fed; the handle of a subscription has its own. */
	get position(): string | null {
		return this.#progress.position;
	}

	/**
	 * Why the rows must be read anew: a reset, or a new definition of the table that does not tell a renamed column from
	 * one dropped and another added. What was held is void then. Null again once `put` has put the last row.
	 */
	get missing(): string | null {
		return this.#missing;
	}

	/** True once a key was a number too large for JavaScript: rows may have been mixed up. Use `numbers: 'text'`. */
	get inexact(): boolean {
		return this.#inexact;
	}

	get size(): number {
		return this.#key === null ? this.#bagSize : this.#byKey.size;
	}

	/** All rows held, in no particular order; an equal row of a bag as often as it is there. */
	rows(): Row[] {
		if (this.#key !== null) return [...this.#byKey.values()];
		return [...this.#bag.values()].flatMap(({ row, count }) => Array<Row>(count).fill(row));
	}

	/** The row with this key (`{id: 7}`; other columns are ignored), if there is a key and such a row. */
	get(key: Row): Row | undefined {
		return this.#key === null ? undefined : this.#byKey.get(this.#keyOf(key));
	}

	/** Takes a message as it came from the server. Those of other subscriptions, and of other types, do nothing. */
	apply(message: ServerMessage): void {
		switch (message.type) {
			case 'subscribed': return this.#concerns(message.id) ? this.subscribed(message) : undefined;
			case 'rows': return this.#concerns(message.id) ? this.put(message) : undefined;
			case 'reset': return this.#concerns(message.id) ? this.reset(message) : undefined;
			case 'unsubscribed': return this.#concerns(message.id) ? this.unsubscribed(message) : undefined;
			case 'transaction': return this.transaction(message);
			case 'position': if (this.#begun) this.#progress.told(message.position);
		}
	}

	/** The connection is gone: an unfinished transaction is dropped. The next `subscribed` says whether it was resumed. */
	disconnected(): void {
		this.#dropParts();
		this.#begun = false;
		this.#progress.lost();
	}

	subscribed(message: Pick<SubscribedMessage, 'key' | 'columns'> & { position?: string | null; resumed?: boolean | null }): void {
		const key = message.key ?? null;
		const columns = message.columns ?? [];
		if (this.#begun || (message.resumed === true && this.#columns !== null)) {
			this.#reshape(key, columns);
		} else {
			const rows = message.resumed === true ? this.rows() : [];
			this.#clear();
			this.#key = key;
			this.#columns = columns;
			for (const row of rows) this.#add(row);
		}
		if (message.resumed === true) this.#progress.resumed();
		else if (!this.#begun && message.resumed !== false) this.#progress.begun(message.position ?? null);
		this.#begun = true;
	}

	/** Rows of a snapshot, or read elsewhere; `more` when others follow. */
	put(message: Pick<RowsMessage, 'rows' | 'more' | 'position'>): void {
		for (const row of message.rows) this.#add(row);
		if (message.more === true) return;
		this.#missing = null;
		this.#progress.filled(message.position ?? null);
	}

	transaction(message: TransactionMessage): void {
		for (const change of message.changes) {
			if (this.#id === undefined || change.ids.includes(this.#id)) this.#parts.push(change);
		}
		this.#catchup = message.catchup ?? this.#catchup;
		if (message.more === true) return;
		const changes = this.#parts;
		const catchup = this.#catchup;
		this.#dropParts();
		for (const change of changes) this.change(change);
		if (!this.#begun) return;
		const position = message.position ?? null;
		if (catchup === null) this.#progress.applied(position, changes.length > 0);
		else if (this.#concerns(catchup)) this.#progress.caughtUpTo(position);
	}

	/** One change. Whoever calls this keeps a transaction's changes together. */
	change(change: ApplicableChange): void {
		switch (change.op) {
			case 'insert':
				if (change.new) this.#add(change.new);
				return;
			case 'update':
				if (change.new) this.#update(change.old ?? undefined, change.new);
				return;
			case 'delete':
				if (this.#key === null) this.#take(change.old ?? {});
				else this.#byKey.delete(this.#keyOf(change.key ?? change.old ?? {}));
				return;
			case 'truncate':
				this.#clear();
				this.#missing = null;
		}
	}

	reset(message: { reason?: string; position?: string | null }): void {
		this.#clear();
		this.#missing = message.reason ?? 'the server sent a reset';
		this.#progress.reset(message.position ?? null);
	}

	unsubscribed(_message?: UnsubscribedMessage): void {
		this.#clear();
		this.#missing = null;
		this.#progress.forget();
		this.#begun = false;
	}

	#dropParts(): void {
		this.#parts = [];
		this.#catchup = null;
	}

	#concerns(id: string): boolean {
		return this.#id === undefined || this.#id === id;
	}

	#clear(): void {
		this.#byKey.clear();
		this.#bag.clear();
		this.#bagSize = 0;
	}

	#add(row: Row): void {
		if (this.#key !== null) {
			this.#byKey.set(this.#keyOf(row), row);
			return;
		}
		const text = canonical(row);
		const entry = this.#bag.get(text);
		if (entry === undefined) this.#bag.set(text, { row, count: 1 });
		else entry.count += 1;
		this.#bagSize += 1;
	}

	#take(row: Row): void {
		const text = canonical(row);
		const entry = this.#bag.get(text);
		if (entry === undefined) return;
		this.#bagSize -= 1;
		entry.count -= 1;
		if (entry.count === 0) this.#bag.delete(text);
	}

	#update(old: Row | undefined, row: Row): void {
		if (this.#key === null) {
			if (old !== undefined) this.#take(old);
			this.#add(row);
			return;
		}
		const before = this.#keyOf(old ?? row, row);
		const former = this.#byKey.get(before);
		this.#byKey.delete(before);
		this.#byKey.set(this.#keyOf(row), former === undefined ? row : { ...former, ...row });
	}

	/** The key's values as text, each from `row` where it has the column and else from `otherwise`. */
	#keyOf(row: Row, otherwise?: Row): string {
		const values = (this.#key ?? []).map((name) => {
			const value = Object.hasOwn(row, name) ? row[name] : otherwise?.[name];
			if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
				this.#inexact ||= this.#numbers === 'json';
			}
			return value ?? null;
		});
		return canonical(values);
	}

	// The table's definition changed: what is gone is forgotten, and what is new is null.
	#reshape(key: string[] | null, columns: Column[]): void {
		const former = { key: this.#key, columns: this.#columns ?? [] };
		const rows = this.rows();
		this.#key = key;
		this.#columns = columns;
		const names = (of: Column[]): string[] => of.map(({ name }) => name);
		if (canonical([former.key, names(former.columns)]) === canonical([key, names(columns)])) return;
		const from = origins(former, { key, columns });
		this.#clear();
		if (from === null && rows.length > 0) {
			this.#missing = 'a column was renamed, or dropped and another added: it cannot be told which';
			return;
		}
		for (const row of rows) {
			this.#add(Object.fromEntries(columns.map(({ name }, i) => {
				const source = from?.[i] ?? null;
				return [name, source !== null && Object.hasOwn(row, source) ? row[source]! : null];
			})));
		}
	}
}

/** Text that is equal exactly when the values are, whatever the order of an object's members. */
export function canonical(value: unknown): string {
	if (Object.is(value, -0)) return '-0';
	if (typeof value !== 'object' || value === null) return JSON.stringify(value);
	if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
	const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
	return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`;
}
