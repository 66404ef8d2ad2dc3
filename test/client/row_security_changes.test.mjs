// S11, protocol rule 10: GRANT, REVOKE, policies, row security and roles reach live subscriptions within a second: with a
// reset and the rows again, a new shape, or the end.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until, withinASecond } from './cluster.mjs';
import { changes, collect, rowsOf, start } from './guarded.mjs';

const all = await start(`
	CREATE ROLE member; CREATE ROLE lead; CREATE ROLE brief; CREATE ROLE boss;
	CREATE FUNCTION uid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::jsonb ->> 'sub' $$;
	CREATE TABLE note (id int PRIMARY KEY, owner text, word text)`);
const alice = { role: 'member', sub: 'alice' };

for (const guarded of all) {
	const { sql } = guarded;
	const named = (what, body) => test(`${guarded.transport}: ${what}`, body);
	// The table anew, with three rows, and one policy for all.
	const fresh = (more = '') => sql(`
		DROP TABLE note; CREATE TABLE note (id int PRIMARY KEY, owner text, word text);
		INSERT INTO note VALUES (1, 'alice', 'a'), (2, 'bob', 'b'), (3, NULL, 'c');
		GRANT SELECT ON note TO member, lead, brief; ALTER TABLE note ENABLE ROW LEVEL SECURITY;
		CREATE POLICY own ON note USING (owner = uid()); ${more};
		SELECT plank.track('note')`);
	const watch = async (t, claims, options = {}, ...never) => {
		const client = await guarded.as(t, claims, ...never);
		await client.subscribed({ id: 'a', table: 'note', snapshot: true, ...options });
		client.ids = (await rowsOf(client, 'a')).map(({ id }) => id).sort();
		return client;
	};
	// The reset and the rows that must come now; the shape may be told in between.
	const readAgain = async (client) => {
		const seen = await collect(client, ({ type }) => type === 'reset');
		assert.ok(seen.slice(0, -1).every(({ type }) => type === 'subscribed'), JSON.stringify(seen));
		assert.equal(seen.at(-1).id, 'a');
		const rows = [];
		await collect(client, (message) => {
			if (message.type === 'rows') rows.push(...message.rows);
			return message.type === 'rows' && !message.more;
		});
		return rows.map(({ id }) => id).sort();
	};
	const ended = async (client, code) => {
		const seen = await collect(client, ({ type }) => type === 'unsubscribed');
		assert.deepEqual([seen.at(-1).id, seen.at(-1).code], ['a', code], JSON.stringify(seen));
		return seen.at(-1);
	};

	named('what policies and row security show, changes: a reset and the rows, and then only those', async (t) => {
		await fresh();
		const client = await watch(t, alice);
		assert.deepEqual(client.ids, [1]);
		for (const [statement, ids] of [
			[`ALTER POLICY own ON note USING (owner = 'bob')`, [2]],
			[`CREATE POLICY more ON note USING (owner IS NULL)`, [2, 3]],
			[`ALTER POLICY more ON note TO lead`, [2]],
			[`GRANT lead TO member`, [2, 3]],
			[`REVOKE lead FROM member`, [2]],
			[`ALTER POLICY more ON note TO member`, [2, 3]],
			[`CREATE POLICY less ON note AS RESTRICTIVE USING (id <> 2)`, [3]],
			[`DROP POLICY less ON note`, [2, 3]],
			[`DROP POLICY own ON note`, [3]],
			[`DROP POLICY more ON note`, []],
			[`ALTER TABLE note DISABLE ROW LEVEL SECURITY`, [1, 2, 3]],
			[`ALTER TABLE note ENABLE ROW LEVEL SECURITY`, []],
			[`ALTER TABLE note OWNER TO member`, [1, 2, 3]],
			[`ALTER TABLE note FORCE ROW LEVEL SECURITY`, []],
			[`ALTER TABLE note NO FORCE ROW LEVEL SECURITY`, [1, 2, 3]],
		]) {
			await sql(statement);
			assert.deepEqual(await readAgain(client), ids, statement);
			await sql(`UPDATE note SET word = word || 'x'`);
			const told = await client.caughtUp();
			assert.deepEqual(told.flatMap(({ changes: made }) => made.map(({ op, key }) => `${op} ${key.id}`)).sort(), ids.map((id) => `update ${id}`), statement);
		}
		await sql('ALTER TABLE note OWNER TO postgres');
	});

	named('a policy, the role\'s attributes: within the second that the contract says', async (t) => {
		await fresh();
		const client = await guarded.as(t, alice);
		await client.subscribed({ id: 'a', table: 'note' });
		let shown = 'bob';
		await withinASecond(t, async () => {
			await sql(`ALTER POLICY own ON note USING (owner = '${shown}')`);
			shown += '!';
			const committed = Date.now();
			await client.next('reset');
			return Date.now() - committed;
		});
		await withinASecond(t, async () => {
			const member = await guarded.as(t, { role: 'brief' });
			await sql('ALTER ROLE brief BYPASSRLS');
			const committed = Date.now();
			assert.equal((await member.end()).code, 4001);
			await sql('ALTER ROLE brief NOBYPASSRLS');
			return Date.now() - committed;
		});
	});

	named('without snapshot there is a reset and no rows; what others may see disturbs nobody', async (t) => {
		await fresh('CREATE POLICY leads ON note TO lead USING (id < 3)');
		const [plain, lead] = [await guarded.as(t, alice), await guarded.as(t, { role: 'lead', sub: 'alice' })];
		await plain.subscribed({ id: 'a', table: 'note' });
		await lead.subscribed({ id: 'a', table: 'note' });
		await sql('ALTER POLICY leads ON note USING (true)');
		assert.equal((await lead.next('reset')).id, 'a');
		await lead.silent();
		await plain.silent();
		await sql(`GRANT INSERT ON note TO member; ALTER POLICY own ON note USING (owner = uid()); CREATE POLICY w ON note FOR INSERT WITH CHECK (true)`);
		await sql(`UPDATE note SET word = 'y'`);
		assert.deepEqual((await changes(plain)).map(([op, id]) => [op, id]), [['update', 1]]);
		await plain.silent();
	});

	named('a function that a policy calls is replaced', async (t) => {
		await fresh(`CREATE OR REPLACE FUNCTION chosen() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'alice' $$; ALTER POLICY own ON note USING (owner = chosen())`);
		const client = await watch(t, alice, {}, '"bob"', '"b"');
		assert.deepEqual(client.ids, [1]);
		client.onFrame = null;
		await sql(`CREATE OR REPLACE FUNCTION chosen() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'bob' $$`);
		await until(async () => {
			await sql(`UPDATE note SET word = word WHERE id < 3`);
			const told = (await client.caughtUp()).filter(({ type }) => type === 'transaction').flatMap(({ changes: made }) => made.map(({ key }) => key.id));
			return told.length > 0 && told.every((id) => id === 2);
		}, 'the new function to decide');
	});

	named('REVOKE of the table ends the subscription as a missing table\'s; GRANT lets it be subscribed to again', async (t) => {
		await fresh();
		const [client, lead] = [await watch(t, alice), await watch(t, { role: 'lead', sub: 'alice' })];
		await sql('REVOKE SELECT ON note FROM member');
		const { message } = await ended(client, '42P01');
		const answer = await client.ask({ type: 'subscribe', id: 'b', table: 'note' }, 'error');
		assert.deepEqual([answer.code, answer.message], ['42P01', message]);
		await sql(`UPDATE note SET word = 'x'`);
		await client.silent();
		assert.equal((await lead.transaction()).changes.length, 1);
		await sql('GRANT SELECT ON note TO member');
		await until(async () => {
			client.send({ type: 'subscribe', id: 'c', table: 'note' });
			return (await client.next()).type === 'subscribed';
		}, 'the GRANT to be seen');
		await sql('REVOKE USAGE ON SCHEMA public FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM PUBLIC');
		assert.equal((await collect(client, ({ type }) => type === 'unsubscribed')).at(-1).code, '42P01');
		await sql('GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC');
	});

	named('REVOKE and GRANT of columns: a new shape and the rows, and nothing of the hidden column any more', async (t) => {
		await fresh(`UPDATE note SET word = 'hidden-word'`);
		const client = await watch(t, alice);
		const named_column = await watch(t, alice, { columns: ['word'] });
		const judged = await watch(t, alice, { where: `word <> 'x'`, columns: ['owner'] });
		await sql('REVOKE SELECT ON note FROM member; GRANT SELECT (id, owner) ON note TO member');
		assert.equal((await ended(named_column, '42703')).id, 'a');
		assert.equal((await ended(judged, '42703')).id, 'a');
		const leaks = [];
		let shape = null;
		const told = await collect(client, (message) => {
			if (message.type === 'subscribed') shape = message.columns.map(({ name }) => name);
			if (shape && JSON.stringify(message).includes('hidden-word')) leaks.push(message);
			return message.type === 'rows' && !message.more;
		});
		assert.deepEqual([shape, leaks], [['id', 'owner'], []], JSON.stringify(told));
		assert.ok(told.some(({ type }) => type === 'reset'));
		await sql(`UPDATE note SET word = 'hidden-word too'; UPDATE note SET owner = 'alice' WHERE id = 2`);
		const seen = await client.caughtUp();
		assert.ok(!JSON.stringify(seen).includes('hidden-word'), JSON.stringify(seen));
		assert.ok(seen.at(-1).changes.some(({ new: now }) => JSON.stringify(now) === '{"id":2,"owner":"alice"}'), JSON.stringify(seen));
		await sql('GRANT SELECT ON note TO member');
		const again = await collect(client, (message) => message.type === 'rows' && !message.more);
		assert.deepEqual(again.filter(({ type }) => type === 'subscribed').at(-1).columns.map(({ name }) => name), ['id', 'owner', 'word']);
		assert.deepEqual(again.at(-1).rows.map(({ word }) => word), ['hidden-word too', 'hidden-word too']);
	});

	named('the key is hidden: it cannot be served, and ends when it was', async (t) => {
		await fresh();
		const client = await watch(t, alice);
		await sql('REVOKE SELECT ON note FROM member; GRANT SELECT (owner, word) ON note TO member');
		await ended(client, '0A000');
		assert.equal((await client.ask({ type: 'subscribe', id: 'b', table: 'note' }, 'error')).code, '0A000');
		await sql('REVOKE SELECT (owner, word) ON note FROM member');
		await until(async () => (await client.ask({ type: 'subscribe', id: 'b', table: 'note' }, 'error')).code === '42P01', 'the table to be hidden');
	});

	named('a policy that cannot be served ends its subscriptions, and none is begun', async (t) => {
		await fresh(`CREATE POLICY leads ON note TO lead USING (true)`);
		const client = await watch(t, alice);
		const lead = await watch(t, { role: 'lead' });
		for (const unfit of [`session_user = 'postgres'`, `xmin IS NOT NULL`, `tableoid = 'note'::regclass`, `EXISTS (SELECT WHERE session_user <> note.owner)`]) {
			await sql(`ALTER POLICY own ON note TO member USING (${unfit})`);
			await until(async () => {
				client.send({ type: 'subscribe', id: 'b', table: 'note' });
				const answer = (await collect(client, ({ id }) => id === 'b')).at(-1);
				if (answer.type === 'subscribed') {
					client.send({ type: 'unsubscribe', id: 'b' });
					await collect(client, ({ type, id }) => type === 'unsubscribed' && id === 'b');
				}
				return answer.code === '0A000';
			}, `${unfit} to be refused`);
			await sql(`ALTER POLICY own ON note TO member USING (owner = uid())`);
		}
		await sql(`SELECT plank.track('note', columns => '{word}')`);
		assert.equal((await (await guarded.as(t, alice)).ask({ type: 'subscribe', id: 'b', table: 'note' }, 'error')).code, '0A000');
		lead.close();
		const other = await guarded.as(t, { role: 'lead' });
		await sql(`ALTER POLICY own ON note TO member USING (word = 'a')`);
		await until(async () => {
			const answer = await (await guarded.as(t, alice)).ask({ type: 'subscribe', id: 'b', table: 'note', snapshot: true });
			return answer.type === 'subscribed';
		}, 'a policy on captured columns to be served');
		await other.subscribed({ id: 'a', table: 'note' });
	});

	named('a live subscription ends with 0A000 when its policy becomes unfit', async (t) => {
		await fresh();
		const client = await watch(t, alice);
		await sql(`ALTER POLICY own ON note USING (session_user = owner)`);
		await ended(client, '0A000');
		await client.silent();
	});

	named('roles that are dropped, or made to bypass row security, take their clients with them', async (t) => {
		await fresh(`CREATE POLICY briefs ON note TO brief USING (true)`);
		for (const [role, statement, undo] of [['brief', 'ALTER ROLE brief BYPASSRLS', 'ALTER ROLE brief NOBYPASSRLS'], ['brief', 'ALTER ROLE brief SUPERUSER', 'ALTER ROLE brief NOSUPERUSER'],
			['brief', 'DROP OWNED BY brief; DROP ROLE brief', 'CREATE ROLE brief']]) {
			const [client, other] = [await watch(t, { role }), await watch(t, alice)];
			await sql(statement);
			assert.equal((await client.end()).code, 4001, statement);
			await sql(`UPDATE note SET word = word || '!'`);
			await collect(other, ({ type }) => type === 'transaction');
			await sql(undo);
			if (undo === 'CREATE ROLE brief') assert.equal((await guarded.as(t, { role: 'brief' })).welcome.role, 'brief');
		}
		// The same name, but another role: it has nothing of what the former one had.
		const client = await guarded.as(t, { role: 'brief' });
		assert.equal((await client.ask({ type: 'subscribe', id: 'a', table: 'note' }, 'error')).code, '42P01');
		for (const role of ['postgres', 'pg_read_all_data']) await assert.rejects(watch(t, { role }), role);
	});

	named('DROP TABLE and TRUNCATE of a table with row security', async (t) => {
		await fresh();
		const client = await watch(t, alice);
		await sql('TRUNCATE note');
		assert.deepEqual((await changes(client)).map(([op]) => op), ['truncate']);
		await sql('DROP TABLE note');
		await ended(client, '42P01');
		await sql('CREATE TABLE note (id int)');
	});
}
