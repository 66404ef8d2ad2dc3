// The React hook in a real browser, in StrictMode, against the scripted server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { build } from 'esbuild';
import { launch, open } from './browser.mjs';
import { shop, startServer } from './fake-server.mjs';
import { insert, transaction } from './helpers.mjs';

let browser;
let script;
before(async () => {
	browser = await launch();
	const result = await build({
		entryPoints: [new URL('react-page.jsx', import.meta.url).pathname], bundle: true, format: 'esm', jsx: 'automatic', write: false,
		define: { 'process.env.NODE_ENV': '"development"' },
		plugins: [{
			name: 'dist',
			setup: ({ onResolve }) => onResolve({ filter: /^\/(plank|react)\.js$/ }, ({ path }) => ({ path: new URL(`../dist${path}`, import.meta.url).pathname })),
		}],
	});
	script = result.outputFiles[0].text;
});
after(() => browser.stop());

test('components show the rows, follow transactions, show errors and leave nothing behind', async (t) => {
	const server = await startServer({
		tables: shop,
		onMessage: ({ type, id, where }) => (type === 'subscribe' && where === 'nonsense'
			? { type: 'error', id, code: '42703', message: 'no such column', detail: null, hint: null } : undefined),
	});
	server.files['/react'] = () => ['text/html', '<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/page.js"></script>', null];
	server.files['/page.js'] = () => ['text/javascript', script, null];
	const page = await open(browser.context, `${server.url}/react`);
	t.after(async () => {
		await page.close();
		await server.stop();
	});
	// StrictMode mounts, unmounts and mounts again: one subscription a component is left all the same.
	await server.until(() => server.client?.subscriptions.size === 2);
	const asked = server.received.filter(({ type, id }) => type === 'subscribe' && server.client.subscriptions.has(id));
	const [all, cheap] = [asked.find(({ where }) => where === undefined).id, asked.find(({ where }) => where === 'price < 10').id];
	const list = (title) => page.getByRole('region', { name: title });
	assert.equal(await list('all').getAttribute('data-state'), 'loading');
	const rows = (id, ...names) => ({ type: 'rows', id, rows: names.map((name, i) => ({ id: i + 1, name })), more: false, position: 'p1' });
	server.send(rows(all, 'b', 'a'), rows(cheap, 'b', 'a'));
	await page.locator('[aria-label="all"][data-state="live"]').waitFor();
	await page.locator('[aria-label="cheap"][data-state="live"]').waitFor();
	assert.deepEqual(await list('all').locator('li').allTextContents(), ['a', 'b']);
	server.send(transaction('1', [insert([all, cheap], { id: 3, name: 'aa' })]));
	await list('all').getByText('aa').waitFor();
	await list('cheap').getByText('aa').waitFor();
	assert.deepEqual(await list('all').locator('li').allTextContents(), ['a', 'aa', 'b']);
	assert.deepEqual(await list('cheap').locator('li').allTextContents(), ['aa', 'a']);
	await page.getByRole('button', { name: 'Break' }).click();
	await page.getByRole('alert').waitFor();
	assert.equal(await page.getByRole('alert').textContent(), 'no such column');
	await page.getByRole('button', { name: 'Hide' }).click();
	await list('cheap').waitFor({ state: 'detached' });
	await server.until(() => server.client.subscriptions.size === 1);
	assert.deepEqual([...server.client.subscriptions.keys()], [all]);
	assert.deepEqual(page.problems, []);
});
