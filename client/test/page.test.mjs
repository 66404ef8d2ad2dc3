// The live page in a real browser, served as the server serves it: with its policy.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, open } from './browser.mjs';
import { shop, startServer } from './fake-server.mjs';
import { insert, transaction } from './helpers.mjs';
import { rowsOfShop, Shop } from './shop.mjs';

let browser;
before(async () => {
	browser = await launch();
});
after(() => browser.stop());

async function shown(t, { before: first, ...options } = {}, hash = '') {
	const server = await startServer({ tables: shop, ...options });
	const page = await open(browser.context, `${server.url}/${hash}`, first);
	t.after(async () => {
		await page.close();
		await server.stop();
	});
	return { server, page };
}

const subscribedTables = (server) => [...(server.client?.subscriptions ?? [])]
	.filter(([id]) => !server.client.snapshots.has(id)).map(([, table]) => table).sort();
// page.url() is what the browser has last told, which may be before the script's last change.
const address = (page, end) => page.waitForFunction((text) => location.href.endsWith(text), end);
const all = shop.map(({ table }) => table);
const idOf = (server, name) => [...server.client.subscriptions].find(([, table]) => table === name)[0];

test('up to five tables are picked at first, and transactions appear newest first', async (t) => {
	const { server, page } = await shown(t);
	await server.until(() => subscribedTables(server).length === 4);
	assert.deepEqual(subscribedTables(server), all);
	await page.getByRole('heading', { name: 'Waiting for the next commit' }).waitFor();
	assert.equal(await page.locator('#state').textContent(), 'live');
	assert.match(await page.locator('#who').textContent(), /role web/);
	const [orders, items] = [idOf(server, 'public.orders'), idOf(server, 'public.items')];
	server.send(transaction('41', [
		{ ids: [items], table: 'public.items', op: 'update', key: { id: '7' }, old: { id: '7', stock: 4 }, new: { id: '7', name: 'Lamp', stock: 3 } },
		{ ids: [orders], table: 'public.orders', op: 'insert', key: { id: '9' }, new: { id: '9', status: 'open', note: null } },
	]), transaction('42', [{ ids: [orders], table: 'public.orders', op: 'delete', key: { id: '8' }, old: { id: '8', status: 'old' } }]));
	const cards = page.locator('article.card');
	await cards.nth(1).waitFor();
	assert.match(await cards.nth(0).textContent(), /transaction 42.*1 change.*delete.*orders.*id=8/);
	const second = await cards.nth(1).textContent();
	assert.match(second, /transaction 41.*2 changes.*update.*items.*id=7.*stock.*4.*→.*3.*insert.*orders.*id=9.*status.*open.*note.*null/);
	// Of an update only what changed; the rest when it is opened.
	assert.doesNotMatch(second, /Lamp/);
	await cards.nth(1).locator('summary').first().focus();
	await page.keyboard.press('Enter');
	await page.locator('.whole', { hasText: 'Lamp' }).waitFor();
	assert.equal(await page.locator('#pause').textContent(), 'Resume');
	assert.equal(await page.locator('#empty').isVisible(), false);
	await page.waitForFunction(() => document.getElementById('changes-total').textContent === '3');
	assert.deepEqual(page.problems, []);
});

test('the pick is remembered in the address, and a link repeats it', async (t) => {
	const { server, page } = await shown(t, {}, '#tables=public.items,sales.daily');
	await server.until(() => subscribedTables(server).length === 2);
	assert.deepEqual(subscribedTables(server), ['public.items', 'sales.daily']);
	await page.getByRole('checkbox', { name: 'orders' }).check();
	await page.getByRole('checkbox', { name: 'items' }).uncheck();
	await server.until(() => subscribedTables(server).join() === 'public.orders,sales.daily');
	await address(page, '#tables=public.orders,sales.daily');
	await page.getByRole('button', { name: 'none', exact: true }).click();
	await page.getByRole('heading', { name: 'Pick a table' }).waitFor();
	await server.until(() => subscribedTables(server).length === 0);
	const client = server.client;
	await page.reload();
	await server.until(() => server.client && server.client !== client);
	await page.getByRole('heading', { name: 'Pick a table' }).waitFor();
	await page.getByRole('button', { name: 'all', exact: true }).click();
	await server.until(() => subscribedTables(server).length === 4);
	assert.deepEqual(page.problems, []);
});

