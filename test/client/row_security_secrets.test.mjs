// What must not get out (S5, S7, S9, S10, S12): filters are no oracles, a policy that fails or hangs ends one subscription in
// general words, nothing of one identity is left for another, and what is hidden is answered as what is missing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './cluster.mjs';
import { changes, collect, rowsOf, start } from './guarded.mjs';

const all = await start(`
	CREATE ROLE member; CREATE ROLE lead;
	ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO member, lead;
	CREATE FUNCTION uid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::jsonb ->> 'sub' $$`,
{ 'plank.max_snapshots': 1, 'plank.snapshot_timeout': '2s', 'plank.policy_timeout': '250ms' });
const alice = { role: 'member', sub: 'alice' };
const bob = { role: 'member', sub: 'bob' };

for (const guarded of all) {
	const { sql } = guarded;
	const named = (what, body) => test(`${guarded.transport}: ${what}`, body);
	const table = (name, columns, policy, more = '') => sql(`
		CREATE TABLE ${name} (${columns}); ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY;
		CREATE POLICY p ON ${name} ${policy}; ${more};
		SELECT plank.track('${name}')`);
	const ended = async (client, id = 'a') => (await collect(client, (message) => message.type === 'unsubscribed' && message.id === id)).at(-1);

	named('a filter meets no hidden row: neither by an error, nor by its end, live and in rows', async (t) => {
		for (const [name, policy] of [['oracle', 'USING (owner = uid())'], ['oracle_sub', 'USING (EXISTS (SELECT WHERE owner = uid()))']]) {
			await table(name, 'id int PRIMARY KEY, owner text, v int', policy, `INSERT INTO ${name} VALUES (1, 'alice', 5), (2, 'bob', 0)`);
			const [a, b] = [await guarded.as(t, alice), await guarded.as(t, bob)];
			await a.subscribed({ id: 'a', table: name, where: '10 / v > 0', snapshot: true });
			assert.deepEqual(await rowsOf(a, 'a'), [{ id: 1, owner: 'alice', v: 5 }]);
			await b.subscribed({ id: 'a', table: name, where: '10 / v > 0' });
			await b.subscribed({ id: 'other', table: name });
			await sql(`INSERT INTO ${name} VALUES (3, 'carol', 0); UPDATE ${name} SET v = 0 WHERE id = 3; DELETE FROM ${name} WHERE id = 3`);
			await sql(`INSERT INTO ${name} VALUES (4, 'bob', 0)`);
			await a.silent();
			assert.equal((await ended(b)).code, '22012');
			await sql(`UPDATE ${name} SET v = 1 WHERE id = 1; UPDATE ${name} SET owner = 'bob', v = 0 WHERE id = 1`);
			assert.deepEqual(await changes(a), [['update', 1, { id: 1, owner: 'alice', v: 1 }, { id: 1, v: 5 }], ['delete!', 1, { id: 1, owner: 'alice', v: 1 }]]);
			await sql(`UPDATE ${name} SET v = v`);
			await a.silent();
			// The client's own rows make its own error.
			await sql(`INSERT INTO ${name} VALUES (5, 'alice', 0)`);
			assert.equal((await ended(a)).code, '22012');
		}
	});

	named('a value that its type no longer has is told to nobody: who cannot be judged on it is told reset', async (t) => {
		await sql(`CREATE TYPE mood AS ENUM ('fine', 'sesame')`);
		await table('moody', 'id int PRIMARY KEY, owner text, mood mood', 'USING (owner = uid())');
		const a = await guarded.as(t, alice);
		const { position } = await a.subscribed({ id: 'before', table: 'moody' });
		await sql(`INSERT INTO moody VALUES (1, 'bob', 'sesame')`);
		await sql(`ALTER TYPE mood RENAME VALUE 'sesame' TO 'gone'`);
		const late = await guarded.as(t, alice, 'sesame');
		for (const [id, where] of ["mood = 'fine'", "mood < 'gone'"].entries()) {
			await late.subscribed({ id: where, table: 'moody', where, since: position });
			const seen = [...await collect(late, (message) => message.type === 'reset'), ...await late.caughtUp()];
			assert.ok(!seen.some(({ type }) => type === 'unsubscribed'), JSON.stringify(seen));
			await sql(`INSERT INTO moody VALUES (${10 + id}, 'alice', 'fine')`);
			assert.deepEqual((await changes(late)).at(-1), ['insert', 10 + id, { id: 10 + id, owner: 'alice', mood: 'fine' }]);
		}
	});

	named('a policy that fails ends its role\'s subscriptions on the table in general words, and no other', async (t) => {
		await table('failing', 'id int PRIMARY KEY, word text', `TO member USING (word::int > 0)`, `CREATE POLICY leads ON failing TO lead USING (true)`);
		await table('sound', 'id int PRIMARY KEY', 'USING (true)');
		const a = await guarded.as(t, alice, 'sesame');
		const lead = await guarded.as(t, { role: 'lead' });
		await a.subscribed({ id: 'a', table: 'failing' });
		await a.subscribed({ id: 'w', table: 'failing', where: 'id > 0' });
		await a.subscribed({ id: 's', table: 'sound' });
		await lead.subscribed({ id: 'a', table: 'failing' });
		await sql(`INSERT INTO failing VALUES (1, '5')`);
		assert.ok((await changes(a)).every(([op, id]) => op === 'insert' && id === 1));
		assert.equal((await changes(lead)).length, 1);
		await sql(`INSERT INTO failing VALUES (2, 'sesame'); INSERT INTO sound VALUES (1)`);
		const seen = [];
		await until(async () => {
			seen.push(...await a.caughtUp());
			return seen.filter(({ type }) => type === 'unsubscribed').length === 2;
		}, 'both to end');
		for (const { code, message } of seen.filter(({ type }) => type === 'unsubscribed')) assert.deepEqual([code, /row security/.test(message)], ['22P02', true], message);
		assert.deepEqual(seen.filter(({ type }) => type === 'transaction').flatMap(({ changes: made }) => made.map(({ ids }) => ids.join())), ['s']);
		assert.equal((await changes(lead)).length, 1);
		// The reason is where the operator looks, and so are those of the reading of rows.
		await until(() => guarded.cluster.log().includes('sesame'), 'the log to have the reason');
		const late = await guarded.as(t, alice, 'sesame');
		await late.subscribed({ id: 'a', table: 'failing', snapshot: true });
		const answer = await ended(late);
		assert.deepEqual([answer.code, /row security/.test(answer.message)], ['22P02', true], answer.message);
		await sql('DELETE FROM sound');
		assert.deepEqual((await changes(a)).map(([op]) => op), ['delete']);
	});

	named('a policy that sleeps is stopped, and others go on; rows too, and the next in line gets its own', async (t) => {
		await table('sleepy', 'id int PRIMARY KEY', 'TO member USING (true)', `
			CREATE FUNCTION wait_for(id int) RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN IF id = 2 THEN PERFORM pg_sleep(3600); END IF; RETURN true; END $$;
			CREATE POLICY leads ON sleepy TO lead USING (true); ALTER POLICY p ON sleepy USING (wait_for(id))`);
		const [a, lead] = [await guarded.as(t, alice), await guarded.as(t, { role: 'lead' })];
		await a.subscribed({ id: 'a', table: 'sleepy' });
		await lead.subscribed({ id: 'a', table: 'sleepy' });
		await sql('INSERT INTO sleepy VALUES (1), (2), (3)');
		const { code, message } = await ended(a);
		assert.deepEqual([code, /row security|polic/.test(message)], ['53400', true], message);
		assert.equal((await changes(lead)).length, 3);
		const late = await guarded.as(t, alice);
		await late.subscribed({ id: 'a', table: 'sleepy', snapshot: true });
		await lead.subscribed({ id: 'b', table: 'sleepy', snapshot: true });
		assert.equal((await ended(late)).code, '53400');
		assert.equal((await rowsOf(lead, 'b')).length, 3);
		// A function that catches every cancel is ended with its process.
		await sql(`CREATE OR REPLACE FUNCTION wait_for(id int) RETURNS bool LANGUAGE plpgsql STABLE AS $$
			BEGIN LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$`);
		await late.subscribed({ id: 'b', table: 'sleepy', snapshot: true });
		await lead.subscribed({ id: 'c', table: 'sleepy', snapshot: true });
		await ended(late, 'b');
		assert.equal((await rowsOf(lead, 'c')).length, 3);
	});

	named('a function of one identity\'s policy leaves nothing for another\'s, and cannot become anybody else', async (t) => {
		await sql(`
			CREATE FUNCTION soils(owner text) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$
			BEGIN
				BEGIN PERFORM set_config('role', 'none', false); EXCEPTION WHEN OTHERS THEN NULL; END;
				BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN OTHERS THEN NULL; END;
				BEGIN EXECUTE 'SET transaction_read_only = off'; EXCEPTION WHEN OTHERS THEN NULL; END;
				BEGIN INSERT INTO public.diary VALUES (owner); EXCEPTION WHEN OTHERS THEN NULL; END;
				BEGIN EXECUTE 'CREATE TEMP TABLE notes AS SELECT 1'; EXCEPTION WHEN OTHERS THEN NULL; END;
				PERFORM set_config('request.jwt.claims', '{"sub":"bob"}', false), set_config('row_security', 'off', false), set_config('soiled.by', public.uid(), false),
					set_config('search_path', 'soiled', false), pg_advisory_lock(99), pg_notify('told', 'soiled');
				PERFORM plank.send('told', '"soiled"');
				RETURN true;
			END $$;
			CREATE TABLE diary (v text); GRANT ALL ON diary TO member, lead; SELECT plank.expose('told')`);
		await table('soiled', 'id int PRIMARY KEY, owner text', 'USING (soils(owner))');
		await table('clean', 'id int PRIMARY KEY, owner text, who text', `USING (owner = uid())`, `CREATE POLICY mark ON clean USING (who = current_user || coalesce(current_setting('soiled.by', true), ''))`);
		const a = await guarded.as(t, alice, '"soiled"');
		await a.subscribed({ id: 't', channel: 'told' });
		await a.subscribed({ id: 's', table: 'soiled', snapshot: true });
		await rowsOf(a, 's');
		const others = [];
		for (const claims of [alice, { role: 'lead', sub: 'carol' }, null]) {
			const client = await guarded.as(t, claims, 'bobs');
			await client.subscribed({ id: 'c', table: 'clean', snapshot: true });
			assert.deepEqual(await rowsOf(client, 'c'), []);
			others.push(client);
		}
		await sql(`INSERT INTO soiled VALUES (1, 'x')`);
		assert.equal((await changes(a)).length, 1);
		await sql(`INSERT INTO clean VALUES (1, 'bob', 'bobs'), (2, 'alice', ''), (3, 'carol', ''), (4, NULL, 'member'), (5, NULL, 'lead'), (6, NULL, 'web'), (7, NULL, 'postgres')`);
		const seen = [];
		for (const client of others) seen.push((await client.transaction()).changes.map(({ key }) => key.id));
		assert.deepEqual(seen, [[2, 4], [3, 5], [6]]);
		await a.subscribed({ id: 's2', table: 'soiled', snapshot: true });
		await rowsOf(a, 's2');
		for (const [i, client] of others.entries()) {
			await client.subscribed({ id: 'd', table: 'clean', snapshot: true });
			assert.deepEqual((await rowsOf(client, 'd')).map(({ id }) => id).sort(), seen[i]);
		}
		await a.silent();
		const { rows } = await guarded.cluster.query(`SELECT (SELECT count(*)::int FROM diary) AS written, (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory') AS locks,
			(SELECT count(*)::int FROM pg_stat_activity WHERE backend_type LIKE 'plank%' AND backend_xmin IS NOT NULL) AS xmins`);
		assert.deepEqual(rows, [{ written: 0, locks: 0, xmins: 0 }]);
	});

	named('inside functions the session is nobody but the client', async (t) => {
		await table('session', 'id int PRIMARY KEY, who text', 'USING (false)', `
			CREATE FUNCTION whoami() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN session_user || '/' || current_user; END $$;
			ALTER POLICY p ON session USING (who = whoami())`);
		const client = await guarded.as(t, alice, 'postgres/');
		const rows = `(1, 'postgres/member'), (2, 'member/member')`;
		await sql(`INSERT INTO session VALUES ${rows}`);
		await client.subscribed({ id: 'a', table: 'session', snapshot: true });
		assert.deepEqual((await rowsOf(client, 'a')).map(({ id }) => id), [2]);
		await sql(`UPDATE session SET id = id + 10`);
		assert.deepEqual((await changes(client)).map(([op, id]) => [op, id]), [['update', 12]]);
	});

	named('tables: hidden in any way, or missing, is the same answer byte for byte, and not in the list', async (t) => {
		await sql(`
			CREATE SCHEMA closed; CREATE TABLE closed.hidden (id int PRIMARY KEY); GRANT SELECT ON closed.hidden TO member; SELECT plank.track('closed.hidden');
			CREATE TABLE revoked (id int PRIMARY KEY); REVOKE ALL ON revoked FROM member; SELECT plank.track('revoked');
			CREATE TABLE policed (id int PRIMARY KEY); REVOKE ALL ON policed FROM member; ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
			CREATE POLICY bad ON policed USING (session_user = 'x'); SELECT plank.track('policed');
			CREATE TABLE ignored (id int PRIMARY KEY)`);
		const client = await guarded.as(t, alice);
		const answers = new Set();
		for (const name of ['missing', 'revoked', 'policed', 'ignored', 'closed.hidden', 'closed.missing', 'nowhere.missing', 'pg_authid', 'pg_catalog.pg_authid']) {
			for (const options of [{}, { where: 'id = 1' }, { where: 'nothing = 1' }, { columns: ['id'] }, { columns: ['nothing'] }, { snapshot: true }]) {
				answers.add(JSON.stringify(await client.ask({ type: 'subscribe', id: 'x', table: name, ...options }, 'error')));
			}
		}
		assert.equal(answers.size, 1, [...answers].join('\n'));
		const { tables } = await client.ask({ type: 'tables' }, 'tables');
		for (const name of ['hidden', 'revoked', 'policed', 'ignored']) assert.ok(!JSON.stringify(tables).includes(name), name);
	});

	named('columns: hidden or missing is the same answer but for the name, wherever it stands', async (t) => {
		await sql(`CREATE TABLE columned (id int PRIMARY KEY, shown text, secret text, number int); REVOKE ALL ON columned FROM member;
			GRANT SELECT (id, shown) ON columned TO member; SELECT plank.track('columned')`);
		const client = await guarded.as(t, alice, 'topsecret', '"secret"');
		const shape = await client.subscribed({ id: 'a', table: 'columned' });
		assert.deepEqual(shape.columns.map(({ name }) => name), ['id', 'shown']);
		const { tables } = await client.ask({ type: 'tables' }, 'tables');
		assert.deepEqual(tables.find(({ table: name }) => name === 'public.columned').columns.map(({ name }) => name), ['id', 'shown']);
		const ask = async (options, name) => JSON.stringify(await client.ask({ type: 'subscribe', id: 'x', table: 'columned', ...options(name) }, 'error')).replaceAll(name, 'name');
		client.onFrame = null;
		for (const options of [(c) => ({ columns: [c] }), (c) => ({ columns: ['id', c] }), (c) => ({ where: `${c} = 'x'` }), (c) => ({ where: `${c} + 1 > ${c}` }), (c) => ({ where: `sum(${c}) > 1` }),
			(c) => ({ where: `columned.${c} IS NULL` }), (c) => ({ where: `${c}` }), (c) => ({ where: `id = 1 OR ${c} LIKE 'a%'` }), (c) => ({ where: `nofunction(${c})` }), (c) => ({ where: `"${c}"::int = 'x'` }),
			(c) => ({ where: `public.columned.${c} = 1` }), (c) => ({ where: `${c}.${c} = 1` }), (c) => ({ where: `(columned).${c} = '1'` })]) {
			const hidden = await ask(options, 'secret');
			assert.equal(hidden, await ask(options, 'absent'), JSON.stringify(options('secret')));
			assert.equal(JSON.parse(hidden).type, 'error');
		}
		for (const where of ['columned IS NULL', 'columned::text = $$x$$', '(columned).* IS NULL', 'to_jsonb(columned) IS NULL']) assert.equal((await client.ask({ type: 'subscribe', id: 'x', table: 'columned', where }, 'error')).type, 'error');
		client.onFrame = (data) => assert.ok(!data.includes('topsecret') && !data.includes('"secret"'), data.toString());
		await sql(`INSERT INTO columned VALUES (1, 'x', 'topsecret', 1)`);
		assert.deepEqual(await changes(client), [['insert', 1, { id: 1, shown: 'x' }]]);
		await sql(`UPDATE columned SET secret = 'topsecret too', number = 2`);
		for (const { changes: made } of await client.caughtUp()) for (const { new: now, old } of made) assert.deepEqual([now, old], [{ id: 1, shown: 'x' }, { id: 1 }]);
		await sql(`UPDATE columned SET shown = 'y', secret = 'topsecret'; DELETE FROM columned`);
		assert.deepEqual(await changes(client), [['update', 1, { id: 1, shown: 'y' }, { id: 1, shown: 'x' }], ['delete', 1, { id: 1, shown: 'y' }]]);
		await client.subscribed({ id: 'r', table: 'columned', snapshot: true });
		assert.deepEqual(await rowsOf(client, 'r'), []);
	});

	named('transactions of which a client may see nothing make no message, and few make no difference', async (t) => {
		await table('quiet', 'id int PRIMARY KEY, owner text, word text', 'USING (owner = uid())');
		const client = await guarded.as(t, alice, 'unseen');
		await client.subscribed({ id: 'a', table: 'quiet' });
		await sql(`INSERT INTO quiet SELECT i, 'bob', 'unseen' FROM generate_series(1, 1000) i`);
		await sql(`INSERT INTO quiet SELECT i, CASE i WHEN 1500 THEN 'alice' ELSE 'bob' END, CASE i WHEN 1500 THEN 'x' ELSE 'unseen' END FROM generate_series(1001, 2000) i`);
		assert.deepEqual(await changes(client), [['insert', 1500, { id: 1500, owner: 'alice', word: 'x' }]]);
		await sql('UPDATE quiet SET word = word; DELETE FROM quiet WHERE id <> 1500');
		assert.deepEqual((await changes(client)).map(([op, id]) => [op, id]), [['update', 1500]]);
		await client.silent();
	});
}
