// The seven uses that Plank is for, each from end to end with the client library that browsers load.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';
import { connect, Mirror } from '../../client/dist/plank.js';
import { Cluster, until } from './cluster.mjs';

const cluster = await Cluster.start({ 'plank.workers': 2 });

// A client of the library with the transactions it has got, and a promise for each number of them.
async function watching(t, tables, { database = 'app', channels = [] } = {}) {
	const plank = connect(cluster.url(database), { WebSocket });
	t.after(() => plank.close());
	const got = [];
	const watches = [...tables.map((name) => plank.table(name).subscribe()), ...channels.map((name) => plank.channel(name).subscribe())];
	plank.on('transaction', (transaction) => got.push(transaction));
	await Promise.all(watches.map((watch) => watch.ready));
	return {
		plank, got,
		async have(count) {
			await until(() => got.length >= count, `${count} transactions`);
			assert.equal(got.length, count);
			return got;
		},
	};
}

const brief = ({ changes }) => changes.map((change) => ({
	table: change.table ?? change.channel, op: change.op, ...(change.new ? { new: change.new } : {}), ...(change.payload !== undefined ? { payload: change.payload } : {}),
}));

test('1: two services that write one table are both seen by everybody, in one order', async (t) => {
	await cluster.sql(`CREATE TABLE item (id int PRIMARY KEY, owner text, n int NOT NULL); SELECT plank.track('item')`);
	await cluster.sql('GRANT ALL ON item TO keeper, stranger');
	const clients = await Promise.all([1, 2, 3].map(() => watching(t, ['item'])));
	const services = await Promise.all(['keeper', 'stranger'].map((user) => cluster.session({ user })));
	await Promise.all(services.map(async (service, i) => {
		for (let n = 0; n < 20; n += 1) {
			await service.query(`INSERT INTO item VALUES ($1, current_user, 0)`, [2 * n + i]);
			await service.query('UPDATE item SET n = n + 1 WHERE id = (SELECT min(id) FROM item)');
		}
	}));
	const { rows } = await cluster.query('SELECT * FROM item ORDER BY id');
	for (const client of clients) {
		await client.have(80);
		const mirror = new Mirror();
		mirror.subscribed({ key: ['id'], columns: [] });
		for (const { changes } of client.got) for (const change of changes) mirror.change(change);
		assert.deepEqual(mirror.rows().sort((a, b) => a.id - b.id), rows);
		assert.deepEqual(client.got.map(({ xid }) => xid), clients[0].got.map(({ xid }) => xid));
	}
});

test('2: an UPDATE typed into psql by hand arrives', async (t) => {
	await cluster.sql(`CREATE TABLE price (id int PRIMARY KEY, eur numeric(8,2)); INSERT INTO price VALUES (1, 9.50), (2, 3); SELECT plank.track('price')`);
	const client = await watching(t, ['price']);
	assert.equal(await cluster.psql('update price set eur = eur + 1 where id = 1;\n'), 'UPDATE 1\n');
	const [transaction] = await client.have(1);
	assert.equal(transaction.changes.length, 1);
	const { op, key, new: now, old } = transaction.changes[0];
	assert.deepEqual({ op, key, now, old }, { op: 'update', key: { id: 1 }, now: { id: 1, eur: 10.5 }, old: { id: 1, eur: 9.5 } });
	assert.match(transaction.xid, /^\d+$/);
	assert.ok(Math.abs(new Date(transaction.committedAt ?? transaction.committed_at) - Date.now()) < 60_000);
});

