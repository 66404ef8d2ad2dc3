// Tokens from end to end (section 5): the four places where they may stand, what they make of a client, what is refused,
// and how a live connection loses what it had.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';
import { hs256, keyPair, now, secret, secretJwk, serverFile } from './jwt.mjs';
import { Wire } from './wire.mjs';

const keyFile = serverFile('jwt.key', `${secret}\n`);
const cluster = await Cluster.start({ 'plank.jwt_key_file': keyFile.path, 'plank.authenticator': 'gate' });
await cluster.sql(`
	CREATE ROLE gate NOINHERIT;
	CREATE ROLE team; CREATE ROLE other_team; CREATE ROLE ungranted; CREATE ROLE "Ünï ""q""";
	CREATE ROLE bypasser BYPASSRLS; CREATE ROLE boss SUPERUSER;
	GRANT team, other_team, bypasser, boss, pg_monitor, "Ünï ""q""" TO gate;
	CREATE TABLE item (id int PRIMARY KEY, v text);
	CREATE TABLE private (id int PRIMARY KEY);
	REVOKE ALL ON private FROM web;
	GRANT SELECT ON item TO team, other_team;
	GRANT SELECT ON private TO team;
	SELECT plank.track('item'), plank.track('private')`);

const set = async (settings) => {
	for (const [name, value] of Object.entries(settings)) {
		await cluster.query(value === null ? `ALTER SYSTEM RESET ${name}` : `ALTER SYSTEM SET ${name} = '${value}'`);
	}
	await cluster.query('SELECT pg_reload_conf()');
};
const open = async (t, token, options = {}) => {
	const wire = await Wire.open(cluster.url('app', '/ws').replace('http', 'ws') + (options.query ?? ''),
		token === undefined ? options : { headers: { Authorization: `Bearer ${token}` }, ...options });
	t.after(() => wire.close());
	return wire;
};
const auth = (wire, token, id) => wire.ask({ type: 'auth', token, id }, 'authenticated');
// The token is refused: in words, and then with 4001.
const refused = async (t, token, what) => {
	const wire = await open(t, token);
	assert.equal(wire.welcome.role, null, what);
	const error = await wire.next('error');
	assert.equal(error.code, '28000', what);
	assert.equal((await wire.end()).code, 4001, what);
	return error.message;
};

test('a token in the header, the subprotocol or the URL gives its role', async (t) => {
	const token = hs256({ role: 'team', sub: '7' });
	for (const [options, query] of [[{ headers: { Authorization: `Bearer ${token}` } }], [{ headers: { Authorization: `bEARER  ${token}` } }],
		[{ protocols: ['plank.v1', `plank.token.${token}`] }], [{ protocols: [`plank.token.${token}`, 'plank.v1'] }], [{}, `?access_token=${token}`],
		[{}, `?x=1&access_token=${token}&y=2`], [{ headers: { Authorization: `Bearer ${token}` } }, `?access_token=${token}`]]) {
		const wire = await open(t, undefined, { ...options, query });
		assert.equal(wire.welcome.role, 'team', JSON.stringify(options).slice(0, 60));
		assert.equal(wire.socket.protocol, 'plank.v1');
		await wire.subscribed({ id: 'a', table: 'private' });
	}
});

test('an auth message gives a role, echoes its id, and says until when', async (t) => {
	const wire = await open(t);
	assert.equal(wire.welcome.role, 'web');
	const exp = now() + 300;
	assert.deepEqual(await auth(wire, hs256({ role: 'team', exp }), 'me'),
		{ type: 'authenticated', id: 'me', role: 'team', expires_at: new Date(exp * 1000).toISOString().replace('Z', '000Z') });
	await wire.subscribed({ id: 'a', table: 'private' });
	const { rows } = await cluster.query(`SELECT role, subscriptions FROM plank.clients WHERE session = $1`, [wire.welcome.session]);
	assert.deepEqual(rows, [{ role: 'team', subscriptions: 1 }]);
});

test('two tokens that differ are a bad request; another scheme of Authorization is none', async (t) => {
	const [one, two] = [hs256({ role: 'team' }), hs256({ role: 'other_team' })];
	await assert.rejects(open(t, one, { query: `?access_token=${two}` }), { status: 400 });
	await assert.rejects(open(t, one, { protocols: ['plank.v1', `plank.token.${two}`] }), { status: 400 });
	assert.equal((await open(t, undefined, { headers: { Authorization: 'Basic d2ViOndlYg==' } })).welcome.role, 'web');
});

