// Joins the compiler's declaration files into one: imports between them fall away, and only what index.ts exports
// stays exported.

import { readFileSync, readdirSync } from 'node:fs';

export function bundleDeclarations(folder) {
	const index = readFileSync(`${folder}/index.d.ts`, 'utf8');
	const names = (pattern) => [...index.matchAll(pattern)].flatMap((match) => match[1].split(',')).map((name) => name.trim())
		.filter((name) => name !== '');
	const values = names(/export \{([^}]*)\} from/g);
	const types = names(/export type \{([^}]*)\} from/g);
	const own = /\/\*\*[^/]*\*\/\s*export declare const version[^;]*;/.exec(index)?.[0];
	if (own === undefined || values.length === 0 || types.length === 0) throw new Error('index.d.ts is not as expected');

	const parts = readdirSync(folder).filter((file) => file.endsWith('.d.ts') && file !== 'index.d.ts').sort()
		.map((file) => readFileSync(`${folder}/${file}`, 'utf8')
			.replace(/^import [^;]*;\n/gm, '')
			.replace(/^export \{\};\n/gm, '')
			.replace(/^export (declare )?(?=(abstract |const |class |function |interface |type ))/gm, (_, declared) => declared ?? ''));
	return `// Declarations of plank.js.\n\n${own}\n\n${parts.join('\n')}\n`
		+ `export { ${values.join(', ')} };\nexport type { ${types.join(', ')} };\n`;
}
