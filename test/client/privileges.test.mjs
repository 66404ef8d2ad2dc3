// Nothing leaves that the subscriber's role could not SELECT, and what GRANT, REVOKE and ALTER ROLE change reaches those
// who watch: columns, tables, schemas, memberships.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, withinASecond } from './cluster.mjs';

const cluster = await Cluster.start();

const names = ({ columns }) => columns.map(({ name }) => name);

// A tracked table of which `web` may read what `columns` says; all tables are readable to it otherwise.
async function limited(table, definition, columns) {
	await cluster.sql(`
		CREATE TABLE ${table} (${definition}); REVOKE SELECT ON ${table} FROM web;
		GRANT SELECT (${columns}) ON ${table} TO web; SELECT plank.track('${table}')`);
}

async function watched(t, table, options = {}) {
	const client = await cluster.client(t);
	return Object.assign(client, { shape: await client.subscribed({ id: 'a', table, ...options }) });
}

// Every frame that the client is sent from here on.
function texts(client) {
	const all = [];
	client.onFrame = (data) => all.push(data.toString());
	return all;
}

test('without columns a subscription has those that its role may read: in subscribed, rows, changes and tables', async (t) => {
	await limited('staff', 'id int PRIMARY KEY, name text, salary int', 'id, name');
	await cluster.sql(`INSERT INTO staff VALUES (1, 'Ada', 987654321)`);
	const client = await cluster.client(t);
	const all = texts(client);
	assert.deepEqual(names(await client.subscribed({ id: 'a', table: 'staff', snapshot: true })), ['id', 'name']);
	assert.deepEqual((await client.next('rows')).rows, [{ id: 1, name: 'Ada' }]);
	const { tables } = await client.ask({ type: 'tables' }, 'tables');
	assert.deepEqual(names(tables.find(({ table }) => table === 'public.staff')), ['id', 'name']);
	await cluster.sql(`INSERT INTO staff VALUES (2, 'Bob', 987654321)`);
	await cluster.sql(`UPDATE staff SET name = 'Eve', salary = 987654322 WHERE id = 2`);
	await cluster.sql('DELETE FROM staff WHERE id = 2');
	assert.deepEqual(await client.changes(), [{ op: 'insert', key: { id: 2 }, new: { id: 2, name: 'Bob' } }]);
	assert.deepEqual(await client.changes(), [{ op: 'update', key: { id: 2 }, new: { id: 2, name: 'Eve' }, old: { id: 2, name: 'Bob' } }]);
	assert.deepEqual(await client.changes(), [{ op: 'delete', key: { id: 2 }, old: { id: 2, name: 'Eve' } }]);
	await cluster.sql('ALTER TABLE staff ADD COLUMN bonus int; INSERT INTO staff VALUES (3, $$Cy$$, 987654321, 987654321)');
	let message;
	do message = await client.next(); while (message.type === 'subscribed' && assert.deepEqual(names(message), ['id', 'name']) === undefined);
	assert.deepEqual(message.changes[0].new, { id: 3, name: 'Cy' });
	assert.doesNotMatch(all.join('\n'), /salary|bonus|98765432/);
});

test('an update of hidden columns is not told of, alone or among others, with a key or without', async (t) => {
	for (const [table, key] of [['keyed', 'PRIMARY KEY'], ['keyless', '']]) {
		await limited(table, `id int ${key}, shown int, secret int`, 'id, shown');
		const client = await watched(t, table);
		await cluster.sql(`INSERT INTO ${table} VALUES (1, 1, 1)`);
		assert.equal((await client.changes())[0].op, 'insert');
		await cluster.sql(`UPDATE ${table} SET secret = 2`);
		await cluster.sql(`UPDATE ${table} SET shown = 1`);
		await client.silent();
		await cluster.sql(`UPDATE ${table} SET secret = 3; UPDATE ${table} SET shown = 2; UPDATE ${table} SET secret = 4`);
		const changes = await client.changes();
		assert.equal(changes.length, 1);
		assert.deepEqual(changes[0].new, { id: 1, shown: 2 });
		await client.silent();
	}
});

test('columns that were chosen are all that an update is told for', async (t) => {
	await cluster.sql(`CREATE TABLE choosy (id int PRIMARY KEY, a int, b int); SELECT plank.track('choosy')`);
	const client = await watched(t, 'choosy', { columns: ['a'] });
	await cluster.sql('INSERT INTO choosy VALUES (1, 1, 1)');
	await client.changes();
	await cluster.sql('UPDATE choosy SET b = 2');
	await client.silent();
	await cluster.sql('UPDATE choosy SET a = 2, b = 3');
	assert.deepEqual(await client.changes(), [{ op: 'update', key: { id: 1 }, new: { id: 1, a: 2 }, old: { id: 1, a: 1 } }]);
});

