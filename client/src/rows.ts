// Live rows: what a table's condition selects, kept right from the snapshot on, as an ordered array. A Mirror does the
// applying; this file orders, cuts to the limit, and tells the application once for what came together.

import { Mirror, type ApplicableChange } from './apply.js';
import { Code, PlankError } from './errors.js';
import { Emitter, type ThrowHandler } from './events.js';
import { merge, orderTerms, rowComparison, type Comparison, type OrderBy } from './order.js';
import type { Numbers, Row, TableOptions } from './protocol.js';
import type { TableEvents, Watch } from './watch.js';

/** `loading` until all rows are there, and again while what is shown may be out of date; `error` is final. */
export type RowsState = 'loading' | 'live' | 'error';

export interface RowsOptions {
	/** By the key when absent. */
	orderBy?: OrderBy | readonly OrderBy[];
	/** At most so many rows are handed on; all are held, so that the next one is there when one goes. */
	limit?: number;
	/** More rows than this end in an error with code 53400, and not in a client without memory. */
	maxRows?: number;
}

/** What `table(name, options)` takes when its `rows` are asked for. */
export type LiveOptions = Pick<TableOptions, 'where' | 'columns' | 'numbers'> & RowsOptions;

export interface RowsInfo {
	state: RowsState;
	/** Why it is so; null when all is well. In `loading`: what delays it. */
	error: PlankError | null;
	/** How many rows there are without the limit. */
	total: number;
	/** Names of the key columns; null when the table has none, or before the server has said. */
	key: readonly string[] | null;
	/** A key was a number too large for JavaScript, so rows may have been mixed up: use `numbers: 'text'`. */
	inexact: boolean;
}

export type RowsListener<T = Row> = (rows: readonly T[], info: RowsInfo) => void;

export interface RowsEvents {
	/** The state, or the error, has changed. */
	state: RowsInfo;
	error: PlankError;
}

/** @internal */
export interface RowsOwner {
	join(): Watch<TableEvents>;
	numbers: Numbers;
	threw: ThrowHandler;
	unheard(error: PlankError): void;
}

/** The handle that `table.rows` returns. */
export class LiveRows<T = Row> extends Emitter<RowsEvents> {
	readonly #owner: RowsOwner;
	readonly #terms;
	readonly #limit: number;
	readonly #maxRows: number;
	readonly #listener: RowsListener<T> | undefined;
	#watch!: Watch<TableEvents>;
	#mirror!: Mirror;
	#comparison: Comparison<Row> = () => 0;
	#state: RowsState = 'loading';
	#error: PlankError | null = null;
	#ended = false;
	// All rows in order, as of the last flush, and the part of them that is shown: new arrays, never changed.
	#sorted: readonly Row[] = [];
	#shown: readonly Row[] = [];
	#total = 0;
	// What has changed since: null when everything must be ordered anew.
	#gone: Set<Row> | null = null;
	#come: Set<Row> = new Set();
	#flushing = false;

	/** @internal */
	constructor(owner: RowsOwner, options: RowsOptions, listener: RowsListener<T> | undefined) {
		super(owner.threw);
		this.#owner = owner;
		this.#terms = orderTerms(options.orderBy);
		this.#limit = count('limit', options.limit);
		this.#maxRows = count('maxRows', options.maxRows);
		this.#listener = listener;
		this.#begin();
	}

	/** The rows as last handed on: the same array until something changes. While `loading` again, those from before. */
	get rows(): readonly T[] {
		return this.#shown as readonly unknown[] as readonly T[];
	}

	get state(): RowsState {
		return this.#state;
	}

	get error(): PlankError | null {
		return this.#error;
	}

	get info(): RowsInfo {
		return {
			state: this.#state, error: this.#error, total: this.#total, key: this.#mirror.key, inexact: this.#mirror.inexact,
		};
	}

	/** Ends it. Nothing is called after this. */
	unsubscribe(): void {
		this.#ended = true;
		this.#watch.unsubscribe();
	}

