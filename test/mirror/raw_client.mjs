// A client that speaks the protocol by section 6 of its page and shares no code with the project's own.

import { Finding } from './failures.mjs';
import { Wire } from '../client/wire.mjs';
import { Copy, ModelRows } from './copy.mjs';
import { Follower } from './follower.mjs';
import { keys, tables } from './schema.mjs';
import { randomView } from './views.mjs';
import { pause } from './writer.mjs';

export class RawClient extends Follower {
	#wire = null;
	#positions = new Map(tables.map((table) => [table, null]));
	// Subscriptions beside those to whole tables, by id: what is asked for, and the account of its resets.
	#views = new Map();
	#lastView = 0;
	// Per subscription and connection: what was asked, and how far the answer has come.
	#asked = new Map();
	#parts = null;
	#running;

	constructor(settings) {
		super({ ...settings, makeRows: (table) => new ModelRows(table) });
		for (let i = this.options.views; i > 0; i -= 1) this.#addView();
	}

	start() {
		this.#running = this.#run();
	}

	async #run() {
		while (!this.stopped && !this.failed) {
			try {
				await this.#connect();
				// It was told to stop meanwhile.
				if (this.stopped) this.#cut(this.#wire);
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
		for (const [id, { leaving }] of this.#views) if (leaving) this.#forget(id);
		for (const [id, position] of this.#positions) this.#subscribe(id, position);
	}

	#addView() {
		const id = `view ${(this.#lastView += 1)}`;
		const view = { ...randomView(this.random), snapshot: this.random.percent(70) };
		this.#views.set(id, { view, permitted: this.allowance.account({ late: true }), leaving: false });
		this.copies.set(id, new Copy(id, new ModelRows(view.table), this.history, view));
		this.#positions.set(id, null);
		return id;
	}

	#forget(id) {
		for (const map of [this.#views, this.copies, this.#positions, this.#asked]) map.delete(id);
	}

	/** Leaves some of its random subscriptions and makes others, on the connection as it is. */
	changeViews(count) {
		const staying = [...this.#views].filter(([, { leaving }]) => !leaving).map(([id]) => id);
		for (let i = Math.min(count, staying.length); i > 0; i -= 1) {
			const id = staying.splice(this.random.between(0, staying.length - 1), 1)[0];
			const added = this.#addView();
			if (!this.#asked.has(id)) {
				this.#forget(id);
				continue;
			}
			this.#views.get(id).leaving = true;
			this.#wire.send({ type: 'unsubscribe', id });
			this.#subscribe(added, null);
		}
	}

	/** Its tables, and its views as far as they are there to stay. */
	comparable() {
		return new Map([...this.copies].filter(([id]) => !this.#views.get(id)?.leaving));
	}

	// A view has no last row of its own: it has come to where the tables are when it stands at their position.
	lacks(arrived) {
		const lacks = super.lacks(arrived);
		const position = this.#positions.get('ledger');
		for (const [id, copy] of this.comparable())
			if (this.#views.has(id) && (!copy.whole || this.#positions.get(id) !== position)) lacks.push(id);
		return lacks;
	}

	account(id) {
		return this.#views.get(id)?.permitted ?? this.permitted;
	}

	asksRows(id) {
		return this.#wanted(id).snapshot;
	}

	standing(id) {
		return { ...super.standing(id), position: this.#positions.get(id), others: this.#positions.get('ledger'), asked: { ...this.#asked.get(id), rows: null } };
	}

	#wanted(id) {
		return this.#views.get(id)?.view ?? { table: id, snapshot: this.snapshot };
	}

	#subscribe(table, since) {
		const { snapshot, ...wanted } = this.#wanted(table);
		this.#asked.set(table, { since, live: false, first: true, awaitsReset: false, rows: [] });
		this.#wire.send({
			type: 'subscribe', id: table, ...wanted, table: `public.${wanted.table}`, ...(since !== null && { since }), ...(snapshot && { snapshot }),
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
			case 'unsubscribed': return this.#unsubscribed(message);
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
		this.#checkColumns(message);
		// There is nothing to go on from before the last of the rows.
		const incomplete = first && since === null ? this.asksRows(table) : this.copies.get(table).awaitsRows;
		this.#positions.set(table, incomplete ? null : position);
		if (!first) return;
		if (since === null) {
			asked.live = !this.#wanted(table).snapshot;
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
		asked.rows = [];
		const { snapshot } = this.#wanted(table);
		// The rows come, and what they catch up behind them.
		if (snapshot) asked.live = false;
		this.#positions.set(table, snapshot ? null : position);
		this.reset(table, reason);
	}

	#rows({ id: table, rows, more, position }) {
		const asked = this.#asked.get(table);
		for (const row of rows) asked.rows.push(row);
		if (more !== true) {
			this.#positions.set(table, position);
			this.served(table, asked.rows.splice(0));
		}
		if (this.dropAtRows !== (more === true ? 'amid' : 'after')) return;
		this.dropAtRows = null;
		this.#cut(this.#wire);
	}

	#unsubscribed(message) {
		const { id, code } = message;
		if (!this.#views.get(id)?.leaving || code !== null) throw new Finding('unsubscribed by the server', { message, asked: this.#wanted(id) });
		this.#forget(id);
	}

	// What a view sees is what it asked for and the key.
	#checkColumns(message) {
		const { id, columns } = message;
		const { table, columns: asked } = this.#wanted(id);
		if (asked === undefined) return;
		const expected = [...new Set([...(keys[table] ?? []), ...asked])].sort().join();
		const got = columns.map(({ name }) => name).sort().join();
		if (got !== expected) throw new Finding('other columns than were asked for', { id, expected, got, message, asked: this.standing(id).asked });
	}

	#refused(message) {
		const { id: table, code } = message;
		const asked = this.#asked.get(table);
		// It had ended by itself when it was left.
		if (this.#views.get(table)?.leaving && this.allowance.isRecent(this.#wanted(table).table)) return this.#forget(table);
		if (!(asked?.first && asked.since !== null && (code === '0A000' || code === '22023'))) throw new Finding('an error', { message, asked: this.#wanted(table) });
		if (code === '22023') throw new Finding('a position of the server\'s own is refused', { message, position: asked.since });
		this.resets += 1;
		if (!this.account(table).take(this.#wanted(table).table)) throw new Finding('a resume that is not supported', { message });
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
				if (`public.${this.#wanted(id).table}` !== change.table) throw new Finding(`a change of ${change.table} is for ${id}`, { xid, change });
				if (!byTable.has(id)) byTable.set(id, []);
				byTable.get(id).push(change);
			}
		}
		for (const [table, own] of byTable) {
			if (!this.#asked.has(table)) throw new Finding(`a change for ${table}, which was left`, { xid });
			if (this.#asked.get(table).awaitsReset) throw new Finding(`a change of ${table} between a failed resume and its reset`, { xid });
			if (!this.#views.has(table)) this.ledger.count(table, xid, own);
			this.copies.get(table).transaction(xid, own);
			if (catchup === undefined) this.#asked.get(table).live = true;
		}
		if (catchup !== undefined) this.#positions.set(catchup, position);
		else for (const [table, asked] of this.#asked) if (asked.live && !this.#waitsForRows(table)) this.#positions.set(table, position);
		this.#compareNotes();
	}

	// Between a reset and its last rows others go on, and it is not live.
	#waitsForRows(table) {
		return this.#wanted(table).snapshot && this.copies.get(table).awaitsRows;
	}

	#told(position) {
		for (const [table, asked] of this.#asked) {
			if (asked.first || asked.awaitsReset || this.copies.get(table).awaitsRows) continue;
			asked.live = true;
			this.#positions.set(table, position);
		}
		this.#compareNotes();
	}

	#compareNotes() {
		const [one, ...others] = tables.map((table) => this.#positions.get(table));
		if (one !== null && others.every((other) => other === one)) this.ledger.check(one);
	}
}
