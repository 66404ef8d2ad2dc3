// What can be tracked and how it is seen: partitions, inheritance, track's columns and filter, names of every kind, and
// what is refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start();

async function watched(t, ddl, table, options = {}) {
	await cluster.sql(ddl);
	const client = await cluster.client(t);
	client.shape = await client.subscribed({ id: 'a', table, ...options });
	return client;
}

test('a partitioned table: changes carry its name, whichever partition they were made in', async (t) => {
	const client = await watched(t, `
		CREATE TABLE part (id int, region text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
		CREATE TABLE part_eu PARTITION OF part FOR VALUES IN ('eu');
		CREATE TABLE part_us (n int, region text NOT NULL, gone int, id int NOT NULL);
		ALTER TABLE part_us DROP COLUMN gone;
		ALTER TABLE part ATTACH PARTITION part_us FOR VALUES IN ('us');
		SELECT plank.track('part')`, 'part');
	await cluster.sql(`INSERT INTO part VALUES (1, 'eu', 10), (2, 'us', 20)`);
	await cluster.sql(`UPDATE part_us SET n = 21; DELETE FROM part_eu`);
	const { changes } = await client.transaction();
	assert.deepEqual(changes.map(({ table, new: row }) => [table, row]), [
		['public.part', { id: 1, region: 'eu', n: 10 }], ['public.part', { id: 2, region: 'us', n: 20 }],
	]);
	assert.deepEqual((await client.transaction()).changes.map(({ ids, ...change }) => change), [
		{ table: 'public.part', op: 'update', key: { id: 2, region: 'us' }, new: { id: 2, region: 'us', n: 21 }, old: { id: 2, region: 'us', n: 20 } },
		{ table: 'public.part', op: 'delete', key: { id: 1, region: 'eu' }, old: { id: 1, region: 'eu', n: 10 } },
	]);
});

test('a row that moves between partitions is a delete and an insert with their cause (rule 4)', async (t) => {
	const client = await watched(t, `
		CREATE TABLE moving (id int, half text, PRIMARY KEY (id, half)) PARTITION BY LIST (half);
		CREATE TABLE moving_a PARTITION OF moving FOR VALUES IN ('a');
		CREATE TABLE moving_b PARTITION OF moving FOR VALUES IN ('b');
		INSERT INTO moving VALUES (1, 'a');
		SELECT plank.track('moving')`, 'moving');
	await cluster.sql(`UPDATE moving SET half = 'b'`);
	assert.deepEqual(await client.changes(), [
		{ op: 'delete', key: { id: 1, half: 'a' }, old: { id: 1, half: 'a' }, cause: 'update' },
		{ op: 'insert', key: { id: 1, half: 'b' }, new: { id: 1, half: 'b' }, cause: 'update' },
	]);
	await cluster.sql('DELETE FROM moving');
	assert.deepEqual(await client.changes(), [{ op: 'delete', key: { id: 1, half: 'b' }, old: { id: 1, half: 'b' } }]);
});

test('partitions of partitions, and one attached later, belong to the root', async (t) => {
	const client = await watched(t, `
		CREATE TABLE tree (id int PRIMARY KEY) PARTITION BY RANGE (id);
		CREATE TABLE tree_1 PARTITION OF tree FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
		CREATE TABLE tree_1_1 PARTITION OF tree_1 FOR VALUES FROM (0) TO (10);
		SELECT plank.track('tree');
		CREATE TABLE tree_1_2 PARTITION OF tree_1 FOR VALUES FROM (10) TO (20)`, 'tree');
	await cluster.sql('INSERT INTO tree VALUES (1), (11)');
	assert.deepEqual((await client.changes()).map(({ key }) => key.id), [1, 11]);
	await cluster.sql('TRUNCATE tree_1_2');
	assert.equal((await client.next('reset')).id, 'a');
	await cluster.sql('TRUNCATE tree');
	const seen = await client.caughtUp();
	assert.ok(seen.some(({ type, changes }) => type === 'reset' || changes?.some(({ op }) => op === 'truncate')), JSON.stringify(seen));
});

test('an inheritance parent is tracked as ONLY', async (t) => {
	const client = await watched(t, `
		CREATE TABLE base (id int PRIMARY KEY, n int); CREATE TABLE derived (extra int) INHERITS (base);
		SELECT plank.track('base')`, 'base');
	await cluster.sql('INSERT INTO derived VALUES (1, 1, 1); INSERT INTO base VALUES (2, 2)');
	await cluster.sql('UPDATE base SET n = n + 1');
	assert.deepEqual((await client.changes()).map(({ key }) => key.id), [2]);
	assert.deepEqual((await client.changes()).map(({ key }) => key.id), [2]);
});

