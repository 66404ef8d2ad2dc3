// One transaction, one message, in the order of commands (rules 1 and 2): whatever nests, rolls back or comes in bulk.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start();

async function watched(t, ddl, ...tables) {
	await cluster.sql([ddl, ...tables.map((table) => `SELECT plank.track('${table}')`)].join(';'));
	const client = await cluster.client(t);
	for (const table of tables) await client.subscribed({ id: table, table });
	return client;
}

// What happened, in brief: "table op new-or-old values".
const story = async (client, ms) => (await client.transaction(ms)).changes.map((change) =>
	[change.table.replace('public.', ''), change.op, ...Object.values(change.new ?? change.old ?? {})].join(' '));

test('many tables in one transaction are one message, in order (C2)', async (t) => {
	const client = await watched(t, 'CREATE TABLE m1 (id int PRIMARY KEY); CREATE TABLE m2 (id int PRIMARY KEY); CREATE TABLE untold (id int)', 'm1', 'm2');
	await cluster.sql('INSERT INTO m1 VALUES (1); INSERT INTO m2 VALUES (1); INSERT INTO untold VALUES (1); INSERT INTO m1 VALUES (2); DELETE FROM m2');
	assert.deepEqual(await story(client), ['m1 insert 1', 'm2 insert 1', 'm1 insert 2', 'm2 delete 1']);
	await cluster.sql('INSERT INTO untold VALUES (2)');
	await client.silent();
});

test('rolled back work is never sent; savepoints keep what was released (C1)', async (t) => {
	const client = await watched(t, 'CREATE TABLE sp (id int PRIMARY KEY)', 'sp');
	await cluster.psql('BEGIN; INSERT INTO sp VALUES (1); ROLLBACK;');
	await cluster.psql(`
		BEGIN;
		INSERT INTO sp VALUES (1);
		SAVEPOINT a;
			INSERT INTO sp VALUES (2);
			SAVEPOINT b;
				INSERT INTO sp VALUES (3);
			RELEASE b;
			SAVEPOINT c;
				INSERT INTO sp VALUES (4);
			ROLLBACK TO c;
			INSERT INTO sp VALUES (5);
		RELEASE a;
		SAVEPOINT d;
			INSERT INTO sp VALUES (6);
			SAVEPOINT e;
				INSERT INTO sp VALUES (7);
			RELEASE e;
		ROLLBACK TO d;
		INSERT INTO sp VALUES (8);
		COMMIT;`);
	assert.deepEqual(await story(client), [1, 2, 3, 5, 8].map((id) => `sp insert ${id}`));
	await cluster.psql('BEGIN; SAVEPOINT a; INSERT INTO sp VALUES (9); ROLLBACK TO a; COMMIT;');
	await client.silent();
});

test('exception blocks of PL/pgSQL: what failed is not sent, what the handler did is', async (t) => {
	const client = await watched(t, 'CREATE TABLE ex (id int PRIMARY KEY)', 'ex');
	await cluster.sql(`DO $$ BEGIN
		FOR i IN 1..3 LOOP
			BEGIN
				INSERT INTO ex VALUES (i), (i + 10);
				IF i = 2 THEN RAISE EXCEPTION 'no'; END IF;
			EXCEPTION WHEN OTHERS THEN
				INSERT INTO ex VALUES (100);
			END;
		END LOOP;
	END $$`);
	assert.deepEqual(await story(client), [1, 11, 100, 3, 13].map((id) => `ex insert ${id}`));
});

test('nested triggers: a trigger on row 1 that updates row 2 comes after row 2\'s own change (C12)', async (t) => {
	const client = await watched(t, `
		CREATE TABLE nested (id int PRIMARY KEY, n int);
		INSERT INTO nested VALUES (1, 0), (2, 0);
		CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.id = 1 THEN UPDATE nested SET n = n + 100 WHERE id = 2; END IF;
			RETURN NULL;
		END $$;
		CREATE TRIGGER a_first AFTER UPDATE ON nested FOR EACH ROW EXECUTE FUNCTION touch()`, 'nested');
	await cluster.sql('UPDATE nested SET n = n + 1');
	const { changes } = await client.transaction();
	assert.deepEqual(changes.map(({ key, old, new: { n } }) => [key.id, old.n, n]), [[1, 0, 1], [2, 0, 1], [2, 1, 101]]);
});

