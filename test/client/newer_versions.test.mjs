// What PostgreSQL 16, 17 and 18 brought that Plank must follow and that no older test would notice. Each test needs its
// version, and is skipped before it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './cluster.mjs';
import { start } from './guarded.mjs';
import { hs256 } from './jwt.mjs';

const all = await start(`
	CREATE ROLE gate NOINHERIT; CREATE ROLE member; CREATE ROLE staff; CREATE ROLE lonely;
	GRANT member, staff, lonely TO gate;
	ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO member, staff, lonely`, { 'plank.authenticator': 'gate' });
const member = { role: 'member', sub: '1' };

for (const guarded of all) {
	const { cluster, sql } = guarded;
	const { rows: [{ version }] } = await cluster.query(`SELECT current_setting('server_version_num')::int / 10000 AS version`);
	const named = (needed, what, body) =>
		test(`${guarded.transport}: ${what}`, { skip: version < needed && `PostgreSQL ${needed} and later` }, body);
	const fails = (text, code, message) => assert.rejects(sql(text), (error) => error.code === code && message.test(error.message));

	named(16, 'a role is the authenticator\'s to use when it may SET it, and no longer when it may not', async (t) => {
		const open = () => cluster.client(t, { marker: false, headers: { Authorization: `Bearer ${hs256({ role: 'lonely' })}` } });
		await sql('GRANT lonely TO gate WITH INHERIT FALSE, SET TRUE');
		const client = await open();
		assert.equal(client.welcome.role, 'lonely');
		await sql('GRANT lonely TO gate WITH INHERIT TRUE, SET FALSE');
		assert.equal((await client.end()).code, 4001);
		await until(async () => {
			const { welcome } = await open();
			return welcome.role === null;
		}, 'the role to be refused');
		await sql('GRANT lonely TO gate WITH SET TRUE');
		await until(async () => (await open()).welcome.role === 'lonely', 'the role to be taken again');
	});

	named(16, 'policies, privileges and channels for a role are for those who inherit it', async (t) => {
		await sql(`
			CREATE TABLE note (id int PRIMARY KEY, secret boolean);
			INSERT INTO note VALUES (1, false), (2, true);
			ALTER TABLE note ENABLE ROW LEVEL SECURITY;
			CREATE POLICY everybody ON note USING (NOT secret);
			CREATE POLICY only_staff ON note TO staff USING (true);
			CREATE TABLE paper (id int PRIMARY KEY);
			REVOKE ALL ON paper FROM member, web;
			SELECT plank.track('note'), plank.track('paper'), plank.expose('staff_only', 'staff');
			GRANT staff TO member WITH INHERIT FALSE, SET TRUE`);
		const mirror = await guarded.mirror(t, member, { table: 'note' });
		await mirror.equals('SELECT * FROM note');
		assert.equal(mirror.rows.size, 1);
		const asked = async (options) => {
			const client = await guarded.as(t, member);
			client.send({ type: 'subscribe', id: 'a', ...options });
			return client.next();
		};
		assert.equal((await asked({ table: 'paper' })).code, '42P01');
		assert.equal((await asked({ channel: 'staff_only' })).code, '42501');
		await sql('GRANT staff TO member WITH INHERIT TRUE');
		await until(() => mirror.resets > 0 && mirror.read, 'the rows again');
		await mirror.equals('SELECT * FROM note');
		assert.equal(mirror.rows.size, 2);
		await until(async () => (await asked({ table: 'paper' })).type === 'subscribed', 'the table to be readable');
		assert.equal((await asked({ channel: 'staff_only' })).type, 'subscribed');
		await sql('REVOKE INHERIT OPTION FOR staff FROM member');
		await until(() => mirror.resets > 1 && mirror.read, 'the rows again');
		await sql('UPDATE note SET id = id + 10');
		await mirror.equals('SELECT * FROM note');
		assert.equal(mirror.rows.size, 1);
	});

	named(17, 'transaction_timeout ends no process of Plank\'s, whoever sets it', async (t) => {
		await sql(`
			CREATE TABLE slow (id int PRIMARY KEY);
			INSERT INTO slow VALUES (1);
			CREATE FUNCTION hasty() RETURNS boolean LANGUAGE plpgsql AS $$
				BEGIN
					PERFORM set_config('transaction_timeout', '1ms', true);
					PERFORM pg_sleep(0.02);
					RETURN true;
				END $$;
			ALTER TABLE slow ENABLE ROW LEVEL SECURITY;
			CREATE POLICY hasty ON slow USING (hasty());
			CREATE TABLE quick (id int PRIMARY KEY);
			INSERT INTO quick SELECT generate_series(1, 20000);
			SELECT plank.track('slow'), plank.track('quick')`);
		const session = await cluster.session();
		const processes = async (type) => (await session.query(`SELECT pid FROM pg_stat_activity WHERE datname = 'app' AND backend_type = $1`, [type])).rows.map(({ pid }) => pid);
		// It is for who connects from now on: the worker, once it has been ended, and the reader that it starts.
		const [former] = await processes('plank worker');
		await session.query(`ALTER DATABASE app SET transaction_timeout = '1ms'`);
		await session.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND backend_type LIKE $2', ['app', 'plank%']);
		const worker = await until(async () => (await processes('plank worker')).find((pid) => pid !== former), 'a new worker');
		await until(() => guarded.as(t, member).catch(() => false), 'the worker to serve');
		const mirror = await guarded.mirror(t, member, { table: 'quick' });
		await session.query('ALTER DATABASE app RESET transaction_timeout');
		await sql('UPDATE quick SET id = -id WHERE id % 3 = 0');
		await mirror.equals('SELECT * FROM quick');
		const client = await guarded.as(t, member);
		await client.subscribed({ id: 'a', table: 'slow' });
		await sql('INSERT INTO slow VALUES (2)');
		const ended = await client.next('unsubscribed');
		assert.equal(ended.id, 'a');
		assert.deepEqual(await processes('plank worker'), [worker]);
	});

	named(18, 'virtual generated columns are not sent, and say so', async (t) => {
		const session = await cluster.session();
		await session.query(`
			CREATE TABLE priced (id int PRIMARY KEY, price int, gross int GENERATED ALWAYS AS (price * 2) VIRTUAL,
				net int GENERATED ALWAYS AS (price / 2) STORED);
			INSERT INTO priced VALUES (1, 10)`);
		await session.query(`SELECT plank.track('priced')`);
		assert.deepEqual(session.notices.map(({ message }) => message), ['virtual generated column "gross" is not sent']);
		await fails(`SELECT plank.track('priced', columns => '{id,gross}')`, '0A000', /virtual generated column "gross" cannot be sent/);
		await fails(`SELECT plank.track('priced', filter => 'gross > 1')`, '0A000', /must not use virtual generated columns/);
		await sql('ALTER TABLE priced ADD COLUMN twice int GENERATED ALWAYS AS (price * 4) VIRTUAL');
		const mirror = await guarded.mirror(t, member, { table: 'priced' });
		const client = await guarded.as(t, member);
		const answer = await client.ask({ type: 'subscribe', id: 'a', table: 'priced' }, 'subscribed');
		assert.deepEqual(answer.columns.map(({ name }) => name), ['id', 'price', 'net']);
		assert.equal((await client.ask({ type: 'subscribe', id: 'b', table: 'priced', where: 'gross > 1' }, 'error')).code, '0A000');
		client.send({ type: 'subscribe', id: 'c', table: 'priced', columns: ['gross'] });
		assert.equal((await client.next('error')).id, 'c');
		await sql(`INSERT INTO priced VALUES (2, 30)`);
		const [inserted] = await client.changes();
		assert.deepEqual(inserted.new, { id: 2, price: 30, net: 15 });
		await sql(`UPDATE priced SET price = 40 WHERE id = 2; DELETE FROM priced WHERE id = 1`);
		await mirror.equals('SELECT id, price, net FROM priced');
		// Whoever could not be told whether a row passes is not told of it.
		await sql(`ALTER TABLE priced ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON priced USING (gross > 1)`);
		await until(() => mirror.ended, 'the subscription to end');
		assert.match(mirror.ended.message ?? mirror.ended.reason, /virtual generated column/);
	});

	named(18, 'a key WITHOUT OVERLAPS is a key', async (t) => {
		await sql(`
			CREATE TABLE stay (room int4range, during daterange, guest text, PRIMARY KEY (room, during WITHOUT OVERLAPS));
			INSERT INTO stay VALUES ('[1,2)', '[2026-01-01,2026-01-05)', 'a'), ('[1,2)', '[2026-01-05,2026-01-09)', 'b');
			SELECT plank.track('stay')`);
		const mirror = await guarded.mirror(t, member, { table: 'stay' });
		assert.deepEqual(mirror.key, ['room', 'during']);
		const { rows: [{ key }] } = await cluster.query(`SELECT key::text[] FROM plank.tracked WHERE relation = 'stay'::regclass`);
		assert.deepEqual(key, ['room', 'during']);
		await sql(`
			UPDATE stay SET guest = 'c' WHERE guest = 'a';
			UPDATE stay SET during = '[2026-01-06,2026-01-08)' WHERE guest = 'b';
			INSERT INTO stay VALUES ('[2,3)', '[2026-01-01,2026-01-02)', 'd');
			DELETE FROM stay WHERE guest = 'c'`);
		await mirror.equals('SELECT * FROM stay');
		assert.equal(mirror.rows.size, 2);
	});
}