test('3: a transfer that fails in the middle sends nothing, one that succeeds is one message, and so is a cascade', async (t) => {
	await cluster.sql(`
		CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
		CREATE TABLE entry (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int NOT NULL REFERENCES account ON DELETE CASCADE, amount int NOT NULL);
		INSERT INTO account VALUES (1, 100), (2, 0);
		SELECT plank.track('account'), plank.track('entry')`);
	const client = await watching(t, ['account', 'entry']);
	const session = await cluster.session();
	const transfer = async (amount) => {
		await session.query('BEGIN');
		try {
			await session.query('UPDATE account SET balance = balance + $1 WHERE id = 2', [amount]);
			await session.query('INSERT INTO entry (account, amount) VALUES (2, $1), (1, $2)', [amount, -amount]);
			await session.query('UPDATE account SET balance = balance - $1 WHERE id = 1', [amount]);
			await session.query('COMMIT');
		} catch (error) {
			await session.query('ROLLBACK');
			throw error;
		}
	};
	await assert.rejects(transfer(101), { code: '23514' });
	await transfer(30);
	await session.query('DELETE FROM account WHERE id = 2');
	const [moved, deleted] = await client.have(2);
	assert.deepEqual(brief(moved), [
		{ table: 'public.account', op: 'update', new: { id: 2, balance: 30 } },
		{ table: 'public.entry', op: 'insert', new: { id: 3, account: 2, amount: 30 } },
		{ table: 'public.entry', op: 'insert', new: { id: 4, account: 1, amount: -30 } },
		{ table: 'public.account', op: 'update', new: { id: 1, balance: 70 } },
	]);
	assert.deepEqual(brief(deleted), [{ table: 'public.account', op: 'delete' }, { table: 'public.entry', op: 'delete' }]);
});

test('4: a background job that knows nothing of Plank is seen, batch by batch', async (t) => {
	await cluster.sql(`
		CREATE TABLE job (id int PRIMARY KEY, state text NOT NULL DEFAULT 'waiting');
		INSERT INTO job SELECT generate_series(1, 9);
		CREATE PROCEDURE work_off() LANGUAGE plpgsql AS $$
		BEGIN
			LOOP
				UPDATE job SET state = 'done' WHERE id IN (SELECT id FROM job WHERE state = 'waiting' ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED);
				EXIT WHEN NOT FOUND;
				COMMIT;
			END LOOP;
		END $$;
		GRANT ALL ON job TO keeper;
		SELECT plank.track('job')`);
	const client = await watching(t, ['job']);
	await cluster.psql('CALL work_off();', { user: 'keeper' });
	const batches = await client.have(3);
	assert.deepEqual(batches.map(({ changes }) => changes.map(({ new: row }) => `${row.id} ${row.state}`).sort()),
		[[1, 2, 3], [4, 5, 6], [7, 8, 9]].map((ids) => ids.map((id) => `${id} done`)));
});

test('5: a total that a trigger keeps arrives with the change that made it', async (t) => {
	await cluster.sql(`
		CREATE TABLE orders (id int PRIMARY KEY, total numeric NOT NULL DEFAULT 0);
		CREATE TABLE line (orders int REFERENCES orders, no int, price numeric, PRIMARY KEY (orders, no));
		CREATE FUNCTION keep_total() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			UPDATE orders SET total = (SELECT sum(price) FROM line WHERE orders = NEW.orders) WHERE id = NEW.orders;
			RETURN NULL;
		END $$;
		CREATE TRIGGER total AFTER INSERT OR UPDATE ON line FOR EACH ROW EXECUTE FUNCTION keep_total();
		INSERT INTO orders VALUES (1);
		SELECT plank.track('orders'), plank.track('line')`);
	const client = await watching(t, ['orders', 'line']);
	await cluster.sql('INSERT INTO line VALUES (1, 1, 2.50)');
	await cluster.sql('INSERT INTO line VALUES (1, 2, 4)');
	const [first, second] = await client.have(2);
	assert.deepEqual(brief(first), [
		{ table: 'public.line', op: 'insert', new: { orders: 1, no: 1, price: 2.5 } },
		{ table: 'public.orders', op: 'update', new: { id: 1, total: 2.5 } },
	]);
	assert.deepEqual(brief(second).at(-1), { table: 'public.orders', op: 'update', new: { id: 1, total: 6.5 } });
});

