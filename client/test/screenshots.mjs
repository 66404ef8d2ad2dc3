// Pictures of the live page for people: `node test/screenshots.mjs FOLDER`. Not a test.

import { mkdirSync } from 'node:fs';
import { launch, open } from './browser.mjs';
import { shop, startServer } from './fake-server.mjs';
import { rowsOfShop, Shop } from './shop.mjs';

const folder = process.argv[2] ?? 'build';
mkdirSync(folder, { recursive: true });

const looks = {
	light: { colorScheme: 'light', viewport: { width: 1200, height: 760 } },
	dark: { colorScheme: 'dark', viewport: { width: 1200, height: 760 } },
	phone: { colorScheme: 'light', viewport: { width: 390, height: 800 }, deviceScaleFactor: 2 },
};

async function busy(server, page) {
	await server.until(() => server.client?.subscriptions.size === 5);
	const traffic = new Shop(server.client.subscriptions);
	for (let step = 0; step < 60; step += 1) {
		for (let i = 0; i < 1 + ((step * 7) % 5); i += 1) server.send(traffic.next());
		await page.waitForTimeout(250);
	}
}

for (const [name, look] of Object.entries(looks)) {
	const browser = await launch(look);
	const server = await startServer({ tables: shop, rows: rowsOfShop });
	const page = await open(browser.context, server.url);
	await busy(server, page);
	// The port of a test says nothing to a reader.
	await page.evaluate(() => {
		const who = document.getElementById('who');
		who.textContent = who.textContent.replace(location.host, 'localhost:8432');
	});
	await page.screenshot({ path: `${folder}/${name}.png` });
	await page.locator('summary.line').nth(1).click();
	await page.screenshot({ path: `${folder}/${name}-opened.png` });
	server.send({ type: 'error', id: null, code: '53400', message: 'too many subscriptions', detail: null, hint: 'Raise plank.max_subscriptions.' });
	server.options.refuse = () => 503;
	server.client.close(1001);
	await page.waitForTimeout(500);
	await page.getByRole('button', { name: 'Clear' }).click();
	await page.screenshot({ path: `${folder}/${name}-lost.png` });
	server.options.refuse = null;
	server.options.role = null;
	await page.locator('#state[data-state="refused"]').waitFor();
	await page.screenshot({ path: `${folder}/${name}-role.png` });
	await server.stop();
	await browser.stop();
}
