// Tokens: renewed before they end, replaced when they have, and never `open` with a bad one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from './clock.mjs';
import { next, pair, reached, settled } from './helpers.mjs';

const jwt = (seconds, name = 'x') => ['{}', JSON.stringify({ name, exp: Math.floor(Date.now() / 1000) + seconds })]
	.map((text) => Buffer.from(text).toString('base64url')).concat('signature').join('.');
const auths = (server) => server.received.filter(({ type }) => type === 'auth').map(({ token }) => token);
const authenticated = (role = 'web', seconds = 600) => ({ type: 'authenticated', role, expires_at: new Date(Date.now() + seconds * 1000).toISOString() });

test('a token function is asked again before exp, and auth is sent', async (t) => {
	const clock = new ManualClock();
	const tokens = [jwt(600, 'a'), jwt(1800, 'b')];
	let asked = 0;
	const { server, plank } = await pair(t, {
		clock, token: () => {
			asked += 1;
			if (asked === 2) throw new Error('the token service is down');
			return tokens[asked === 1 ? 0 : 1];
		},
		server: { onMessage: ({ type }) => (type === 'auth' ? authenticated('web', 1800) : undefined) },
	});
	const problems = [];
	plank.on('error', (error) => problems.push(error.message));
	const watch = plank.table('items').subscribe();
	await watch.ready;
	// In steps, so that the check for life is answered in time.
	const pass = async (ms) => {
		for (let gone = 0; gone < ms; gone += 5_000) {
			clock.advance(5_000);
			await settled(plank);
		}
	};
	await pass(530_000);
	assert.equal(asked, 1);
	await pass(15_000);
	assert.deepEqual([asked, problems], [2, ['the token was not renewed: the token service is down']]);
	const told = next(plank, 'authenticated');
	await pass(545_000);
	assert.equal((await told).role, 'web');
	assert.deepEqual([auths(server), server.upgrades.length, watch.state], [[tokens[1]], 1, 'live']);
});

test('a token that cannot be renewed is left alone', async (t) => {
	const clock = new ManualClock();
	const { server, plank } = await pair(t, { clock, token: jwt(600) });
	await reached(plank, 'open');
	for (let minute = 0; minute < 11; minute += 1) {
		clock.advance(59_000);
		await settled(plank);
	}
	assert.deepEqual(auths(server), []);
});

test('subscriptions that another role ends are made again, with a reset', async (t) => {
	const { server, plank } = await pair(t, { token: () => jwt(600) });
	const watch = plank.table('items').subscribe();
	const resets = [];
	watch.on('reset', ({ reason }) => resets.push(reason));
	await watch.ready;
	server.send({ type: 'unsubscribed', id: 's1', code: '28000', message: 'the role has changed' });
	await settled(plank);
	assert.deepEqual([watch.state, watch.position], ['subscribing', null]);
	server.send(authenticated('boss'));
	const again = await server.message('subscribe', 2);
	await settled(plank);
	assert.deepEqual([again.id, again.since, watch.state, plank.welcome.role], ['s2', undefined, 'live', 'boss']);
	assert.deepEqual(resets, ['the role has changed; changes in between were not received']);
});

test('an expired token: unsubscribed, 4001, and again with a fresh one', async (t) => {
	let count = 0;
	const { server, plank } = await pair(t, { random: () => 0, token: () => jwt(600, String(++count)) });
	const errors = [];
	const live = plank.table('items').rows().on('error', (error) => errors.push(error));
	await server.message('subscribe');
	server.send({ type: 'rows', id: 's1', rows: [{ id: 1 }], more: false, position: 'p' });
	await settled(plank);
	const again = next(plank, 'welcome');
	server.send({ type: 'unsubscribed', id: 's1', code: '28000', message: 'the token has expired' });
	server.client.close(4001, 'the token has expired');
	await again;
	await settled(plank);
	assert.equal(count, 2);
	server.send({ type: 'rows', id: 's2', rows: [{ id: 2 }], more: false, position: 'p' });
	await settled(plank);
	assert.deepEqual([live.state, live.rows, errors], ['live', [{ id: 2 }], []]);
});

for (const [what, token, end] of [['that cannot change ends it', 'bad.bad.bad', 'closed'], ['from a function is asked for again', () => 'bad.bad.bad', 'reconnecting']]) {
	test(`a bad token ${what}; it is never open, and the server's words are the reason`, async (t) => {
		const { server, plank } = await pair(t, { token, server: { welcome: false } });
		const states = [];
		const errors = [];
		plank.on('state', ({ state }) => states.push(state)).on('error', (error) => errors.push(error.message));
		await server.until(() => server.client);
		server.send({ type: 'welcome', protocol: 'plank.v1', server: '0.1.0', session: 'x', role: null },
			{ type: 'error', id: null, code: '28000', message: 'the token has a bad signature', detail: null, hint: 'Check plank.jwt_key_file.' });
		server.client.close(4001, 'bad');
		const status = await reached(plank, end);
		assert.deepEqual([status.reason, status.closeCode, errors], ['the token has a bad signature', 4001, ['the token has a bad signature']]);
		assert.deepEqual(states, [end]);
	});
}
