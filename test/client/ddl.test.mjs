// DDL under live subscriptions (rule 10): they follow the table, hear of a new shape before its first change, of a reset
// when contents changed unseen, and of their end.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start();

async function watched(t, table, columns) {
	await cluster.sql(`CREATE TABLE ${table} (${columns}); SELECT plank.track('${table}')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table });
	return client;
}
const names = ({ columns }) => columns.map(({ name, type }) => `${name} ${type}`);

// What comes until a transaction: resets and shapes in between are collected.
async function untilChange(client) {
	const before = [];
	for (;;) {
		const message = await client.next();
		if (message.type === 'transaction') return { before, changes: message.changes };
		before.push(message);
	}
}

test('a renamed table: subscribed again with the new name, and it goes on', async (t) => {
	const client = await watched(t, 'ren', 'id int PRIMARY KEY');
	await cluster.sql('ALTER TABLE ren RENAME TO renamed; INSERT INTO renamed VALUES (1)');
	assert.equal((await client.next('subscribed')).table, 'public.renamed');
	const { changes } = await client.transaction();
	assert.deepEqual([changes[0].ids, changes[0].table], [['a'], 'public.renamed']);
	await cluster.sql('CREATE SCHEMA moved; GRANT USAGE ON SCHEMA moved TO web; ALTER TABLE renamed SET SCHEMA moved');
	// Nobody has to write for the name to be told.
	assert.equal((await client.next('subscribed')).table, 'moved.renamed');
	await client.silent();
});

test('a renamed column, also one that track was told of', async (t) => {
	const client = await watched(t, 'col', 'id int PRIMARY KEY, a int, b int');
	await cluster.sql('ALTER TABLE col RENAME a TO "A x"');
	await cluster.sql('INSERT INTO col VALUES (1, 2, 3)');
	const { before, changes } = await untilChange(client);
	assert.deepEqual(before.map(names), [['id integer', 'A x integer', 'b integer']]);
	assert.deepEqual(changes[0].new, { id: 1, 'A x': 2, b: 3 });
	await cluster.sql(`SELECT plank.track('col', columns => '{b}', filter => 'b > 0')`);
	await cluster.sql('ALTER TABLE col RENAME b TO c');
	await cluster.sql('INSERT INTO col VALUES (2, 2, 3), (3, 3, 0)');
	const second = await untilChange(client);
	assert.deepEqual(names(second.before.filter(({ type }) => type === 'subscribed').at(-1)), ['id integer', 'c integer']);
	assert.deepEqual(second.changes.map(({ new: row }) => row), [{ id: 2, c: 3 }]);
});

test('a column added without a default: a new shape and no reset', async (t) => {
	const client = await watched(t, 'plain_add', 'id int PRIMARY KEY');
	await cluster.sql('INSERT INTO plain_add VALUES (1)');
	await client.transaction();
	await cluster.sql('ALTER TABLE plain_add ADD COLUMN n int');
	await cluster.sql('UPDATE plain_add SET n = 5');
	const { before, changes } = await untilChange(client);
	assert.deepEqual(before.map(({ type }) => type), ['subscribed']);
	assert.deepEqual(names(before[0]), ['id integer', 'n integer']);
	assert.deepEqual(changes[0].old, { id: 1, n: null });
});

test('a column dropped and added again in one transaction: a reset, for its values are gone', async (t) => {
	const client = await watched(t, 'readded', 'id int PRIMARY KEY, n int');
	await cluster.sql('INSERT INTO readded VALUES (1, 5)');
	await client.transaction();
	await cluster.sql('ALTER TABLE readded DROP COLUMN n; ALTER TABLE readded ADD COLUMN n int; INSERT INTO readded VALUES (2, 6)');
	const { before, changes } = await untilChange(client);
	assert.deepEqual(before.map(({ type }) => type), ['subscribed', 'reset']);
	assert.deepEqual(changes[0].new, { id: 2, n: 6 });
	await client.silent();
});

for (const [what, column] of [['a constant', 'n int DEFAULT 7'], ['a volatile', 'n float8 DEFAULT random()'], ['an identity', 'n int GENERATED ALWAYS AS IDENTITY'],
	['a generated', 'n int GENERATED ALWAYS AS (id * 2) STORED']]) {
	test(`a column added with ${what} default: a new shape and a reset`, async (t) => {
		const table = `add_${what.replaceAll(' ', '_')}`;
		const client = await watched(t, table, 'id int PRIMARY KEY');
		await cluster.sql(`INSERT INTO ${table} VALUES (1)`);
		await client.transaction();
		await cluster.sql(`ALTER TABLE ${table} ADD COLUMN ${column}`);
		await cluster.sql(`DELETE FROM ${table}`);
		const { before, changes } = await untilChange(client);
		assert.deepEqual(before.map(({ type }) => type).sort(), ['reset', 'subscribed']);
		assert.deepEqual(Object.keys(changes[0].old), ['id', 'n']);
		await client.silent();
	});
}

test('a dropped column is gone from shape and changes', async (t) => {
	const client = await watched(t, 'drop_col', 'id int PRIMARY KEY, a int, b int');
	await cluster.sql('ALTER TABLE drop_col DROP COLUMN a; INSERT INTO drop_col VALUES (1, 2)');
	const { before, changes } = await untilChange(client);
	assert.deepEqual(before.map(names), [['id integer', 'b integer']]);
	assert.deepEqual(changes[0].new, { id: 1, b: 2 });
});

test('ALTER TYPE: a new shape, and a reset when contents changed', async (t) => {
	const client = await watched(t, 'retyped', 'id int PRIMARY KEY, v varchar(5), n int');
	await cluster.sql(`INSERT INTO retyped VALUES (1, 'v', 1)`);
	await client.transaction();
	await cluster.sql('ALTER TABLE retyped ALTER n TYPE numeric(8,2) USING n / 4.0');
	await cluster.sql('UPDATE retyped SET n = n + 1');
	const { before, changes } = await untilChange(client);
	assert.deepEqual(before.map(({ type }) => type).sort(), ['reset', 'subscribed']);
	assert.deepEqual(changes[0].new, { id: 1, v: 'v', n: 1.25 });
	await cluster.sql('ALTER TABLE retyped ALTER v TYPE text');
	await cluster.sql(`UPDATE retyped SET v = 'longer than five'`);
	const second = await untilChange(client);
	assert.deepEqual(names(second.before.find(({ type }) => type === 'subscribed')), ['id integer', 'v text', 'n numeric(8,2)']);
});

test('another primary key, or none: subscribed again with it', async (t) => {
	const client = await watched(t, 'rekey', 'id int PRIMARY KEY, a int NOT NULL');
	await cluster.sql('INSERT INTO rekey VALUES (1, 10)');
	await client.transaction();
	await cluster.sql('ALTER TABLE rekey DROP CONSTRAINT rekey_pkey; ALTER TABLE rekey ADD PRIMARY KEY (a)');
	await cluster.sql('UPDATE rekey SET id = 2');
	const { before, changes } = await untilChange(client);
	assert.deepEqual(before.filter(({ type }) => type === 'subscribed').at(-1).key, ['a']);
	assert.deepEqual([changes[0].key, changes[0].old], [{ a: 10 }, { id: 1, a: 10 }]);
	await cluster.sql('ALTER TABLE rekey DROP CONSTRAINT rekey_pkey');
	await cluster.sql('UPDATE rekey SET id = 3');
	const second = await untilChange(client);
	assert.equal(second.before.filter(({ type }) => type === 'subscribed').at(-1).key, null);
	assert.deepEqual(second.changes[0].old, { id: 2, a: 10 });
});

// Says who is reset, and reads on until it is.
async function untilReset(client) {
	for (;;) {
		const { type, id } = await client.next();
		if (type === 'reset') return id;
		assert.equal(type, 'subscribed');
	}
}

test('another key, of columns that were left out: reset, for rows cannot be found by what they lack', async (t) => {
	const client = await watched(t, 'rekeyed', 'id int PRIMARY KEY, a int NOT NULL, v text');
	await client.subscribed({ id: 'with', table: 'rekeyed', columns: ['a'] });
	await client.subscribed({ id: 'without', table: 'rekeyed', columns: ['v'], snapshot: true });
	assert.deepEqual((await client.next('rows')).rows, []);
	await cluster.sql(`INSERT INTO rekeyed VALUES (1, 10, 'x'), (2, 20, 'y')`);
	const { position: since } = await client.transaction();
	await cluster.sql('ALTER TABLE rekeyed DROP CONSTRAINT rekeyed_pkey; ALTER TABLE rekeyed ADD PRIMARY KEY (a)');
	assert.equal(await untilReset(client), 'without');
	assert.deepEqual((await client.next('rows')).rows, [{ a: 10, v: 'x' }, { a: 20, v: 'y' }]);
	await client.silent();
	const back = await cluster.client(t);
	assert.equal((await back.subscribed({ id: 'back', table: 'rekeyed', columns: ['v'], since })).resumed, true);
	assert.equal(await untilReset(back), 'back');
});

test('a shape that changes within one transaction is told between its changes', async (t) => {
	const client = await watched(t, 'within', 'id int PRIMARY KEY');
	await cluster.sql('INSERT INTO within VALUES (1); ALTER TABLE within ADD COLUMN n int; INSERT INTO within VALUES (2, 2)');
	const seen = await client.caughtUp();
	assert.ok(seen.some(({ type, columns }) => type === 'subscribed' && columns.length === 2), JSON.stringify(seen));
	const changes = seen.filter(({ type }) => type === 'transaction').flatMap((message) => message.changes);
	assert.deepEqual(changes.map(({ key }) => key.id), [1, 2]);
	assert.deepEqual(changes[1].new, { id: 2, n: 2 });
});

const ends = [
	['DROP TABLE', (table) => `DROP TABLE ${table}`],
	['untrack', (table) => `SELECT plank.untrack('${table}')`],
	['REVOKE', (table) => `REVOKE SELECT ON ${table} FROM web`],
	['REVOKE on the schema', (table) => `CREATE SCHEMA IF NOT EXISTS barred; ALTER TABLE ${table} SET SCHEMA barred`],
];
for (const [what, statement] of ends) {
	test(`${what}: unsubscribed with 42P01 unasked, others go on`, async (t) => {
		const table = `end_${what.replaceAll(' ', '_').toLowerCase()}`;
		const client = await watched(t, table, 'id int PRIMARY KEY');
		await cluster.sql(`CREATE TABLE ${table}_beside (id int PRIMARY KEY); SELECT plank.track('${table}_beside')`);
		await client.subscribed({ id: 'b', table: `${table}_beside` });
		await cluster.sql(statement(table));
		const { id, code, message } = await client.next('unsubscribed');
		assert.deepEqual([id, code], ['a', '42P01']);
		assert.equal(typeof message, 'string');
		const refused = await client.ask({ type: 'subscribe', id: 'a', table }, 'error');
		assert.deepEqual([refused.code, refused.message], ['42P01', message]);
		await cluster.sql(`INSERT INTO ${table}_beside VALUES (1)`);
		assert.deepEqual((await client.transaction()).changes.map(({ ids }) => ids), [['b']]);
	});
}

test('a table dropped and made again under its name is another table', async (t) => {
	const client = await watched(t, 'phoenix', 'id int PRIMARY KEY');
	await cluster.sql(`DROP TABLE phoenix; CREATE TABLE phoenix (id int PRIMARY KEY); SELECT plank.track('phoenix')`);
	assert.equal((await client.next('unsubscribed')).code, '42P01');
	await client.subscribed({ id: 'a', table: 'phoenix' });
	await cluster.sql('INSERT INTO phoenix VALUES (1)');
	assert.equal((await client.transaction()).changes.length, 1);
});

test('what changes contents without row changes gives reset', async (t) => {
	const client = await watched(t, 'unseen', 'id int PRIMARY KEY, n int');
	await cluster.sql('ALTER TABLE unseen DISABLE TRIGGER ALL');
	assert.equal((await client.next('reset')).id, 'a');
	assert.equal((await cluster.query(`SELECT enabled FROM plank.tracked WHERE relation = 'unseen'::regclass`)).rows[0].enabled, false);
	await cluster.sql('ALTER TABLE unseen ENABLE TRIGGER ALL');
	await client.caughtUp();
	// Tracking again mends what ENABLE TRIGGER leaves: triggers that do not fire ALWAYS.
	await cluster.sql(`SELECT plank.track('unseen')`);
	await client.caughtUp();
	await cluster.sql('INSERT INTO unseen VALUES (1, 1)');
	assert.equal((await client.transaction()).changes.length, 1);
});

test('ATTACH and DETACH of a partition give reset', async (t) => {
	await cluster.sql(`
		CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE root_1 PARTITION OF root FOR VALUES FROM (0) TO (10);
		CREATE TABLE root_2 (id int PRIMARY KEY); INSERT INTO root_2 VALUES (11); SELECT plank.track('root')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'root' });
	await cluster.sql('ALTER TABLE root ATTACH PARTITION root_2 FOR VALUES FROM (10) TO (20)');
	assert.equal((await client.next('reset')).id, 'a');
	await cluster.sql('UPDATE root SET id = 12');
	assert.equal((await client.transaction()).changes[0].key.id, 12);
	await cluster.sql('ALTER TABLE root DETACH PARTITION root_2');
	assert.equal((await client.next('reset')).id, 'a');
	await cluster.sql('INSERT INTO root_2 VALUES (13)');
	await client.silent();
	await cluster.sql('DROP TABLE root_1');
	assert.equal((await client.next('reset')).id, 'a');
});

test('DDL that is rolled back is not heard of', async (t) => {
	const client = await watched(t, 'undone', 'id int PRIMARY KEY');
	await cluster.psql('BEGIN; ALTER TABLE undone ADD COLUMN n int DEFAULT 5; INSERT INTO undone VALUES (1); ROLLBACK;');
	await cluster.psql('BEGIN; DROP TABLE undone; ROLLBACK; INSERT INTO undone VALUES (2);');
	assert.deepEqual((await client.transaction()).changes[0].new, { id: 2 });
	await client.silent();
});