test('cascades, SET NULL and deferred constraints', async (t) => {
	const client = await watched(t, `
		CREATE TABLE top (id int PRIMARY KEY);
		CREATE TABLE mid (id int PRIMARY KEY, top int REFERENCES top ON DELETE CASCADE ON UPDATE CASCADE);
		CREATE TABLE leaf (id int PRIMARY KEY, mid int REFERENCES mid ON DELETE SET NULL);
		CREATE TABLE late (id int PRIMARY KEY, top int REFERENCES top DEFERRABLE INITIALLY DEFERRED);
		INSERT INTO top VALUES (1); INSERT INTO mid VALUES (1, 1); INSERT INTO leaf VALUES (1, 1)`, 'top', 'mid', 'leaf', 'late');
	await cluster.sql('UPDATE top SET id = 2');
	assert.deepEqual(await story(client), ['top update 2', 'mid update 1 2']);
	await cluster.sql('DELETE FROM top');
	assert.deepEqual(await story(client), ['top delete 2', 'mid delete 1 2', 'leaf update 1 ']);
	await cluster.sql('INSERT INTO late VALUES (1, 5); INSERT INTO top VALUES (5)');
	assert.deepEqual(await story(client), ['late insert 1 5', 'top insert 5']);
	await assert.rejects(cluster.sql('INSERT INTO late VALUES (2, 6)'), { code: '23503' });
	await client.silent();
});

test('a deferred constraint trigger that writes at commit is part of the transaction', async (t) => {
	const client = await watched(t, `
		CREATE TABLE src (id int PRIMARY KEY); CREATE TABLE audit (id int PRIMARY KEY);
		CREATE FUNCTION to_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER later AFTER INSERT ON src DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION to_audit()`, 'src', 'audit');
	await cluster.sql('INSERT INTO src VALUES (1); INSERT INTO src VALUES (2)');
	assert.deepEqual(await story(client), ['src insert 1', 'src insert 2', 'audit insert 1', 'audit insert 2']);
});

test('COPY, multi-row INSERT, UPDATE FROM, WITH, ON CONFLICT and MERGE (C5)', async (t) => {
	const client = await watched(t, 'CREATE TABLE bulk (id int PRIMARY KEY, n text)', 'bulk');
	await cluster.psql(`COPY bulk FROM STDIN;\n1\ta\n2\tb\n3\t\\N\n\\.\n`);
	assert.deepEqual(await story(client), ['bulk insert 1 a', 'bulk insert 2 b', 'bulk insert 3 ']);
	await cluster.sql(`INSERT INTO bulk VALUES (2, 'c'), (4, 'd') ON CONFLICT (id) DO UPDATE SET n = excluded.n`);
	assert.deepEqual(await story(client), ['bulk update 2 c', 'bulk insert 4 d']);
	await cluster.sql(`INSERT INTO bulk VALUES (2, 'e'), (5, 'e') ON CONFLICT DO NOTHING`);
	assert.deepEqual(await story(client), ['bulk insert 5 e']);
	await cluster.sql(`
		MERGE INTO bulk USING (VALUES (1, 'm'), (2, NULL), (9, 'new')) AS v (id, n) ON bulk.id = v.id
		WHEN MATCHED AND v.n IS NULL THEN DELETE
		WHEN MATCHED THEN UPDATE SET n = v.n
		WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.n)`);
	assert.deepEqual((await story(client)).sort(), ['bulk delete 2 c', 'bulk insert 9 new', 'bulk update 1 m']);
	await cluster.sql(`WITH gone AS (DELETE FROM bulk WHERE id = 9 RETURNING n) INSERT INTO bulk SELECT 10, n FROM gone`);
	assert.deepEqual((await story(client)).sort(), ['bulk delete 9 new', 'bulk insert 10 new']);
});