test('more than five tables: nothing is picked until somebody does', async (t) => {
	const tables = Array.from({ length: 6 }, (_, i) => ({ table: `public.t${i}`, key: ['id'], columns: [] }));
	const { server, page } = await shown(t, { tables });
	await page.getByRole('heading', { name: 'Pick a table' }).waitFor();
	assert.equal(server.received.filter(({ type }) => type === 'subscribe').length, 0);
});

test('without tables the page says how to track one, and finds it', async (t) => {
	const { server, page } = await shown(t, { tables: [], role: 'My role' });
	await page.getByText("SELECT plank.track('items');").waitFor();
	await page.getByText('GRANT SELECT ON items TO "My role";').waitFor();
	server.options.tables = shop.slice(1, 2);
	await server.until(() => subscribedTables(server).length === 1);
	await page.getByRole('heading', { name: 'Waiting for the next commit' }).waitFor();
});

test('without a role the page says which setting gives one, and goes on by itself', async (t) => {
	const { server, page } = await shown(t, { role: null });
	await page.getByText("ALTER SYSTEM SET plank.anonymous_role = 'web';").waitFor();
	assert.equal(await page.locator('#state').textContent(), 'no role');
	server.options.role = 'web';
	server.client.close(4001);
	await server.until(() => subscribedTables(server).length === 4);
	await page.getByRole('heading', { name: 'Waiting for the next commit' }).waitFor();
	assert.equal(await page.locator('.notice').count(), 0);
});

test('errors of the server are shown with their hint, beside the table', async (t) => {
	const { page } = await shown(t, {
		onMessage: ({ type, id, table }) => (type === 'subscribe' && table === 'public.orders'
			? { type: 'error', id, code: '0A000', message: 'table has row security', detail: 'Some detail.', hint: 'Disable it.' } : undefined),
	});
	const notice = page.locator('.notice');
	await notice.waitFor();
	assert.match(await notice.textContent(), /0A000.*public\.orders: table has row security.*Some detail\..*Disable it\./);
	assert.match(await page.locator('.problem:visible').textContent(), /row security/);
	await page.getByRole('button', { name: 'Dismiss' }).click();
	assert.equal(await notice.count(), 0);
});

test('a lost connection is shown, tried again, and leaves a reset in the feed', async (t) => {
	// Without the jitter: the page says once a second why there is no connection, and an attempt that comes before that is
	// the reason that it says.
	const { server, page } = await shown(t, { before: () => { Math.random = () => 0.999; } });
	await server.until(() => subscribedTables(server).length === 4);
	server.options.refuse = () => 503;
	server.client.close(1001);
	await page.locator('#state[data-state="reconnecting"]').waitFor();
	const retry = page.getByRole('button', { name: 'Try again now' });
	await retry.waitFor();
	server.options.refuse = null;
	await server.until(() => subscribedTables(server).length === 4);
	await page.locator('#state[data-state="open"]').waitFor();
	await page.locator('.card.reset', { hasText: 'items' }).waitFor();
	// With something in the feed, the reason stands above it.
	server.options.refuse = () => 503;
	await page.evaluate(() => {
		window.reasons = [];
		const note = () => window.reasons.push(document.getElementById('lost').textContent);
		new MutationObserver(note).observe(document.getElementById('lost'), { childList: true, characterData: true, subtree: true });
	});
	server.client.close(4008);
	await page.waitForFunction(() => window.reasons.some((text) => text.includes('too slow')));
});

test('hostile strings are inert', async (t) => {
	const evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';
	const table = `public."${evil}"`;
	const { server, page } = await shown(t, { tables: [{ table, key: [evil], columns: [{ name: evil, type: evil }] }], role: evil });
	await server.until(() => subscribedTables(server).length === 1);
	const row = { [evil]: evil, other: { nested: evil }, __proto__: null };
	const change = (op, parts) => ({ ids: ['s1'], table, op, cause: evil, ...parts });
	server.send(transaction(evil, [
		change('insert', { key: { [evil]: evil }, new: row }),
		change('update', { key: { [evil]: evil }, new: row, old: { [evil]: evil, other: 1 } }),
		change(evil, { key: null, new: row }),
	]), { type: 'reset', id: 's1', reason: evil }, { type: 'error', id: 's1', code: evil, message: evil, detail: evil, hint: evil });
	await page.locator('.card.reset').waitFor();
	await page.locator('summary.line').first().click();
	await page.locator('.whole').waitFor();
	assert.equal(await page.evaluate(() => document.querySelectorAll('img, main script, aside script').length), 0);
	assert.equal(await page.evaluate(() => window.hacked), undefined);
	assert.match(await page.locator('article').last().textContent(), /<img src=x onerror/);
	assert.deepEqual(page.problems, []);
});

