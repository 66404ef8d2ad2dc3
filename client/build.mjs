// Builds client/dist: plank.js with its declarations, and the live page with the security policy it is served with.
// Deterministic: the same sources give the same bytes.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';
import { bundleDeclarations } from './scripts/declarations.mjs';

const here = new URL('.', import.meta.url);
const at = (path) => new URL(path, here);
const dist = at('dist/');

// The version stands in plank.control and nowhere else.
const version = /^default_version\s*=\s*'([^']+)'/m.exec(readFileSync(at('../plank.control'), 'utf8'))?.[1];
if (version === undefined) throw new Error('plank.control has no default_version');

// What has not changed keeps its time stamp, so that nothing that depends on it is built again.
function write(name, text) {
	const path = new URL(name, dist);
	if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text);
}

const common = {
	bundle: true,
	format: 'esm',
	target: ['es2022'],
	charset: 'utf8',
	legalComments: 'none',
	define: { PLANK_VERSION: JSON.stringify(version) },
	write: false,
	logLevel: 'warning',
	absWorkingDir: new URL(here).pathname,
};

async function bundle(entry, options = {}) {
	const result = await build({ ...common, entryPoints: [entry], ...options });
	return result.outputFiles[0].text;
}

async function buildLibrary() {
	const banner = `// Plank ${version}: the client of plank.v1. PostgreSQL License.\n`;
	write('plank.js', banner + (await bundle('src/index.ts')));

	// The project's own compiler, in a process of its own: it has no other interface.
	const types = new URL('types/', dist).pathname;
	execFileSync(process.execPath, [
		at('node_modules/typescript/bin/tsc').pathname, '-p', at('tsconfig.json').pathname, '--noEmit', 'false',
		'--declaration', '--emitDeclarationOnly', '--outDir', types,
	], { stdio: 'inherit' });
	write('plank.d.ts', bundleDeclarations(`${types}/src`));

	write('react.js', banner.replace('the client of plank.v1', 'live rows in React') + (await bundle('react/use-table.ts', { external: ['react'] })));
	write('react.d.ts', readFileSync(`${types}/react/use-table.d.ts`, 'utf8').replace(`'plank-client'`, `'./plank.js'`));
	rmSync(types, { recursive: true });

	const { name, description, license, engines } = JSON.parse(readFileSync(at('package.json'), 'utf8'));
	const manifest = {
		name, version, description, license, engines, type: 'module',
		exports: {
			'.': { types: './plank.d.ts', default: './plank.js' },
			'./react': { types: './react.d.ts', default: './react.js' },
		},
		types: './plank.d.ts',
		files: ['plank.js', 'plank.d.ts', 'react.js', 'react.d.ts'],
		peerDependencies: { react: '>=18', ws: '>=8' },
		peerDependenciesMeta: { react: { optional: true }, ws: { optional: true } },
	};
	write('package.json', `${JSON.stringify(manifest, null, '\t')}\n`);
}

async function buildPage() {
	const inline = { minify: true, external: ['/plank.js'] };
	const script = (await bundle('page/page.ts', inline)).trim();
	const style = (await bundle('page/page.css', { ...inline, loader: { '.css': 'css' } })).trim();
	for (const [what, text] of [['script', script], ['style', style]]) {
		if (new RegExp(`</${what}`, 'i').test(text)) throw new Error(`the page's ${what} would end its own element`);
	}
	const html = readFileSync(at('page/index.html'), 'utf8')
		.replace('<!-- style -->', () => `<style>${style}</style>`)
		.replace('<!-- script -->', () => `<script type="module">${script}</script>`);
	const hash = (text) => `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;
	const policy = [
		`default-src 'none'`,
		`script-src 'self' ${hash(script)}`,
		`style-src ${hash(style)}`,
		`img-src data:`,
		`connect-src 'self' ws: wss:`,
		`base-uri 'none'`,
		`form-action 'none'`,
		`frame-ancestors 'none'`,
	].join('; ');
	write('index.html', html);
	write('index.csp', `${policy}\n`);
}

mkdirSync(dist, { recursive: true });
await buildLibrary();
await buildPage();