	#begin(): void {
		const mirror = new Mirror({ numbers: this.#owner.numbers, snapshot: true });
		const watch = this.#owner.join();
		this.#mirror = mirror;
		this.#watch = watch;
		this.#gone = null;
		// Whole again at the last rows, or when a resume left nothing out.
		let whole = false;
		watch.whole = (filled) => {
			if (filled) mirror.put({ rows: [] });
			whole ||= filled;
			if (whole) this.#changed();
		};
		watch.lost = (error) => {
			if (this.#ended) return;
			mirror.disconnected();
			this.#become(error === null ? 'loading' : 'error', error);
		};
		watch.on('subscribed', (message) => {
			const missing = mirror.missing;
			mirror.subscribed(message);
			this.#comparison = rowComparison(this.#terms, mirror.key, mirror.columns ?? []);
			this.#gone = null;
			if (message.resumed === false) return;
			// The table has another shape, and what is held cannot be carried over: nobody but us knows that.
			if (missing === null && mirror.missing !== null) this.#again();
			else if (whole) this.#changed();
		}).on('rows', (rows) => {
			this.#gone = null;
			mirror.put({ rows, more: true });
			this.#checkSize();
		}).on('reset', (message) => {
			whole = false;
			this.#gone = null;
			mirror.reset(message);
			this.#become('loading', null);
		}).on('change', (change) => this.#apply(change)).on('error', (error) => this.#failed(error));
		if (watch.state === 'ended') {
			// The connection was closed before: told afterwards, so that the caller can still add listeners.
			watch.ready.catch((error: PlankError) => this.#failed(error));
		}
	}

	#again(): void {
		this.#watch.unsubscribe();
		this.#become('loading', null);
		this.#begin();
	}

	#apply(change: ApplicableChange): void {
		const mirror = this.#mirror;
		if (this.#gone === null || mirror.key === null || change.op === 'truncate') {
			this.#gone = null;
			mirror.change(change);
		} else {
			const before = mirror.get({ ...change.key, ...change.new, ...change.old });
			const overwritten = change.new ? mirror.get(change.new) : undefined;
			mirror.change(change);
			for (const row of [before, overwritten]) {
				if (row === undefined) continue;
				this.#gone.add(row);
				this.#come.delete(row);
			}
			const after = change.new ? mirror.get(change.new) : undefined;
			if (after !== undefined) this.#come.add(after);
		}
		this.#checkSize();
	}

	#checkSize(): void {
		if (this.#mirror.size <= this.#maxRows || this.#ended) return;
		this.#watch.unsubscribe();
		this.#failed(new PlankError({
			code: Code.limitReached,
			message: `more than ${this.#maxRows} rows`,
			hint: 'Narrow them with "where", or raise "maxRows".',
		}));
	}

	// Once for all that came together: a burst of transactions that the server sent in one frame is one call.
	#changed(): void {
		if (this.#flushing) return;
		this.#flushing = true;
		queueMicrotask(() => {
			this.#flushing = false;
			if (this.#ended || this.#mirror.missing !== null || this.#watch.state !== 'live') return;
			this.#order();
			this.#become('live', null);
			if (this.#ended) return;
			try {
				this.#listener?.(this.rows, this.info);
			} catch (error) {
				this.#owner.threw(error);
			}
		});
	}

	#order(): void {
		if (this.#gone === null) {
			this.#sorted = this.#mirror.rows().sort(this.#comparison);
		} else {
			const gone = this.#gone;
			const rest = gone.size === 0 ? this.#sorted : this.#sorted.filter((row) => !gone.has(row));
			this.#sorted = merge(rest, [...this.#come].sort(this.#comparison), this.#comparison);
		}
		this.#gone = new Set();
		this.#come = new Set();
		this.#total = this.#sorted.length;
		this.#shown = this.#total > this.#limit ? this.#sorted.slice(0, this.#limit) : this.#sorted;
	}

	#failed(error: PlankError): void {
		if (this.#ended) return;
		const final = this.#watch.state === 'ended';
		if (final) {
			this.#ended = true;
			this.#sorted = this.#shown = [];
			this.#total = 0;
		}
		const heard = this.listens('state');
		this.#become(final ? 'error' : this.#state, error);
		if (!this.emit('error', error) && !heard) this.#owner.unheard(error);
	}

	#become(state: RowsState, error: PlankError | null): void {
		if (state === this.#state && error === this.#error) return;
		this.#state = state;
		this.#error = error;
		this.emit('state', this.info);
	}
}

function count(name: string, value: number | undefined): number {
	if (value === undefined) return Infinity;
	if (Number.isInteger(value) && value >= 0) return value;
	throw new PlankError({ code: Code.invalidArgument, message: `${name} must be a whole number, not ${String(value)}` });
}
