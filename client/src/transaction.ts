// Puts the parts of a transaction together. An unfinished one never leaves this file.

import type {
	Json, Operation, Row, TransactionMessage, WireChange, WireTableChange,
} from './protocol.js';

/** What is known of the transaction a change belongs to. */
export interface TransactionFacts {
	/** Decimal text; null for a plain NOTIFY, which has no transaction of its own to name. */
	xid: string | null;
	/** When it was committed, ISO 8601 in UTC with microseconds. */
	committed_at: string | null;
	position: string | null;
}

/** One row's change. */
export interface Change extends TransactionFacts {
	op: Operation;
	table: string;
	/** The key as it is now; null when the table has none. */
	key: Row | null;
	/** insert, update: the row as it is now. */
	new: Row | null;
	/** delete: the row as it was. update: the key and the former values of what changed. */
	old: Row | null;
	/** `update` when an update moved the row into or out of what the subscription sees. */
	cause: string | null;
}

/** An application event: sent with plank.send() or NOTIFY. */
export interface ChannelMessage extends TransactionFacts {
	op: 'message';
	channel: string;
	payload: Json;
}

/** All of one committed transaction that this connection's subscriptions see, in the order it was made. */
export interface Transaction extends TransactionFacts {
	changes: (Change | ChannelMessage)[];
}

/** A transaction with, beside each change, the subscriptions it is for. */
export interface AssembledTransaction {
	transaction: Transaction;
	ids: string[][];
	/** Set when it belongs to the catching up of that one subscription. */
	catchup: string | null;
}

export class Assembler {
	#changes: WireChange[] = [];
	#first: TransactionMessage | null = null;

	/** The whole transaction once its last part is there; null until then. */
	add(part: TransactionMessage): AssembledTransaction | null {
		const first = (this.#first ??= part);
		if (part.more === true) {
			for (const change of part.changes) this.#changes.push(change);
			return null;
		}
		const changes = this.#changes.length === 0 ? part.changes : this.#changes.concat(part.changes);
		this.clear();
		// The position stands on the last part; the rest on any of them.
		const facts: TransactionFacts = {
			xid: part.xid ?? first.xid ?? null,
			committed_at: part.committed_at ?? first.committed_at ?? null,
			position: part.position ?? null,
		};
		return {
			transaction: { ...facts, changes: changes.map((change) => fromWire(change, facts)) },
			ids: changes.map((change) => change.ids),
			catchup: part.catchup ?? first.catchup ?? null,
		};
	}

	clear(): void {
		this.#changes = [];
		this.#first = null;
	}
}

function fromWire(change: WireChange, facts: TransactionFacts): Change | ChannelMessage {
	if (change.op === 'message') {
		return { op: 'message', channel: change.channel, payload: change.payload, ...facts };
	}
	const row: WireTableChange = change;
	return {
		op: row.op,
		table: row.table,
		key: row.key ?? null,
		new: row.new ?? null,
		old: row.old ?? null,
		cause: row.cause ?? null,
		...facts,
	};
}
