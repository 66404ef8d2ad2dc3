// Row security (S6, S9, S10, protocol rule 4): what a client is told of each change is what PostgreSQL would show to its
// role and claims before and after it, and its copy always is what it could SELECT.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brief, changes, collect, rowsOf, start } from './guarded.mjs';

const all = await start(`
	CREATE ROLE member; CREATE ROLE lead; CREATE ROLE proprietor; GRANT CREATE ON SCHEMA public TO proprietor;
	CREATE SCHEMA auth; GRANT USAGE ON SCHEMA auth TO PUBLIC;
	CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::jsonb $$;
	CREATE FUNCTION auth.uid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::jsonb ->> 'sub' $$;
	ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO member, lead;
	CREATE TABLE note (id int PRIMARY KEY, owner text, v int, word text);
	ALTER TABLE note ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON note USING (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
	SELECT plank.track('note')`);
const alice = { role: 'member', sub: 'alice' };
const bob = { role: 'member', sub: 'bob' };

// A table of its own for a test; `policies` are what stands behind CREATE POLICY … ON it.
async function table({ sql }, name, columns, ...policies) {
	await sql(`
		CREATE TABLE ${name} (${columns});
		ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY;
		${policies.map((policy, i) => `CREATE POLICY p${i} ON ${name} ${policy};`).join('\n')}
		SELECT plank.track('${name}')`);
}
const subscribed = async (guarded, t, claims, options, ...never) => {
	const client = await guarded.as(t, claims, ...never);
	await client.subscribed({ id: 'a', ...options });
	return client;
};