test('a token without a role is for the anonymous one, and what it may not read does not exist', async (t) => {
	const wire = await open(t, hs256({ sub: '7' }));
	assert.equal(wire.welcome.role, 'web');
	assert.equal((await wire.ask({ type: 'subscribe', id: 'a', table: 'private' }, 'error')).code, '42P01');
	await wire.subscribed({ id: 'a', table: 'item' });
});

test('what is sent behind a token waits for it, and is answered in order', async (t) => {
	const url = cluster.url('app', '/ws').replace('http', 'ws');
	const { default: WebSocket } = await import('ws');
	const socket = new WebSocket(url, ['plank.v1'], { headers: { Authorization: `Bearer ${hs256({ role: 'team' })}` } });
	t.after(() => socket.terminate());
	const got = [];
	socket.on('message', (data) => got.push(...[JSON.parse(data)].flat()));
	socket.on('open', () => {
		for (const message of [{ type: 'ping', id: '1' }, { type: 'subscribe', id: 'a', table: 'private' }, { type: 'nonsense' }, { type: 'ping', id: '2' }]) socket.send(JSON.stringify(message));
	});
	await until(() => got.length >= 5, 'five answers');
	assert.deepEqual(got.map(({ type }) => type), ['welcome', 'pong', 'subscribed', 'error', 'pong']);
	assert.equal(got[0].role, 'team');
});

test('bad tokens are refused with 28000, then 4001', async (t) => {
	const good = hs256({ role: 'team' });
	const [header, payload, signature] = good.split('.');
	const claims = (exp) => hs256(`{"role":"team","exp":${exp}}`);
	const bad = {
		empty: '', garbage: 'x', 'no signature': `${header}.${payload}.`, 'two parts': `${header}.${payload}`, 'other payload': `${header}.${Buffer.from(`{"role":"boss","exp":${now() + 60}}`).toString('base64url')}.${signature}`,
		none: hs256({ role: 'team' }, { header: { alg: 'none' } }), 'another algorithm': hs256({ role: 'team' }, { header: { alg: 'HS512' } }), 'another secret': hs256({ role: 'team' }, { key: `${secret}!` }),
		'empty secret': hs256({ role: 'team' }, { key: '' }), crit: hs256({ role: 'team' }, { header: { alg: 'HS256', crit: ['exp'] } }), 'exp missing': hs256('{"role":"team"}'), 'exp string': claims(`"${now() + 60}"`),
		'exp over': claims(now() - 31), 'exp null': claims('null'), 'exp in milliseconds': claims(Date.now() + 60000), 'exp twice': hs256(`{"role":"team","exp":1,"exp":${now() + 60}}`),
		'role twice': hs256(`{"role":"boss","role":"team","exp":${now() + 60}}`), 'not yet': hs256({ role: 'team', nbf: now() + 3600 }), 'role is a list': hs256({ role: ['team'] }),
	};
	for (const [what, token] of Object.entries(bad)) {
		await refused(t, token, what);
		if (token === '') continue;
		const wire = await open(t);
		await wire.subscribed({ id: 'a', table: 'item' });
		assert.deepEqual((({ code, id }) => [code, id])(await wire.ask({ type: 'auth', id: 'q', token }, 'error')), ['28000', 'q'], what);
		assert.equal((await wire.end()).code, 4001, what);
	}
	assert.equal((await open(t, hs256({ role: 'team', exp: now() - 20 }))).welcome.role, 'team');
});

