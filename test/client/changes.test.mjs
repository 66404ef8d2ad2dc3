// What a change says (protocol.md, rules 4 to 6): keys, old and new, key changes, rows without a key, truncate, events,
// numbers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start();

// A table made by `ddl`, tracked, and a client that watches it as `a`; the answer to its subscription is in `shape`.
async function watched(t, table, ddl, options = {}) {
	await cluster.sql(`${ddl}; SELECT plank.track('${table}')`);
	const client = await cluster.client(t);
	client.shape = await client.subscribed({ id: 'a', table, ...options });
	return client;
}

test('subscribed tells table, key, columns and position', async (t) => {
	const { shape } = await watched(t, 'shape', 'CREATE TABLE shape (a int, b text NOT NULL, c numeric(6,2)[], PRIMARY KEY (b, a))');
	const { position, ...rest } = shape;
	assert.equal(typeof position, 'string');
	assert.deepEqual(rest, {
		type: 'subscribed', id: 'a', table: 'public.shape', key: ['b', 'a'],
		columns: [{ name: 'a', type: 'integer' }, { name: 'b', type: 'text' }, { name: 'c', type: 'numeric(6,2)[]' }],
	});
});

test('a transaction carries xid, position, committed_at and the ids it is for', async (t) => {
	const client = await watched(t, 'facts', 'CREATE TABLE facts (id int PRIMARY KEY)');
	await client.subscribed({ id: 'again', table: 'facts' });
	const { rows: [{ xid }] } = await cluster.query('INSERT INTO facts VALUES (1) RETURNING pg_current_xact_id()::text AS xid');
	const { committed_at: at, position, parts, ...rest } = await client.transaction();
	assert.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
	assert.ok(Math.abs(new Date(at) - Date.now()) < 60_000);
	assert.equal(typeof position, 'string');
	assert.deepEqual(rest, {
		type: 'transaction', xid, more: false,
		changes: [{ ids: ['a', 'again'], table: 'public.facts', op: 'insert', key: { id: 1 }, new: { id: 1 } }],
	});
	await client.silent();
});

test('composite key: complete in every change, and not in the table\'s order', async (t) => {
	const client = await watched(t, 'composite', 'CREATE TABLE composite (a int, b text, c int, PRIMARY KEY (b, a))');
	await cluster.sql(`INSERT INTO composite VALUES (1, 'x', 5)`);
	await cluster.sql('UPDATE composite SET c = 6');
	await cluster.sql('DELETE FROM composite');
	const key = { b: 'x', a: 1 };
	assert.deepEqual(await client.changes(), [{ op: 'insert', key, new: { a: 1, b: 'x', c: 5 } }]);
	assert.deepEqual(await client.changes(), [{ op: 'update', key, new: { a: 1, b: 'x', c: 6 }, old: { a: 1, b: 'x', c: 5 } }]);
	assert.deepEqual(await client.changes(), [{ op: 'delete', key, old: { a: 1, b: 'x', c: 6 } }]);
});

test('without a primary key the replica identity index is the key', async (t) => {
	const client = await watched(t, 'identity', `
		CREATE TABLE identity (a int NOT NULL, b int);
		CREATE UNIQUE INDEX identity_a ON identity (a);
		ALTER TABLE identity REPLICA IDENTITY USING INDEX identity_a`);
	assert.deepEqual(client.shape.key, ['a']);
	await cluster.sql('INSERT INTO identity VALUES (1, 2)');
	assert.deepEqual((await client.changes())[0].key, { a: 1 });
});

test('a unique index that is not the replica identity is no key', async (t) => {
	const client = await watched(t, 'only_unique', 'CREATE TABLE only_unique (a int UNIQUE NOT NULL)');
	assert.equal(client.shape.key, null);
});

test('a deferrable primary key is no key, and swapping its values inside a transaction is exact (C14)', async (t) => {
	const client = await watched(t, 'swapped', `
		CREATE TABLE swapped (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, name text);
		INSERT INTO swapped VALUES (1, 'one'), (2, 'two')`);
	assert.equal(client.shape.key, null);
	await cluster.sql('UPDATE swapped SET id = 3 - id');
	assert.deepEqual(await client.changes(), [
		{ op: 'update', key: null, new: { id: 2, name: 'one' }, old: { id: 1, name: 'one' } },
		{ op: 'update', key: null, new: { id: 1, name: 'two' }, old: { id: 2, name: 'two' } },
	]);
});

test('a table without any key: whole rows in old, one change for each of equal rows', async (t) => {
	const client = await watched(t, 'bag', `CREATE TABLE bag (a int, b text); INSERT INTO bag VALUES (1, 'x'), (1, 'x')`);
	assert.equal(client.shape.key, null);
	await cluster.sql('UPDATE bag SET a = 2');
	const update = { op: 'update', key: null, new: { a: 2, b: 'x' }, old: { a: 1, b: 'x' } };
	assert.deepEqual(await client.changes(), [update, update]);
	await cluster.sql('DELETE FROM bag');
	const remove = { op: 'delete', key: null, old: { a: 2, b: 'x' } };
	assert.deepEqual(await client.changes(), [remove, remove]);
});

