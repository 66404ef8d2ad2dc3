// One WebSocket at a time, and a new one when it is lost: state, back-off, liveness. Knows nothing of subscriptions;
// its owner learns through `hooks` when to send, what came, and when all that was in flight is void.

import { Backoff } from './backoff.js';
import { Code, PlankError } from './errors.js';
import { parseFrame, type ClientMessage, type ServerMessage } from './protocol.js';
import { expiryOf, renewalDelay } from './token.js';
import { findWebSocket, socketUrl, subprotocols, type WebSocketConstructor, type WebSocketLike } from './socket.js';

export type ConnectionState = 'connecting' | 'open' | 'reconnecting' | 'closed';

export interface ConnectionStatus {
	state: ConnectionState;
	/** Why it is so, in words; null when all is well. */
	reason: string | null;
	/** The WebSocket close code that led here, if one did. */
	closeCode: number | null;
	/** In `reconnecting`: milliseconds until the next attempt; null while it is being made. */
	retryIn: number | null;
}

export type Token = string | (() => string | null | Promise<string | null>);

/** Time, replaceable in tests. */
export interface Clock {
	now(): number;
	setTimeout(callback: () => void, ms: number): unknown;
	clearTimeout(timer: unknown): void;
}

export interface ConnectionOptions {
	token?: Token | null;
	WebSocket?: WebSocketConstructor;
	clock?: Clock;
	/** As Math.random; replaceable in tests. */
	random?: () => number;
}

export interface ConnectionHooks {
	/** The socket takes messages. Nothing that was sent before still counts. */
	opened(): void;
	message(message: ServerMessage): void;
	/** The socket is gone; `final` when no other will follow. */
	lost(error: PlankError, final: boolean): void;
	status(status: ConnectionStatus): void;
	/** Something went wrong that has no other place to be told. */
	problem(error: PlankError): void;
}

export const OPEN_WITHIN_MS = 20_000;
export const IDLE_MS = 60_000;
export const ANSWER_WITHIN_MS = 10_000;
/** A connection that lasted so long was a good one: the next loss begins with short delays again. */
export const STABLE_MS = 10_000;

const closeReasons: { [code: number]: string } = {
	1001: 'the server is stopping',
	1006: 'the connection was lost',
	1009: 'the server found a message too big',
	1013: 'the server is short of memory',
	4001: 'the token is missing, invalid or expired',
	4002: 'the server got no answer to its pings',
	4008: 'this client was too slow to take what the server sent',
};

