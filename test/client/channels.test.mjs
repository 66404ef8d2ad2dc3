// Channels: plank.send, expose and unexpose, plain NOTIFY, public notify channels, and the secret one that carries changes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';

const cluster = await Cluster.start();

test('plank.send arrives beside the row changes of its transaction, in order', async (t) => {
	await cluster.sql(`CREATE TABLE beside (id int PRIMARY KEY); SELECT plank.track('beside'); SELECT plank.expose('jobs')`);
	const client = await cluster.client(t);
	const { position, ...answer } = await client.subscribed({ id: 'b', channel: 'jobs' });
	assert.deepEqual(answer, { type: 'subscribed', id: 'b', channel: 'jobs' });
	assert.equal(typeof position, 'string');
	await client.subscribed({ id: 'a', table: 'beside' });
	await cluster.sql(`
		INSERT INTO beside VALUES (1);
		SELECT plank.send('jobs', '{"done": 3, "n": 1e100, "t": "ü\\u0001"}');
		SELECT plank.send('unheard', '1'), plank.send('jobs', NULL);
		INSERT INTO beside VALUES (2)`);
	const { changes } = await client.transaction();
	assert.deepEqual(changes, [
		{ ids: ['a'], table: 'public.beside', op: 'insert', key: { id: 1 }, new: { id: 1 } },
		{ ids: ['b'], channel: 'jobs', op: 'message', payload: { done: 3, n: 1e100, t: 'ü\u0001' } },
		{ ids: ['b'], channel: 'jobs', op: 'message', payload: null },
		{ ids: ['a'], table: 'public.beside', op: 'insert', key: { id: 2 }, new: { id: 2 } },
	]);
	await cluster.psql(`BEGIN; SELECT plank.send('jobs', '1'); ROLLBACK; BEGIN; SAVEPOINT s; SELECT plank.send('jobs', '2'); ROLLBACK TO s; COMMIT;`);
	await client.silent();
});

test('any role may send; names that are no channel\'s are refused', async (t) => {
	const client = await cluster.client(t);
	const session = await cluster.session({ user: 'stranger' });
	await session.query(`SELECT plank.send('marker', '"from a stranger"')`);
	assert.equal((await client.transaction()).changes[0].payload, 'from a stranger');
	for (const name of ['', 'x'.repeat(64), 'plank:x']) {
		await assert.rejects(session.query('SELECT plank.send($1, $2)', [name, '1']), { code: '22023' });
		await assert.rejects(cluster.query('SELECT plank.expose($1)', [name]), { code: '22023' });
	}
});

test('a channel that is not exposed, or to another role, or missing: 42501, byte for byte alike', async (t) => {
	await cluster.sql(`SELECT plank.expose('others', 'stranger'), plank.expose('ours', 'web')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'ours', channel: 'ours' });
	const texts = [];
	client.onFrame = (data) => texts.push(data.toString());
	const names = ['others', 'never heard of', 'y'.repeat(63), 'y'.repeat(64), 'plank:x', 'OURS'];
	for (const channel of names) assert.equal((await client.ask({ type: 'subscribe', id: 'x', channel }, 'error')).code, '42501', channel);
	assert.deepEqual(texts, names.map(() => texts[0]));
});

test('a role that is a member of the channel\'s role hears it', async (t) => {
	await cluster.sql(`CREATE ROLE readers; GRANT readers TO web; SELECT plank.expose('club', 'readers')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'c', channel: 'club' });
	await cluster.sql('REVOKE readers FROM web');
	assert.deepEqual([(await client.next('unsubscribed')).code], ['42501']);
});

test('unexpose ends subscriptions with 42501', async (t) => {
	await cluster.sql(`SELECT plank.expose('passing')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'p', channel: 'passing' });
	const { rows: [{ was }] } = await cluster.query(`SELECT plank.unexpose('passing') AS was`);
	assert.equal(was, true);
	const { id, code } = await client.next('unsubscribed');
	assert.deepEqual([id, code], ['p', '42501']);
	await cluster.sql(`SELECT plank.send('passing', '1')`);
	await client.silent();
	assert.equal((await cluster.query(`SELECT plank.unexpose('passing') AS was`)).rows[0].was, false);
});

test('only the database\'s owner may expose', async () => {
	const session = await cluster.session({ user: 'stranger' });
	await assert.rejects(session.query(`SELECT plank.expose('x')`), { code: '42501' });
	await assert.rejects(session.query(`SELECT plank.unexpose('x')`), { code: '42501' });
	await assert.rejects(session.query(`INSERT INTO plank.channel VALUES ('x')`), { code: '42501' });
});

test('a plain NOTIFY is a transaction of its own: xid null, the payload a string', async (t) => {
	await cluster.sql(`SELECT plank.expose('plain'), plank.expose('Mixed Case')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'p', channel: 'plain' });
	await client.subscribed({ id: 'm', channel: 'Mixed Case' });
	const session = await cluster.session({ user: 'stranger' });
	await session.query(`NOTIFY plain, '{"not": "parsed"}'`);
	const { committed_at: at, position, parts, ...rest } = await client.transaction();
	assert.ok(Math.abs(new Date(at) - Date.now()) < 60_000);
	assert.deepEqual(rest, {
		type: 'transaction', xid: null, more: false, changes: [{ ids: ['p'], channel: 'plain', op: 'message', payload: '{"not": "parsed"}' }],
	});
	await session.query('NOTIFY "Mixed Case"');
	assert.equal((await client.transaction()).changes[0].payload, '');
	await session.query('BEGIN; NOTIFY plain; ROLLBACK');
	await session.query(`SELECT pg_notify('plain', repeat('ü', 3999))`);
	assert.equal((await client.transaction()).changes[0].payload, 'ü'.repeat(3999));
	await client.silent();
});

