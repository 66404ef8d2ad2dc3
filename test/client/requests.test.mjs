// What clients may send (section 4 and rule 9): every fault has its code, nothing else is lost, and the connection lives
// on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start({ 'plank.max_subscriptions': 5, 'plank.max_message_size': '8kB' });
await cluster.sql(`CREATE TABLE item (id int PRIMARY KEY); SELECT plank.track('item'); SELECT plank.expose('jobs')`);

const refused = async (client, message) => {
	const { type, id, code, message: text, detail, hint, ...more } = await client.ask(message);
	assert.deepEqual({ type, more }, { type: 'error', more: {} }, JSON.stringify(message).slice(0, 200));
	assert.ok(typeof text === 'string' && text.length > 0 && detail !== undefined && hint !== undefined);
	return [code, id];
};

test('welcome names protocol, server, session and role', async (t) => {
	const { welcome } = await cluster.client(t, { marker: false });
	const { session, server, ...rest } = welcome;
	assert.deepEqual(rest, { type: 'welcome', protocol: 'plank.v1', role: 'web' });
	assert.match(server, /^\d+\.\d+\.\d+$/);
	assert.ok(session.length >= 16);
});

test('the subprotocol plank.v1 is accepted, and so is none', async (t) => {
	assert.equal((await cluster.client(t)).socket.protocol, 'plank.v1');
	assert.equal((await cluster.client(t, { protocols: [] })).socket.protocol, '');
	assert.equal((await cluster.client(t, { protocols: ['other', 'plank.v1'] })).socket.protocol, 'plank.v1');
});

test('ping answers pong, with the id when there was one', async (t) => {
	const client = await cluster.client(t);
	assert.deepEqual(await client.ask({ type: 'ping' }), { type: 'pong' });
	for (const id of ['x', 'ü'.repeat(64), '"\\\n', '☃']) assert.deepEqual(await client.ask({ type: 'ping', id, more: 1 }), { type: 'pong', id });
});

test('bad JSON, no object, no type, an unknown type: 08P01', async (t) => {
	const client = await cluster.client(t);
	for (const text of ['', '{', 'nonsense', '{"type":"ping"', '{"type":"ping"} x', "{'type':'ping'}", '{"type":"ping",}', '[{"type":"ping"}]', '"ping"', '1', 'null',
		'{}', '{"type":null}', '{"type":7}', '{"type":"pin"}', '{"type":"welcome"}', '{"type":"PING"}', '['.repeat(5000), '{"type":"\\ud800"}']) {
		const [code, id] = await refused(client, text);
		assert.deepEqual([code, id], ['08P01', null], text.slice(0, 40));
	}
	assert.deepEqual(await refused(client, { type: 'nothing', id: 'mine' }), ['08P01', 'mine']);
	assert.deepEqual(await client.ask({ type: 'ping' }), { type: 'pong' });
});

test('ids: missing, empty, too long, no string, in use, unknown: 22023', async (t) => {
	const client = await cluster.client(t);
	const subscribe = (id) => ({ type: 'subscribe', id, table: 'item' });
	for (const id of [undefined, null, '', 'x'.repeat(65), 7, {}, ['a'], true]) assert.deepEqual(await refused(client, subscribe(id)), ['22023', null]);
	await client.subscribed(subscribe('☃'.repeat(64)));
	await client.subscribed(subscribe('a'));
	assert.deepEqual(await refused(client, subscribe('a')), ['22023', 'a']);
	assert.deepEqual(await refused(client, { type: 'subscribe', id: 'a', channel: 'jobs' }), ['22023', 'a']);
	assert.deepEqual(await refused(client, { type: 'unsubscribe', id: 'b' }), ['22023', 'b']);
	assert.deepEqual(await refused(client, { type: 'unsubscribe' }), ['22023', null]);
	// The refusals have ended nothing.
	await cluster.sql('INSERT INTO item VALUES (1)');
	assert.deepEqual((await client.transaction()).changes[0].ids, ['☃'.repeat(64), 'a']);
});

