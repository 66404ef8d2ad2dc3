// A client with an identity. It follows tables and random views of them, searches every byte it gets for what it may not
// see, and asks again for what it was refused until it may have it.

import { WebSocket, Wire } from '../../client/wire.mjs';
import { ModelRows } from '../copy.mjs';
import { Finding, History } from '../failures.mjs';
import { lasting } from '../snapshot.mjs';
import { pause } from '../writer.mjs';
import { token } from './identities.mjs';
import { randomView, read, readable, SeenCopy, shown, verdict } from './seen.mjs';
import { names as tableNames } from './tables.mjs';

export class SeeingClient {
	/** Since the start. */
	transactions = 0;
	changes = 0;
	connections = 0;
	resumes = 0;
	resets = 0;
	ends = 0;
	refusals = 0;
	switches = 0;
	failed = false;
	stopped = false;
	#identity;
	// What an `auth` under way makes of it.
	#becoming = null;
	#authenticating = false;
	#subscriptions = new Map();
	#left = new Set();
	#last = 0;
	#wire = null;
	#parts = null;
	#running;

	/** `identities`: the one it has, and those that it changes to. */
	constructor({ name, servers, random, failures, books, sightings, identities, options }) {
		Object.assign(this, { name, servers, random, failures, books, sightings, identities, options });
		this.history = new History();
		this.#identity = identities[0];
		this.#add({ table: 'beacon' }, true);
		for (const table of tableNames) this.#add({ table }, random.percent(60));
		for (let i = options.views; i > 0; i -= 1) this.#add(randomView(random), random.percent(75));
	}