test('old of an update holds the key and the columns whose JSON changed, nothing else', async (t) => {
	const client = await watched(t, 'old', `CREATE TABLE old (id int PRIMARY KEY, a int, b text, c jsonb, d timestamptz)`);
	await cluster.sql(`INSERT INTO old VALUES (1, 1, 'b', '{"x": 1}', '2026-01-01 00:00:00+02')`);
	await cluster.sql(`UPDATE old SET a = NULL, c = '{"x": 2}'`);
	await cluster.sql(`UPDATE old SET b = b, d = '2025-12-31 22:00:00+00'`);
	await client.changes();
	const now = { id: 1, a: null, b: 'b', c: { x: 2 }, d: '2025-12-31T22:00:00+00:00' };
	assert.deepEqual(await client.changes(), [{ op: 'update', key: { id: 1 }, new: now, old: { id: 1, a: 1, c: { x: 1 } } }]);
	assert.deepEqual(await client.changes(), [{ op: 'update', key: { id: 1 }, new: now, old: { id: 1 } }]);
});

test('an update of the key: the new one in key, the former in old', async (t) => {
	const client = await watched(t, 'rekeyed', `CREATE TABLE rekeyed (a int, b int, c text, PRIMARY KEY (a, b)); INSERT INTO rekeyed VALUES (1, 1, 'c')`);
	await cluster.sql('UPDATE rekeyed SET b = 2');
	assert.deepEqual(await client.changes(), [
		{ op: 'update', key: { a: 1, b: 2 }, new: { a: 1, b: 2, c: 'c' }, old: { a: 1, b: 1 } },
	]);
});

test('truncate names no rows; with CASCADE and two tables each is named once', async (t) => {
	const client = await watched(t, 'parent_t', `CREATE TABLE parent_t (id int PRIMARY KEY); CREATE TABLE child_t (id int PRIMARY KEY REFERENCES parent_t);
		SELECT plank.track('child_t'); INSERT INTO parent_t VALUES (1), (2)`);
	await client.subscribed({ id: 'b', table: 'child_t' });
	await cluster.sql('INSERT INTO child_t VALUES (2)');
	await client.changes();
	await cluster.sql('TRUNCATE parent_t CASCADE');
	const { changes } = await client.transaction();
	assert.deepEqual(changes.sort((x, y) => (x.table < y.table ? 1 : -1)), [
		{ ids: ['a'], table: 'public.parent_t', op: 'truncate' },
		{ ids: ['b'], table: 'public.child_t', op: 'truncate' },
	]);
	await client.silent();
});

test('events: only those asked for, and a transaction without any is not sent', async (t) => {
	const client = await watched(t, 'chosen', 'CREATE TABLE chosen (id int PRIMARY KEY)', { events: ['delete', 'truncate'] });
	await cluster.sql('INSERT INTO chosen VALUES (1), (2)');
	await cluster.sql('UPDATE chosen SET id = id + 10; DELETE FROM chosen WHERE id = 11');
	assert.deepEqual(await client.changes(), [{ op: 'delete', key: { id: 11 }, old: { id: 11 } }]);
	await cluster.sql('TRUNCATE chosen');
	assert.deepEqual(await client.changes(), [{ op: 'truncate' }]);
	await client.silent();
});

test('two subscriptions of one table differ in events and numbers, each change names those it is for', async (t) => {
	const client = await watched(t, 'shared', 'CREATE TABLE shared (id bigint PRIMARY KEY)', { events: ['insert'] });
	await client.subscribed({ id: 'text', table: 'shared', numbers: 'text' });
	await client.subscribed({ id: 'deletes', table: 'shared', events: ['delete'] });
	await cluster.sql('INSERT INTO shared VALUES (9007199254740993); DELETE FROM shared');
	const { changes } = await client.transaction();
	const seen = Object.fromEntries(['a', 'text', 'deletes'].map((id) => [id, changes.filter(({ ids }) => ids.includes(id)).map(({ op, key }) => [op, key.id])]));
	const rounded = 9007199254740992;
	assert.deepEqual(seen, { a: [['insert', rounded]], text: [['insert', '9007199254740993'], ['delete', '9007199254740993']], deletes: [['delete', rounded]] });
});

test('a type\'s name is the same whoever writes, so that no search_path makes a new shape', async (t) => {
	await cluster.sql('CREATE SCHEMA elsewhere; CREATE TYPE elsewhere.colour AS ENUM (\'red\'); CREATE DOMAIN short AS varchar(5)');
	const client = await watched(t, 'typed', 'CREATE TABLE typed (id int PRIMARY KEY, c elsewhere.colour, s short[], v varchar(3), "char" "char", b bit(3), n char(2))');
	assert.deepEqual(client.shape.columns.map(({ type }) => type),
		['integer', 'elsewhere.colour', 'public.short[]', 'character varying(3)', '"char"', 'bit(3)', 'character(2)']);
	await cluster.psql(`SET search_path = elsewhere, public; INSERT INTO typed VALUES (1, 'red');`);
	await cluster.psql(`SET search_path = ''; INSERT INTO public.typed VALUES (2, 'red');`);
	assert.deepEqual([(await client.changes())[0].key, (await client.changes())[0].key], [{ id: 1 }, { id: 2 }]);
	await client.silent();
});

