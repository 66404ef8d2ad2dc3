// The client library's tokens against a real server: renewed before they end without losing anything, replaced when they
// are refused, and every step told to the application.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect } from '../../client/dist/plank.js';
import { Cluster, until } from './cluster.mjs';
import { hs256, now, secret, serverFile } from './jwt.mjs';

const keyFile = serverFile('jwt.key', secret);
const cluster = await Cluster.start({ 'plank.jwt_key_file': keyFile.path });
await cluster.sql(`
	CREATE ROLE team; CREATE ROLE other_team;
	CREATE TABLE item (id int PRIMARY KEY, v text);
	GRANT SELECT ON item TO team, other_team; REVOKE ALL ON item FROM web;
	INSERT INTO item VALUES (1, 'a');
	SELECT plank.track('item')`);

// Seconds of a token that is renewed, which is at half of them. Of one with less than two left there is no renewal, so it has
// many more, for however busy a machine.
const life = 14;

// A connection with all that it says, in order.
function connected(t, token) {
	const plank = connect(cluster.url('app', '/'), { token });
	t.after(() => plank.close());
	const told = { states: [], welcomes: [], authenticated: [], errors: [] };
	plank.on('state', ({ state, reason, closeCode }) => told.states.push([state, reason, closeCode])).on('welcome', ({ role }) => told.welcomes.push(role))
		.on('authenticated', (message) => told.authenticated.push(message)).on('error', (error) => told.errors.push(error));
	return { plank, told };
}
// Live rows with the resets that came in between.
function rows(plank, options = {}) {
	const live = plank.table('item', { orderBy: 'id', ...options }).rows();
	return live;
}
let last = 1;
// A row that is written now is told of.
async function goesOn(live, what) {
	const id = (last += 1);
	await cluster.sql(`INSERT INTO item VALUES (${id}, 'x')`);
	await until(() => live.rows.some((row) => row.id === id), what);
	assert.deepEqual(live.rows, (await cluster.query('SELECT * FROM item ORDER BY id')).rows, what);
}
const opened = (plank) => until(() => plank.state === 'open', 'the connection to open');

test('an async token function is asked before each token ends; the connection and its subscriptions go on', async (t) => {
	let asked = 0;
	const { plank, told } = connected(t, async () => {
		asked += 1;
		await once(process, 'nothing', { signal: AbortSignal.timeout(20) }).catch(() => {});
		return hs256({ role: 'team', sub: '7', exp: now() + life, jti: String(asked) });
	});
	const live = rows(plank);
	const resets = [];
	const watch = plank.table('item').subscribe().on('reset', ({ reason }) => resets.push(reason));
	await until(() => live.state === 'live', 'the rows');
	await watch.ready;
	for (const n of [1, 2]) {
		await until(() => told.authenticated.length >= n, `renewal ${n}`);
		await goesOn(live, `after renewal ${n}`);
	}
	assert.ok(told.authenticated.every(({ role, expires_at: then }, i, all) => role === 'team' && (i === 0 || then > all[i - 1].expires_at)), 'each lasts longer');
	assert.ok(asked >= 3);
	assert.deepEqual([told.welcomes, told.states.map(([state]) => state), told.errors, resets], [['team'], ['open'], [], []]);
	const { rows: clients } = await cluster.query(`SELECT count(*)::int AS n FROM plank.clients WHERE session = $1`, [plank.welcome.session]);
	assert.deepEqual(clients, [{ n: 1 }]);
});

test('a renewal that fails is told and tried again, and nothing is lost meanwhile', async (t) => {
	let asked = 0;
	const { plank, told } = connected(t, async () => {
		asked += 1;
		if (asked === 2) throw new Error('the token service is down');
		return hs256({ role: 'team', exp: now() + (asked === 1 ? life : 600) });
	});
	const live = rows(plank);
	await until(() => live.state === 'live', 'the rows');
	await until(() => told.errors.length === 1, 'the failure to be told');
	assert.deepEqual([told.errors[0].code, told.errors[0].message], ['28000', 'the token was not renewed: the token service is down']);
	await goesOn(live, 'with the former token');
	await until(() => told.authenticated.length === 1, 'the renewal');
	await goesOn(live, 'with the new token');
	assert.deepEqual([told.welcomes, told.states.map(([state]) => state), told.errors.length], [['team'], ['open'], 1]);
});

test('a token that has ended closes the connection, and a function is asked for another', async (t) => {
	// So near its end, which the server gives thirty seconds' grace, that it is not worth a renewal.
	let asked = 0;
	const { plank, told } = connected(t, () => hs256({ role: 'team', exp: now() + ((asked += 1) === 1 ? -18 : 600) }));
	const live = rows(plank);
	await until(() => live.state === 'live', 'the rows');
	await until(() => told.states.some(([state]) => state === 'reconnecting'), 'the end of the token');
	await cluster.sql(`UPDATE item SET v = 'while away'`);
	await until(() => plank.state === 'open' && live.state === 'live', 'another connection');
	await goesOn(live, 'on the new connection');
	assert.deepEqual(told.states.filter(([state], i) => state !== told.states[i - 1]?.[0]), [['open', null, null], ['reconnecting', told.states[1][1], 4001], ['open', null, null]]);
	assert.match(told.states[1][1], /the token has expired/);
	assert.deepEqual([asked, told.welcomes], [2, ['team', 'team']]);
});

