// The messages of `plank.v1` as they stand on the wire, and how a frame is read. No behaviour beyond that.

export const SUBPROTOCOL = 'plank.v1';

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
/** A row, or the key of one: column name to value. */
export type Row = { [column: string]: Json };

export type Operation = 'insert' | 'update' | 'delete' | 'truncate';
export type Numbers = 'json' | 'text';

export interface Column {
	name: string;
	type: string;
}

// ---- client to server ------------------------------------------------------------------------------------------

/** What a subscription to a table may ask for. What a server does not support yet, it refuses with 0A000. */
export interface TableOptions {
	/** Only these operations; all four when absent. */
	events?: Operation[];
	/** Only these columns, by exact name (the key comes along always). */
	columns?: string[];
	/** A condition over the row, as in SQL. */
	where?: string;
	/** Ask for the rows as they are now before the changes. */
	snapshot?: boolean;
	/** `text`: bigint and numeric arrive as strings, with every digit. Overrides the connection's choice. */
	numbers?: Numbers;
	/** A position that was reached before: what was committed after it comes first, or a reset. */
	since?: string | null;
}

/** What a subscription to a channel may ask for. */
export type ChannelOptions = Pick<TableOptions, 'since'>;

export interface SubscribeTable extends Omit<TableOptions, 'since'> {
	type: 'subscribe';
	id: string;
	table: string;
	since?: string;
}

export interface SubscribeChannel {
	type: 'subscribe';
	id: string;
	channel: string;
	since?: string;
}

export type ClientMessage =
	| SubscribeTable
	| SubscribeChannel
	| { type: 'unsubscribe'; id: string }
	| { type: 'auth'; token: string }
	| { type: 'tables'; id?: string }
	| { type: 'ping'; id?: string };

// ---- server to client ------------------------------------------------------------------------------------------

export interface WelcomeMessage {
	type: 'welcome';
	protocol: string;
	server: string;
	session: string;
	/** The database role this client acts as; null when the server wants a token first. */
	role: string | null;
}

/** The answer to a token that was renewed. */
export interface AuthenticatedMessage {
	type: 'authenticated';
	id?: string;
	role: string;
	expires_at: string;
}

export interface SubscribedMessage {
	type: 'subscribed';
	id: string;
	table?: string;
	channel?: string;
	/** Names of the key columns; null when the table has no key. */
	key?: string[] | null;
	columns?: Column[];
	position?: string;
	resumed?: boolean;
}

export interface RowsMessage {
	type: 'rows';
	id: string;
	rows: Row[];
	more?: boolean;
	position?: string;
}

/** One row's change, as a subscription sees it. */
export interface WireTableChange {
	ids: string[];
	table: string;
	op: Operation;
	key?: Row | null;
	new?: Row;
	old?: Row;
	/** `update` when an update moved the row into or out of what the subscription sees. */
	cause?: string;
}

export interface WireChannelChange {
	ids: string[];
	channel: string;
	op: 'message';
	payload: Json;
}

export type WireChange = WireTableChange | WireChannelChange;

export interface TransactionMessage {
	type: 'transaction';
	xid: string | null;
	position?: string;
	committed_at?: string;
	more?: boolean;
	catchup?: string;
	changes: WireChange[];
}

export interface ResetMessage {
	type: 'reset';
	id: string;
	reason: string;
	position?: string;
}

export interface UnsubscribedMessage {
	type: 'unsubscribed';
	id: string;
	code: string | null;
	message: string | null;
	detail?: string | null;
	hint?: string | null;
}

export interface ErrorMessage {
	type: 'error';
	id: string | null;
	code: string;
	message: string;
	detail?: string | null;
	hint?: string | null;
}

/** A tracked table that the role may read. */
export interface TableInfo {
	table: string;
	key: string[] | null;
	columns: Column[];
}

export type ServerMessage =
	| WelcomeMessage
	| SubscribedMessage
	| RowsMessage
	| TransactionMessage
	| ResetMessage
	| UnsubscribedMessage
	| ErrorMessage
	| { type: 'position'; position: string }
	| AuthenticatedMessage
	| { type: 'tables'; id?: string; tables: TableInfo[] }
	| { type: 'pong'; id?: string };

/** Reads one frame: one message, or an array of messages in order. Throws when it is neither. */
export function parseFrame(frame: unknown): ServerMessage[] {
	if (typeof frame !== 'string') throw new TypeError('a frame of the server is not text');
	const messages: unknown[] = [JSON.parse(frame) as unknown].flat();
	for (const message of messages) {
		if (typeof message !== 'object' || message === null || typeof (message as ServerMessage).type !== 'string') {
			throw new TypeError('a message of the server has no type');
		}
	}
	return messages as ServerMessage[];
}
