// Whole workloads, watched by a client written from docs/protocol.md section 6 alone: what it holds at the end, and in
// between, must be what the tables hold.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start({ max_connections: 60 });

// One subscription's rows: by key, or a bag of equal rows counted when the table has none.
class Copy {
	constructor(key) {
		this.key = key;
		this.rows = new Map();
	}

	keyOf(row) {
		return JSON.stringify(this.key.map((name) => row[name]));
	}

	bagOf(row) {
		return JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));
	}

	count(row, by) {
		const name = this.bagOf(row);
		const count = (this.rows.get(name)?.count ?? 0) + by;
		assert.ok(count >= 0, `a row that is not held was taken away: ${name}`);
		if (count === 0) this.rows.delete(name);
		else this.rows.set(name, { row, count });
	}

	apply({ op, old, new: now }) {
		if (op === 'truncate') {
			this.rows.clear();
		} else if (this.key === null) {
			if (op !== 'insert') this.count(old, -1);
			if (op !== 'delete') this.count(now, 1);
		} else if (op === 'insert') {
			assert.ok(!this.rows.has(this.keyOf(now)), 'a row was inserted twice');
			this.rows.set(this.keyOf(now), now);
		} else if (op === 'update') {
			const former = this.keyOf({ ...now, ...old });
			assert.ok(this.rows.has(former), 'a row that is not held was updated');
			this.rows.delete(former);
			this.rows.set(this.keyOf(now), now);
		} else {
			assert.ok(this.rows.delete(this.keyOf(old)), 'a row that is not held was deleted');
		}
	}

	// The rows as text, in an order of their own.
	contents() {
		const lines = this.key === null
			? [...this.rows].flatMap(([name, { count }]) => Array(count).fill(name))
			: [...this.rows.values()].map((row) => this.bagOf(row));
		return lines.sort();
	}
}

async function tableContents(name) {
	const { rows } = await cluster.query(`SELECT to_jsonb(t) AS row FROM ${name} t`);
	const copy = new Copy(null);
	for (const { row } of rows) copy.count(row, 1);
	return copy.contents();
}

async function start(wire, tables) {
	const copies = new Map();
	for (const table of tables) {
		const { key } = await wire.subscribed({ id: table, table });
		const copy = new Copy(key);
		for (const { row } of (await cluster.query(`SELECT to_jsonb(t) AS row FROM ${table} t`)).rows) {
			if (key === null) copy.count(row, 1);
			else copy.rows.set(copy.keyOf(row), row);
		}
		copies.set(table, copy);
	}
	return copies;
}

// Applies transactions until the event `end` arrives on the channel `marker`.
async function follow(wire, copies, end, check = () => {}) {
	for (let transactions = 0; ; transactions += 1) {
		const { changes } = await wire.transaction();
		for (const change of changes) {
			if (change.channel === 'marker') {
				if (change.payload === end) return transactions;
			} else {
				for (const id of change.ids) copies.get(id).apply(change);
			}
		}
		check();
	}
}

test('TPC-B by 8 clients leaves a mirror equal to its tables', async (t) => {
	await cluster.program('pgbench', '-i', '-q', '-s', '2');
	const tables = ['pgbench_accounts', 'pgbench_branches', 'pgbench_tellers', 'pgbench_history'];
	await cluster.sql(`GRANT SELECT ON ${tables} TO web; ${tables.map((name) => `SELECT plank.track('${name}')`).join(';')}`);
	const wire = await cluster.client(t);
	const copies = await start(wire, tables);
	const done = follow(wire, copies, 'tpcb is over');
	await cluster.program('pgbench', '-n', '-c', '8', '-j', '2', '-t', '400');
	await wire.mark('tpcb is over');
	const transactions = await done;
	assert.ok(transactions >= 3200, `${transactions} transactions`);
	for (const [name, copy] of copies) assert.deepEqual(copy.contents(), await tableContents(name), name);
});

test('8 writers that move money between two tables never show a broken sum', async (t) => {
	await cluster.sql(`
		CREATE TABLE checking (id int PRIMARY KEY, amount int NOT NULL);
		CREATE TABLE savings (id int PRIMARY KEY, amount int NOT NULL);
		INSERT INTO checking SELECT i, 1000 FROM generate_series(1, 20) i;
		INSERT INTO savings SELECT i, 1000 FROM generate_series(1, 20) i;
		GRANT SELECT ON checking, savings TO web;
		SELECT plank.track('checking'); SELECT plank.track('savings')`);
	const wire = await cluster.client(t);
	const copies = await start(wire, ['checking', 'savings']);
	const sum = () => [...copies.values()].reduce((all, { rows }) => all + [...rows.values()].reduce((some, { amount }) => some + amount, 0), 0);
	assert.equal(sum(), 40_000);
	const done = follow(wire, copies, 'the money is moved', () => assert.equal(sum(), 40_000));
	await Promise.all(Array.from({ length: 8 }, async (_, writer) => {
		const session = await cluster.session();
		for (let i = 0; i < 150; i += 1) {
			const [from, to] = (i + writer) % 2 ? ['checking', 'savings'] : ['savings', 'checking'];
			const id = ((i * 7 + writer * 3) % 20) + 1;
			const broken = i % 5 === 4;
			// Rows are locked in the order of the tables' names, so that no two transfers wait for each other.
			const steps = [`UPDATE ${from} SET amount = amount - 10 WHERE id = ${id}`, `UPDATE ${to} SET amount = amount + 10 WHERE id = ${id}`];
			if (from > to) steps.reverse();
			await session.query('BEGIN');
			await session.query(steps[0]);
			if (broken) await session.query('SAVEPOINT halfway');
			await session.query(steps[1]);
			if (broken) await session.query(i % 2 ? 'ROLLBACK' : 'ROLLBACK TO halfway');
			if (broken && i % 2 === 0) await session.query(steps[1]);
			if (!(broken && i % 2)) await session.query('COMMIT');
		}
	}));
	await wire.mark('the money is moved');
	assert.ok(await done >= 8 * 120);
	for (const [name, copy] of copies) assert.deepEqual(copy.contents(), await tableContents(name), name);
});
