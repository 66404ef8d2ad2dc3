// What an application holds: tables, channels, and the handles that subscribing returns. The server's side of a
// subscription is in subscription.ts; several handles may share one.

import { Code, PlankError } from './errors.js';
import { Emitter, type Listener, type ThrowHandler } from './events.js';
import type { Column, Row } from './protocol.js';
import type { LiveRows, RowsListener } from './rows.js';
import type { ChannelMessage, Change } from './transaction.js';

/** `idle` before the first listener, `subscribing` until the server agrees (and again after each reconnect). */
export type WatchState = 'idle' | 'subscribing' | 'live' | 'ended';

/** What the server said about a subscription. It comes again when the table's definition changes. */
export interface Subscribed {
	/** The table's name as the server prints it; null for a channel. */
	table: string | null;
	channel: string | null;
	key: string[] | null;
	columns: Column[];
	/** Where the server began; what to store for a later resume is the handle's `position`. */
	position: string | null;
	/** After `since`: true when nothing is missing, false when `reset` follows; null when there was nothing to resume. */
	resumed: boolean | null;
}

/** Changes may be missing: rows held are void, and must be read anew. */
export interface Reset {
	reason: string;
	position: string | null;
}

export interface CommonEvents {
	subscribed: Subscribed;
	reset: Reset;
	/** The handle's `position` has moved: everything before it was handed on. */
	position: string;
	/** Refused by the server, or ended by it; the handle is `ended` afterwards unless it says `subscribing`. */
	error: PlankError;
}

export interface TableEvents extends CommonEvents {
	/** Every change, whatever its operation. */
	change: Change;
	insert: Change;
	update: Change;
	delete: Change;
	truncate: Change;
	/** Rows of a snapshot. */
	rows: Row[];
}

export interface ChannelEvents extends CommonEvents {
	message: ChannelMessage;
}

/** @internal What a handle needs of the subscription it belongs to. */
export interface Membership {
	leave(): void;
	/** What a late joiner has missed; null while the server has not agreed yet. */
	readonly agreed: Subscribed | null;
	/** Where the application said that it stands. */
	readonly since: string | null;
}

/** @internal */
export type RowsMaker = (listener: RowsListener<unknown> | undefined) => LiveRows<unknown>;

/** A handle: one listener's share in a subscription. */
export class Watch<Events extends CommonEvents> extends Emitter<Events> {
	readonly #ready: Promise<Subscribed>;
	#resolve!: (value: Subscribed) => void;
	#reject!: (error: PlankError) => void;
	#awaited = false;
	#state: WatchState = 'subscribing';
	#position: string | null = null;
	#membership: Membership | null = null;
	/** @internal After all changes of a transaction that names this handle; `filled`: after the last row of a snapshot. */
	whole: ((filled: boolean) => void) | null = null;
	/** @internal When the connection is gone, with an error when for good. */
	lost: ((error: PlankError | null) => void) | null = null;