test('a column that may not be read is answered like one that does not exist, in columns and in where', async (t) => {
	await limited('partly', 'id int PRIMARY KEY, shown int, hidden int', 'id, shown');
	const client = await cluster.client(t);
	const all = texts(client);
	for (const name of ['hidden', 'absent']) {
		assert.equal((await client.ask({ type: 'subscribe', id: 'a', table: 'partly', columns: [name] }, 'error')).code, '42703');
		assert.equal((await client.ask({ type: 'subscribe', id: 'a', table: 'partly', where: `${name} = 1` }, 'error')).code, '42703');
	}
	const [hiddenColumn, hiddenWhere, absentColumn, absentWhere] = all;
	assert.equal(hiddenColumn.replaceAll('hidden', 'absent'), absentColumn);
	assert.equal(hiddenWhere.replaceAll('hidden', 'absent'), absentWhere);
});

test('a table of which nothing may be read is answered byte for byte like one that is missing', async (t) => {
	await cluster.sql(`
		CREATE TABLE unreadable (id int PRIMARY KEY); REVOKE SELECT ON unreadable FROM web; SELECT plank.track('unreadable');
		CREATE TABLE writable (id int PRIMARY KEY); REVOKE SELECT ON writable FROM web; GRANT INSERT, UPDATE (id) ON writable TO web; SELECT plank.track('writable');
		CREATE TABLE uncaptured (id int, a int, b int); REVOKE SELECT ON uncaptured FROM web; GRANT SELECT (b) ON uncaptured TO web;
		SELECT plank.track('uncaptured', columns => '{a}');
		CREATE SCHEMA shut; CREATE TABLE shut.inside (id int PRIMARY KEY); GRANT SELECT ON shut.inside TO web; SELECT plank.track('shut.inside')`);
	const client = await cluster.client(t);
	const all = texts(client);
	const tables = ['missing', 'unreadable', 'writable', 'uncaptured', 'shut.inside', 'shut.missing', 'nowhere.missing'];
	for (const table of tables) {
		assert.equal((await client.ask({ type: 'subscribe', id: 'a', table }, 'error')).code, '42P01', table);
	}
	assert.deepEqual(all, tables.map(() => all[0]));
	const { tables: told } = await client.ask({ type: 'tables' }, 'tables');
	assert.ok(!told.some(({ table }) => /unreadable|writable|uncaptured|inside/.test(table)));
});

test('a key that may not be read: 0A000, and nothing of the table in tables', async (t) => {
	await limited('keyhole', 'id int PRIMARY KEY, shown int', 'shown');
	const client = await cluster.client(t);
	assert.equal((await client.ask({ type: 'subscribe', id: 'a', table: 'keyhole' }, 'error')).code, '0A000');
});

test('REVOKE and GRANT of columns: subscribed again, then a reset, and the rows when they were asked for', async (t) => {
	await cluster.sql(`
		CREATE TABLE shrinking (id int PRIMARY KEY, a int, b int); SELECT plank.track('shrinking'); INSERT INTO shrinking VALUES (1, 2, 3)`);
	const clients = [{}, { snapshot: true }, { columns: ['a'] }, { columns: ['b'] }].map(async (options) => {
		const client = await cluster.client(t, { marker: false });
		await client.subscribed({ id: 'a', table: 'shrinking', ...options });
		return client;
	});
	const [plain, rows, chosen, losing] = await Promise.all(clients);
	assert.deepEqual((await rows.next('rows')).rows, [{ id: 1, a: 2, b: 3 }]);
	await cluster.sql('REVOKE SELECT ON shrinking FROM web; GRANT SELECT (id, a) ON shrinking TO web');
	for (const client of [plain, rows]) {
		assert.deepEqual(names(await client.next('subscribed')), ['id', 'a']);
		assert.match((await client.next('reset')).reason, /columns that may be read/);
	}
	assert.deepEqual((await rows.next('rows')).rows, [{ id: 1, a: 2 }]);
	assert.equal((await losing.next('unsubscribed')).code, '42703');
	await cluster.sql('UPDATE shrinking SET a = 4, b = 5');
	for (const client of [plain, rows, chosen]) {
		assert.deepEqual((await client.changes())[0], { op: 'update', key: { id: 1 }, new: { id: 1, a: 4 }, old: { id: 1, a: 2 } });
	}
	await cluster.sql('GRANT SELECT ON shrinking TO web');
	for (const client of [plain, rows]) {
		assert.deepEqual(names(await client.next('subscribed')), ['id', 'a', 'b']);
		await client.next('reset');
	}
	assert.deepEqual((await rows.next('rows')).rows, [{ id: 1, a: 4, b: 5 }]);
	await cluster.sql('DELETE FROM shrinking');
	assert.deepEqual((await chosen.changes())[0].op, 'delete');
	// Nobody is told of another's.
	assert.equal((await losing.ask({ type: 'ping' })).type, 'pong');
});