const systemClock: Clock = {
	now: () => performance.now(),
	setTimeout: (callback, ms) => setTimeout(callback, ms),
	clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

export class Connection {
	readonly #url: string;
	readonly #token: Token | null;
	readonly #injected: WebSocketConstructor | undefined;
	readonly #clock: Clock;
	readonly #backoff: Backoff;
	readonly #hooks: ConnectionHooks;
	#status: ConnectionStatus = { state: 'connecting', reason: null, closeCode: null, retryIn: null };
	#socket: WebSocketLike | null = null;
	// Counts attempts: whatever an earlier one still has to say is ignored.
	#attempt = 0;
	#failure: string | null = null;
	#heardAt = 0;
	#retryTimer: unknown;
	#watchTimer: unknown;
	#stableTimer: unknown;
	#renewTimer: unknown;
	// What the server has said of the token on this connection: the reason for the 4001 that follows.
	#tokenError: PlankError | null = null;
	#tokenSent = false;

	constructor(url: string | URL, options: ConnectionOptions, hooks: ConnectionHooks) {
		this.#url = socketUrl(url);
		this.#token = options.token ?? null;
		if (typeof this.#token === 'string') subprotocols(this.#token);
		this.#injected = options.WebSocket;
		this.#clock = options.clock ?? systemClock;
		this.#backoff = new Backoff(options.random ?? Math.random);
		this.#hooks = hooks;
		void this.#open();
	}

	get url(): string {
		return this.#url;
	}

	get status(): ConnectionStatus {
		return this.#status;
	}

	now(): number {
		return this.#clock.now();
	}

	/** False when there is no open socket: the owner sends what it still wants after `opened`. */
	send(message: ClientMessage): boolean {
		if (this.#socket === null || this.#socket.readyState !== 1) return false;
		this.#socket.send(JSON.stringify(message));
		return true;
	}

	/** Ends a wait for the next attempt. Does nothing in any other state. */
	retryNow(): void {
		if (this.#status.state !== 'reconnecting' || this.#status.retryIn === null) return;
		this.#clock.clearTimeout(this.#retryTimer);
		void this.#open();
	}

	close(reason: string): void {
		if (this.#status.state === 'closed') return;
		const socket = this.#detach();
		this.#hooks.lost(new PlankError({ code: Code.connectionClosed, message: reason }), true);
		this.#setStatus('closed', reason, null, null);
		socket?.close(1000);
	}

	async #open(): Promise<void> {
		const attempt = ++this.#attempt;
		this.#failure = null;
		const { state, reason, closeCode } = this.#status;
		if (state === 'reconnecting') this.#setStatus(state, reason, closeCode, null);
		let socket: WebSocketLike;
		let token: string | null;
		try {
			// The owner's constructor has returned before the first hook is called.
			await null;
			if (attempt !== this.#attempt) return;
			token = typeof this.#token === 'function' ? await this.#token() : this.#token;
			const WebSocket = await findWebSocket(this.#injected);
			if (attempt !== this.#attempt) return;
			socket = new WebSocket(this.#url, subprotocols(token));
		} catch (error) {
			if (attempt === this.#attempt) this.#couldNotTry(error);
			return;
		}
		this.#socket = socket;
		this.#tokenError = null;
		this.#tokenSent = token !== null && token !== '';
		if (token !== null) this.#renewBefore(expiryOf(token));
		const current = (): boolean => this.#socket === socket;
		socket.onopen = () => {
			if (current()) this.#hooks.opened();
		};
		socket.onmessage = (event: { data: unknown }) => {
			if (current()) this.#received(event.data, current);
		};
		socket.onerror = (event: { message?: string }) => {
			if (current()) this.#failure = event.message ?? null;
		};
		socket.onclose = (event: { code: number; reason: string }) => {
			if (current()) this.#closed(event.code, event.reason);
		};
		this.#watchTimer = this.#clock.setTimeout(() => this.#abandon('the server did not answer in time'), OPEN_WITHIN_MS);
	}

	// Before there was a socket: the token function failed, or there is no WebSocket to be had (which will not change).
	#couldNotTry(cause: unknown): void {
		const known = cause instanceof PlankError;
		const error = known
			? cause
			: new PlankError({ code: Code.cannotConnect, message: `no token: ${messageOf(cause)}`, cause });
		this.#hooks.problem(error);
		if (known && cause.code === Code.cannotConnect) {
			this.#detach();
			this.#hooks.lost(error, true);
			this.#setStatus('closed', error.message, null, null);
		} else {
			this.#lost(error, null);
		}
	}

	#received(data: unknown, current: () => boolean): void {
		this.#heardAt = this.#clock.now();
		let messages: ServerMessage[];
		try {
			messages = parseFrame(data);
		} catch (error) {
			// What it said is lost, so nothing after it can be trusted to be complete.
			const message = `the server sent a frame that cannot be read: ${messageOf(error)}`;
			this.#hooks.problem(new PlankError({ code: Code.protocolViolation, message, cause: error }));
			this.#abandon(message);
			return;
		}
		for (const message of messages) {
			if (!current()) return;
			this.#look(message);
			if (current()) this.#hooks.message(message);
		}
	}

	// A server that takes a token says so with the role; what it thinks of a bad one comes right after a `welcome` without.
	#look(message: ServerMessage): void {
		const { type } = message;
		if (type === 'error' && message.code === Code.notAuthenticated && (message.id === null || message.id === undefined)) {
			this.#tokenError = new PlankError(message);
		} else if (type === 'authenticated') {
			this.#tokenError = null;
			this.#renewBefore(Date.parse(message.expires_at));
		}
		const refused = this.#tokenError !== null || (type === 'welcome' && message.role === null && this.#tokenSent);
		if (this.#status.state === 'open' || refused) return;
		this.#clock.clearTimeout(this.#watchTimer);
		this.#watch(IDLE_MS);
		this.#stableTimer = this.#clock.setTimeout(() => this.#backoff.reset(), STABLE_MS);
		this.#setStatus('open', null, null, null);
	}

	#renewBefore(expiry: number | null): void {
		this.#clock.clearTimeout(this.#renewTimer);
		const delay = typeof this.#token !== 'function' || expiry === null || Number.isNaN(expiry) ? null : renewalDelay(expiry, Date.now());
		if (delay !== null) this.#renewTimer = this.#clock.setTimeout(() => void this.#renew(expiry), delay);
	}

	// When it fails the former token goes on being good for a while: it is tried again until that ends.
	async #renew(expiry: number | null): Promise<void> {
		const attempt = this.#attempt;
		try {
			const token = typeof this.#token === 'function' ? await this.#token() : null;
			if (attempt !== this.#attempt) return;
			if (token !== null && token !== '') {
				subprotocols(token);
				expiry = expiryOf(token) ?? expiry;
				this.send({ type: 'auth', token });
			}
		} catch (cause) {
			if (attempt !== this.#attempt) return;
			this.#hooks.problem(new PlankError({ code: Code.notAuthenticated, message: `the token was not renewed: ${messageOf(cause)}`, cause }));
		}
		this.#renewBefore(expiry);
	}

	// Browsers do not show the server's pings. One timer, looked at when it fires: nothing is done per frame.
	#watch(ms: number): void {
		this.#watchTimer = this.#clock.setTimeout(() => {
			const idle = this.#clock.now() - this.#heardAt;
			if (idle < IDLE_MS) {
				this.#watch(IDLE_MS - idle);
				return;
			}
			const asked = this.#clock.now();
			this.send({ type: 'ping' });
			this.#watchTimer = this.#clock.setTimeout(() => {
				if (this.#heardAt >= asked) this.#watch(IDLE_MS - (this.#clock.now() - this.#heardAt));
				else this.#abandon('the server has fallen silent');
			}, ANSWER_WITHIN_MS);
		}, ms);
	}

	// Gives a socket up without waiting for the closing handshake, which a dead peer never completes.
	#abandon(reason: string): void {
		const socket = this.#socket;
		this.#lost(new PlankError({ code: Code.connectionLost, message: reason }), null);
		if (socket?.terminate !== undefined) socket.terminate();
		else socket?.close();
	}

	#closed(code: number, text: string): void {
		if (code === 1013) this.#backoff.atLeast(5);
		if (code === 1001) this.#backoff.atLeast(2);
		const known = closeReasons[code] ?? 'the server closed the connection';
		let message = text === '' ? known : `${known}: ${text}`;
		if (text === '' && code === 1006 && this.#failure) message = `${known}: ${this.#failure}`;
		const told = code === 4001 ? this.#tokenError : null;
		if (told !== null) message = told.message;
		const error = told ?? new PlankError({ code: code === 4001 ? Code.notAuthenticated : Code.connectionLost, message });
		if (code === 4001 && typeof this.#token !== 'function') {
			this.#detach();
			this.#hooks.lost(error, true);
			this.#setStatus('closed', message, code, null);
		} else {
			this.#lost(error, code);
		}
	}

	#lost(error: PlankError, closeCode: number | null): void {
		this.#detach();
		this.#hooks.lost(error, false);
		// A listener may have closed for good.
		if (this.#status.state === 'closed') return;
		const delay = this.#backoff.next();
		this.#retryTimer = this.#clock.setTimeout(() => void this.#open(), delay);
		this.#setStatus('reconnecting', error.message, closeCode, delay);
	}

	#detach(): WebSocketLike | null {
		const socket = this.#socket;
		this.#socket = null;
		this.#attempt += 1;
		for (const timer of [this.#retryTimer, this.#watchTimer, this.#stableTimer, this.#renewTimer]) this.#clock.clearTimeout(timer);
		return socket;
	}

	#setStatus(state: ConnectionState, reason: string | null, closeCode: number | null, retryIn: number | null): void {
		this.#status = { state, reason, closeCode, retryIn };
		this.#hooks.status(this.#status);
	}
}

function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