test('columns of track: only these leave the server, the key always', async (t) => {
	const client = await watched(t, `
		CREATE TABLE narrow (secret text, id int PRIMARY KEY, name text);
		SELECT plank.track('narrow', columns => '{name}')`, 'narrow');
	assert.deepEqual(client.shape.columns.map(({ name }) => name), ['id', 'name']);
	const texts = [];
	client.onFrame = (data) => texts.push(data.toString());
	await cluster.sql(`INSERT INTO narrow VALUES ('hidden-1', 1, 'n')`);
	await cluster.sql(`UPDATE narrow SET secret = 'hidden-2', name = 'm'`);
	await cluster.sql('DELETE FROM narrow');
	assert.deepEqual(await client.changes(), [{ op: 'insert', key: { id: 1 }, new: { id: 1, name: 'n' } }]);
	assert.deepEqual(await client.changes(), [{ op: 'update', key: { id: 1 }, new: { id: 1, name: 'm' }, old: { id: 1, name: 'n' } }]);
	assert.deepEqual(await client.changes(), [{ op: 'delete', key: { id: 1 }, old: { id: 1, name: 'm' } }]);
	assert.ok(!texts.join().includes('hidden'));
	// Called again, track changes what is seen; the subscription goes on with the new shape.
	await cluster.sql(`SELECT plank.track('narrow', columns => '{secret}'); INSERT INTO narrow VALUES ('told', 2, 'x')`);
	assert.deepEqual((await client.next('subscribed')).columns.map(({ name }) => name), ['secret', 'id']);
	assert.deepEqual((await client.changes())[0].new, { secret: 'told', id: 2 });
});

test('filter of track: rows enter and leave as insert and delete with their cause', async (t) => {
	const client = await watched(t, `
		CREATE TABLE filtered (id int PRIMARY KEY, state text, n int);
		SELECT plank.track('filtered', filter => $$state = 'open'$$)`, 'filtered');
	await cluster.sql(`INSERT INTO filtered VALUES (1, 'new', 0), (2, 'open', 0), (3, NULL, 0)`);
	assert.deepEqual(await client.changes(), [{ op: 'insert', key: { id: 2 }, new: { id: 2, state: 'open', n: 0 } }]);
	await cluster.sql(`UPDATE filtered SET state = 'open' WHERE id = 1`);
	assert.deepEqual(await client.changes(), [{ op: 'insert', key: { id: 1 }, new: { id: 1, state: 'open', n: 0 }, cause: 'update' }]);
	await cluster.sql('UPDATE filtered SET n = 1');
	assert.deepEqual((await client.changes()).map(({ op, key }) => [op, key.id]).sort(), [['update', 1], ['update', 2]]);
	await cluster.sql(`UPDATE filtered SET state = 'done', n = 2 WHERE id = 2`);
	assert.deepEqual(await client.changes(), [{ op: 'delete', key: { id: 2 }, old: { id: 2, state: 'open', n: 1 }, cause: 'update' }]);
	await cluster.sql('DELETE FROM filtered');
	assert.deepEqual(await client.changes(), [{ op: 'delete', key: { id: 1 }, old: { id: 1, state: 'open', n: 1 } }]);
	await client.silent();
});

test('events are judged after a filter\'s translation', async (t) => {
	const client = await watched(t, `
		CREATE TABLE judged (id int PRIMARY KEY, ok bool); SELECT plank.track('judged', filter => 'ok')`, 'judged', { events: ['delete'] });
	await cluster.sql('INSERT INTO judged VALUES (1, true)');
	await cluster.sql('UPDATE judged SET ok = false');
	assert.deepEqual(await client.changes(), [{ op: 'delete', key: { id: 1 }, old: { id: 1, ok: true }, cause: 'update' }]);
	await client.silent();
});

test('events of track: what is not captured is not sent', async (t) => {
	const client = await watched(t, `CREATE TABLE inserts (id int PRIMARY KEY); SELECT plank.track('inserts', events => '{insert}')`, 'inserts');
	await cluster.sql('INSERT INTO inserts VALUES (1); UPDATE inserts SET id = 2; DELETE FROM inserts');
	assert.deepEqual((await client.changes()).map(({ op }) => op), ['insert']);
	await client.silent();
});

test('names with quotes, dots, spaces, upper case and unicode (S15)', async (t) => {
	const names = ['My Table', 'a.b', 'it"s', 'Größe ☃', 'select', 'UPPER', '$1', "o'clock", '\\x'];
	const client = await cluster.client(t);
	const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
	await cluster.sql(`CREATE SCHEMA "S. P"; GRANT USAGE ON SCHEMA "S. P" TO web`);
	for (const [i, name] of names.entries()) {
		const table = `"S. P".${quoted(name)}`;
		await cluster.sql(`CREATE TABLE ${table} (${quoted(name)} int PRIMARY KEY, "x ""y""" text)`);
		await cluster.query('SELECT plank.track($1::text::regclass)', [table]);
		const shape = await client.subscribed({ id: name, table });
		const { rows: [{ printed }] } = await cluster.query(`SELECT format('%I.%I', 'S. P', $1::text) AS printed`, [name]);
		assert.equal(shape.table, printed);
		assert.deepEqual(shape.key, [name]);
		await cluster.sql(`INSERT INTO ${table} VALUES (${i}, 'v')`);
		const { changes: [change] } = await client.transaction();
		assert.deepEqual(change, { ids: [name], table: printed, op: 'insert', key: { [name]: i }, new: { [name]: i, 'x "y"': 'v' } });
		// The printed name is one to subscribe with.
		await client.subscribed({ id: `${name}2`, table: shape.table });
	}
	await client.subscribed({ id: 'folded', table: ' "S. P" . SELECT ' });
});

