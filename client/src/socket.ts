// Which WebSocket to use, and with which address and subprotocols. Nothing here keeps state.

import { Code, PlankError } from './errors.js';
import { SUBPROTOCOL } from './protocol.js';

/** The part of the standard WebSocket that is used; browsers, Node 22 and the package `ws` all have it. */
export interface WebSocketLike {
	readonly readyState: number;
	onopen: ((event: never) => void) | null;
	onmessage: ((event: never) => void) | null;
	onerror: ((event: never) => void) | null;
	onclose: ((event: never) => void) | null;
	send(text: string): void;
	close(code?: number, reason?: string): void;
	/** Only in `ws`: ends the connection without waiting for the other side. */
	terminate?(): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** `http` becomes `ws`, and an empty path becomes `/ws`. A relative address is taken relative to the page. */
export function socketUrl(url: string | URL): string {
	let result: URL;
	try {
		result = new URL(url, (globalThis as { location?: { href: string } }).location?.href);
	} catch (error) {
		throw new PlankError({ code: Code.invalidArgument, message: `invalid URL "${String(url)}"`, cause: error });
	}
	const scheme = { 'http:': 'ws:', 'https:': 'wss:', 'ws:': 'ws:', 'wss:': 'wss:' }[result.protocol];
	if (scheme === undefined) {
		throw new PlankError({
			code: Code.invalidArgument,
			message: `URL "${String(url)}" has the scheme "${result.protocol}"`,
			hint: 'Use ws, wss, http or https.',
		});
	}
	result.protocol = scheme;
	result.hash = '';
	if (result.pathname === '' || result.pathname === '/') result.pathname = '/ws';
	return result.href;
}

/** The token travels as a subprotocol: unlike a query parameter it is not in the access logs of proxies. */
export function subprotocols(token: string | null): string[] {
	if (token === null || token === '') return [SUBPROTOCOL];
	if (!/^[A-Za-z0-9._~+-]+$/.test(token)) {
		throw new PlankError({ code: Code.invalidArgument, message: 'the token is not a JWT in compact form' });
	}
	return [SUBPROTOCOL, `plank.token.${token}`];
}

let loaded: Promise<WebSocketConstructor> | undefined;

/** The injected class, else the global one, else in Node the package `ws`. */
export function findWebSocket(injected: WebSocketConstructor | undefined): WebSocketConstructor | Promise<WebSocketConstructor> {
	const found = injected ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
	if (found !== undefined) return found;
	return (loaded ??= loadFromNode().catch((error: unknown) => {
		loaded = undefined;
		throw error;
	}));
}

async function loadFromNode(): Promise<WebSocketConstructor> {
	// Names in variables: a bundler for browsers must not try to resolve what only Node needs.
	const specifier: string = 'ws';
	const builtin: string = 'node:module';
	try {
		const ws = (await import(/* @vite-ignore */ /* webpackIgnore: true */ specifier)) as Record<string, unknown>;
		return (ws['WebSocket'] ?? ws['default']) as WebSocketConstructor;
	} catch {
		// Not beside this file; perhaps beside the program.
	}
	try {
		const { createRequire } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ builtin)) as {
			createRequire(path: string): (name: string) => { WebSocket: WebSocketConstructor };
		};
		return createRequire(`${process.cwd()}/`)(specifier).WebSocket;
	} catch (error) {
		throw new PlankError({
			code: Code.cannotConnect,
			message: 'this JavaScript runtime has no WebSocket',
			hint: 'Install the package with "npm install ws", use Node 22 or later, or pass connect(url, { WebSocket }).',
			cause: error,
		});
	}
}
