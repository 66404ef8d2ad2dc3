// Handles, sharing, refusals, and endings.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PlankError } from '../dist/plank.js';
import { insert, next, pair, settled, transaction } from './helpers.mjs';

const sent = (server, type) => server.received.filter((message) => message.type === type);

test('handles with the same table and options share one subscription', async (t) => {
	const { server, plank } = await pair(t);
	const seen = [];
	const first = plank.table('items', { events: ['insert'], columns: ['id'] }).subscribe(() => seen.push('first'));
	await first.ready;
	const second = plank.table('items', { columns: ['id'], events: ['insert'] }).subscribe(() => seen.push('second'));
	const other = plank.table('items').subscribe(() => seen.push('other'));
	const agreed = await next(second, 'subscribed');
	assert.equal(agreed.table, 'items');
	await Promise.all([second.ready, other.ready]);
	assert.equal(sent(server, 'subscribe').length, 2);
	server.send(transaction('1', [insert(['s1', 's2'], { id: 1 })]));
	await settled(plank);
	assert.deepEqual(seen, ['first', 'second', 'other']);

	first.unsubscribe();
	server.send(transaction('2', [insert(['s1'], { id: 2 })]));
	await settled(plank);
	assert.deepEqual(seen.slice(3), ['second']);
	assert.equal(sent(server, 'unsubscribe').length, 0);
	second.unsubscribe();
	second.unsubscribe();
	await settled(plank);
	assert.deepEqual(sent(server, 'unsubscribe').map(({ id }) => id), ['s1']);
	assert.equal(second.state, 'ended');
});

test('nothing is called after unsubscribe, and the next subscription has a new id', async (t) => {
	const { server, plank } = await pair(t, { server: { onMessage: ({ type }) => (type === 'unsubscribe' ? null : undefined) } });
	const seen = [];
	const transactions = [];
	plank.on('transaction', ({ xid }) => transactions.push(xid));
	const watch = plank.table('items').subscribe((change) => {
		seen.push(change.new.id);
		watch.unsubscribe();
	}).on('insert', () => seen.push('insert'));
	await watch.ready;
	// Two changes in one go: the second comes after the end.
	server.send(transaction('1', [insert(['s1'], { id: 1 }), insert(['s1'], { id: 2 })]));
	await settled(plank);
	const again = plank.table('items').subscribe((change) => seen.push(`again ${change.new.id}`));
	await again.ready;
	server.send(transaction('2', [insert(['s1'], { id: 3 })]), { type: 'unsubscribed', id: 's1', code: null, message: null });
	server.send(transaction('3', [insert(['s2'], { id: 4 })]));
	await settled(plank);
	assert.deepEqual(seen, [1, 'again 4']);
	assert.deepEqual(transactions, ['1', '3']);
});

test('snapshots are not shared', async (t) => {
	const { server, plank } = await pair(t);
	await plank.table('items', { snapshot: true }).subscribe().ready;
	await plank.table('items', { snapshot: true }).subscribe().ready;
	assert.equal(sent(server, 'subscribe').length, 2);
});

test('a refusal rejects ready and is told to the handle, with every part of the error', async (t) => {
	const refusal = { type: 'error', code: '42P01', message: 'table "nope" is not tracked', detail: 'd', hint: 'SELECT plank.track(…)' };
	const { server, plank } = await pair(t, {
		server: { onMessage: ({ type, id, table }) => (type === 'subscribe' && table === 'nope' ? { ...refusal, id } : undefined) },
	});
	const elsewhere = [];
	plank.on('error', (error) => elsewhere.push(error));
	const watch = plank.table('nope').subscribe();
	const told = next(watch, 'error');
	await assert.rejects(watch.ready, (error) => {
		assert.ok(error instanceof PlankError);
		assert.deepEqual([error.code, error.message, error.detail, error.hint], ['42P01', refusal.message, 'd', refusal.hint]);
		return true;
	});
	assert.equal((await told).code, '42P01');
	assert.equal(watch.state, 'ended');
	assert.deepEqual(elsewhere, []);
	// The connection lives on, and what was refused is not asked again.
	await plank.table('items').subscribe().ready;
	assert.equal(sent(server, 'subscribe').length, 2);
});

test('an error nobody listens for reaches the connection', async (t) => {
	const { server, plank } = await pair(t, {
		server: { onMessage: ({ type, id }) => (type === 'subscribe' ? { type: 'error', id, code: '53400', message: 'too many' } : undefined) },
	});
	const told = next(plank, 'error');
	plank.table('items').subscribe();
	assert.equal((await told).code, '53400');
	const stray = next(plank, 'error');
	server.send({ type: 'error', id: null, code: '08P01', message: 'bad JSON', detail: null, hint: null });
	assert.equal((await stray).message, 'bad JSON');
});