test('the policy stops scripts that are not the page\'s own', async (t) => {
	const { page } = await shown(t);
	const told = page.waitForEvent('console', (message) => message.text().includes('Content Security Policy'));
	await page.evaluate(() => {
		const script = document.createElement('script');
		script.textContent = 'window.hacked = 1';
		document.body.append(script);
	});
	await told;
	assert.equal(await page.evaluate(() => window.hacked), undefined);
});

test('pause holds the feed, and resuming shows what waited', async (t) => {
	const { server, page } = await shown(t, { tables: shop.slice(1, 2) });
	await server.until(() => subscribedTables(server).length === 1);
	server.send(transaction('1', [insert(['s1'], { id: 1 })]));
	await page.locator('article').waitFor();
	await page.getByRole('button', { name: 'Pause' }).click();
	for (let xid = 2; xid <= 11; xid += 1) server.send(transaction(String(xid), [insert(['s1'], { id: xid })]));
	await page.getByRole('button', { name: '10 new transactions' }).waitFor();
	assert.equal(await page.locator('article').count(), 1);
	await page.getByRole('button', { name: 'Resume' }).click();
	await page.locator('article').nth(10).waitFor();
	assert.match(await page.locator('article').first().textContent(), /transaction 11/);
	// One who has scrolled down reads in peace as well.
	for (let xid = 12; xid <= 80; xid += 1) server.send(transaction(String(xid), [insert(['s1'], { id: xid })]));
	await page.getByRole('article', { name: 'transaction 80,' }).waitFor();
	await page.evaluate(() => scrollTo(0, 1500));
	await page.waitForFunction(() => scrollY > 1000);
	await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
	server.send(transaction('81', [insert(['s1'], { id: 81 })]));
	await page.getByRole('button', { name: '1 new transaction' }).click();
	await page.getByRole('article', { name: 'transaction 81,' }).waitFor();
	assert.equal(await page.evaluate(() => scrollY), 0);
	await page.getByRole('button', { name: 'Clear' }).click();
	assert.equal(await page.locator('article').count(), 0);
	await page.getByRole('heading', { name: 'Waiting for the next commit' }).waitFor();
});

test('a huge transaction is shown in part', async (t) => {
	const { server, page } = await shown(t, { tables: shop.slice(1, 2) });
	await server.until(() => subscribedTables(server).length === 1);
	const changes = (from) => Array.from({ length: 10_000 }, (_, i) => insert(['s1'], { id: from + i, text: 'x'.repeat(500) }));
	server.send(transaction('1', changes(0), { more: true }), transaction('1', changes(10_000)));
	const article = page.locator('article');
	await article.waitFor();
	assert.equal(await article.locator('li').count(), 51);
	assert.match(await article.textContent(), /20,000 changes.*\+19,950 more changes/);
});

