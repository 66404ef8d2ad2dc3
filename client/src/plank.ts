// The connection as an application sees it: tables, channels, transactions, requests. Routes what comes from the
// server to the subscriptions, and subscribes all of them again after a reconnect.

import { canonical } from './apply.js';
import {
	Connection, type ConnectionOptions, type ConnectionState, type ConnectionStatus,
} from './connection.js';
import { Code, PlankError } from './errors.js';
import { Emitter, throwLater } from './events.js';
import type {
	AuthenticatedMessage, ChannelOptions, ErrorMessage, Numbers, ServerMessage, TableInfo, TableOptions, TransactionMessage, UnsubscribedMessage,
	WelcomeMessage,
} from './protocol.js';
import { Requests } from './requests.js';
import { LiveRows, type RowsOptions } from './rows.js';
import { Subscription, type Wanted } from './subscription.js';
import { Assembler, type Transaction } from './transaction.js';
import { Channel, Table, Watch, type ChannelEvents, type TableEvents } from './watch.js';

export interface ConnectOptions extends ConnectionOptions {
	/** `text`: bigint and numeric arrive as strings, with every digit. For all subscriptions that do not say. */
	numbers?: Numbers;
}

export interface PlankEvents {
	/** The connection's state, or the reason for it, has changed. */
	state: ConnectionStatus;
	/** Who the server is, and as which role it sees this client. Once per connection. */
	welcome: WelcomeMessage;
	/** A whole transaction, before its changes go to the handles. */
	transaction: Transaction;
	/** The server has taken another token. */
	authenticated: AuthenticatedMessage;
	/** What no handle has heard: errors of the server, and exceptions of listeners. */
	error: unknown;
}

/** A connection to Plank that comes back when it is lost. Made by `connect`. */
export class Plank extends Emitter<PlankEvents> {
	readonly #connection: Connection;
	readonly #numbers: Numbers;
	readonly #renewsToken: boolean;
	readonly #requests: Requests;
	readonly #assembler = new Assembler();
	readonly #subscriptions = new Set<Subscription>();
	readonly #byId = new Map<string, Subscription>();
	#lastId = 0;
	#welcome: WelcomeMessage | null = null;
	#lastUnheard: PlankError | null = null;
	#inErrorListener = false;

