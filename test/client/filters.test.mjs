// What a subscription sees of a table: conditions judged by PostgreSQL, chosen columns, rows that enter and leave.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start({ 'plank.max_subscriptions': 5000, 'plank.subscribe_rate': 0 });
await cluster.sql(`
	CREATE TABLE item (id int PRIMARY KEY, owner int, price numeric(10, 2), name text, tags text[] DEFAULT '{}', secret text);
	CREATE TABLE bag (a int, b text);
	CREATE TABLE narrow (id int PRIMARY KEY, shown text, kept text);
	SELECT plank.track('item'), plank.track('bag'), plank.track('narrow', columns => '{shown}')`);

const brief = ({ ids, op, cause, key, new: now, old }) => [ids.join(), cause ? `${op}!` : op, key, now, old].filter((x) => x !== undefined);
const changes = async (client) => (await client.transaction()).changes.map(brief);

test('an update moves rows into and out of a condition: insert and delete with the cause', async (t) => {
	const client = await cluster.client(t);
	const { columns } = await client.subscribed({ id: 'a', table: 'item', where: 'price < 10 AND owner = 1', columns: ['price'] });
	assert.deepEqual(columns.map(({ name }) => name), ['id', 'price']);
	await cluster.sql(`INSERT INTO item (id, owner, price) VALUES (1, 1, 20), (2, 1, 5), (3, 2, 5)`);
	assert.deepEqual(await changes(client), [['a', 'insert', { id: 2 }, { id: 2, price: 5 }]].map((c) => (c[3].price = Number(c[3].price), c)));
	await cluster.sql(`UPDATE item SET price = price - 15 WHERE id = 1`);
	assert.deepEqual(await changes(client), [['a', 'insert!', { id: 1 }, { id: 1, price: 5 }]]);
	await cluster.sql(`BEGIN; UPDATE item SET price = 6 WHERE id = 2; UPDATE item SET owner = 2 WHERE id = 2; UPDATE item SET id = 10 WHERE id = 1; DELETE FROM item WHERE id = 10; COMMIT`);
	assert.deepEqual(await changes(client), [
		['a', 'update', { id: 2 }, { id: 2, price: 6 }, { id: 2, price: 5 }],
		['a', 'delete!', { id: 2 }, { id: 2, price: 6 }],
		['a', 'update', { id: 10 }, { id: 10, price: 5 }, { id: 1 }],
		['a', 'delete', { id: 10 }, { id: 10, price: 5 }],
	]);
	await cluster.sql(`UPDATE item SET name = 'x' WHERE id = 3`);
	await client.silent();
	await cluster.sql('TRUNCATE item');
	assert.deepEqual(await changes(client), [['a', 'truncate']]);
});

test('a key that leaves with its row is the former one', async (t) => {
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'item', where: 'id < 100', columns: [] });
	await cluster.sql(`INSERT INTO item (id) VALUES (1)`);
	await client.transaction();
	await cluster.sql(`UPDATE item SET id = 200 WHERE id = 1`);
	assert.deepEqual(await changes(client), [['a', 'delete!', { id: 1 }, { id: 1 }]]);
	await cluster.sql(`UPDATE item SET id = 2 WHERE id = 200; DELETE FROM item`);
	assert.deepEqual(await changes(client), [['a', 'insert!', { id: 2 }, { id: 2 }], ['a', 'delete', { id: 2 }, { id: 2 }]]);
});

test('events are judged after the condition; a table without a key is a bag', async (t) => {
	const client = await cluster.client(t);
	await client.subscribed({ id: 'i', table: 'bag', where: `b = 'x'`, events: ['insert'] });
	await client.subscribed({ id: 'd', table: 'bag', where: `b = 'x'`, events: ['delete'] });
	await client.subscribed({ id: 'u', table: 'bag', where: `b = 'x'`, columns: ['a'] });
	await cluster.sql(`INSERT INTO bag VALUES (1, 'y'); UPDATE bag SET b = 'x'; UPDATE bag SET a = 2; UPDATE bag SET b = NULL`);
	assert.deepEqual(await changes(client), [
		['i', 'insert!', null, { a: 1, b: 'x' }], ['u', 'insert!', null, { a: 1 }],
		['u', 'update', null, { a: 2 }, { a: 1 }],
		['d', 'delete!', null, { a: 2, b: 'x' }], ['u', 'delete!', null, { a: 2 }],
	]);
	await cluster.sql('DELETE FROM bag');
	await client.silent();
});

test('conditions have PostgreSQL\'s meaning: nulls, arrays, patterns, scales', async (t) => {
	const client = await cluster.client(t);
	const conditions = ['price = 1.0', `name LIKE 'a%'`, `'red' = ANY (tags)`, 'owner IS NULL', 'owner IN (1, NULL)', `name ~* '^A.*z$'`, 'price * 2 > 3 OR name IS NULL', 'NOT (owner = 1)'];
	for (const [i, where] of conditions.entries()) await client.subscribed({ id: String(i), table: 'item', where, columns: [] });
	await cluster.sql(`INSERT INTO item VALUES (1, 1, 1.00, 'abz', '{red}'), (2, NULL, NULL, NULL, NULL), (3, 2, 7, 'Az', '{blue}')`);
	const { rows } = await cluster.query(`SELECT id, ARRAY[${conditions.map((where) => `(${where}) IS TRUE`).join()}] AS passes FROM item ORDER BY id`);
	const got = {};
	for (const { ids, key } of (await client.transaction()).changes) (got[key.id] ??= []).push(...ids);
	for (const { id, passes } of rows) assert.deepEqual((got[id] ?? []).sort(), passes.flatMap((pass, i) => (pass ? [String(i)] : [])), `row ${id}`);
	await cluster.sql('DELETE FROM item');
	await client.transaction();
});