test('numbers: text sends bigint and numeric as strings, in arrays and composites too, and nothing else', async (t) => {
	await cluster.sql('CREATE TYPE pair AS (big bigint, small int)');
	const client = await watched(t, 'digits', `CREATE TABLE digits (id bigint PRIMARY KEY, n numeric, i int, f float8, a numeric[], p pair, j jsonb, t text)`, { numbers: 'text' });
	await cluster.sql(`INSERT INTO digits VALUES (9223372036854775807, 0.10000000000000000001, 5, 1.5, '{1.10,NULL}', '(7,8)', '{"n": 12345678901234567890}', '42')`);
	assert.deepEqual((await client.changes())[0].new, {
		id: '9223372036854775807', n: '0.10000000000000000001', i: 5, f: 1.5, a: ['1.10', null], p: { big: '7', small: 8 },
		j: { n: 12345678901234567000 }, t: '42',
	});
	await cluster.sql(`UPDATE digits SET n = 'NaN', a = '{Infinity,-1e30}'`);
	const [change] = await client.changes();
	assert.deepEqual([change.new.n, change.new.a, change.old.n], ['NaN', ['Infinity', '-1000000000000000000000000000000'], '0.10000000000000000001']);
});

test('numbers: json sends digits as they are in SQL', async (t) => {
	const client = await watched(t, 'plain_digits', 'CREATE TABLE plain_digits (id bigint PRIMARY KEY, n numeric)');
	const texts = [];
	client.onFrame = (data) => texts.push(data.toString());
	await cluster.sql('INSERT INTO plain_digits VALUES (9223372036854775807, 0.10000000000000000001)');
	await client.changes();
	assert.match(texts.join(), /"new":\{"id":9223372036854775807,"n":0\.10000000000000000001\}/);
});

test('values do not depend on the writer\'s settings (rule 8)', async (t) => {
	const client = await watched(t, 'settings', `CREATE TABLE settings (id int PRIMARY KEY, at timestamptz, i interval, b bytea, m money, f float8, r regclass, d date)`);
	const session = await cluster.session();
	const insert = (id) => session.query(`INSERT INTO settings VALUES (${id}, timestamptz '2026-02-03 04:05:06+00', interval '1 day 02:03:04', '\\x00ff', 1234.5::numeric::money, 0.1::float8 + 0.2::float8, 'settings', date '2026-02-03')`);
	await insert(1);
	await session.query(`SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Tokyo'; SET IntervalStyle = iso_8601; SET bytea_output = escape; SET extra_float_digits = -5; SET search_path = pg_catalog, pg_temp`);
	await session.query(`SET search_path = public; SET DateStyle = 'SQL, DMY'`);
	await insert(2);
	const [[first], [second]] = [await client.changes(), await client.changes()];
	assert.deepEqual({ ...second.new, id: 1 }, first.new);
	assert.deepEqual(first.new, { id: 1, at: '2026-02-03T04:05:06+00:00', i: '1 day 02:03:04', b: '\\x00ff', m: '$1,234.50', f: 0.30000000000000004, r: 'public.settings', d: '2026-02-03' });
});

test('generated columns are sent as they are stored', async (t) => {
	const client = await watched(t, 'generated', `CREATE TABLE generated (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED)`);
	await cluster.sql('INSERT INTO generated (a) VALUES (4)');
	await cluster.sql('UPDATE generated SET a = 5');
	assert.deepEqual(await client.changes(), [{ op: 'insert', key: { id: 1 }, new: { id: 1, a: 4, twice: 8 } }]);
	assert.deepEqual(await client.changes(), [{ op: 'update', key: { id: 1 }, new: { id: 1, a: 5, twice: 10 }, old: { id: 1, a: 4, twice: 8 } }]);
});

test('unsubscribe: the answer, then nothing more of that subscription', async (t) => {
	const client = await watched(t, 'ended', 'CREATE TABLE ended (id int PRIMARY KEY)');
	await client.subscribed({ id: 'b', table: 'ended' });
	const { code, message } = await client.ask({ type: 'unsubscribe', id: 'a' }, 'unsubscribed');
	assert.deepEqual({ code, message }, { code: null, message: null });
	await cluster.sql('INSERT INTO ended VALUES (1)');
	assert.deepEqual((await client.transaction()).changes.map(({ ids }) => ids), [['b']]);
	// The id is free again.
	await client.subscribed({ id: 'a', table: 'ended' });
	await client.silent();
});