	/** @internal */
	constructor(url: string | URL, options: ConnectOptions) {
		super((error) => this.#threw(error));
		this.#numbers = options.numbers ?? 'json';
		if (this.#numbers !== 'json' && this.#numbers !== 'text') {
			throw new PlankError({ code: Code.invalidArgument, message: 'numbers must be "json" or "text"' });
		}
		this.#renewsToken = typeof options.token === 'function';
		this.#connection = new Connection(url, options, {
			opened: () => this.#opened(),
			message: (message) => this.#received(message),
			lost: (error, final) => this.#lost(error, final),
			status: (status) => this.emit('state', status),
			problem: (error) => this.#unheard(error),
		});
		this.#requests = new Requests((message) => this.#connection.send(message));
	}

	/** The address in use, as `ws:` or `wss:`. */
	get url(): string {
		return this.#connection.url;
	}

	get state(): ConnectionState {
		return this.#connection.status.state;
	}

	/** The state with its reason. */
	get status(): ConnectionStatus {
		return this.#connection.status;
	}

	/** The server's greeting on the present connection, with the role as it is now. */
	get welcome(): WelcomeMessage | null {
		return this.#welcome;
	}

	/** A table by its SQL name (`items`, `sales.orders`, `"My Table"`). Nothing is sent before the first listener. */
	table(name: string, options: TableOptions & RowsOptions = {}): Table {
		const { since = null, orderBy, limit, maxRows, ...rest } = options;
		const wanted: Wanted = { table: name, ...rest };
		if (wanted.numbers === undefined && this.#numbers === 'text') wanted.numbers = 'text';
		if (wanted.numbers === 'json') delete wanted.numbers;
		return new Table(() => this.#join<TableEvents>(wanted, since), (listener) => {
			if (since !== null || wanted.events !== undefined) {
				throw new PlankError({
					code: Code.invalidArgument, message: `rows cannot be had with "${since === null ? 'events' : 'since'}"`,
				});
			}
			return new LiveRows<unknown>({
				join: () => this.#join<TableEvents>({ ...wanted, snapshot: true }, null, true),
				numbers: wanted.numbers ?? 'json',
				threw: (error) => this.#threw(error),
				unheard: (error) => this.#unheard(error),
			}, { ...(orderBy !== undefined && { orderBy }), ...(limit !== undefined && { limit }), ...(maxRows !== undefined && { maxRows }) }, listener);
		});
	}

	/** A channel that the database exposes. */
	channel(name: string, { since = null }: ChannelOptions = {}): Channel {
		return new Channel(() => this.#join<ChannelEvents>({ channel: name }, since));
	}

	/** The tracked tables that the role may read. Waits for the connection. */
	async tables(): Promise<TableInfo[]> {
		const answer = await this.#requests.ask({ type: 'tables' }, 'tables', true);
		return answer.tables;
	}

	/** Milliseconds for one round trip. Rejects when there is no connection. */
	async ping(): Promise<number> {
		const begun = this.#connection.now();
		await this.#requests.ask({ type: 'ping' }, 'pong', false);
		return this.#connection.now() - begun;
	}

	/** While reconnecting: tries now and not after the delay. */
	reconnect(): void {
		this.#connection.retryNow();
	}

	/** Ends everything. The object cannot be used again. */
	close(): void {
		this.#connection.close('closed by the application');
	}

	#join<Events extends TableEvents | ChannelEvents>(wanted: Wanted, since: string | null, quiet = false): Watch<Events> {
		const watch = new Watch<Events>((error) => this.#threw(error));
		if (this.state === 'closed') {
			const error = new PlankError({ code: Code.connectionClosed, message: 'the connection is closed' });
			watch.ended(error);
			return watch;
		}
		let subscription = since === null ? this.#findShared(wanted) : undefined;
		if (subscription === undefined) {
			subscription = new Subscription(wanted, {
				abandoned: (which) => this.#leave(which),
				unheard: (error) => this.#unheard(error),
				renewsToken: this.#renewsToken,
			}, since, quiet);
			this.#subscriptions.add(subscription);
			this.#send(subscription);
		}
		subscription.join(watch as unknown as Watch<TableEvents> | Watch<ChannelEvents>);
		return watch;
	}

	// A snapshot belongs to the one handle that asked for it: who comes later would miss its rows.
	#findShared(wanted: Wanted): Subscription | undefined {
		if ('snapshot' in wanted && wanted.snapshot === true) return undefined;
		const text = canonical(wanted);
		for (const subscription of this.#subscriptions) {
			if (subscription.text === text && subscription.open) return subscription;
		}
		return undefined;
	}

	#send(subscription: Subscription): void {
		const id = `s${this.#lastId + 1}`;
		const since = subscription.asked();
		const message = { type: 'subscribe' as const, id, ...subscription.wanted, ...(since !== null && { since }) };
		if (!this.#connection.send(message)) return;
		this.#lastId += 1;
		subscription.id = id;
		this.#byId.set(id, subscription);
	}

	#leave(subscription: Subscription): void {
		this.#forget(subscription);
		if (subscription.id !== null) this.#connection.send({ type: 'unsubscribe', id: subscription.id });
	}

	#forget(subscription: Subscription): void {
		this.#subscriptions.delete(subscription);
		if (subscription.id !== null) this.#byId.delete(subscription.id);
	}

	#opened(): void {
		for (const subscription of this.#subscriptions) this.#send(subscription);
		this.#requests.opened();
	}

	#lost(error: PlankError, final: boolean): void {
		this.#assembler.clear();
		this.#byId.clear();
		this.#welcome = null;
		this.#requests.lost(error, final);
		for (const subscription of [...this.#subscriptions]) {
			subscription.lost(error);
			if (!final) continue;
			this.#subscriptions.delete(subscription);
			subscription.closed(error, error.code === Code.connectionClosed);
		}
	}

	#received(message: ServerMessage): void {
		switch (message.type) {
			case 'welcome':
				this.#welcome = message;
				this.emit('welcome', message);
				return;
			case 'authenticated':
				if (this.#welcome !== null) this.#welcome = { ...this.#welcome, role: message.role };
				// What another role or other claims have ended.
				for (const subscription of this.#subscriptions) if (subscription.id === null) this.#send(subscription);
				this.emit('authenticated', message);
				return;
			case 'subscribed':
				this.#byId.get(message.id)?.subscribed(message);
				return;
			case 'rows':
				this.#byId.get(message.id)?.rows(message);
				return;
			case 'transaction':
				this.#transaction(message);
				return;
			case 'position':
				for (const subscription of [...this.#byId.values()]) subscription.told(message.position);
				return;
			case 'reset':
				this.#byId.get(message.id)?.reset(message.reason, message.position ?? null);
				return;
			case 'unsubscribed':
				this.#unsubscribed(message);
				return;
			case 'tables':
			case 'pong':
				this.#requests.answered(message);
				return;
			case 'error':
				this.#error(message);
		}
	}

	#transaction(message: TransactionMessage): void {
		const assembled = this.#assembler.add(message);
		if (assembled === null) return;
		const { transaction, ids, catchup } = assembled;
		const seen = transaction.changes.filter((_, i) => ids[i]?.some((id) => this.#byId.has(id)));
		const silent = catchup !== null && this.#byId.get(catchup)?.quiet === true;
		if (seen.length > 0 && !silent) this.emit('transaction', { ...transaction, changes: seen });
		const named = new Set<string>();
		transaction.changes.forEach((change, i) => {
			for (const id of ids[i] ?? []) {
				named.add(id);
				this.#byId.get(id)?.changed(change);
			}
		});
		// Nothing is here any more when a listener has closed the connection in between: the position stays before it.
		const { position } = transaction;
		if (catchup !== null) this.#byId.get(catchup)?.caughtUpTo(position);
		else for (const [id, subscription] of [...this.#byId]) subscription.applied(position, named.has(id));
	}

	#unsubscribed(message: UnsubscribedMessage): void {
		const subscription = this.#byId.get(message.id);
		// Those that the application ended are forgotten already.
		if (subscription === undefined) return;
		const { code, message: text, detail, hint } = message;
		const reason = text ?? 'the server ended the subscription';
		const error = new PlankError({ code: code ?? Code.connectionClosed, message: reason, detail, hint });
		if (code === Code.notAuthenticated && this.#renewsToken) {
			this.#byId.delete(message.id);
			subscription.suspended(error);
			return;
		}
		this.#forget(subscription);
		subscription.end(error);
	}

	#error(message: ErrorMessage): void {
		const error = new PlankError(message);
		if (message.id === null || message.id === undefined) {
			this.#unheard(error);
			return;
		}
		const subscription = this.#byId.get(message.id);
		if (subscription !== undefined && subscription.canAskWithout(error)) {
			this.#byId.delete(message.id);
			this.#send(subscription);
		} else if (subscription !== undefined) {
			subscription.refused(error);
			if (subscription.ended) this.#forget(subscription);
		} else if (!this.#requests.failed(message.id, error) && !/^s\d+$/.test(message.id)) {
			this.#unheard(error);
		}
	}

	#threw(error: unknown): void {
		// A listener for errors that throws itself must not be called for that.
		if (this.#inErrorListener || !this.#tellError(error)) throwLater(error);
	}

	#unheard(error: PlankError): void {
		// One error that ends all subscriptions is told once.
		if (error === this.#lastUnheard) return;
		this.#lastUnheard = error;
		if (!this.#tellError(error)) console.error(error);
	}

	#tellError(error: unknown): boolean {
		this.#inErrorListener = true;
		try {
			return this.emit('error', error);
		} finally {
			this.#inErrorListener = false;
		}
	}
}

/** Connects to a Plank server: `connect('http://localhost:8432')`. */
export function connect(url: string | URL, options: ConnectOptions = {}): Plank {
	return new Plank(url, options);
}