test('what cannot be a condition is refused with its code and place, and disturbs nobody', async (t) => {
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'item' });
	const codes = { 'price <': '42601', 'nothing = 1': '42703', 'price': '42601', 'random() < 1': '0A000', '(SELECT true)': '0A000', 'ctid IS NULL': '0A000',
		'count(*) > 1': '0A000', "id = 'x'": '42601', [`${'('.repeat(20_000)}true${')'.repeat(20_000)}`]: '53400', "secret = 'x'; DROP TABLE item": '42601' };
	for (const [where, expected] of Object.entries(codes)) {
		const { code, message } = await client.ask({ type: 'subscribe', id: 'w', table: 'item', where }, 'error');
		assert.ok(code === expected || (expected === '0A000' && code === '42601') || (expected === '53400' && ['42601', '0A000', '54001'].includes(code)), `${where.slice(0, 40)}: ${code} ${message}`);
	}
	assert.equal((await client.ask({ type: 'subscribe', id: 'w', table: 'item', columns: ['nothing'] }, 'error')).code, '42703');
	assert.equal((await client.ask({ type: 'subscribe', id: 'w', table: 'narrow', columns: ['kept'] }, 'error')).code, '0A000');
	const kept = await client.ask({ type: 'subscribe', id: 'w', table: 'narrow', where: `kept = 'x'` }, 'error');
	assert.ok(['0A000', '42703'].includes(kept.code), kept.code);
	await cluster.sql('INSERT INTO item (id) VALUES (1); DELETE FROM item');
	assert.equal((await client.transaction()).changes.length, 2);
});

test('a condition that fails on a row ends its subscription alone', async (t) => {
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'item', where: '10 / owner > 1' });
	await client.subscribed({ id: 'b', table: 'item', where: 'owner = 0', columns: [] });
	await cluster.sql('INSERT INTO item (id, owner) VALUES (1, 0)');
	const messages = [await client.next(), await client.next()];
	const ended = messages.find(({ type }) => type === 'unsubscribed');
	assert.deepEqual([ended.id, ended.code], ['a', '22012']);
	assert.deepEqual(messages.find(({ type }) => type === 'transaction').changes.map(brief), [['b', 'insert', { id: 1 }, { id: 1 }]]);
	await cluster.sql('DELETE FROM item');
	assert.equal((await client.transaction()).changes.length, 1);
});

test('a filtered subscription resumes: what was missed is judged by it', async (t) => {
	const first = await cluster.client(t);
	await first.subscribed({ id: 'a', table: 'item', where: 'owner = 7', columns: [] });
	await cluster.sql('INSERT INTO item (id, owner) VALUES (1, 7)');
	const { position } = await first.transaction();
	first.close();
	await cluster.sql('INSERT INTO item (id, owner) VALUES (2, 8)');
	await cluster.sql('UPDATE item SET owner = 7 WHERE id = 2');
	const client = await cluster.client(t);
	assert.equal((await client.subscribed({ id: 'b', table: 'item', where: 'owner = 8', columns: [], since: position })).resumed, true);
	assert.deepEqual(await changes(client), [['b', 'insert', { id: 2 }, { id: 2 }]]);
	assert.deepEqual(await changes(client), [['b', 'delete!', { id: 2 }, { id: 2 }]]);
	await client.silent();
	await cluster.sql('DELETE FROM item');
	await client.silent();
});

test('a thousand conditions on one table, each told of its own rows', async (t) => {
	const client = await cluster.client(t);
	for (let i = 0; i < 1000; i += 1) client.send({ type: 'subscribe', id: String(i), table: 'item', where: `owner = ${i}`, columns: [] });
	for (let i = 0; i < 1000; i += 1) await client.next('subscribed');
	await cluster.sql('INSERT INTO item (id, owner) SELECT i, i % 2000 FROM generate_series(1, 4000) i');
	const seen = (await client.transaction()).changes;
	assert.equal(seen.length, 2000);
	for (const { ids, key } of seen) assert.deepEqual(ids, [String(key.id % 2000)]);
	await cluster.sql('TRUNCATE item');
	assert.equal((await client.transaction()).changes[0].ids.length > 0, true);
});

test('DDL: a column that a condition or a list names goes, and the subscription with it; others go on', async (t) => {
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'bag', where: `b = 'x'` });
	await client.subscribed({ id: 'b', table: 'bag', columns: ['b'] });
	await client.subscribed({ id: 'c', table: 'bag', columns: ['a'] });
	await cluster.sql('ALTER TABLE bag DROP COLUMN b');
	const ended = new Set();
	for (let left = 2; left > 0;) {
		const { type, id, code } = await client.next();
		if (type !== 'unsubscribed') continue;
		assert.ok(['42703', '42601'].includes(code), code);
		ended.add(id);
		left -= 1;
	}
	assert.deepEqual([...ended].sort(), ['a', 'b']);
	await cluster.sql('INSERT INTO bag VALUES (5)');
	for (;;) {
		const message = await client.next();
		if (message.type !== 'transaction') continue;
		assert.deepEqual(message.changes.map(brief), [['c', 'insert', null, { a: 5 }]]);
		break;
	}
});
