// Chromium for the page's tests: Debian's, or the one CHROMIUM names.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** A context with an empty profile; `stop()` removes it. */
export async function launch(options = {}) {
	const profile = mkdtempSync(join(tmpdir(), 'plank-chromium-'));
	const context = await chromium.launchPersistentContext(profile, {
		executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
		headless: true,
		args: [
			'--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
			'--disable-component-update', '--disable-sync',
		],
		...options,
	});
	return {
		context,
		async stop() {
			await context.close();
			rmSync(profile, { recursive: true, force: true });
		},
	};
}

/** A page at the address, with everything that went wrong on it in `page.problems`. */
export async function open(context, url) {
	const page = await context.newPage();
	page.problems = [];
	page.on('pageerror', (error) => page.problems.push(error.message));
	page.on('console', (message) => {
		if (message.type() === 'error') page.problems.push(message.text());
	});
	await page.goto(url);
	return page;
}
