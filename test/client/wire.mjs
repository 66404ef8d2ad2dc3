// A client of plank.v1 that takes nothing for granted: messages are read one by one, in order, so that a message too
// many fails a test as surely as one that is missing.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import WebSocket, { WebSocketServer } from 'ws';

export { WebSocket, WebSocketServer };

// For however busy a machine; only a failing test waits so long.
export const patience = 180_000;

export class Wire {
	#queue = [];
	#wake = () => {};
	#marks = 0;
	closed = null;
	/** Called with each frame's bytes, before anything else. */
	onFrame = null;
	/** When set, takes every message in place of the queue that `next` reads. */
	onMessage = null;
	/** When set, nothing is made of what comes: for so much of it that this would take long. */
	ignores = false;

	/** Connected, with `welcome` read into a member. */
	static async open(url, { protocols = ['plank.v1'], ...options } = {}) {
		const wire = new Wire();
		wire.socket = new WebSocket(url, protocols, { perMessageDeflate: false, maxPayload: 1 << 30, ...options });
		wire.socket.on('message', (data, binary) => wire.#received(data, binary));
		wire.socket.on('close', (code, reason) => {
			wire.closed = { code, reason: reason.toString() };
			wire.#wake();
		});
		wire.socket.on('error', () => {});
		const outcome = await Promise.race([
			once(wire.socket, 'open').then(() => 'open'),
			once(wire.socket, 'unexpected-response').then(([request, response]) => {
				request.destroy();
				return response.statusCode;
			}),
		]);
		if (outcome !== 'open') throw Object.assign(new Error(`upgrade answered ${outcome}`), { status: outcome });
		wire.welcome = await wire.next('welcome');
		return wire;
	}

	#received(data, binary) {
		assert.equal(binary, false, 'a binary frame');
		if (this.ignores) return;
		this.onFrame?.(data);
		const messages = [JSON.parse(data.toString())].flat();
		if (this.onMessage) messages.forEach(this.onMessage);
		else this.#queue.push(...messages);
		this.#wake();
	}

	send(message) {
		this.socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
	}

	/** The next message, whatever it is; fails when it has not the type. `position` messages are left out. */
	async next(type, ms = patience) {
		const end = Date.now() + ms;
		for (;;) {
			const message = this.#queue.shift();
			if (message?.type === 'position') continue;
			if (message !== undefined) {
				if (type !== undefined) assert.equal(message.type, type, `expected ${type}, got ${JSON.stringify(message).slice(0, 500)}`);
				return message;
			}
			assert.equal(this.closed, null, `waiting for ${type}: the server closed`);
			const left = end - Date.now();
			assert.ok(left > 0, `no ${type ?? 'message'} within ${ms} ms`);
			await new Promise((resolve) => {
				const timer = setTimeout(resolve, left);
				this.#wake = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		}
	}

	/** Sends a request and reads its answer, which must be the next message. */
	async ask(message, type) {
		this.send(message);
		return this.next(type);
	}

	/** Subscribes; the answer must be `subscribed`. */
	subscribed(options) {
		return this.ask({ type: 'subscribe', ...options }, 'subscribed');
	}

	/** The next message must be a transaction: its parts put together, with `parts` how many there were. */
	async transaction(ms = patience) {
		const whole = await this.next('transaction', ms);
		let parts = 1;
		for (let part = whole; part.more; parts += 1) {
			assert.equal(part.position, undefined, 'only the last part has a position');
			part = await this.next('transaction', ms);
			assert.equal(part.xid, whole.xid, 'parts of one transaction stand together');
			whole.changes = whole.changes.concat(part.changes);
			whole.position = part.position;
		}
		assert.equal(typeof whole.position, 'string');
		return { ...whole, more: false, parts };
	}

	/** The next transaction's changes, without what is the same in all: ids and table. */
	async changes(ms) {
		const { changes } = await this.transaction(ms);
		return changes.map(({ ids, table, ...change }) => change);
	}

	/** Everything that comes before a mark that is committed now: proves that nothing else was sent, without waiting. */
	async caughtUp() {
		this.#marks += 1;
		const text = `mark ${this.#marks} ${this.welcome.session}`;
		await this.mark(text);
		const seen = [];
		for (;;) {
			const message = await this.next();
			const own = message.changes?.find(({ ids, payload }) => ids.includes('marker') && payload === text);
			if (own !== undefined && message.changes.length === 1) return seen;
			// Marks of other tests' clients are nobody's business.
			if (!message.changes?.every(({ channel }) => channel === 'marker')) seen.push(message);
		}
	}

	/** Nothing has been sent that was not read. */
	async silent() {
		assert.deepEqual(await this.caughtUp(), []);
	}

	/** How the connection ended, once it has. */
	async end(ms = patience) {
		if (this.closed === null) {
			await Promise.race([once(this.socket, 'close'), new Promise((resolve) => setTimeout(resolve, ms).unref())]);
		}
		assert.notEqual(this.closed, null, `not closed within ${ms} ms`);
		return this.closed;
	}

	close() {
		this.socket.terminate();
	}
}