test('a large public notification is cut to its key; the writer\'s commit is never touched', async (t) => {
	await cluster.sql(`CREATE TABLE public_t (id int PRIMARY KEY, t text); SELECT plank.track('public_t', notify => 'public_t')`);
	const listener = await cluster.session({ user: 'stranger' });
	const heard = [];
	listener.on('notification', ({ payload }) => heard.push(JSON.parse(payload)));
	await listener.query('LISTEN public_t');
	await cluster.sql(`INSERT INTO public_t VALUES (1, repeat('x', 8000)), (2, 'small'), (2 + 1, 'small')`);
	await cluster.sql('UPDATE public_t SET t = NULL WHERE id = 2; DELETE FROM public_t WHERE id = 3; TRUNCATE public_t');
	await until(() => heard.length >= 6, 'six notifications');
	const table = 'public.public_t';
	assert.deepEqual(heard, [
		{ table, op: 'insert', key: { id: 1 }, truncated: true },
		{ table, op: 'insert', key: { id: 2 }, new: { id: 2, t: 'small' } },
		{ table, op: 'insert', key: { id: 3 }, new: { id: 3, t: 'small' } },
		{ table, op: 'update', key: { id: 2 }, new: { id: 2, t: null }, old: { id: 2, t: 'small' } },
		{ table, op: 'delete', key: { id: 3 }, old: { id: 3, t: 'small' } },
		{ table, op: 'truncate' },
	]);
});

test('a transaction too large for NOTIFY\'s folding: equal public notifications all arrive', async (t) => {
	await cluster.sql(`CREATE TABLE equal_t (n int); SELECT plank.track('equal_t', notify => 'equal_t')`);
	const listener = await cluster.session();
	let heard = 0;
	listener.on('notification', () => { heard += 1; });
	await listener.query('LISTEN equal_t');
	await cluster.sql('INSERT INTO equal_t SELECT 1 FROM generate_series(1, 20)');
	await until(() => heard >= 20, 'twenty notifications');
	assert.equal(heard, 20);
});

// The channel that carries changes is a secret. Its name is read from the one place that must hold it, the server's
// memory, by asking the system as root would: no SQL gives it away.
test('the channel that carries changes shows nowhere: trace_notify, pg_listening_channels, views, settings, log (S14)', async (t) => {
	await cluster.sql(`CREATE TABLE traced (id int PRIMARY KEY, t text); SELECT plank.track('traced'); GRANT ALL ON traced TO stranger`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'traced' });
	const session = await cluster.session({ user: 'stranger' });
	await session.query('SET client_min_messages = debug1; SET trace_notify = on');
	await session.query('LISTEN own');
	await session.query(`NOTIFY own, 'x'`);
	const own = session.notices.filter(({ message }) => /Async_Notify\(own\)/.test(message)).length;
	assert.ok(own > 0, 'trace_notify works');
	session.notices.length = 0;
	await session.query(`BEGIN; INSERT INTO traced VALUES (1, repeat('x', 20000)); SELECT plank.send('marker', '0'); COMMIT`);
	await client.transaction();
	assert.deepEqual(session.notices.map(({ message }) => message).filter((text) => /Async_Notify\(|plank|[0-9a-f]{16}/.test(text)), []);
	// It is still on for the session's own.
	assert.equal((await session.query('SHOW trace_notify')).rows[0].trace_notify, 'on');
	await session.query(`NOTIFY own, 'y'`);
	assert.ok(session.notices.some(({ message }) => /Async_Notify\(own\)/.test(message)));
	assert.deepEqual((await session.query('SELECT pg_listening_channels() AS channel')).rows, [{ channel: 'own' }]);
	assert.deepEqual((await session.query(`SELECT name FROM pg_settings WHERE setting ~ '^plank:' OR name ~ 'plank.*(secret|channel)'`)).rows, []);
	const { rows } = await cluster.query('SELECT query FROM pg_stat_activity');
	const seen = [...rows.map(({ query }) => query), cluster.log()].join('\n');
	assert.doesNotMatch(seen, /plank:[0-9a-f]{8}|(LISTEN|NOTIFY) "?plank/i);
});

test('forged names on the transport\'s prefix deliver nothing and disturb nobody', async (t) => {
	await cluster.sql(`CREATE TABLE forged (id int PRIMARY KEY); SELECT plank.track('forged')`);
	const client = await cluster.client(t);
	await client.subscribed({ id: 'a', table: 'forged' });
	const session = await cluster.session({ user: 'stranger' });
	for (const name of ['plank', 'plank:', `plank:${'0'.repeat(32)}`, 'plank_changes', 'marker2']) {
		await session.query('SELECT pg_notify($1, $2)', [name, '1\u0001\u0001\u0001']);
	}
	const before = await cluster.counted('errors', 'resets');
	await client.caughtUp();
	await cluster.sql('INSERT INTO forged VALUES (1)');
	assert.equal((await client.transaction()).changes[0].key.id, 1);
	await client.silent();
	assert.deepEqual(await cluster.counted('errors', 'resets'), before);
});
