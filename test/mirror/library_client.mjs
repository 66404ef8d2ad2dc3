// A client made of the project's own library: connect, handles and Mirror, as an application would use them.

import { connect } from '../../client/dist/plank.js';
import { WebSocket } from '../client/wire.mjs';
import { MirrorRows } from './copy.mjs';
import { Follower } from './follower.mjs';
import { tables } from './schema.mjs';
import { pause } from './writer.mjs';

export class LibraryClient extends Follower {
	#plank = null;
	#watches = new Map();
	#socket = null;
	#stored = new Map();

	constructor(settings) {
		super({ ...settings, makeRows: () => new MirrorRows() });
	}

	async start() {
		const url = await this.servers.url(this.prefersStandby);
		if (this.stopped) return;
		const client = this;
		// Looks at what the library gets, and can take the connection away in the middle of it.
		class Tapped extends WebSocket {
			constructor(...args) {
				super(...args, { perMessageDeflate: false });
				client.connections += 1;
				client.#socket = this;
				this.on('close', (code) => (client.lastClose = code));
				this.on('message', (data) => {
					if (client.dropInParts && data.includes('"more":true')) {
						client.dropInParts = false;
						this.terminate();
					}
				});
			}
		}
		const plank = connect(url, { WebSocket: Tapped, random: () => this.random.unit() / 10 });
		this.#plank = plank;
		plank.on('error', (error) => this.guard(() => {
			throw error;
		}));
		plank.on('transaction', ({ changes }) => {
			this.transactions += 1;
			this.changes += changes.length;
		});
		for (const table of tables) this.#watch(plank, table);
	}

	#watch(plank, table) {
		const copy = this.copies.get(table);
		const handle = (work) => (value) => {
			if (plank === this.#plank) this.guard(() => work(value));
		};
		const since = this.#stored.get(table) ?? null;
		let before = null;
		let received = [];
		const watch = plank.table(`public.${table}`, { since, ...(this.snapshot && { snapshot: true }) }).subscribe(handle((change) => {
			this.ledger.count(table, change.xid, [change]);
			copy.transaction(change.xid, [withoutNulls(change)]);
		}));
		watch.on('subscribed', handle((message) => {
			copy.shape(message);
			if (message.resumed) this.resumes += 1;
			else if (before === null && since === null) this.refill(table, 'subscribed');
			before = message;
			const { missing } = copy.rows;
			if (missing !== null && copy.whole) this.read(table, missing);
			received = [];
		}));
		watch.on('reset', handle(({ reason }) => {
			received = [];
			this.reset(table, reason);
		}));
		watch.on('position', handle((position) => this.#compareNotes(position)));
		watch.on('rows', handle((rows) => {
			received.push(...rows);
		}));
		// The position comes with the last of a snapshot's rows.
		watch.on('position', handle(() => {
			if (!copy.awaitsRows) return;
			this.served(table, received);
			received = [];
		}));
		this.#watches.set(table, watch);
	}

	#compareNotes(position) {
		for (const watch of this.#watches.values()) if (watch.state !== 'live' || watch.position !== position) return;
		this.ledger.check(position);
	}

	drop(midTransaction) {
		if (midTransaction) this.dropInParts = true;
		else this.#socket?.terminate();
	}

	async stall(ms) {
		const socket = this.#socket;
		if (socket === null || socket.readyState !== 1) return;
		socket.pause();
		await pause(ms);
		socket.resume();
	}

	/** As a program that stored its copies and positions, and is started again. */
	async restart() {
		const plank = this.#plank;
		this.#plank = null;
		plank?.close();
		for (const [table, watch] of this.#watches) {
			if (watch.position !== null) this.#stored.set(table, watch.position);
			else if (this.copies.get(table).awaitsRows) this.#stored.delete(table);
		}
		await this.start();
	}

	async stop() {
		this.stopped = true;
		this.reader.stop();
		this.#plank?.close();
	}
}

// On the wire, and so in the checks, what does not apply is absent.
function withoutNulls({ op, key, old, new: now }) {
	return { op, key, ...(old !== null && { old }), ...(now !== null && { new: now }) };
}