test('identical changes in one transaction are all delivered (C11)', async (t) => {
	const client = await watched(t, 'CREATE TABLE twins (a int)', 'twins');
	await cluster.sql(`INSERT INTO twins SELECT 1 FROM generate_series(1, 500); SELECT plank.send('marker', '1') FROM generate_series(1, 3)`);
	const { changes } = await client.transaction();
	assert.equal(changes.filter(({ table }) => table === 'public.twins').length, 500);
	assert.equal(changes.filter(({ channel }) => channel === 'marker').length, 3);
	await cluster.sql('UPDATE twins SET a = 1');
	assert.equal((await client.transaction()).changes.length, 500);
});

test('a row of several transactions: same xid order for all, none skipped when ids commit out of order (C3)', async (t) => {
	const client = await watched(t, 'CREATE TABLE late_commit (id int PRIMARY KEY)', 'late_commit');
	const [first, second] = [await cluster.session(), await cluster.session()];
	await first.query('BEGIN; INSERT INTO late_commit VALUES (1)');
	await second.query('BEGIN; INSERT INTO late_commit VALUES (2)');
	await second.query('COMMIT');
	await first.query('COMMIT');
	assert.deepEqual(await story(client), ['late_commit insert 2']);
	assert.deepEqual(await story(client), ['late_commit insert 1']);
});

test('session_replication_role = replica does not silence capture (C7)', async (t) => {
	const client = await watched(t, 'CREATE TABLE applied (id int PRIMARY KEY)', 'applied');
	await cluster.psql('SET session_replication_role = replica; INSERT INTO applied VALUES (1);');
	assert.deepEqual(await story(client), ['applied insert 1']);
});

test('a row of 1 MB arrives whole, and so does its former value (C9)', async (t) => {
	const client = await watched(t, 'CREATE TABLE large (id int PRIMARY KEY, t text, b bytea, n int)', 'large');
	await cluster.sql(`INSERT INTO large VALUES (1, repeat('Ä"\\', 400000), decode(repeat('00ff', 100000), 'hex'), 0)`);
	await cluster.sql('UPDATE large SET n = 1');
	await cluster.sql(`UPDATE large SET t = 'small'`);
	const text = 'Ä"\\'.repeat(400000);
	const [inserted] = await client.changes();
	assert.ok(inserted.new.t === text && inserted.new.b === `\\x${'00ff'.repeat(100000)}`, 'inserted');
	const [unchanged] = await client.changes();
	assert.ok(unchanged.new.t === text, 'the unchanged, toasted value');
	assert.deepEqual(unchanged.old, { id: 1, n: 0 });
	const [updated] = await client.changes();
	assert.ok(updated.new.t === 'small' && updated.old.t === text, 'updated');
});

test('100,000 rows in one transaction come in order, in parts of about 256 kB', async (t) => {
	const client = await watched(t, 'CREATE TABLE many (id int PRIMARY KEY, t text)', 'many');
	const sizes = [];
	client.onFrame = (data) => {
		for (const message of [JSON.parse(data)].flat()) if (message.type === 'transaction') sizes.push(Buffer.byteLength(JSON.stringify(message)));
	};
	await cluster.sql(`INSERT INTO many SELECT i, 'row ' || i FROM generate_series(1, 100000) i`);
	const { changes, parts } = await client.transaction();
	assert.equal(changes.length, 100_000);
	assert.ok(changes.every(({ op, new: { id, t: text } }, i) => op === 'insert' && id === i + 1 && text === `row ${i + 1}`));
	assert.equal(parts, sizes.length);
	assert.ok(sizes.slice(0, -1).every((size) => size > 200_000 && size < 320_000), `sizes: ${sizes}`);
	await cluster.sql('UPDATE many SET t = NULL WHERE id <= 3; DELETE FROM many WHERE id = 2');
	assert.deepEqual(await story(client), ['many update 1 ', 'many update 2 ', 'many update 3 ', 'many delete 2 ']);
});
