// The live page that the worker serves, in a real browser.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, open } from '../../client/test/browser.mjs';
import { Cluster } from './cluster.mjs';

const cluster = await Cluster.start();
await cluster.sql(`
	CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(8,2)); INSERT INTO item VALUES (1, 'Lamp', 19.50), (2, 'Saw', 30);
	CREATE TABLE hidden (id int); REVOKE SELECT ON hidden FROM web; SELECT plank.track('item'), plank.track('hidden')`);

let browser;
before(async () => {
	browser = await launch();
});
after(() => browser.stop());

test('Chromium opens the page and sees an UPDATE typed into psql', async () => {
	const page = await open(browser.context, cluster.url('app', '/'));
	await page.getByRole('heading', { name: 'Waiting for the next commit' }).waitFor();
	assert.match(await page.locator('#who').textContent(), /role web/);
	assert.equal(await page.getByRole('checkbox', { name: 'item' }).isChecked(), true);
	assert.equal(await page.getByRole('checkbox', { name: 'hidden' }).count(), 0);
	await cluster.psql(`UPDATE item SET price = price + 1 WHERE name = 'Saw';`);
	const card = page.locator('article.card').first();
	await card.waitFor();
	assert.match(await card.textContent(), /transaction \d+.*1 change.*update.*item.*id=2.*price.*30(\.00)?.*→.*31(\.00)?/);
	// One statement, one card, whatever it does.
	await cluster.psql(`INSERT INTO item SELECT i, 'many', 1 FROM generate_series(3, 12) i;`);
	await page.locator('article.card', { hasText: '10 changes' }).waitFor();
	await cluster.psql('DELETE FROM item WHERE id = 1;');
	await page.locator('article.card', { hasText: 'delete' }).waitFor();
	assert.equal(await page.locator('article.card').count(), 3);
	assert.deepEqual(page.problems, []);
});

test('the page of another origin cannot connect', async () => {
	const page = await open(browser.context, cluster.url('other', '/'));
	const outcome = await page.evaluate((url) => new Promise((resolve) => {
		const socket = new WebSocket(url);
		socket.onopen = () => resolve('open');
		socket.onerror = () => resolve('refused');
	}), cluster.url('app', '/ws').replace('http', 'ws'));
	assert.equal(outcome, 'refused');
});

test('the page serves its module to an application: import, subscribe, change', async () => {
	const page = await open(browser.context, cluster.url('app', '/'));
	await page.evaluate(async () => {
		const { connect } = await import('/plank.js');
		window.seen = [];
		const watch = connect(location.href).table('item').subscribe((change) => window.seen.push(change.new.name));
		await watch.ready;
	});
	await cluster.psql(`UPDATE item SET name = 'from psql' WHERE id = 2;`);
	await page.waitForFunction(() => window.seen.length > 0);
	assert.deepEqual(await page.evaluate(() => window.seen), ['from psql']);
});