test('wrong arguments of subscribe: 22023', async (t) => {
	const client = await cluster.client(t);
	for (const wrong of [{}, { table: 'item', channel: 'jobs' }, { table: 7 }, { table: '' }, { table: 'a.b.c' }, { table: '"open' }, { table: 'a b' }, { channel: {} },
		{ table: 'x'.repeat(2000) }, { table: 'item', events: [] }, { table: 'item', events: 'insert' }, { table: 'item', events: ['upsert'] }, { table: 'item', events: [null] },
		{ table: 'item', numbers: 'float' }, { table: 'item', numbers: 1 }, { table: 'item', where: 7 }, { table: 'item', columns: 'id' }, { table: 'item', snapshot: 'yes' },
		{ table: 'item', since: 7 }]) {
		assert.deepEqual(await refused(client, { type: 'subscribe', id: 'w', ...wrong }), ['22023', 'w'], JSON.stringify(wrong).slice(0, 80));
	}
	for (const token of [undefined, null, '', 7, {}]) assert.deepEqual(await refused(client, { type: 'auth', id: 'w', token }), ['22023', 'w']);
});

test('what Plank does not support: 0A000, never success', async (t) => {
	const client = await cluster.client(t);
	await cluster.sql(`CREATE TABLE secured (id int PRIMARY KEY); ALTER TABLE secured ENABLE ROW LEVEL SECURITY; SELECT plank.track('secured');
		CREATE POLICY fresh ON secured USING (xmin IS NOT NULL); GRANT SELECT ON secured TO web`);
	for (const how of [{}, { snapshot: true }, { where: 'id > 1' }]) {
		assert.deepEqual(await refused(client, { type: 'subscribe', id: 's', table: 'secured', ...how }), ['0A000', 's']);
	}
	await client.subscribed({ id: 's', table: 'item', snapshot: false, where: null, unknown: { field: 1 } });
});

test('more subscriptions than plank.max_subscriptions: 53400, and the others go on', async (t) => {
	const client = await cluster.client(t, { marker: false });
	for (let i = 0; i < 5; i += 1) await client.subscribed({ id: `n${i}`, table: 'item' });
	assert.deepEqual(await refused(client, { type: 'subscribe', id: 'n5', table: 'item' }), ['53400', 'n5']);
	await client.ask({ type: 'unsubscribe', id: 'n0' }, 'unsubscribed');
	await client.subscribed({ id: 'n5', table: 'item' });
	await cluster.sql('INSERT INTO item VALUES (2)');
	assert.equal((await client.transaction()).changes[0].ids.length, 5);
});

test('answers come in the order of the questions, also when they are many', async (t) => {
	const client = await cluster.client(t);
	for (let i = 0; i < 300; i += 1) {
		client.send({ type: 'ping', id: `p${i}` });
		client.send({ type: 'subscribe', id: 's', table: i % 3 ? 'item' : 'missing' });
		client.send('{');
		if (i % 3) client.send({ type: 'unsubscribe', id: 's' });
	}
	for (let i = 0; i < 300; i += 1) {
		assert.equal((await client.next('pong')).id, `p${i}`);
		assert.equal((await client.next()).type, i % 3 ? 'subscribed' : 'error');
		assert.equal((await client.next('error')).code, '08P01');
		if (i % 3) await client.next('unsubscribed');
	}
});

test('a message above plank.max_message_size closes with 1009, one at the limit does not', async (t) => {
	const client = await cluster.client(t);
	const padded = (bytes) => JSON.stringify({ type: 'ping', pad: '' }).replace('""', `"${'x'.repeat(bytes - 24)}"`);
	assert.equal(padded(8192).length, 8192);
	assert.deepEqual(await client.ask(padded(8192)), { type: 'pong' });
	client.send(padded(8193));
	assert.equal((await client.end()).code, 1009);
});

test('text that is not UTF-8 closes with 1007; binary frames are no messages', async (t) => {
	const broken = await cluster.client(t);
	broken.socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false });
	assert.equal((await broken.end()).code, 1007);
	const binary = await cluster.client(t);
	binary.socket.send(Buffer.from('{"type":"ping"}'), { binary: true });
	assert.equal((await binary.end()).code, 1003);
});

test('without an anonymous role everything but ping answers 28000', async (t) => {
	const bare = await Cluster.start({ 'plank.anonymous_role': '' });
	const client = await bare.client(t, { marker: false });
	assert.equal(client.welcome.role, null);
	assert.deepEqual(await client.ask({ type: 'ping' }), { type: 'pong' });
	assert.deepEqual(await refused(client, { type: 'tables', id: 'q' }), ['28000', 'q']);
	assert.deepEqual(await refused(client, { type: 'subscribe', id: 'a', table: 'item' }), ['28000', 'a']);
	const { code } = await client.end();
	assert.equal(code, 4001);
});