	#add(view, snapshot) {
		const id = `${view.table} ${(this.#last += 1)}`;
		const copy = new SeenCopy(id, new ModelRows(id), this.history, view, () => view.table !== 'beacon' && this.books.inDoubt(view.table));
		// `state`: new, asked, rows (answered, and the rows to come), live, refused.
		const subscription = { id, view, snapshot, copy, state: 'new', position: null, account: this.books.account(), rows: [], reading: 0, leaving: false };
		this.#subscriptions.set(id, subscription);
		return subscription;
	}

	start() {
		this.#running = this.#run();
	}

	guard(work) {
		if (this.failed || this.stopped) return;
		try {
			work();
		} catch (error) {
			this.fail(error);
		}
	}

	fail(error) {
		if (this.stopped || this.failed) return;
		this.failed = true;
		this.failures.add(`${this.name} (${this.#identity.name})`, error);
	}

	get whole() {
		return [...this.#subscriptions.values()].every(({ state, copy }) => state === 'refused' || copy.whole);
	}

	async #run() {
		while (!this.stopped && !this.failed) {
			try {
				await this.#connect();
				// It was told to stop meanwhile.
				if (this.stopped) this.#cut();
				await this.#wire.end(2 ** 30);
				const { code } = this.#wire.closed;
				if (code === 4001) this.fail(new Finding('the token was refused', { closed: this.#wire.closed }));
			} catch (error) {
				// The server is away; anything else is a mistake here.
				if (error instanceof TypeError || error instanceof ReferenceError) this.fail(error);
			}
			await pause(this.random.between(5, 100));
		}
	}

	// A token may come in four places.
	async #connect() {
		const url = await this.servers.url(false);
		if (this.#becoming !== null && this.#becoming !== this.#identity) {
			for (const subscription of this.#subscriptions.values()) this.#void(subscription, 'another identity');
			this.#identity = this.#becoming;
		}
		this.#becoming = null;
		const identity = this.#identity;
		const jwt = token(identity);
		const way = jwt === null ? 'none' : this.random.pick(['header', 'protocol', 'query', 'message']);
		const wire = await Wire.open(way === 'query' ? `${url}?access_token=${jwt}` : url, {
			...(way === 'header' && { headers: { Authorization: `Bearer ${jwt}` } }), ...(way === 'protocol' && { protocols: ['plank.v1', `plank.token.${jwt}`] }),
		});
		this.connections += 1;
		this.#parts = null;
		// Who sees what comes: bytes may still come when nothing is made of them any more.
		wire.seer = wire.nextSeer = identity.name;
		wire.onFrame = (data) => this.guard(() => this.#search(wire, data));
		wire.onMessage = (message) => {
			if (wire === this.#wire && !wire.dropped) this.guard(() => this.#received(message));
		};
		this.#wire = wire;
		this.#authenticating = way === 'message';
		if (this.#authenticating) wire.send({ type: 'auth', token: jwt });
		const role = way === 'message' ? 'web' : identity.role;
		if (wire.welcome.role !== role) throw new TypeError(`welcome.role is ${wire.welcome.role} and not ${role}`);
		for (const subscription of [...this.#subscriptions.values()]) {
			// Where there are no rows yet there is nothing to go on from.
			if (subscription.leaving) this.#forget(subscription);
			else this.#subscribe(subscription, subscription.copy.whole ? subscription.position : null);
		}
	}

	// Up to `authenticated` all is the former identity's.
	#search(wire, data) {
		if (wire.seer === wire.nextSeer || !data.includes('"authenticated"')) {
			this.sightings.see(wire.seer, data);
			return;
		}
		for (const message of [JSON.parse(data.toString())].flat()) {
			if (message.type === 'authenticated') wire.seer = wire.nextSeer;
			else this.sightings.see(wire.seer, Buffer.from(JSON.stringify(message)));
		}
	}

	#subscribe(subscription, since) {
		const { id, view, snapshot } = subscription;
		Object.assign(subscription, { state: 'asked', since, awaitsReset: false, rows: [] });
		if (since === null) this.#void(subscription, 'asked anew');
		this.#wire.send({ type: 'subscribe', id, ...view, ...(snapshot && { snapshot }), ...(since !== null && { since }) });
	}

	#forget({ id }) {
		this.#subscriptions.delete(id);
		this.#left.add(id);
	}

	#void(subscription, reason) {
		subscription.reading += 1;
		subscription.position = null;
		subscription.copy.void(reason);
	}

	// Empty, and to be filled by whoever does.
	#refill(subscription, reason) {
		this.#void(subscription, reason);
		subscription.state = 'rows';
		if (subscription.snapshot) subscription.copy.await(reason);
		else this.#read(subscription, reason).catch((error) => this.fail(error));
	}

	// By SELECT as itself; what it may may change meanwhile, and then the server says so.
	async #read(subscription, reason) {
		const { copy, view, reading } = subscription;
		const number = copy.void(reason);
		const identity = this.#identity;
		while (!this.stopped && subscription.reading === reading) {
			let session;
			try {
				session = await this.servers.session();
				const result = await read(session, identity, view, copy.rows.columns);
				await lasting(session);
				if (subscription.reading === reading) this.guard(() => copy.fill(number, result) && (subscription.state = 'live'));
				return;
			} catch (error) {
				if (/^[A-Z]\w*Error$/.test(error.name) && error.name !== 'DatabaseError') throw error;
				await pause(50);
			} finally {
				await session?.end().catch(() => {});
			}
		}
	}

	/** Leaves some of its views, and makes others. */
	changeViews(count) {
		if (this.#wire === null || this.#wire.closed || this.#becoming !== null) return;
		const staying = [...this.#subscriptions.values()].filter(({ leaving, view, state }) => !leaving && (view.where ?? view.columns) !== undefined);
		for (let i = Math.min(count, staying.length); i > 0; i -= 1) {
			const [former] = staying.splice(this.random.between(0, staying.length - 1), 1);
			former.leaving = true;
			former.reading += 1;
			if (former.state === 'refused') this.#forget(former);
			else this.#wire.send({ type: 'unsubscribe', id: former.id });
			this.#subscribe(this.#add(randomView(this.random), this.random.percent(75)), null);
		}
	}

	/** Another token on the connection: of another identity, or its own renewed, which changes nothing. */
	authenticate() {
		if (this.#wire === null || this.#wire.closed || this.#authenticating) return;
		const choices = this.identities.filter(({ claims }) => claims !== null);
		if (choices.length === 0) return;
		this.#becoming = this.random.pick(choices);
		this.#authenticating = true;
		this.#wire.nextSeer = this.#becoming.name;
		this.#wire.send({ type: 'auth', token: token(this.#becoming) });
	}

	drop(midTransaction) {
		if (midTransaction) this.dropInParts = true;
		else this.#cut();
	}

	#cut() {
		if (this.#wire === null) return;
		this.#wire.dropped = true;
		this.#wire.close();
	}

	async stall(ms) {
		const wire = this.#wire;
		if (wire === null || wire.closed || wire.socket.readyState !== WebSocket.OPEN) return;
		wire.socket.pause();
		await pause(ms);
		wire.socket.resume();
	}

	restart() {
		this.#cut();
	}

	async stop() {
		this.stopped = true;
		this.#cut();
		await this.#running;
	}

	#received(message) {
		if (this.#parts !== null && message.type !== 'transaction' && message.type !== 'pong') throw new Finding(`${message.type} between the parts of a transaction`, { message });
		switch (message.type) {
			case 'transaction': return this.#part(message);
			case 'position': return this.#told(message.position);
			case 'authenticated': return this.#authenticated(message);
			case 'subscribed': case 'reset': case 'rows': case 'unsubscribed': case 'error': {
				const subscription = this.#subscriptions.get(message.id);
				// It had ended by itself when it was left.
				if (subscription === undefined && message.type === 'error' && this.#left.has(message.id)) return undefined;
				if (subscription === undefined) throw new Finding(`${message.type} for nobody`, { message });
				return this[message.type](subscription, message);
			}
			default: throw new Finding(`a message that nobody asked for: ${message.type}`, { message });
		}
	}

	subscribed(subscription, message) {
		const { state, since, snapshot, copy } = subscription;
		copy.shape(message);
		if (state !== 'asked') return;
		if (since !== null && typeof message.resumed !== 'boolean') throw new Finding('subscribed does not say whether it resumed', { message });
		if (since === null) {
			this.#refill(subscription, 'subscribed');
			if (!snapshot) subscription.position = message.position;
		} else if (message.resumed) {
			this.resumes += 1;
			subscription.state = 'live';
		} else {
			Object.assign(subscription, { awaitsReset: true, position: since });
		}
	}

	reset(subscription, { reason, position }) {
		const { view, state, snapshot, account } = subscription;
		this.resets += 1;
		// A snapshot may be begun again at any time.
		if (!(snapshot && state === 'rows') && !account.take(view.table, this.#identity.role)) {
			throw new Finding(`a reset that nothing asked for: ${reason}`, { subscription: this.#shown(subscription) });
		}
		subscription.awaitsReset = false;
		subscription.rows = [];
		this.#refill(subscription, `reset, ${reason}`);
		if (!snapshot) subscription.position = position;
	}

	rows(subscription, { rows, more, position }) {
		for (const row of rows) subscription.rows.push(row);
		if (more) return;
		subscription.copy.serverRows(subscription.rows.splice(0));
		Object.assign(subscription, { state: 'live', position });
	}

	unsubscribed(subscription, message) {
		const { code } = message;
		if (code === null) {
			if (!subscription.leaving) throw new Finding('unsubscribed without being asked', { message });
			this.#forget(subscription);
			return;
		}
		this.ends += 1;
		this.#refused(subscription, message);
	}

	error(subscription, message) {
		if (subscription.state !== 'asked' && !subscription.leaving) throw new Finding('an error', { message, subscription: this.#shown(subscription) });
		this.refusals += 1;
		this.#refused(subscription, message);
	}

	// It must be what PostgreSQL says too, unless that has just changed.
	#refused(subscription, message) {
		const { view, leaving } = subscription;
		if (message.code === '28000' && (this.#becoming === null || this.#becoming === this.#identity)) throw new Finding('ended as another identity\'s, which it is not', { message });
		this.#void(subscription, `refused, ${message.code}`);
		subscription.state = 'refused';
		subscription.code = message.code;
		if (leaving) this.#forget(subscription);
		if (leaving || message.code === '28000') return;
		const { role } = this.#identity;
		// The same again, and nothing has changed.
		const checked = `${role} ${message.code} ${this.books.changes(view.table)}`;
		if (!this.books.unsettled(view.table, role) && subscription.checked !== checked) {
			subscription.checked = checked;
			readable(this.servers.primary, role, view.table).then((may) => this.guard(() => {
				const due = verdict(view, may);
				if (due !== message.code && !this.books.unsettled(view.table, role)) throw new Finding(`refused with ${message.code}, where ${due} was due`, { message, view, may });
			}), () => {});
		}
		const wire = this.#wire;
		setTimeout(() => this.guard(() => {
			if (subscription.state === 'refused' && !subscription.leaving && wire === this.#wire && !wire.closed && this.#becoming === null) this.#subscribe(subscription, null);
		}), this.random.between(300, 1000)).unref();
	}

	#authenticated({ role }) {
		const former = this.#identity;
		this.#authenticating = false;
		if (this.#becoming === null) {
			if (role !== former.role) throw new Finding('authenticated as another', { role });
			return;
		}
		this.#identity = this.#becoming;
		this.#becoming = null;
		if (role !== this.#identity.role) throw new Finding('authenticated as another', { role });
		const subscriptions = [...this.#subscriptions.values()];
		if (this.#identity === former) {
			for (const subscription of subscriptions) if (subscription.state === 'refused') this.#subscribe(subscription, null);
			return;
		}
		this.switches += 1;
		for (const subscription of subscriptions) {
			if (subscription.state !== 'refused') throw new Finding('another identity, and a subscription of the former one lives', { subscription: this.#shown(subscription) });
			this.#subscribe(subscription, null);
		}
	}

	#part(message) {
		const parts = (this.#parts ??= { first: message, changes: [] });
		if (parts.first.xid !== message.xid || parts.first.catchup !== message.catchup) throw new Finding('parts of two transactions are mixed', { first: parts.first.xid, message: message.xid });
		parts.changes.push(...message.changes);
		if (message.more) {
			if (!this.dropInParts) return;
			this.dropInParts = false;
			this.#cut();
			return;
		}
		this.#parts = null;
		this.#transaction(message, parts.changes);
	}

	#transaction({ xid, position, catchup }, changes) {
		this.transactions += 1;
		this.changes += changes.length;
		const byId = new Map();
		for (const change of changes) {
			for (const id of change.ids) {
				if (catchup !== undefined && id !== catchup) throw new Finding(`the catching up of ${catchup} names ${id}`, { xid, change });
				if (!byId.has(id)) byId.set(id, []);
				byId.get(id).push(change);
			}
		}
		for (const [id, own] of byId) {
			const subscription = this.#subscriptions.get(id);
			if (subscription === undefined || ['new', 'refused', 'asked'].includes(subscription.state)) throw new Finding(`a change for ${id}, which is not subscribed to`, { xid, changes: own, state: subscription?.state });
			if (subscription.awaitsReset) throw new Finding(`a change of ${id} between a failed resume and its reset`, { xid });
			subscription.copy.transaction(xid, own);
		}
		if (catchup !== undefined) this.#subscriptions.get(catchup).position = position;
		else this.#told(position);
	}

	#told(position) {
		for (const subscription of this.#subscriptions.values()) {
			if ((subscription.state === 'live' || (subscription.state === 'rows' && !subscription.snapshot)) && !subscription.awaitsReset) subscription.position = position;
		}
	}

	#shown({ id, view, state, snapshot, since, position, copy }) {
		return { identity: this.#identity.name, id, view, state, snapshot, since, position, whole: copy.whole, last: this.history.about(id, null, 5) };
	}

	/** Subscriptions that have not come to the beacon, or are not what PostgreSQL's privileges make of them. */
	async lacks(may, n) {
		const all = [...this.#subscriptions.values()];
		const beacon = all.find(({ view }) => view.table === 'beacon');
		if (!beacon.copy.whole || beacon.copy.rows.held({ n }) === undefined || this.#becoming !== null) return [this.#shown(beacon)];
		const lacking = [];
		for (const subscription of all) {
			const { view, state, copy, position, leaving, code } = subscription;
			const due = verdict(view, await may(this.#identity.role, view.table));
			const done = due === 'live' ? state === 'live' && copy.whole && position === beacon.position : state === 'refused' && code === due;
			if (!done || leaving) lacking.push({ due, ...this.#shown(subscription) });
		}
		return lacking;
	}

	/** Once nothing is lacking: how many rows it holds in how many copies; throws where they are not what PostgreSQL shows. */
	async compare(session, may) {
		let [rows, copies, refused] = [0, 0, 0];
		for (const { view, copy } of this.#subscriptions.values()) {
			const readable = await may(this.#identity.role, view.table);
			if (verdict(view, readable) !== 'live') {
				refused += 1;
				continue;
			}
			const names = shown(view, readable);
			if (copy.rows.columns.join() !== names.join()) throw copy.finding('other columns than may be seen', null, { expected: names, got: copy.rows.columns });
			const expected = await read(session, this.#identity, view, names).catch((error) => {
				throw copy.finding(`PostgreSQL refuses what is subscribed to: ${error.message}`, null, { view, names });
			});
			copy.compare(expected.rows);
			copies += 1;
			rows += copy.rows.size;
		}
		return { rows, copies, refused };
	}
}
