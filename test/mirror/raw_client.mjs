// A client that speaks the protocol by section 6 of its page and shares no code with the project's own.

import { Finding } from './failures.mjs';
import { Wire } from '../client/wire.mjs';
import { ModelRows } from './copy.mjs';
import { Follower } from './follower.mjs';
import { tables } from './schema.mjs';
import { pause } from './writer.mjs';

export class RawClient extends Follower {
	#wire = null;
	#positions = new Map(tables.map((table) => [table, null]));
	// Per table and connection: what was asked, and how far the answer has come.
	#asked = new Map();
	#parts = null;
	#running;

	constructor(settings) {
		super({ ...settings, makeRows: (table) => new ModelRows(table) });
	}

	start() {
		this.#running = this.#run();
	}

	async #run() {
		while (!this.stopped && !this.failed) {
			try {
				await this.#connect();
				await this.#wire.end(2 ** 30);
				this.lastClose = this.#wire.closed.code;
			} catch (error) {
				// The server is away; anything else is a mistake here.
				if (error instanceof TypeError || error instanceof ReferenceError) this.fail(error);
			}
			this.#parts = null;
			await pause(this.random.between(5, 100));
		}
	}

	async #connect() {
		const wire = await Wire.open(await this.servers.url(this.prefersStandby));
		this.connections += 1;
		this.#asked.clear();
		wire.onMessage = (message) => {
			if (wire === this.#wire && !wire.dropped) this.guard(() => this.#received(wire, message));
		};
		this.#wire = wire;
		for (const table of tables) this.#subscribe(table, this.#positions.get(table));
	}

	#subscribe(table, since) {
		this.#asked.set(table, { since, live: false, first: true, awaitsReset: false });
		this.#wire.send({
			type: 'subscribe', id: table, table: `public.${table}`, ...(since !== null && { since }),
			...(this.options.snapshot && { snapshot: true }),
		});
	}

	/** Cuts the connection, or in the middle of the next transaction that comes in parts. */
	drop(midTransaction) {
		if (midTransaction) this.dropInParts = true;
		else this.#cut(this.#wire);
	}

	#cut(wire) {
		if (wire === null) return;
		wire.dropped = true;
		wire.close();
	}

	/** Reads nothing for a while. */
	async stall(ms) {
		const wire = this.#wire;
		if (wire === null || wire.closed) return;
		wire.socket.pause();
		await pause(ms);
		wire.socket.resume();
	}

	/** Begins anew with what it holds, as a program that is started again. */
	restart() {
		this.#cut(this.#wire);
	}

	async stop() {
		this.stopped = true;
		this.reader.stop();
		this.#cut(this.#wire);
		await this.#running;
	}

	#received(wire, message) {
		if (this.#parts !== null && message.type !== 'transaction' && message.type !== 'pong') {
			throw new Finding(`${message.type} between the parts of a transaction`, { message });
		}
		switch (message.type) {
			case 'transaction': return this.#part(wire, message);
			case 'subscribed': return this.#subscribed(message);
			case 'reset': return this.#reset(message);
			case 'rows': return this.#rows(message);
			case 'position': return this.#told(message.position);
			case 'error': return this.#refused(message);
			case 'pong': return undefined;
			default: throw new Finding(`a message that nobody asked for: ${message.type}`, { message });
		}
	}

	#subscribed(message) {
		const { id: table, resumed, position } = message;
		const asked = this.#asked.get(table);
		const { first, since } = asked;
		asked.first = false;
		if (first && since !== null && typeof resumed !== 'boolean') throw new Finding('subscribed does not say whether it resumed', { message });
		this.copies.get(table).shape(message);
		this.#positions.set(table, position);
		if (!first) return;
		if (since === null) {
			asked.live = !this.options.snapshot;
			this.refill(table, 'subscribed');
		} else if (resumed) {
			this.resumes += 1;
		} else {
			asked.awaitsReset = true;
			// Until then the former position stands: what is held is not what the new one says.
			this.#positions.set(table, since);
		}
	}

	#reset({ id: table, reason, position }) {
		const asked = this.#asked.get(table);
		if (asked.awaitsReset) asked.live = true;
		asked.awaitsReset = false;
		this.#positions.set(table, this.options.snapshot ? null : position);
		this.reset(table, reason);
	}

	#rows({ id: table, rows, more, position }) {
		const asked = this.#asked.get(table);
		(asked.rows ??= []).push(...rows);
		if (more) return;
		this.copies.get(table).serverRows(asked.rows.splice(0));
		this.#positions.set(table, position);
		this.filled(table);
	}

	#refused(message) {
		const { id: table, code } = message;
		const asked = this.#asked.get(table);
		if (!(asked?.first && asked.since !== null && (code === '0A000' || code === '22023'))) throw new Finding('an error', { message });
		if (code === '22023') throw new Finding('a position of the server\'s own is refused', { message, position: asked.since });
		this.resets += 1;
		if (!this.permitted.take(table)) throw new Finding('a resume that is not supported', { message });
		this.#subscribe(table, null);
	}

	#part(wire, message) {
		const parts = (this.#parts ??= { first: message, changes: [] });
		const { first } = parts;
		if (first.xid !== message.xid || first.catchup !== message.catchup) throw new Finding('parts of two transactions are mixed', { first: first.xid, message: message.xid });
		parts.changes.push(...message.changes);
		if (message.more) {
			if (message.position !== undefined) throw new Finding('a position before the last part', { xid: message.xid });
			if (!this.dropInParts) return;
			this.dropInParts = false;
			this.#cut(wire);
			return;
		}
		this.#parts = null;
		this.#transaction({ xid: message.xid, position: message.position, catchup: message.catchup, changes: parts.changes });
	}

	#transaction({ xid, position, catchup, changes }) {
		if (typeof position !== 'string') throw new Finding('a transaction without a position', { xid });
		this.transactions += 1;
		this.changes += changes.length;
		const byTable = new Map();
		for (const change of changes) {
			for (const id of change.ids) {
				if (catchup !== undefined && id !== catchup) throw new Finding(`the catching up of ${catchup} names ${id}`, { xid, change });
				if (`public.${id}` !== change.table) throw new Finding(`a change of ${change.table} is for ${id}`, { xid, change });
				if (!byTable.has(id)) byTable.set(id, []);
				byTable.get(id).push(change);
			}
		}
		for (const [table, own] of byTable) {
			if (this.#asked.get(table).awaitsReset) throw new Finding(`a change of ${table} between a failed resume and its reset`, { xid });
			this.ledger.count(table, xid, own);
			this.copies.get(table).transaction(xid, own);
			if (catchup === undefined) this.#asked.get(table).live = true;
		}
		if (catchup !== undefined) this.#positions.set(catchup, position);
		else for (const [table, asked] of this.#asked) if (asked.live) this.#positions.set(table, position);
		this.#compareNotes();
	}

	#told(position) {
		for (const [table, asked] of this.#asked) {
			if (asked.first || asked.awaitsReset || (this.options.snapshot && !this.copies.get(table).whole)) continue;
			asked.live = true;
			this.#positions.set(table, position);
		}
		this.#compareNotes();
	}

	#compareNotes() {
		const [one, ...others] = this.#positions.values();
		if (one !== null && others.every((other) => other === one)) this.ledger.check(one);
	}
}