test('superusers, BYPASSRLS, predefined, absent and ungranted roles are refused, all in the same words', async (t) => {
	const messages = new Set();
	for (const role of ['postgres', 'boss', 'bypasser', 'pg_monitor', 'pg_read_all_data', 'nobody', 'ungranted', 'gate2', 'TEAM', 'team ', 'x'.repeat(100), '☃', 'none']) {
		messages.add(await refused(t, hs256({ role }), role));
	}
	assert.deepEqual([...messages], [`the token's role may not be used`]);
	assert.equal((await open(t, hs256({ role: 'Ünï "q"' }))).welcome.role, 'Ünï "q"');
	await set({ 'plank.authenticator': 'nowhere' });
	await until(async () => (await refused(t, hs256({ role: 'team' })).catch(() => '')) !== '', 'an authenticator that does not exist lets nobody in');
	await set({ 'plank.authenticator': '' });
	await until(async () => (await open(t, hs256({ role: 'ungranted' }))).welcome.role === 'ungranted', 'without plank.authenticator every ordinary role may be used');
	assert.equal(await refused(t, hs256({ role: 'boss' })), `the token's role may not be used`);
	await set({ 'plank.authenticator': 'gate' });
	await until(async () => (await refused(t, hs256({ role: 'ungranted' })).catch(() => '')) !== '', 'plank.authenticator is asked again');
});

test('renewal keeps subscriptions; other claims or another role end them with 28000', async (t) => {
	const wire = await open(t, hs256({ role: 'team', sub: '7', jti: 'a', iat: now(), nbf: now() - 5 }));
	await wire.subscribed({ id: 'a', table: 'private' });
	await auth(wire, hs256({ exp: now() + 900, jti: 'b', iat: now() - 1, sub: '7', role: 'team' }));
	await cluster.sql('INSERT INTO private VALUES (1)');
	assert.deepEqual((await wire.transaction()).changes[0].key, { id: 1 });
	for (const claims of [{ role: 'team', sub: '8' }, { role: 'team', sub: '8', more: 1 }, { role: 'other_team', sub: '8', more: 1 }]) {
		wire.send({ type: 'auth', token: hs256(claims) });
		const ended = await wire.next('unsubscribed');
		assert.deepEqual([ended.id, ended.code], ['a', '28000']);
		assert.equal((await wire.next('authenticated')).role, claims.role);
		await cluster.sql(`INSERT INTO item VALUES (${Math.floor(Math.random() * 1e9)})`);
		await wire.subscribed({ id: 'a', table: 'item' });
	}
	assert.equal((await wire.ask({ type: 'subscribe', id: 'b', table: 'private' }, 'error')).code, '42P01');
});

test('clients of one role and different claims each get every change', async (t) => {
	const wires = await Promise.all(['1', '2', '2', undefined].map((sub) => open(t, hs256({ role: 'team', sub }))));
	for (const wire of wires) await wire.subscribed({ id: 'a', table: 'private' });
	await cluster.sql('INSERT INTO private VALUES (2)');
	for (const wire of wires) assert.deepEqual((await wire.transaction()).changes[0].key, { id: 2 });
});

test('a token that expires ends its connection, unless it is renewed', async (t) => {
	const [ending, renewed] = await Promise.all([1, 2].map(() => open(t, hs256({ role: 'team', exp: now() - 18 }))));
	await ending.subscribed({ id: 'a', table: 'private' });
	await renewed.subscribed({ id: 'a', table: 'private' });
	await auth(renewed, hs256({ role: 'team' }));
	assert.equal((await ending.next('unsubscribed')).code, '28000');
	assert.deepEqual(await ending.end(), { code: 4001, reason: 'the token has expired' });
	await cluster.sql('INSERT INTO private VALUES (3)');
	assert.deepEqual((await renewed.transaction()).changes[0].key, { id: 3 });
});

test('a role that is dropped, no longer granted, or made a superuser ends its connections', async (t) => {
	await cluster.sql('CREATE ROLE brief; GRANT brief TO gate');
	for (const [statement, undo] of [['REVOKE brief FROM gate', 'GRANT brief TO gate'], ['ALTER ROLE brief SUPERUSER', 'ALTER ROLE brief NOSUPERUSER'],
		['ALTER ROLE brief BYPASSRLS', 'ALTER ROLE brief NOBYPASSRLS'], ['ALTER ROLE brief RENAME TO short', 'ALTER ROLE short RENAME TO brief'], ['DROP ROLE brief', '']]) {
		const [wire, other] = await Promise.all([open(t, hs256({ role: 'brief' })), open(t, hs256({ role: 'team' }))]);
		const start = Date.now();
		await cluster.sql(statement);
		assert.equal((await wire.end()).code, 4001, statement);
		t.diagnostic(`${statement} took ${Date.now() - start} ms`);
		await other.ask({ type: 'ping' }, 'pong');
		if (undo) await cluster.sql(undo);
	}
});

