// Makes tokens and key files with Node's own cryptography, so that what Plank verifies was not made by Plank.

import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

export const secret = 'the-secret-of-these-tests-has-more-than-32-bytes';

const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
export const now = () => Math.floor(Date.now() / 1000);
const withExpiry = (claims) => (typeof claims === 'string' || 'exp' in claims ? claims : { ...claims, exp: now() + 600 });

/** Signed with a secret; a claims text is taken as it is, an object gets an `exp` in ten minutes when it has none. */
export function hs256(claims, { key = secret, header = { alg: 'HS256', typ: 'JWT' } } = {}) {
	const text = `${encode(header)}.${encode(withExpiry(claims))}`;
	return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

/** A key pair: `jwk` for the key file, `token(claims)` signed with it. */
export function keyPair(alg, kid) {
	const [type, options, digest] = {
		RS256: ['rsa', { modulusLength: 2048 }, 'sha256'],
		PS512: ['rsa', { modulusLength: 2048 }, 'sha512'],
		ES256: ['ec', { namedCurve: 'P-256' }, 'sha256'],
		ES512: ['ec', { namedCurve: 'P-521' }, 'sha512'],
		EdDSA: ['ed25519', {}, null],
	}[alg];
	const { publicKey, privateKey } = generateKeyPairSync(type, options);
	const padding = alg.startsWith('PS') ? { padding: 6, saltLength: 64 } : {};
	return {
		jwk: { ...publicKey.export({ format: 'jwk' }), alg, kid, use: 'sig' },
		token(claims) {
			const text = `${encode({ alg, kid })}.${encode(withExpiry(claims))}`;
			return `${text}.${sign(digest, Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363', ...padding }).toString('base64url')}`;
		},
	};
}

export const secretJwk = (key, kid) => ({ kty: 'oct', kid, k: encode(key) });

/** A file that the server can read, gone after the test file's last test. `write` replaces it at once, as a deployment does. */
export function serverFile(name, content) {
	const folder = mkdtempSync(join(tmpdir(), 'plank-file-'));
	after(() => rmSync(folder, { recursive: true, force: true }));
	chmodSync(folder, 0o755);
	const path = join(folder, name);
	const write = (text) => {
		writeFileSync(`${path}.new`, typeof text === 'string' ? text : JSON.stringify(text), { mode: 0o644 });
		renameSync(`${path}.new`, path);
	};
	write(content);
	return { path, write, overwrite: (text) => writeFileSync(path, text), remove: () => rmSync(path) };
}