for (const guarded of all) {
	const { sql } = guarded;
	const named = (what, body) => test(`${guarded.transport}: ${what}`, body);

	named('a policy on claims: rows enter, leave and stay out of sight, and a delete is judged on the old row', async (t) => {
		const [a, b] = [await subscribed(guarded, t, alice, { table: 'note' }, 'bobs', 'nobodys'), await subscribed(guarded, t, bob, { table: 'note' }, 'alices', 'nobodys')];
		await sql(`INSERT INTO note VALUES (1, 'alice', 1, 'alices'), (2, 'bob', 2, 'bobs'), (3, NULL, 3, 'nobodys'), (4, 'Alice', 4, 'nobodys')`);
		assert.deepEqual(await changes(a), [['insert', 1, { id: 1, owner: 'alice', v: 1, word: 'alices' }]]);
		assert.deepEqual(await changes(b), [['insert', 2, { id: 2, owner: 'bob', v: 2, word: 'bobs' }]]);
		await sql(`UPDATE note SET v = 10 WHERE id = 1`);
		assert.deepEqual(await changes(a), [['update', 1, { id: 1, owner: 'alice', v: 10, word: 'alices' }, { id: 1, v: 1 }]]);
		await b.silent();
		await sql(`UPDATE note SET owner = 'bob', word = 'bobs' WHERE id = 1`);
		assert.deepEqual(await changes(a), [['delete!', 1, { id: 1, owner: 'alice', v: 10, word: 'alices' }]]);
		assert.deepEqual(await changes(b), [['insert!', 1, { id: 1, owner: 'bob', v: 10, word: 'bobs' }]]);
		await sql(`UPDATE note SET v = v + 1 WHERE id > 2; UPDATE note SET owner = 'carol' WHERE id = 3; DELETE FROM note WHERE id = 3`);
		await a.silent();
		await b.silent();
		await sql('DELETE FROM note WHERE id = 1');
		assert.deepEqual(await changes(b), [['delete', 1, { id: 1, owner: 'bob', v: 10, word: 'bobs' }]]);
		await a.silent();
		await sql('DELETE FROM note');
		assert.deepEqual(await changes(b), [['delete', 2, { id: 2, owner: 'bob', v: 2, word: 'bobs' }]]);
		await a.silent();
	});

	named('one transaction shows each client its own part, in order, and nothing of the way between', async (t) => {
		const a = await subscribed(guarded, t, alice, { table: 'note' }, 'bobs');
		await sql(`BEGIN; INSERT INTO note VALUES (1, 'bob', 1, 'bobs'); UPDATE note SET owner = 'alice', word = 'x'; UPDATE note SET id = 5; UPDATE note SET owner = 'bob', word = 'bobs'; DELETE FROM note; COMMIT`);
		assert.deepEqual(await changes(a), [
			['insert!', 1, { id: 1, owner: 'alice', v: 1, word: 'x' }],
			['update', 5, { id: 5, owner: 'alice', v: 1, word: 'x' }, { id: 1 }],
			['delete!', 5, { id: 5, owner: 'alice', v: 1, word: 'x' }],
		]);
		await a.silent();
	});

	named('events and conditions are judged behind the policy; a table without a key is a bag', async (t) => {
		await table(guarded, 'bag', 'owner text, v int', 'USING (owner = auth.uid())');
		const a = await guarded.as(t, alice, '666');
		for (const [id, rest] of [['i', { events: ['insert'] }], ['d', { events: ['delete'], columns: ['v'] }], ['w', { where: 'v > 1' }]]) await a.subscribed({ id, table: 'bag', ...rest });
		await sql(`INSERT INTO bag VALUES ('alice', 1), ('bob', 666)`);
		assert.deepEqual((await a.transaction()).changes.map(({ ids, ...rest }) => [ids, ...brief(rest)]), [[['i'], 'insert', null, { owner: 'alice', v: 1 }]]);
		await sql(`UPDATE bag SET v = v + 1`);
		assert.deepEqual((await a.transaction()).changes.map(({ ids, ...rest }) => [ids, ...brief(rest)]), [[['w'], 'insert!', null, { owner: 'alice', v: 2 }]]);
		await sql(`UPDATE bag SET owner = 'bob', v = 666`);
		const gone = (await a.transaction()).changes.map(({ ids, ...rest }) => [ids, ...brief(rest)]);
		assert.deepEqual(gone.sort(), [[['d'], 'delete!', null, { v: 2 }], [['w'], 'delete!', null, { owner: 'alice', v: 2 }]]);
		await a.silent();
	});

	named('permissive, restrictive and TO: as many roles as many views, each what its SELECT gives', async (t) => {
		await table(guarded, 'mixed', 'id int PRIMARY KEY, owner text, level int, open bool',
			'TO member USING (owner = auth.uid())', 'TO member USING (open)', 'TO lead USING (true)', 'AS RESTRICTIVE USING (level < 5)',
			'AS RESTRICTIVE TO lead USING (level <> 3)', 'FOR UPDATE TO web USING (true)', 'FOR DELETE TO web USING (true)', 'FOR INSERT TO web WITH CHECK (true)');
		await sql(`INSERT INTO mixed SELECT i, (ARRAY['alice', 'bob'])[i % 3], i % 7, i % 4 = 0 FROM generate_series(1, 40) i`);
		const mirrors = [];
		for (const claims of [alice, bob, { role: 'lead', sub: 'alice' }, { role: 'web' }]) mirrors.push(await guarded.mirror(t, claims, { table: 'mixed' }));
		for (const mirror of mirrors) await mirror.equals('SELECT * FROM mixed');
		assert.deepEqual(mirrors.map(({ rows }) => rows.size > 0), [true, true, true, false]);
		for (const change of [`SET level = (level + 3) % 7`, `SET open = NOT open`, `SET owner = CASE owner WHEN 'alice' THEN 'bob' ELSE 'alice' END`, `SET id = id + 100 WHERE id % 2 = 0`]) {
			await sql(`UPDATE mixed ${change}`);
			for (const mirror of mirrors) await mirror.equals('SELECT * FROM mixed');
		}
		await sql('DELETE FROM mixed WHERE id % 3 = 0');
		for (const mirror of mirrors) await mirror.equals('SELECT * FROM mixed');
		assert.deepEqual(mirrors.map(({ resets }) => resets), [0, 0, 0, 0]);
	});

	named('without a policy there is no row; who sees every row is told of every change', async (t) => {
		await table(guarded, 'shut', 'id int PRIMARY KEY', 'TO lead USING (true)');
		const [a, lead] = [await subscribed(guarded, t, alice, { table: 'shut', snapshot: true }), await subscribed(guarded, t, { role: 'lead' }, { table: 'shut', snapshot: true })];
		assert.deepEqual([await rowsOf(a, 'a'), await rowsOf(lead, 'a')], [[], []]);
		await sql('INSERT INTO shut VALUES (1)');
		assert.deepEqual(await changes(lead), [['insert', 1, { id: 1 }]]);
		await a.silent();
	});

	named('the owner, and whoever has its privileges, see everything; with FORCE what policies show', async (t) => {
		await table(guarded, 'owned', 'id int PRIMARY KEY, owner text', 'USING (owner = auth.uid())');
		await sql(`ALTER TABLE owned OWNER TO proprietor; INSERT INTO owned VALUES (1, 'alice'), (2, 'bob'); CREATE ROLE heir; GRANT proprietor TO heir`);
		const mirrors = [];
		for (const role of ['proprietor', 'heir', 'member']) mirrors.push(await guarded.mirror(t, { role, sub: 'alice' }, { table: 'owned' }));
		assert.deepEqual(mirrors.map(({ rows }) => rows.size), [2, 2, 1]);
		await sql(`UPDATE owned SET id = id + 10`);
		for (const mirror of mirrors) await mirror.equals('SELECT * FROM owned');
		await sql('ALTER TABLE owned FORCE ROW LEVEL SECURITY');
		for (const mirror of mirrors) await mirror.equals('SELECT * FROM owned');
		assert.deepEqual(mirrors.map(({ rows, resets }) => [rows.size, resets > 0]), [[1, true], [1, true], [1, false]]);
		await sql(`INSERT INTO owned VALUES (3, 'alice'), (4, 'bob'); UPDATE owned SET owner = 'alice' WHERE id = 12`);
		for (const mirror of mirrors) await mirror.equals('SELECT * FROM owned');
		assert.deepEqual(mirrors.map(({ rows }) => rows.size), [3, 3, 3]);
	});

	named('policies with functions, arrays of claims, and (SELECT auth.uid())', async (t) => {
		await sql(`
			CREATE FUNCTION may_see(owner text) RETURNS bool LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
				BEGIN RETURN owner = auth.uid() OR owner = (auth.jwt() -> 'app' ->> 'also'); END $$;
			CREATE FUNCTION is_lead() RETURNS bool LANGUAGE sql STABLE AS $$ SELECT pg_has_role(current_user, 'lead', 'member') $$`);
		const claims = [alice, bob, { role: 'member', sub: 'carol', app: { also: 'alice' } }, { role: 'member', teams: [1, 2] }, { role: 'lead' }, { role: 'member' }];
		for (const [name, policy] of Object.entries({
			fun_a: 'may_see(owner)', fun_b: 'owner = (SELECT auth.uid())', fun_c: `team = ANY (ARRAY(SELECT jsonb_array_elements_text(auth.jwt() -> 'teams'))::int[])`,
			fun_d: `(SELECT is_lead()) OR owner = auth.uid()`, fun_e: `auth.jwt() -> 'teams' @> to_jsonb(team)`, fun_f: `lower(owner) = auth.uid() AND current_user = 'member'`,
			fun_g: `(owner, team) IN (SELECT auth.uid(), 1)`, fun_h: `CASE WHEN auth.jwt() ->> 'role' = current_role::text THEN owner IS NOT NULL ELSE false END`,
		})) {
			await table(guarded, name, 'id int PRIMARY KEY, owner text, team int', `USING (${policy})`);
			await sql(`INSERT INTO ${name} SELECT i, (ARRAY['alice', 'bob', 'carol'])[i % 4], i % 3 FROM generate_series(1, 12) i`);
			const mirrors = [];
			for (const who of claims) mirrors.push(await guarded.mirror(t, who, { table: name }));
			await sql(`UPDATE ${name} SET team = (team + 1) % 3 WHERE id < 9; UPDATE ${name} SET owner = 'alice' WHERE id = 2; UPDATE ${name} SET owner = NULL WHERE id = 1; DELETE FROM ${name} WHERE id > 10`);
			for (const mirror of mirrors) {
				await mirror.equals(`SELECT * FROM ${name}`);
				assert.deepEqual([mirror.resets, mirror.ended], [0, null], policy);
				mirror.client.close();
			}
		}
	});

	named('a membership table decides when the row changes, by its members then', async (t) => {
		await sql(`CREATE TABLE team_member (team int, name text); ALTER TABLE team_member ENABLE ROW LEVEL SECURITY;
			CREATE POLICY self ON team_member USING (name = auth.uid()); INSERT INTO team_member VALUES (1, 'alice'), (2, 'bob')`);
		await table(guarded, 'task', 'id int PRIMARY KEY, team int, word text', 'USING (EXISTS (SELECT FROM team_member m WHERE m.team = task.team))');
		const [a, b] = [await guarded.mirror(t, alice, { table: 'task' }, 'secret'), await guarded.mirror(t, bob, { table: 'task' })];
		await sql(`INSERT INTO task VALUES (1, 1, 'x'), (2, 2, 'secret'), (3, 3, 'third')`);
		await a.equals('SELECT * FROM task');
		await b.equals('SELECT * FROM task');
		assert.deepEqual([a.rows.size, b.rows.size], [1, 1]);
		await sql(`UPDATE task SET team = 2, word = 'secret' WHERE id = 1; UPDATE task SET team = 1, word = 'y' WHERE id = 2; UPDATE task SET word = 'still third' WHERE id = 3`);
		await a.equals('SELECT * FROM task');
		await b.equals('SELECT * FROM task');
		// What is granted shows with the next change of the row, and what is taken away.
		await sql(`INSERT INTO team_member VALUES (3, 'alice')`);
		await sql(`UPDATE task SET word = 'z' WHERE id = 3`);
		await a.equals('SELECT * FROM task');
		assert.equal(a.rows.size, 2);
		await sql(`DELETE FROM team_member WHERE team = 3`);
		await sql(`UPDATE task SET word = 'secret' WHERE id = 3`);
		await sql(`INSERT INTO task VALUES (4, 1, 'last')`);
		await b.equals('SELECT * FROM task');
		assert.deepEqual([a.resets, b.resets, a.ended, b.ended], [0, 0, null, null]);
	});

	named('a partitioned table: the root decides, for rows that move too', async (t) => {
		await table(guarded, 'part', 'id int, half text, owner text, PRIMARY KEY (id, half)) PARTITION BY LIST (half', 'USING (owner = auth.uid())');
		await sql(`CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a'); CREATE TABLE part_b (owner text, half text NOT NULL, id int NOT NULL);
			ALTER TABLE part ATTACH PARTITION part_b FOR VALUES IN ('b'); ALTER TABLE part_b ENABLE ROW LEVEL SECURITY`);
		const a = await guarded.mirror(t, alice, { table: 'part' }, 'bob');
		await sql(`INSERT INTO part VALUES (1, 'a', 'alice'), (2, 'b', 'bob'), (3, 'b', 'alice')`);
		await a.equals('SELECT * FROM part');
		await sql(`UPDATE part SET half = 'b' WHERE id = 1; UPDATE part SET half = 'a', owner = 'bob' WHERE id = 3; UPDATE part_b SET owner = 'alice' WHERE id = 2`);
		await a.equals('SELECT * FROM part');
		await sql(`UPDATE part SET owner = 'alice'; DELETE FROM part_b`);
		await a.equals('SELECT * FROM part');
	});

	named('the same role with other claims, the same claims in another role, nobody in particular', async (t) => {
		await table(guarded, 'either', 'id int PRIMARY KEY, owner text', 'TO member USING (owner = auth.uid())', `TO lead USING (owner <> auth.uid())`,
			`TO web USING (owner = 'public' AND auth.jwt() ->> 'role' = 'web')`);
		const who = [alice, bob, { role: 'lead', sub: 'alice' }, { role: 'lead', sub: 'bob' }, null];
		const clients = [];
		for (const claims of who) clients.push(await subscribed(guarded, t, claims, { table: 'either' }));
		await sql(`INSERT INTO either VALUES (1, 'alice'), (2, 'bob'), (3, 'public')`);
		const seen = [];
		for (const client of clients) seen.push((await client.transaction()).changes.map(({ key }) => key.id));
		assert.deepEqual(seen, [[1], [2], [2, 3], [1, 3], [3]]);
		const rows = [];
		for (const claims of who) {
			const client = await subscribed(guarded, t, claims, { table: 'either', snapshot: true });
			rows.push((await rowsOf(client, 'a')).map(({ id }) => id).sort());
		}
		assert.deepEqual(rows, seen);
	});

	named('rows and then what changes, under load, come to what the role can SELECT', async (t) => {
		await table(guarded, 'busy', 'id int PRIMARY KEY, owner text, team int, v int DEFAULT 0',
			'TO member USING (owner = auth.uid())', 'TO member USING (team = 1)', `AS RESTRICTIVE USING (v % 5 <> 3)`, 'TO lead USING (true)');
		await sql(`INSERT INTO busy SELECT i, (ARRAY['alice', 'bob', 'carol'])[1 + i % 3], i % 4 FROM generate_series(1, 3000) i`);
		let writing = true;
		let commits = 0;
		const writers = [1, 2].map(async (n) => {
			const session = await guarded.cluster.session();
			for (; writing; commits += 1) {
				const id = 1 + Math.floor(Math.random() * 3500);
				await session.query([
					`UPDATE busy SET v = v + 1 WHERE id BETWEEN ${id} AND ${id + 9}`, `DELETE FROM busy WHERE id = ${id}`,
					`INSERT INTO busy VALUES (${id}, 'alice', ${n}) ON CONFLICT (id) DO UPDATE SET owner = 'bob', team = 3`,
					`BEGIN; UPDATE busy SET owner = 'carol' WHERE id = ${id}; UPDATE busy SET owner = 'alice', team = (team + 1) % 4 WHERE id BETWEEN ${id} AND ${id + 3}; COMMIT`,
				][commits % 4]).catch(({ code }) => {
					assert.equal(code, '40P01');
					return session.query('ROLLBACK');
				});
			}
		});
		const mirrors = [];
		for (const [claims, where] of [[alice], [bob, 'v > 2'], [{ role: 'lead' }], [alice, 'team = 1']]) {
			const mirror = await guarded.mirror(t, claims, { table: 'busy', ...(where && { where }) });
			mirror.query = `SELECT * FROM busy WHERE ${where ?? 'true'}`;
			mirrors.push(mirror);
		}
		const then = commits;
		while (commits < then + 200) await new Promise((resolve) => setTimeout(resolve, 20));
		writing = false;
		await Promise.all(writers);
		for (const mirror of mirrors) await mirror.equals(mirror.query);
		assert.deepEqual(mirrors.map(({ ended }) => ended), [null, null, null, null]);
	});

	named('a resume tells each client of what its identity may see, and of nothing else', async (t) => {
		await sql('TRUNCATE note');
		const a = await subscribed(guarded, t, alice, { table: 'note' });
		await sql(`INSERT INTO note VALUES (1, 'alice', 1, 'alices'), (2, 'bob', 2, 'bobs')`);
		const { position } = await a.transaction();
		a.close();
		await sql(`UPDATE note SET owner = 'alice', word = 'x' WHERE id = 2; INSERT INTO note VALUES (3, 'bob', 3, 'bobs')`);
		await sql(`UPDATE note SET owner = 'bob', word = 'bobs' WHERE id = 1`);
		const again = await guarded.as(t, alice, 'bobs');
		assert.equal((await again.subscribed({ id: 'b', table: 'note', since: position })).resumed, true);
		assert.deepEqual(await changes(again), [['insert!', 2, { id: 2, owner: 'alice', v: 2, word: 'x' }]]);
		assert.deepEqual(await changes(again), [['delete!', 1, { id: 1, owner: 'alice', v: 1, word: 'alices' }]]);
		await again.silent();
		// The rows that another identity held are not this one's: it begins anew.
		const b = await guarded.as(t, bob);
		assert.equal((await b.subscribed({ id: 'b', table: 'note', since: position })).resumed, false);
		assert.equal((await b.next('reset')).id, 'b');
		await b.silent();
		await sql('DELETE FROM note');
	});

	named('auth with other claims ends what was subscribed; what is subscribed then is the new identity\'s', async (t) => {
		const { hs256 } = await import('./jwt.mjs');
		await sql(`DELETE FROM note; INSERT INTO note VALUES (1, 'alice', 1, 'a'), (2, 'bob', 2, 'b')`);
		const client = await subscribed(guarded, t, alice, { table: 'note', snapshot: true });
		assert.deepEqual((await rowsOf(client, 'a')).map(({ id }) => id), [1]);
		client.send({ type: 'auth', token: hs256(bob) });
		const seen = await collect(client, ({ type }) => type === 'authenticated');
		assert.deepEqual(seen.filter(({ id }) => id === 'a').map(({ type, code }) => [type, code]), [['unsubscribed', '28000']]);
		await sql(`UPDATE note SET v = v + 1 WHERE owner = 'alice'`);
		await client.subscribed({ id: 'marker', channel: 'marker' });
		await client.silent();
		await client.subscribed({ id: 'a', table: 'note', snapshot: true });
		assert.deepEqual((await rowsOf(client, 'a')).map(({ id }) => id), [2]);
		await sql(`UPDATE note SET v = v + 1`);
		assert.deepEqual((await changes(client)).map(([op, id]) => [op, id]), [['update', 2]]);
	});
}