test('a token text that has ended closes for good, with the server\'s reason', async (t) => {
	const { plank, told } = connected(t, hs256({ role: 'team', exp: now() - 18 }));
	const live = rows(plank);
	await until(() => live.state === 'live', 'the rows');
	await until(() => plank.state === 'closed', 'the end');
	assert.deepEqual([plank.status.closeCode, /the token has expired/.test(plank.status.reason)], [4001, true], plank.status.reason);
	assert.deepEqual(told.states.map(([state]) => state), ['open', 'closed']);
});

test('a bad token is never open: a text closes, a function is asked again until one is good', async (t) => {
	const bad = hs256({ role: 'team' }, { key: `${secret}!` });
	const text = connected(t, bad);
	await until(() => text.plank.state === 'closed', 'the refusal');
	assert.deepEqual([text.told.states.map(([state]) => state), text.plank.status.closeCode], [['closed'], 4001]);
	assert.match(text.plank.status.reason, /signature/);
	let asked = 0;
	const { plank, told } = connected(t, async () => ((asked += 1) < 3 ? bad : hs256({ role: 'team' })));
	const live = rows(plank);
	await until(() => plank.state === 'reconnecting', 'the refusal');
	assert.equal(plank.status.closeCode, 4001);
	await until(() => live.state === 'live', 'a good token');
	await goesOn(live, 'with it');
	assert.equal(asked, 3);
	assert.equal(told.states[0][0], 'reconnecting');
	assert.ok(told.errors.every(({ code }) => code === '28000') && told.errors.length > 0, JSON.stringify(told.errors));
});

test('a bad token at a renewal: the reason is told, and the next good one brings everything back', async (t) => {
	let asked = 0;
	const { plank, told } = connected(t, () => ((asked += 1) === 2 ? hs256({ role: 'nobody' }) : hs256({ role: 'team', exp: now() + (asked === 1 ? life : 600) })));
	const live = rows(plank);
	await until(() => live.state === 'live', 'the rows');
	await until(() => told.states.some(([state]) => state === 'reconnecting'), 'the refusal');
	assert.deepEqual(told.states[1], ['reconnecting', `the token's role may not be used`, 4001]);
	await until(() => plank.state === 'open' && live.state === 'live', 'the good token');
	await goesOn(live, 'with it');
	assert.equal(asked, 3);
});

test('a renewal that makes somebody else of the client: subscriptions are made again, with a reset', async (t) => {
	let asked = 0;
	const { plank, told } = connected(t, () => ((asked += 1) === 1 ? hs256({ role: 'team', exp: now() + life }) : hs256({ role: 'other_team' })));
	const live = rows(plank);
	const resets = [];
	const watch = plank.table('item').subscribe().on('reset', ({ reason }) => resets.push(reason));
	await until(() => live.state === 'live', 'the rows');
	await watch.ready;
	await until(() => told.authenticated.length === 1, 'the other token');
	assert.equal(told.authenticated[0].role, 'other_team');
	await until(() => resets.length === 1 && live.state === 'live', 'the subscriptions again');
	await goesOn(live, 'as the other role');
	assert.equal(watch.state, 'live');
	assert.deepEqual(told.states.map(([state]) => state), ['open']);
});

test('a renewed token whose role may not read the table ends the subscription with what the server says', async (t) => {
	let asked = 0;
	const { plank, told } = connected(t, () => ((asked += 1) === 1 ? hs256({ role: 'team', exp: now() + life }) : hs256({ role: 'web' })));
	const errors = [];
	const live = rows(plank).on('error', (error) => errors.push(error.code));
	await until(() => live.state === 'live', 'the rows');
	await until(() => live.state === 'error', 'the end');
	assert.deepEqual([errors, live.rows, told.authenticated.map(({ role }) => role), plank.state], [['42P01'], [], ['web'], 'open']);
});

test('keys are rotated: clients come back with tokens of the new one', async (t) => {
	let key = secret;
	const { plank } = connected(t, async () => hs256({ role: 'team' }, { key }));
	await opened(plank);
	const live = rows(plank);
	await until(() => live.state === 'live', 'the rows');
	key = `${secret} number two`;
	keyFile.write(key);
	await until(() => plank.state === 'reconnecting', 'the former key to be gone');
	await until(() => plank.state === 'open' && live.state === 'live', 'the new key');
	await goesOn(live, 'with the new key');
	keyFile.write(secret);
});