test('1,000 changes a second for five seconds: frames go on, elements stay bounded, the newest is shown', async (t) => {
	const { server, page } = await shown(t, { rows: rowsOfShop });
	await server.until(() => subscribedTables(server).length === 4);
	await page.evaluate(() => {
		const watch = (window.watch = { frames: 0, longest: 0, most: 0, blocked: 0 });
		new PerformanceObserver((list) => {
			for (const entry of list.getEntries()) watch.blocked += entry.duration;
		}).observe({ type: 'longtask' });
		let last = performance.now();
		requestAnimationFrame(function frame(now) {
			watch.frames += 1;
			watch.longest = Math.max(watch.longest, now - last);
			last = now;
			if (watch.frames % 10 === 0) watch.most = Math.max(watch.most, document.getElementsByTagName('*').length);
			requestAnimationFrame(frame);
		});
	});
	const traffic = new Shop(server.client.subscriptions);
	const begun = performance.now();
	let sent = 0;
	let last;
	// As a busy server does: what waits leaves as one frame.
	while (sent < 5000) {
		const burst = [];
		while (sent < performance.now() - begun) {
			burst.push((last = traffic.next()));
			sent += last.changes.length;
		}
		if (burst.length > 0) server.send(burst);
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
	await page.getByRole('article', { name: `transaction ${last.xid},` }).waitFor();
	await page.locator('#rows-status', { hasText: /rows$/ }).waitFor();
	const figures = await page.evaluate(() => window.watch);
	const seconds = (performance.now() - begun) / 1000;
	t.diagnostic(`${sent} changes in ${seconds.toFixed(1)} s: ${(figures.frames / seconds).toFixed(0)} frames/s, longest ${figures.longest.toFixed(0)} ms, `
		+ `${figures.blocked.toFixed(0)} ms in long tasks, at most ${figures.most} elements`);
	assert.ok(figures.frames > 10, 'the page draws frames all along');
	assert.ok(figures.longest < 500 * seconds, 'the page does not stand still');
	assert.ok(figures.most < 15_000, 'the number of elements is bounded');
	await page.waitForFunction((total) => document.getElementById('changes-total').textContent === total, sent.toLocaleString('en'));
	assert.deepEqual(page.problems, []);
});

test('a condition for a table goes to the server, its error stands beside it, and a link repeats it', async (t) => {
	const { server, page } = await shown(t, {
		tables: shop.slice(1, 3),
		onMessage: ({ type, id, where }) => (type === 'subscribe' && where === 'nonsense'
			? { type: 'error', id, code: '42703', message: 'column "nonsense" does not exist', detail: null, hint: null } : undefined),
	});
	await server.until(() => subscribedTables(server).length === 2);
	const box = page.getByRole('textbox', { name: 'condition for public.items' });
	await box.fill('price < 10');
	await box.press('Enter');
	const asked = (where) => (message) => message.type === 'subscribe' && message.where === where;
	await server.message((message) => asked('price < 10')(message) && message.snapshot === undefined);
	await server.message((message) => asked('price < 10')(message) && message.snapshot === true);
	await address(page, '&where=public.items:price%20%3C%2010');
	await box.fill('nonsense');
	await box.press('Enter');
	const item = page.locator('#table-list li', { has: box });
	await item.locator('.problem', { hasText: 'column "nonsense" does not exist' }).waitFor();
	assert.equal(await box.getAttribute('aria-invalid'), 'true');
	await box.fill('stock > 3');
	await box.press('Enter');
	await server.message(asked('stock > 3'));
	await item.locator('.problem').waitFor({ state: 'hidden' });
	await page.reload();
	await server.message((message) => asked('stock > 3')(message) && message.client === server.client);
	assert.equal(await box.inputValue(), 'stock > 3');
	assert.deepEqual(page.problems, []);
});

test('the rows as they are now follow the transactions, bounded in number', async (t) => {
	const items = Array.from({ length: 250 }, (_, i) => ({ id: i + 1, name: `item ${i + 1}`, price: null }));
	const { server, page } = await shown(t, { tables: shop.slice(1, 3), rows: { 'public.items': items, 'public.orders': [{ id: 9, status: 'open' }] } });
	await page.locator('#rows-status', { hasText: 'the first 100 of 250 rows' }).waitFor();
	const lines = page.locator('#rows-body tr');
	assert.equal(await lines.count(), 100);
	const id = [...server.client.snapshots].at(-1);
	const kept = await lines.nth(1).elementHandle();
	server.send(transaction('5', [
		{ ids: [id], table: 'public.items', op: 'delete', key: { id: 1 }, old: items[0] },
		{ ids: [id], table: 'public.items', op: 'update', key: { id: 3 }, old: { id: 3, name: 'item 3' }, new: { id: 3, name: 'renamed', price: '2.50' } },
	]));
	await page.locator('#rows-body', { hasText: 'renamed' }).waitFor();
	assert.deepEqual(await lines.nth(1).locator('td').allTextContents(), ['3', 'renamed', '2.50']);
	assert.equal(await lines.first().evaluate((element, former) => element === former, kept), true);
	assert.equal(await lines.count(), 100);
	await page.locator('#rows-tabs').getByRole('button', { name: 'orders' }).click();
	await page.locator('#rows-body', { hasText: 'open' }).waitFor();
	assert.deepEqual(await page.locator('#rows-head th').allTextContents(), ['id', 'status']);
	await server.until(() => !server.client.subscriptions.has(id));
	assert.deepEqual(page.problems, []);
});
