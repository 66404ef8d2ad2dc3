// What the library's tests share.

import { connect } from '../dist/plank.js';
import { startServer } from './fake-server.mjs';

/** A server and a client connected to it; both end with the test. */
export async function pair(t, { server: serverOptions = {}, ...clientOptions } = {}) {
	const server = await startServer(serverOptions);
	const plank = connect(server.url, clientOptions);
	t.after(async () => {
		plank.close();
		await server.stop();
	});
	return { server, plank };
}

/** The next event of that name. */
export function next(emitter, event) {
	return new Promise((resolve) => {
		const listener = (value) => {
			emitter.off(event, listener);
			resolve(value);
		};
		emitter.on(event, listener);
	});
}

/** Resolves when the connection is in the state. */
export async function reached(plank, state) {
	while (plank.state !== state) await next(plank, 'state');
	return plank.status;
}

/** Everything the server has sent so far has been handled once this resolves. */
export const settled = (plank) => plank.ping();

export function insert(ids, row, table = 'public.items') {
	return { ids, table, op: 'insert', key: { id: row.id }, new: row };
}

export function transaction(xid, changes, more = {}) {
	return { type: 'transaction', xid, position: `p${xid}`, committed_at: '2026-11-22T14:05:00.123456Z', more: false, changes, ...more };
}