test('an error about a live subscription does not end it', async (t) => {
	const { server, plank } = await pair(t);
	const seen = [];
	const watch = plank.table('items').subscribe((change) => seen.push(change.new.id));
	await watch.ready;
	const told = next(watch, 'error');
	server.send({ type: 'error', id: 's1', code: '22023', message: 'id in use' }, transaction('1', [insert(['s1'], { id: 1 })]));
	assert.equal((await told).code, '22023');
	await settled(plank);
	assert.deepEqual([watch.state, seen], ['live', [1]]);
});

test('a subscription that the server ends is ended, with the reason', async (t) => {
	const { server, plank } = await pair(t, { random: () => 0 });
	const watch = plank.table('items').subscribe();
	await watch.ready;
	const told = next(watch, 'error');
	server.send({ type: 'unsubscribed', id: 's1', code: '42P01', message: 'table dropped' });
	const error = await told;
	assert.deepEqual([error.code, error.message, watch.state], ['42P01', 'table dropped', 'ended']);
	// Nor is it asked for again on the next connection.
	server.client.close(1001);
	await next(plank, 'welcome');
	await settled(plank);
	assert.equal(sent(server, 'subscribe').length, 1);
});

test('a change of the table comes as subscribed again, a reset with its reason', async (t) => {
	const { server, plank } = await pair(t);
	const watch = plank.table('items').subscribe();
	await watch.ready;
	const again = next(watch, 'subscribed');
	const reset = next(watch, 'reset');
	const columns = [{ name: 'id', type: 'bigint' }, { name: 'more', type: 'text' }];
	server.send([
		{ type: 'subscribed', id: 's1', table: 'public.things', key: ['id'], columns, position: '5' },
		{ type: 'reset', id: 's1', reason: 'table rewritten', position: '6' },
	]);
	assert.deepEqual(await again, { table: 'public.things', channel: null, key: ['id'], columns, position: '5', resumed: null });
	assert.deepEqual(await reset, { reason: 'table rewritten', position: '6' });
});

test('exceptions of listeners reach the connection and stop nobody', async (t) => {
	const { server, plank } = await pair(t);
	const errors = [];
	const seen = [];
	plank.on('error', (error) => errors.push(error.message));
	const watch = plank.table('items').subscribe(() => {
		throw new Error('mine');
	}).on('change', () => seen.push('second listener'));
	plank.table('items').subscribe(() => seen.push('other handle'));
	await watch.ready;
	server.send(transaction('1', [insert(['s1'], { id: 1 })]), transaction('2', [insert(['s1'], { id: 2 })]));
	await settled(plank);
	assert.deepEqual(errors, ['mine', 'mine']);
	assert.deepEqual(seen, ['second listener', 'other handle', 'second listener', 'other handle']);
});

test('tables() and ping() are matched by id, whatever the order of the answers', async (t) => {
	const held = [];
	const { server, plank } = await pair(t, {
		server: { onMessage: (message) => (message.type === 'tables' ? (held.push(message.id), null) : undefined) },
	});
	const first = plank.tables();
	const second = plank.tables();
	const third = plank.tables();
	await server.until(() => held.length === 3);
	const info = (table) => [{ table, key: null, columns: [] }];
	server.send(
		{ type: 'tables', id: held[1], tables: info('b') },
		{ type: 'error', id: held[2], code: '57014', message: 'cancelled' },
		{ type: 'tables', id: held[0], tables: info('a') },
	);
	assert.deepEqual([await first, await second], [info('a'), info('b')]);
	await assert.rejects(third, { code: '57014' });
	assert.ok((await plank.ping()) >= 0);
});

test('close() ends handles and questions, and is final', async (t) => {
	const { server, plank } = await pair(t, { server: { onMessage: ({ type }) => (type === 'tables' ? null : undefined) } });
	const live = plank.table('items').subscribe();
	const errors = [];
	live.on('error', (error) => errors.push(error));
	await live.ready;
	const asked = plank.tables();
	const client = server.client;
	plank.close();
	plank.close();
	await assert.rejects(asked, { code: '08003' });
	await assert.rejects(plank.tables(), { code: '08003' });
	await assert.rejects(plank.table('items').subscribe().ready, { code: '08003' });
	assert.deepEqual([live.state, plank.state, errors], ['ended', 'closed', []]);
	await server.until(() => client.closeCode !== undefined);
	assert.equal(client.closeCode, 1000);
});
