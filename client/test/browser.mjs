// Chromium for the page's tests: Debian's, or the one CHROMIUM names.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

// For however busy a machine; only a failing test waits so long.
const PATIENCE = 180_000;

/** A context with an empty profile; `stop()` removes it. */
export async function launch(options = {}) {
	const profile = mkdtempSync(join(tmpdir(), 'plank-chromium-'));
	const context = await chromium.launchPersistentContext(profile, {
		executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
		headless: true,
		timeout: PATIENCE,
		// As root, some versions crash when their temporary files are to go to a folder that is somebody else's.
		env: { ...process.env, HOME: profile, TMPDIR: profile },
		args: [
			'--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
			'--disable-component-update', '--disable-sync',
		],
		...options,
	});
	context.setDefaultTimeout(PATIENCE);
	return {
		context,
		async stop() {
			await context.close();
			// Its last processes may still be writing there.
			rmSync(profile, { recursive: true, force: true, maxRetries: 50 });
		},
	};
}

/** A page at the address, with everything that went wrong on it in `page.problems`; `before` is run ahead of its own scripts. */
export async function open(context, url, before) {
	const page = await context.newPage();
	if (before) await page.addInitScript(before);
	page.problems = [];
	page.on('pageerror', (error) => page.problems.push(error.message));
	page.on('console', (message) => {
		if (message.type() === 'error') page.problems.push(message.text());
	});
	await page.goto(url);
	return page;
}
