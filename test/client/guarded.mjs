// Servers of both transports for tests of who may see what: clients by their claims, what PostgreSQL shows to the same
// identity, and a watch over every byte that a client receives.

import assert from 'node:assert/strict';
import { Cluster, until } from './cluster.mjs';
import { hs256, secret, serverFile } from './jwt.mjs';
import { patience } from './wire.mjs';

export async function start(ddl, settings = {}) {
	const keyFile = serverFile('jwt.key', secret);
	const guarded = [];
	for (const transport of ['notify', 'wal']) {
		const cluster = await Cluster.start({
			'plank.transport': transport, wal_keep_size: '256MB', 'plank.jwt_key_file': keyFile.path, 'plank.subscribe_rate': 0, ...settings,
		});
		await cluster.sql(ddl);
		guarded.push(new Guarded(transport, cluster));
	}
	return guarded;
}

class Guarded {
	constructor(transport, cluster) {
		this.transport = transport;
		this.cluster = cluster;
		this.sql = (text) => cluster.sql(text);
	}

	/** A client with these claims (none: without a token), which must never receive the texts of `never`. */
	async as(t, claims, ...never) {
		const client = await this.cluster.client(t, claims ? { headers: { Authorization: `Bearer ${hs256(claims)}` } } : {});
		const leaks = [];
		client.onFrame = (data) => {
			for (const text of never) if (data.includes(text)) leaks.push(`${text} in ${data.toString().slice(0, 500)}`);
		};
		// Marks of other clients are on the same channel, and nobody's business.
		const next = client.next.bind(client);
		client.next = async (type, ms) => {
			for (;;) {
				const message = await next(undefined, ms);
				if (message.changes?.every(({ channel, payload }) => channel === 'marker' && !payload.includes(client.welcome.session))) continue;
				if (type !== undefined) assert.equal(message.type, type, `expected ${type}, got ${JSON.stringify(message).slice(0, 500)}`);
				return message;
			}
		};
		t.after(() => assert.deepEqual(leaks, [], `${JSON.stringify(claims)} has received what it may not see`));
		return client;
	}

	/** What PostgreSQL gives that identity for a query, as JSON gives it. */
	async select(claims, query) {
		const session = await this.cluster.session();
		try {
			await session.query('BEGIN');
			await session.query(`SELECT set_config('request.jwt.claims', $1, true)`, [JSON.stringify(claims)]);
			await session.query(`SET LOCAL ROLE "${claims.role}"`);
			const { rows: [{ rows }] } = await session.query(`SELECT coalesce(json_agg(to_jsonb(q)), '[]') AS rows FROM (${query}) q`);
			return rows;
		} finally {
			await session.end();
		}
	}

	/** A client's copy of what `options` subscribe to, with its rows first. */
	async mirror(t, claims, options, ...never) {
		const client = await this.as(t, claims, ...never);
		const mirror = new Mirror(client);
		client.onMessage = (message) => mirror.take(message);
		client.send({ type: 'subscribe', id: 'm', snapshot: true, ...options });
		await until(() => mirror.read, `the rows of ${JSON.stringify(claims)}`);
		mirror.equals = async (query) => {
			let want;
			await until(async () => {
				want = sorted(await this.select(claims, query));
				return JSON.stringify(mirror.texts()) === JSON.stringify(want);
			}, 'the mirror to equal its SELECT').catch(() => assert.deepEqual(mirror.texts(), want, JSON.stringify(claims)));
		};
		return mirror;
	}
}

const textOf = (row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));
const sorted = (rows) => rows.map(textOf).sort();

// Section 6 of the protocol for a table with a key, with what it says of policies that look at other tables.
class Mirror {
	rows = new Map();
	resets = 0;
	shapes = [];
	ended = null;

	constructor(client) {
		this.client = client;
	}

	take(message) {
		if (message.type === 'transaction') message.changes.filter(({ ids }) => ids.includes('m')).forEach((change) => this.#change(change));
		if (message.id !== 'm') return;
		switch (message.type) {
			case 'subscribed':
				this.key = message.key;
				this.shapes.push(message.columns.map(({ name }) => name));
				break;
			case 'rows':
				for (const row of message.rows) this.rows.set(this.#keyOf(row), row);
				this.read = !message.more;
				break;
			case 'reset':
				this.rows.clear();
				this.resets += 1;
				this.read = false;
				break;
			case 'unsubscribed':
			case 'error':
				this.ended = message;
				break;
			default:
		}
	}

	#keyOf(row, otherwise = {}) {
		return JSON.stringify(this.key.map((name) => (name in row ? row[name] : otherwise[name])));
	}

	#change({ op, key, new: now, old }) {
		if (op === 'truncate') return this.rows.clear();
		if (op === 'delete') return this.rows.delete(this.#keyOf(key));
		if (op === 'update') this.rows.delete(this.#keyOf(old, now));
		return this.rows.set(this.#keyOf(now), now);
	}

	texts() {
		return sorted([...this.rows.values()]);
	}
}

/** What comes until `stop` says so, in order. */
export async function collect(client, stop, ms = patience) {
	const seen = [];
	for (;;) {
		seen.push(await client.next(undefined, ms));
		if (stop(seen.at(-1))) return seen;
	}
}

/** All rows of a snapshot that comes next. */
export async function rowsOf(client, id) {
	const all = [];
	for (;;) {
		const message = await client.next('rows');
		assert.equal(message.id, id);
		all.push(...message.rows);
		if (!message.more) return all;
	}
}

/** A change without what is the same in all. */
export const brief = ({ op, cause, key, new: now, old }) => [cause ? `${op}!` : op, key && Object.values(key)[0], now, old].filter((x) => x !== undefined);
export async function changes(client) {
	for (;;) {
		const { changes: all } = await client.transaction();
		// Marks of other clients are nobody's business.
		if (!all.every(({ channel }) => channel === 'marker')) return all.map(brief);
	}
}
