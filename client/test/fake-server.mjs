// A scripted Plank server for tests: speaks plank.v1 by default, and says whatever a test tells it to.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const dist = new URL('../dist/', import.meta.url);
const file = (name) => readFileSync(new URL(name, dist), 'utf8');

const defaults = { role: 'web', tables: [], welcome: true, answers: true };

export async function startServer(options = {}) {
	const server = new FakeServer({ ...defaults, ...options });
	server.http.listen(options.port ?? 0, '127.0.0.1');
	await once(server.http, 'listening');
	return server;
}

class FakeServer {
	clients = new Set();
	// Every message of every client, in order, with the upgrade requests beside.
	received = [];
	upgrades = [];
	files = {
		'/': () => ['text/html; charset=utf-8', file('index.html'), file('index.csp').trim()],
		'/plank.js': () => ['text/javascript; charset=utf-8', file('plank.js'), null],
	};
	#waiters = new Set();

	constructor(options) {
		this.options = options;
		this.http = createServer((request, response) => this.#serve(request, response));
		this.http.on('upgrade', (request, socket, head) => {
			this.upgrades.push(request);
			const refusal = this.options.refuse?.(request);
			if (refusal) return socket.end(`HTTP/1.1 ${refusal} Refused\r\nConnection: close\r\n\r\n`);
			this.ws.handleUpgrade(request, socket, head, (client) => this.#welcome(client));
		});
		this.ws = new WebSocketServer({ noServer: true, handleProtocols: () => 'plank.v1' });
	}

	get port() {
		return this.http.address().port;
	}

	get url() {
		return `http://127.0.0.1:${this.port}`;
	}

	/** The newest connection. */
	get client() {
		return [...this.clients].at(-1);
	}

	send(...messages) {
		this.sendTo(this.client, ...messages);
	}

	sendTo(client, ...messages) {
		for (const message of messages) client.send(typeof message === 'string' ? message : JSON.stringify(message));
	}

	/** The nth message (from 1) that fits; waits for it. */
	async message(fits, nth = 1) {
		const test = typeof fits === 'string' ? (message) => message.type === fits : fits;
		return this.until(() => this.received.filter(test)[nth - 1]);
	}

	/** Waits until the condition holds, looking again whenever a client does something. */
	async until(condition) {
		for (;;) {
			const result = condition();
			if (result) return result;
			await new Promise((resolve) => this.#waiters.add(resolve));
		}
	}

	async stop() {
		for (const client of this.ws.clients) client.terminate();
		this.http.closeAllConnections();
		this.http.close();
		await once(this.http, 'close');
	}

	#welcome(client) {
		this.clients.add(client);
		client.subscriptions = new Map();
		// Those of them that asked for rows.
		client.snapshots = new Set();
		client.on('message', (data) => this.#received(client, JSON.parse(data.toString())));
		client.on('close', (code) => {
			client.closeCode = code;
			this.clients.delete(client);
			this.#wake();
		});
		if (this.options.welcome) {
			this.sendTo(client, { type: 'welcome', protocol: 'plank.v1', server: '0.1.0', session: 'f1', role: this.options.role });
		}
		this.#wake();
	}

	#received(client, message) {
		this.received.push({ ...message, client });
		if (this.options.answers) this.#answer(client, message);
		this.#wake();
	}

	#answer(client, message) {
		const { id } = message;
		const refusal = this.options.onMessage?.(message, client);
		if (refusal === null) return;
		if (refusal !== undefined) return this.sendTo(client, ...[refusal].flat());
		if (this.options.role === null && message.type !== 'ping') {
			return this.sendTo(client, {
				type: 'error', id: id ?? null, code: '28000', message: 'not authenticated', detail: null,
				hint: 'Send a token, or set plank.anonymous_role.',
			});
		}
		if (message.type === 'subscribe') {
			const name = message.table ?? message.channel;
			const info = this.options.tables.find(({ table }) => table === name || table === `public.${name}`);
			client.subscriptions.set(id, info?.table ?? name);
			if (message.snapshot) client.snapshots.add(id);
			this.sendTo(client, message.channel
				? { type: 'subscribed', id, channel: name, position: '0' }
				: { type: 'subscribed', id, table: info?.table ?? name, key: info ? info.key : ['id'], columns: info?.columns ?? [], position: '0' });
			const rows = message.snapshot ? this.options.rows?.[info?.table] : undefined;
			if (rows !== undefined) this.sendTo(client, { type: 'rows', id, rows, more: false, position: '0' });
		} else if (message.type === 'unsubscribe') {
			client.subscriptions.delete(id);
			this.sendTo(client, { type: 'unsubscribed', id, code: null, message: null });
		} else if (message.type === 'tables') {
			this.sendTo(client, { type: 'tables', id, tables: this.options.tables });
		} else if (message.type === 'ping') {
			this.sendTo(client, { type: 'pong', id });
		}
	}

	#serve(request, response) {
		const found = this.files[request.url.split('?')[0]]?.();
		if (found === undefined) {
			response.writeHead(404).end();
			return;
		}
		const [type, body, policy] = found;
		response.writeHead(200, { 'Content-Type': type, ...(policy && { 'Content-Security-Policy': policy }) }).end(body);
	}

	#wake() {
		for (const waiter of this.#waiters) waiter();
		this.#waiters.clear();
	}
}

/** The shop of the examples. */
export const shop = [
	{ table: 'public.customers', key: ['id'], columns: columns('id bigint', 'name text', 'email text', 'city text') },
	{ table: 'public.items', key: ['id'], columns: columns('id bigint', 'name text', 'price numeric', 'stock integer') },
	{ table: 'public.orders', key: ['id'], columns: columns('id bigint', 'customer_id bigint', 'status text', 'total numeric') },
	{ table: 'sales.daily', key: null, columns: columns('day date', 'revenue numeric') },
];

function columns(...definitions) {
	return definitions.map((definition) => {
		const [name, type] = definition.split(' ');
		return { name, type };
	});
}