	/** @internal */
	constructor(onThrow: ThrowHandler) {
		super(onThrow);
		this.#ready = new Promise((resolve, reject) => {
			this.#resolve = resolve;
			this.#reject = reject;
		});
		// Who does not wait for it hears of failures through `error`.
		this.#ready.catch(() => undefined);
	}

	/** Resolves when the server has promised to deliver what commits from now on; rejects when it refuses. */
	get ready(): Promise<Subscribed> {
		this.#awaited = true;
		return this.#ready;
	}

	get state(): WatchState {
		return this.#state;
	}

	/**
	 * How far this handle has come: the changes of every transaction up to here were handed on, and none of a later
	 * one. What `since` takes, and what it was told to begin with. It stays when the handle or the connection is closed;
	 * null before the server has agreed, until a snapshot is whole, and when the server ended the subscription.
	 */
	get position(): string | null {
		return this.#position;
	}

	/** Ends it. Nothing is called after this, not even for what is already under way. */
	unsubscribe(): void {
		if (this.#state === 'ended') return;
		this.#state = 'ended';
		this.#membership?.leave();
		this.#reject(new PlankError({ code: Code.connectionClosed, message: 'unsubscribed' }));
	}

	/** @internal */
	joined(membership: Membership): void {
		this.#membership = membership;
		this.#position = membership.since;
		if (membership.agreed === null) return;
		// Afterwards, so that the caller can still add listeners.
		queueMicrotask(() => {
			const { agreed } = membership;
			if (this.#state === 'subscribing' && agreed !== null) this.subscribed(agreed, agreed.position);
		});
	}

	/** @internal */
	subscribed(agreed: Subscribed, position: string | null): void {
		this.#state = 'live';
		this.#position = position;
		this.#resolve(agreed);
		this.deliver('subscribed', agreed);
	}

	/** @internal */
	moved(position: string | null): void {
		// Who joined just now is told where it begins with `subscribed`.
		if (position === this.#position || (this.#state !== 'live' && position !== null)) return;
		this.#position = position;
		if (position !== null) this.deliver('position', position);
	}

	/** @internal The connection is gone; the subscription goes on with the next. */
	interrupted(): void {
		this.#state = 'subscribing';
		this.lost?.(null);
	}

	/** @internal */
	ended(error: PlankError): void {
		this.#state = 'ended';
		this.#reject(error);
		this.lost?.(error);
	}

	/** @internal Tells whether anybody will hear of an error: a listener, or who waits for `ready`. */
	failed(error: PlankError): boolean {
		return this.deliver('error', error) || this.#awaited;
	}

	/** @internal */
	deliver<Name extends keyof CommonEvents>(event: Name, value: CommonEvents[Name]): boolean;
	/** @internal */
	deliver<Name extends keyof Events>(event: Name, value: Events[Name]): boolean;
	deliver(event: keyof Events, value: Events[keyof Events]): boolean {
		return this.emit(event, value);
	}
}

/** What tables and channels have in common. The first listener subscribes. */
export abstract class Feed<Events extends CommonEvents> {
	readonly #join: () => Watch<Events>;
	readonly #watches = new Set<Watch<Events>>();
	#own: Watch<Events> | null = null;

	/** @internal */
	constructor(join: () => Watch<Events>) {
		this.#join = join;
	}

	/** Subscribes if nothing has yet, and calls `listener` for every such event. */
	on<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this {
		this.#joinOwn().on(event, listener);
		return this;
	}

	/** Removes a listener that `on` added; the subscription itself stays until `unsubscribe`. */
	off<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this {
		this.#own?.off(event, listener);
		return this;
	}

	/** Resolves when the listeners added with `on` are promised everything that commits from now on. */
	get ready(): Promise<Subscribed> {
		return this.#joinOwn().ready;
	}

	/** The state of the listeners added with `on`. */
	get state(): WatchState {
		return this.#own?.state ?? 'idle';
	}

	/** The position of the listeners added with `on`. */
	get position(): string | null {
		return this.#own?.position ?? null;
	}

	/** Ends everything that was subscribed through this object. */
	unsubscribe(): void {
		for (const watch of this.#watches) watch.unsubscribe();
		this.#watches.clear();
		this.#own = null;
	}

	/** @internal */
	protected join(): Watch<Events> {
		for (const watch of this.#watches) if (watch.state === 'ended') this.#watches.delete(watch);
		const watch = this.#join();
		this.#watches.add(watch);
		return watch;
	}

	#joinOwn(): Watch<Events> {
		return (this.#own ??= this.join());
	}
}

/** A tracked table. */
export class Table extends Feed<TableEvents> {
	readonly #rows: RowsMaker;
	readonly #live = new Set<LiveRows<unknown>>();

	/** @internal */
	constructor(join: () => Watch<TableEvents>, rows: RowsMaker) {
		super(join);
		this.#rows = rows;
	}

	/**
	 * The rows themselves, kept right: `listener` gets all of them, in order, when they are there and after each
	 * transaction that touches them.
	 */
	rows<T = Row>(listener?: RowsListener<T>): LiveRows<T> {
		const live = this.#rows(listener as RowsListener<unknown> | undefined) as LiveRows<T>;
		for (const other of this.#live) if (other.state === 'error') this.#live.delete(other);
		this.#live.add(live as LiveRows<unknown>);
		return live;
	}

	override unsubscribe(): void {
		super.unsubscribe();
		for (const live of this.#live) live.unsubscribe();
		this.#live.clear();
	}

	/** Subscribes; `listener` gets every change. */
	subscribe(listener?: Listener<Change>): Watch<TableEvents> {
		const watch = this.join();
		return listener === undefined ? watch : watch.on('change', listener);
	}
}

/** An exposed channel. */
export class Channel extends Feed<ChannelEvents> {
	/** Subscribes; `listener` gets every message. */
	subscribe(listener?: Listener<ChannelMessage>): Watch<ChannelEvents> {
		const watch = this.join();
		return listener === undefined ? watch : watch.on('message', listener);
	}
}