test('keys of every kind; rotating them closes what depended on a removed one, and nothing else', async (t) => {
	const pairs = ['RS256', 'PS512', 'ES256', 'ES512', 'EdDSA'].map((alg) => keyPair(alg, alg.toLowerCase()));
	const jwks = (...keys) => ({ keys });
	const old = await open(t, hs256({ role: 'team' }));
	keyFile.write(jwks(secretJwk(secret, 'old'), ...pairs.map(({ jwk }) => jwk)));
	for (const { jwk, token } of pairs) {
		await until(async () => (await open(t, token({ role: 'team' }))).welcome.role === 'team', `${jwk.alg} is accepted`);
	}
	await old.ask({ type: 'ping' }, 'pong');
	const live = await Promise.all(pairs.map(({ token }) => open(t, token({ role: 'team' }))));
	await live[0].subscribed({ id: 'a', table: 'private' });
	keyFile.write(jwks(...pairs.slice(1).map(({ jwk }) => jwk)));
	assert.deepEqual(await old.end(), { code: 4001, reason: 'the key of the token is no longer valid' });
	assert.equal((await live[0].next('unsubscribed')).code, '28000');
	assert.equal((await live[0].end()).code, 4001);
	for (const wire of live.slice(1)) await wire.ask({ type: 'ping' }, 'pong');
	await refused(t, hs256({ role: 'team' }), 'the secret is gone');
	await refused(t, hs256({ role: 'team' }, { key: JSON.stringify(pairs[1].jwk) }), 'a public key is no secret');
	keyFile.write(secret);
	await until(async () => (await open(t, hs256({ role: 'team' }))).welcome.role === 'team', 'the secret is back');
});

test('a bad key file keeps the keys, says so once with a hint, and is read again when it is mended', async (t) => {
	const wire = await open(t, hs256({ role: 'team' }));
	const lines = () => cluster.log().split('\n').filter((line) => /key file .* cannot be used/.test(line)).length;
	const before = lines();
	for (const bad of ['short', '{"keys":[', '-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----\n']) {
		const said = lines();
		keyFile.overwrite(bad);
		await until(() => lines() === said + 1, `a line about ${bad.slice(0, 10)}`);
	}
	keyFile.remove();
	await until(() => lines() === before + 4, 'a line about a missing file');
	await set({ 'plank.ping_interval': '20s' });
	await open(t, hs256({ role: 'team', sub: 'new' }));
	await wire.ask({ type: 'ping' }, 'pong');
	assert.equal(lines(), before + 4, cluster.log().split("\n").filter((line) => /cannot be used/.test(line)).join("\n"));
	assert.match(cluster.log(), /HINT: {2}Put a secret of at least 32 bytes, a JWK or a JWKS into the file that plank.jwt_key_file names/);
	keyFile.write(`${secret}2`);
	assert.equal((await wire.end()).code, 4001);
	keyFile.write(secret);
	await until(async () => (await open(t, hs256({ role: 'team' }))).welcome.role === 'team', 'the secret is back');
	assert.equal(lines(), before + 4);
});

test('audience and role claim are taken from the settings, for live clients too', async (t) => {
	const [plank, other] = await Promise.all([open(t, hs256({ role: 'team', aud: ['x', 'plank'] })), open(t, hs256({ role: 'team', aud: 'other' }))]);
	await set({ 'plank.jwt_audience': 'plank' });
	assert.deepEqual(await other.end(), { code: 4001, reason: 'the token is for another audience' });
	await plank.ask({ type: 'ping' }, 'pong');
	assert.equal(await refused(t, hs256({ role: 'team' })), 'the token is for another audience');
	await set({ 'plank.jwt_audience': null, 'plank.jwt_role_claim': 'https://plank.example/role' });
	assert.equal((await plank.end()).code, 4001);
	await until(async () => (await open(t, hs256({ role: 'boss', 'https://plank.example/role': 'team' }))).welcome.role === 'team', 'the other claim');
	await set({ 'plank.jwt_role_claim': null });
	await until(async () => (await open(t, hs256({ role: 'team' }))).welcome.role === 'team', 'the claim is back');
});

