// The rows that exist already, and then what happens to them, without a gap and without anything twice.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, until } from './cluster.mjs';
import { Model } from './model.mjs';

const clusters = {};
for (const transport of ['notify', 'wal']) {
	clusters[transport] = await Cluster.start({ 'plank.transport': transport, wal_keep_size: '256MB', 'plank.max_snapshots': 2, 'plank.send_buffer': '1MB' });
	await clusters[transport].sql(`
		CREATE TABLE item (id int PRIMARY KEY, owner int, v int, t text);
		CREATE TABLE empty (id int PRIMARY KEY);
		CREATE TABLE bag (a int, b text);
		SELECT plank.track('item'), plank.track('empty'), plank.track('bag')`);
}
for (const [transport, cluster] of Object.entries(clusters)) {
	const named = (what, body) => test(`${transport}: ${what}`, body);
	const rows = async (client, id) => {
		const all = [];
		for (;;) {
			const message = await client.next('rows');
			assert.equal(message.id, id);
			all.push(...message.rows);
			if (!message.more) return { rows: all, position: message.position };
			assert.equal(message.position, undefined);
		}
	};

	named('a condition that nothing could interrupt is refused before it runs, here and over rows', async (t) => {
		await cluster.sql(`CREATE TABLE long (id int PRIMARY KEY, t text); SELECT plank.track('long'); INSERT INTO long VALUES (1, 'a')`);
		const client = await cluster.client(t);
		for (const search of ["strpos(%, 'b' || repeat(t, 100000)) = 1", "% LIKE '%%' || repeat(t, 100000) || 'b'", "lpad(t, 2000000 * id) = %"]) {
			const where = search.replace('%', 'repeat(t, 200000 * id)').replaceAll('%%', '%');
			await client.subscribed({ id: 'a', table: 'long', where, snapshot: true });
			assert.equal((await client.next('unsubscribed')).code, '53400');
		}
		await client.subscribed({ id: 'b', table: 'long', where: "t LIKE '%a' AND strpos(t, 'a') = 1", snapshot: true });
		assert.deepEqual((await rows(client, 'b')).rows, [{ id: 1, t: 'a' }]);
	});

	named('subscribed, the rows, then what commits', async (t) => {
		await cluster.sql(`INSERT INTO item SELECT i, i % 3, i, 'x' FROM generate_series(1, 10) i`);
		const client = await cluster.client(t);
		await client.subscribed({ id: 'e', table: 'empty', snapshot: true });
		assert.deepEqual((await rows(client, 'e')).rows, []);
		await client.subscribed({ id: 'a', table: 'item', snapshot: true, where: 'owner = 1', columns: ['v'] });
		const first = await rows(client, 'a');
		assert.deepEqual(first.rows.sort((a, b) => a.id - b.id), [1, 4, 7, 10].map((id) => ({ id, v: id })));
		await client.silent();
		await cluster.sql('UPDATE item SET owner = 1 WHERE id = 2');
		assert.deepEqual((await client.transaction()).changes.map(({ op, key }) => [op, key.id]), [['insert', 2]]);
		await cluster.sql('DELETE FROM item');
		assert.equal((await client.transaction()).changes.length, 5);
	});

	named('a table without a key, of which no column is asked for', async (t) => {
		await cluster.sql(`INSERT INTO bag VALUES (1, 'x'), (2, 'y')`);
		const client = await cluster.client(t);
		await client.subscribed({ id: 'a', table: 'bag', snapshot: true, columns: [] });
		assert.deepEqual((await rows(client, 'a')).rows, [{}, {}]);
		await cluster.sql('DELETE FROM bag WHERE a = 1');
		assert.deepEqual((await client.changes()), [{ op: 'delete', key: null, old: {} }]);
	});

	named('many rows come in parts while other subscriptions go on; nothing is missing and nothing twice under load', async (t) => {
		await cluster.sql(`INSERT INTO item SELECT i, i % 7, 0, repeat('x', 100) FROM generate_series(1, 20000) i`);
		let writing = true;
		let commits = 0;
		const writers = [1, 2, 3].map(async (n) => {
			const session = await cluster.session();
			for (; writing; commits += 1) {
				const id = 1 + Math.floor(Math.random() * 25_000);
				await session.query(['BEGIN; INSERT INTO item VALUES ($1, 1, 0) ON CONFLICT (id) DO UPDATE SET v = item.v + 1; UPDATE item SET owner = (owner + 1) % 7 WHERE id = $1 + 1; COMMIT',
					'DELETE FROM item WHERE id = $1', 'UPDATE item SET v = v + 1, owner = (owner + $2) % 7 WHERE id BETWEEN $1 AND $1 + 5'][commits % 3].replaceAll('$1', id).replaceAll('$2', n))
					.catch(({ code }) => {
						assert.equal(code, '40P01');
						return session.query('ROLLBACK');
					});
			}
		});
		const models = [];
		for (let i = 0; i < 4; i += 1) {
			const client = await cluster.client(t);
			const where = [undefined, 'owner = 3', 'v % 2 = 0 AND id < 20000', undefined][i];
			const model = new Model('a');
			model.where = where;
			const take = (message) => {
				if (message.type === 'rows' && message.id === 'a') {
					for (const row of message.rows) {
						assert.ok(!model.rows.has(model.keyText(row)), 'a row twice');
						model.put(row);
					}
					if (!message.more) model.read = true;
				} else {
					model.take(message);
				}
			};
			client.onMessage = take;
			client.send({ type: 'subscribe', id: 'a', table: 'item', snapshot: true, ...(where && { where }) });
			models.push([client, model]);
		}
		await until(() => models.every(([, { read }]) => read), 'all rows to come');
		const then = commits;
		await until(() => commits > then + 100, 'some more commits');
		writing = false;
		await Promise.all(writers);
		const expected = async ({ where = 'true' }) => (await cluster.query(`SELECT id, owner, v, t FROM item WHERE ${where}`)).rows;
		for (const [, model] of models) {
			const want = new Map((await expected(model)).map((row) => [model.keyText(row), row]));
			await until(() => {
				try {
					assert.deepEqual(model.rows, want);
					return true;
				} catch {
					return false;
				}
			}, 'the mirror to equal its SELECT').catch(() => assert.deepEqual(model.rows, want, model.where));
		}
		await cluster.sql('TRUNCATE item');
	});

	named('the position behind the rows resumes without a gap, wherever the connection broke', async (t) => {
		await cluster.sql(`INSERT INTO item SELECT i, 0, 0 FROM generate_series(1, 100) i`);
		const client = await cluster.client(t);
		await client.subscribed({ id: 'a', table: 'item', snapshot: true });
		const { position } = await rows(client, 'a');
		client.close();
		await cluster.sql('UPDATE item SET v = 1 WHERE id = 5');
		const again = await cluster.client(t);
		assert.equal((await again.subscribed({ id: 'b', table: 'item', snapshot: true, since: position })).resumed, true);
		assert.deepEqual((await again.transaction()).changes.map(({ op, key }) => [op, key.id]), [['update', 5]]);
		await again.silent();
		await cluster.sql('TRUNCATE item');
	});

	named('after a reset the rows come again unasked, and after a resume that failed', async (t) => {
		await cluster.sql(`INSERT INTO item VALUES (1, 1, 1)`);
		const client = await cluster.client(t);
		await client.subscribed({ id: 'a', table: 'item', snapshot: true });
		assert.equal((await rows(client, 'a')).rows.length, 1);
		await cluster.sql(`ALTER TABLE item ALTER COLUMN v TYPE bigint`);
		for (;;) {
			const message = await client.next();
			if (message.type === 'reset') break;
			assert.equal(message.type, 'subscribed');
		}
		for (;;) {
			const message = await client.next();
			if (message.type === 'subscribed') continue;
			assert.deepEqual([message.type, message.rows, message.more], ['rows', [{ id: 1, owner: 1, v: 1, t: null }], false]);
			break;
		}
		await cluster.sql('UPDATE item SET v = 2');
		// The new shape may be told once more, where the log has it.
		for (;;) {
			const message = await client.next();
			if (message.type === 'subscribed') continue;
			assert.equal(message.changes[0].new.v, 2);
			break;
		}
		const late = await cluster.client(t);
		const lost = transport === 'notify' ? '0-1' : (await client.subscribed({ id: 'x', table: 'empty' })).position.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'));
		late.send({ type: 'subscribe', id: 'b', table: 'item', snapshot: true, since: lost });
		const answer = await late.next();
		if (answer.type === 'subscribed') {
			assert.equal(answer.resumed, false);
			assert.equal((await late.next('reset')).id, 'b');
			assert.equal((await rows(late, 'b')).rows.length, 1);
		} else {
			assert.equal(answer.code, '22023');
		}
		await cluster.sql('TRUNCATE item');
	});

	named('a client that reads slowly gets all rows; one that goes or unsubscribes frees its reader', async (t) => {
		await cluster.sql(`INSERT INTO item SELECT i, 0, 0, repeat('y', 500) FROM generate_series(1, 40000) i`);
		const slow = await cluster.client(t, { marker: false });
		await slow.subscribed({ id: 'a', table: 'item', snapshot: true });
		slow.socket.pause();
		const gone = await cluster.client(t, { marker: false });
		await gone.subscribed({ id: 'a', table: 'item', snapshot: true });
		gone.close();
		const other = await cluster.client(t);
		await other.subscribed({ id: 'a', table: 'empty', snapshot: true });
		assert.deepEqual((await rows(other, 'a')).rows, []);
		other.send({ type: 'subscribe', id: 'b', table: 'item', snapshot: true });
		await other.next('subscribed');
		other.send({ type: 'unsubscribe', id: 'b' });
		for (;;) if ((await other.next()).type === 'unsubscribed') break;
		await other.silent();
		slow.socket.resume();
		assert.equal((await rows(slow, 'a')).rows.length, 40_000);
		await until(async () => (await cluster.query(`SELECT count(*)::int AS n FROM pg_stat_activity WHERE backend_type = 'plank snapshot' AND backend_xmin IS NOT NULL`)).rows[0].n === 0, 'no snapshot to be held');
		await cluster.sql('TRUNCATE item');
	});
}