// What ends a subscription with 42P01, though nobody says a word to Plank. `n` is a name of the case's own.
for (const [what, before, change] of [
	['REVOKE on the table', () => '', (n) => `REVOKE SELECT ON ${n}.items FROM web`],
	['REVOKE of its only columns', (n) => `REVOKE SELECT ON ${n}.items FROM web; GRANT SELECT (id, v) ON ${n}.items TO web`,
		(n) => `REVOKE SELECT (id, v) ON ${n}.items FROM web`],
	['REVOKE on the schema', () => '', (n) => `REVOKE USAGE ON SCHEMA ${n} FROM web`],
	['the end of a membership', (n) => `REVOKE SELECT ON ${n}.items FROM web; CREATE ROLE ${n}; GRANT SELECT ON ${n}.items TO ${n}; GRANT ${n} TO web`,
		(n) => `REVOKE ${n} FROM web`],
	['DROP ROLE of the one with the privilege',
		(n) => `REVOKE SELECT ON ${n}.items FROM web; CREATE ROLE ${n}; GRANT SELECT ON ${n}.items TO ${n}; GRANT ${n} TO web`,
		(n) => `DROP OWNED BY ${n}; DROP ROLE ${n}`],
	['another owner', (n) => `REVOKE SELECT ON ${n}.items FROM web; ALTER TABLE ${n}.items OWNER TO web`,
		(n) => `ALTER TABLE ${n}.items OWNER TO postgres`],
]) {
	test(`${what} ends subscriptions with 42P01, and no change comes after it`, async (t) => {
		const n = `lost_${what.toLowerCase().replaceAll(' ', '_')}`;
		await cluster.sql(`
			CREATE SCHEMA ${n}; GRANT USAGE ON SCHEMA ${n} TO web;
			CREATE TABLE ${n}.items (id int PRIMARY KEY, v int); SELECT plank.track('${n}.items'); ${before(n)}`);
		const table = `${n}.items`;
		const clients = [await watched(t, table), await watched(t, table, { where: 'id > 0' }), await watched(t, table, { columns: ['v'] })];
		await cluster.sql(`INSERT INTO ${table} VALUES (1, 1)`);
		for (const client of clients) assert.deepEqual((await client.changes()).map(({ op }) => op), ['insert']);
		await cluster.sql(change(n));
		for (const client of clients) assert.equal((await client.next('unsubscribed')).code, '42P01');
		await cluster.sql(`INSERT INTO ${table} VALUES (2, 2)`);
		for (const client of clients) await client.silent();
	});
}

test('a column of a condition that may no longer be read ends the subscription with 42703', async (t) => {
	await cluster.sql(`CREATE TABLE judged_by (id int PRIMARY KEY, a int, b int); SELECT plank.track('judged_by')`);
	const client = await watched(t, 'judged_by', { where: 'b > 0', columns: ['a'] });
	await cluster.sql('REVOKE SELECT ON judged_by FROM web; GRANT SELECT (id, a) ON judged_by TO web');
	assert.equal((await client.next('unsubscribed')).code, '42703');
});

test('a thousand subscriptions hear of a REVOKE within the second that the contract says', async (t) => {
	await cluster.sql(`CREATE TABLE crowded (id int PRIMARY KEY, v int); SELECT plank.track('crowded')`);
	const clients = [];
	for (let i = 0; i < 20; i += 1) {
		clients.push(await cluster.client(t, { marker: false }));
	}
	const all = (what) => Promise.all(clients.map(async (client, i) => {
		for (let j = 0; j < 50; j += 1) await what(client, i, j);
	}));
	await withinASecond(t, async () => {
		await all((client, i, j) => client.send({ type: 'subscribe', id: `${j}`, table: 'crowded', ...(j % 2 ? { where: `id > ${i * 50 + j}` } : {}) }));
		await all((client) => client.next('subscribed'));
		const ended = all(async (client) => assert.equal((await client.next('unsubscribed')).code, '42P01'));
		await cluster.sql('REVOKE SELECT ON crowded FROM web');
		const committed = Date.now();
		await ended;
		const took = Date.now() - committed;
		await cluster.sql('GRANT SELECT ON crowded TO web');
		return took;
	});
});

test('a look at tables that somebody locks goes on with the others', async (t) => {
	await cluster.sql(`
		CREATE TABLE locked_one (id int PRIMARY KEY); CREATE TABLE locked_two (id int PRIMARY KEY);
		SELECT plank.track('locked_one'), plank.track('locked_two')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'one', table: 'locked_one' });
	await client.subscribed({ id: 'two', table: 'locked_two' });
	const session = await cluster.session();
	await session.query('BEGIN; LOCK TABLE locked_one');
	await cluster.sql('REVOKE SELECT ON locked_two FROM web');
	assert.equal((await client.next('unsubscribed')).id, 'two');
	await session.query('ALTER TABLE locked_one RENAME TO freed; COMMIT');
	assert.equal((await client.next('subscribed')).table, 'public.freed');
});