test('without an anonymous role a client may only authenticate, and has ten seconds for it', async (t) => {
	const anonymous = await open(t);
	await set({ 'plank.anonymous_role': '' });
	assert.equal((await anonymous.end()).code, 4001);
	const start = Date.now();
	const [late, timely] = [await open(t), await open(t)];
	assert.equal(late.welcome.role, null);
	for (const message of [{ type: 'subscribe', id: 'a', table: 'item' }, { type: 'tables' }, { type: 'unsubscribe', id: 'a' }]) assert.equal((await late.ask(message, 'error')).code, '28000');
	await late.ask({ type: 'ping' }, 'pong');
	await auth(timely, hs256({ role: 'team' }));
	await timely.subscribed({ id: 'a', table: 'private' });
	assert.equal(await refused(t, hs256({ sub: '7' })), 'the token names no role');
	assert.equal((await late.end()).code, 4001);
	assert.ok(Date.now() - start > 9_500);
	await timely.ask({ type: 'ping' }, 'pong');
	await set({ 'plank.anonymous_role': 'web' });
	await until(async () => (await open(t)).welcome.role === 'web', 'the anonymous role is back');
	await timely.ask({ type: 'ping' }, 'pong');
});

test('without a key file every token is refused, and what lived on one ends', async (t) => {
	const wire = await open(t, hs256({ role: 'team' }));
	await set({ 'plank.jwt_key_file': '' });
	assert.equal((await wire.end()).code, 4001);
	assert.equal(await refused(t, hs256({ role: 'team' })), 'this server accepts no tokens');
	await set({ 'plank.jwt_key_file': keyFile.path });
	await until(async () => (await open(t, hs256({ role: 'team' }))).welcome.role === 'team', 'the keys are back');
});

test('plank.sign makes tokens with the secret, for superusers', async (t) => {
	const sign = async (claims, ttl = '1 hour', user = 'postgres') => (await (await cluster.session({ user })).query('SELECT plank.sign($1, $2) AS token', [claims, ttl])).rows[0].token;
	const token = await sign({ role: 'team', sub: 'é"☃' });
	const [header, claims] = token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')));
	assert.deepEqual(header, { alg: 'HS256', typ: 'JWT' });
	assert.ok(Math.abs(claims.iat - now()) < 60);
	assert.deepEqual(claims, { role: 'team', sub: 'é"☃', iat: claims.iat, exp: claims.iat + 3600 });
	assert.equal(hs256(Buffer.from(token.split('.')[1], 'base64url').toString(), { header }), token);
	assert.equal((await open(t, token)).welcome.role, 'team');
	assert.equal((await open(t, await sign({}, '1 month'))).welcome.role, 'web');
	await assert.rejects(sign({}, '1 hour', 'stranger'), { code: '42501' });
	for (const [bad, ttl] of [['[]'], ['7'], ['{"exp": 1}'], ['{"iat": 1}'], ['{"n": 99999999999999999999999}'], ['{}', '-1 hour'], ['{}', '0'], ['{}', '9000 years']]) {
		await assert.rejects(sign(bad, ttl), { code: '22023' }, `${bad} ${ttl}`);
	}
	assert.equal(await sign(null), null);
	const pair = keyPair('ES256', 'public');
	keyFile.write(pair.jwk);
	await assert.rejects(sign({}), ({ code, hint, message }) => code === '55000' && /public keys only/.test(message) && /"kty": "oct"/.test(hint));
	keyFile.write({ keys: [pair.jwk, secretJwk(secret, 'mine')] });
	const named = await sign({ role: 'team' });
	assert.equal(JSON.parse(Buffer.from(named.split('.')[0], 'base64url')).kid, 'mine');
	await until(async () => (await open(t, named)).welcome.role === 'team', 'the named key is accepted');
	keyFile.write('short');
	await assert.rejects(sign({}), ({ code, hint }) => code === 'F0000' && /at least 32 bytes/.test(hint));
	keyFile.write(secret);
});

test('neither tokens nor keys nor claims are in the log', () => {
	const log = cluster.log();
	for (const trace of ['eyJ', secret, Buffer.from(secret).toString('base64url'), '"sub"', 'access_token']) assert.ok(!log.includes(trace), trace);
	assert.match(log, /tokens with the role "boss" are refused: it is a superuser/);
});