test('names without a schema mean public, and are folded as in SQL', async (t) => {
	const client = await watched(t, `CREATE TABLE folded (id int PRIMARY KEY); SELECT plank.track('folded')`, 'FoLDed');
	assert.equal(client.shape.table, 'public.folded');
	client.send({ type: 'subscribe', id: 'b', table: '"Folded"' });
	assert.equal((await client.next('error')).code, '42P01');
});

test('missing, untracked and unreadable tables are answered byte for byte alike', async (t) => {
	await cluster.sql(`
		CREATE TABLE untracked (id int PRIMARY KEY);
		CREATE TABLE unreadable (id int PRIMARY KEY); REVOKE SELECT ON unreadable FROM web; SELECT plank.track('unreadable');
		CREATE SCHEMA closed; CREATE TABLE closed.inner_table (id int PRIMARY KEY); GRANT SELECT ON closed.inner_table TO web; SELECT plank.track('closed.inner_table');
		CREATE TABLE hidden_rls (id int PRIMARY KEY); REVOKE SELECT ON hidden_rls FROM web; ALTER TABLE hidden_rls ENABLE ROW LEVEL SECURITY; SELECT plank.track('hidden_rls');
		CREATE VIEW a_view AS SELECT 1`);
	const client = await cluster.client(t);
	const texts = [];
	client.onFrame = (data) => texts.push(data.toString());
	const names = ['untracked', 'missing', 'no_schema.missing', 'unreadable', 'closed.inner_table', 'hidden_rls', 'a_view', 'pg_catalog.pg_class', 'pg_class'];
	for (const table of names) {
		const { code } = await client.ask({ type: 'subscribe', id: 'x', table }, 'error');
		assert.equal(code, '42P01', table);
	}
	assert.deepEqual(texts, names.map(() => texts[0]));
});

test('a role that may read all the columns that leave the server may subscribe', async (t) => {
	const client = await watched(t, `
		CREATE TABLE column_wise (id int PRIMARY KEY, shown int, secret int);
		REVOKE SELECT ON column_wise FROM web; GRANT SELECT (id, shown) ON column_wise TO web;
		SELECT plank.track('column_wise', columns => '{shown}')`, 'column_wise');
	assert.deepEqual(client.shape.columns.map(({ name }) => name), ['id', 'shown']);
});

test('tables lists what is tracked and readable, and nothing else', async (t) => {
	const client = await cluster.client(t, { database: 'other' });
	assert.deepEqual(await client.ask({ type: 'tables', id: 'q' }, 'tables'), { type: 'tables', id: 'q', tables: [] });
	await cluster.sql(`
		CREATE TABLE b (id bigint PRIMARY KEY, t text); CREATE TABLE "A" (x int); CREATE TABLE c (id int); CREATE TABLE d (id int);
		REVOKE SELECT ON d FROM web; CREATE TABLE e (id int, n int); REVOKE SELECT ON e FROM web; GRANT SELECT (n) ON e TO web;
		SELECT plank.track('b'), plank.track('"A"'), plank.track('d'), plank.track('e')`, 'other');
	assert.deepEqual(await client.ask({ type: 'tables' }, 'tables'), { type: 'tables', tables: [
		{ table: 'public."A"', key: null, columns: [{ name: 'x', type: 'integer' }] },
		{ table: 'public.b', key: ['id'], columns: [{ name: 'id', type: 'bigint' }, { name: 't', type: 'text' }] },
		{ table: 'public.e', key: null, columns: [{ name: 'n', type: 'integer' }] },
	] });
});

test('what cannot be tracked is refused with a clear error, and only the owner may track', async () => {
	await cluster.sql(`
		CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW mv AS SELECT 1; CREATE UNLOGGED TABLE unlogged (id int); CREATE TABLE owned (id int);
		CREATE SEQUENCE seq`);
	for (const [relation, text] of [['v', /view/], ['mv', /view/], ['unlogged', /unlogged/], ['pg_class', /system catalog/], ['seq', /cannot track/]]) {
		await assert.rejects(cluster.sql(`SELECT plank.track('${relation}')`), { message: text }, relation);
	}
	const session = await cluster.session({ user: 'stranger' });
	await session.query('CREATE TEMP TABLE temporary (id int)');
	await assert.rejects(session.query(`SELECT plank.track('temporary')`), { message: /temporary/ });
	await assert.rejects(session.query(`SELECT plank.track('owned')`), { code: '42501' });
	await assert.rejects(session.query(`SELECT plank.untrack('owned')`), { code: '42501' });
});