test('6: a service that LISTENs on the public channel gets the change that browsers get', async (t) => {
	await cluster.sql(`CREATE TABLE stock (sku text PRIMARY KEY, n int); SELECT plank.track('stock', notify => 'stock_changed')`);
	const client = await watching(t, ['stock']);
	const service = await cluster.session({ user: 'stranger' });
	await service.query('LISTEN stock_changed');
	const heard = [];
	service.on('notification', ({ payload }) => heard.push(JSON.parse(payload)));
	await cluster.sql(`INSERT INTO stock VALUES ('lamp', 4)`);
	await cluster.sql(`UPDATE stock SET n = 3`);
	await cluster.sql(`UPDATE stock SET sku = repeat('x', 9000)`);
	await until(() => heard.length >= 3, 'three notifications');
	const transactions = await client.have(3);
	const published = transactions.map(({ changes: [{ table, op, key, new: now, old }] }) => ({ table, op, key, new: now, ...(old ? { old } : {}) }));
	assert.deepEqual(heard.slice(0, 2), published.slice(0, 2));
	// What is too large for NOTIFY says so; this key is too large as well.
	assert.deepEqual(heard[2], { table: 'public.stock', op: 'update', key: null, truncated: true });
	// Two workers read the same transactions; only one of them speaks on the public channel.
	await cluster.sql(`INSERT INTO stock VALUES ('last', 1)`);
	await until(() => heard.length >= 4, 'the fourth notification');
	assert.equal(heard.length, 4);
	assert.deepEqual(heard[3].key, { sku: 'last' });
});

test('6: an existing NOTIFY application gets WebSocket delivery through plank.expose', async (t) => {
	await cluster.sql(`SELECT plank.expose('legacy')`);
	const client = await watching(t, [], { channels: ['legacy'] });
	const application = await cluster.session({ user: 'stranger' });
	await application.query(`NOTIFY legacy, 'as ever: "quoted" ü'`);
	const [{ xid, changes: [{ channel, op, payload }] }] = await client.have(1);
	assert.deepEqual({ xid, channel, op: op ?? 'message', payload },
		{ xid: null, channel: 'legacy', op: 'message', payload: 'as ever: "quoted" ü' });
});

test('7: clients on several workers and databases all get the same transactions', async (t) => {
	for (const database of ['app', 'other']) {
		await cluster.sql(`CREATE TABLE news (id int PRIMARY KEY, at text); SELECT plank.track('news')`, database);
	}
	// Connections are spread over a database's workers by the kernel: until both have some.
	const workers = async () => (await cluster.query(`SELECT worker FROM plank.clients WHERE database = 'app' GROUP BY worker`)).rowCount;
	const clients = [];
	do {
		clients.push(await watching(t, ['news']));
	} while (await workers() < 2 && clients.length < 60);
	assert.equal(await workers(), 2, 'both workers have clients');
	const others = await Promise.all([1, 2].map(() => watching(t, ['news'], { database: 'other' })));
	for (let id = 1; id <= 5; id += 1) {
		await cluster.sql(`INSERT INTO news VALUES (${id}, current_database())`);
		await cluster.sql(`INSERT INTO news VALUES (${id}, current_database())`, 'other');
	}
	for (const client of clients) {
		const got = await client.have(5);
		assert.deepEqual(got.map(brief), [1, 2, 3, 4, 5].map((id) => [{ table: 'public.news', op: 'insert', new: { id, at: 'app' } }]));
		assert.deepEqual(got.map(({ xid }) => xid), clients[0].got.map(({ xid }) => xid));
	}
	for (const client of others) {
		assert.deepEqual((await client.have(5)).map(brief), [1, 2, 3, 4, 5].map((id) => [{ table: 'public.news', op: 'insert', new: { id, at: 'other' } }]));
	}
});
