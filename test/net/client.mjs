// A WebSocket client on a raw socket, for the frame-level tests: it sends exactly the bytes it is told to, and reports
// exactly what came back. No packages.
import net from 'node:net'
import tls from 'node:tls'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import path from 'node:path'

export const OP = { cont: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 }

// A client's frame. `length` overrides the announced payload length, `wide` its encoding (16 or 64 bits).
export function frame(opcode, payload = '', { fin = true, rsv = 0, masked = true, length, wide } = {}) {
	const body = Buffer.isBuffer(payload) ? payload : Buffer.from(payload)
	const n = length ?? body.length
	const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode]
	const bit = masked ? 0x80 : 0
	if (wide === 64 || (!wide && n > 65535)) {
		const b = Buffer.alloc(8)
		b.writeBigUInt64BE(BigInt(n))
		head.push(bit | 127, ...b)
	} else if (wide === 16 || (!wide && n > 125)) {
		head.push(bit | 126, n >> 8, n & 255)
	} else {
		head.push(bit | n)
	}
	if (!masked) return Buffer.concat([Buffer.from(head), body])
	const mask = randomBytes(4)
	const out = Buffer.from(body)
	for (let i = 0; i < out.length; i++) out[i] ^= mask[i & 3]
	return Buffer.concat([Buffer.from(head), mask, out])
}

export const closePayload = (code, reason = '') => Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)])

const withTimeout = (promise, ms, what) => {
	let timer
	return Promise.race([
		promise,
		new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms) }),
	]).finally(() => clearTimeout(timer))
}

export const patience = 180000  // for however busy a machine

// A raw connection: bytes in, bytes out, and whether the peer has ended it.
export class Raw {
	// `host` may be the path of a Unix-domain socket; `secure` holds options of tls.connect.
	static async open(port, host = '127.0.0.1', secure = undefined) {
		const raw = new Raw()
		const target = host.startsWith('/') ? { path: host } : { port, host, noDelay: true }
		raw.socket = secure ? tls.connect({ ...target, rejectUnauthorized: false, ...secure }) : net.connect({ ...target, allowHalfOpen: true })
		raw.buffer = Buffer.alloc(0)
		raw.ended = false
		raw.waiters = []
		raw.socket.on('data', (data) => { raw.buffer = Buffer.concat([raw.buffer, data]); raw.wake() })
		raw.socket.on('end', () => { raw.ended = true; raw.wake() })
		raw.socket.on('error', () => { raw.ended = true; raw.reset = true; raw.wake() })
		raw.socket.on('close', () => { raw.ended = true; raw.wake() })
		await withTimeout(once(raw.socket, secure ? 'secureConnect' : 'connect'), patience, 'connect')
		return raw
	}
	wake() { for (const waiter of this.waiters.splice(0)) waiter() }
	send(...parts) { this.socket.write(Buffer.concat(parts.map((p) => Buffer.from(p)))); return this }
	// Until `condition` gives something.
	async until(condition, what, ms = patience) {
		const end = Date.now() + ms
		for (;;) {
			const result = condition()
			if (result !== undefined && result !== false) return result
			if (this.ended) throw new Error(`${what}: the connection ended`)
			const left = end - Date.now()
			if (left <= 0) throw new Error(`${what}: nothing within ${ms} ms`)
			await withTimeout(new Promise((r) => this.waiters.push(r)), left, what)
		}
	}
	async end(ms = patience) {
		const limit = Date.now() + ms
		while (!this.ended) await withTimeout(new Promise((r) => this.waiters.push(r)), limit - Date.now(), 'end')
		this.socket.destroy()
		return this.buffer.toString('latin1')
	}
	destroy() { this.socket.destroy() }
	// One HTTP response: { status, headers, body }.
	async response(head = false) {
		const at = await this.until(() => { const i = this.buffer.indexOf('\r\n\r\n'); return i >= 0 && i + 4 }, 'response head')
		const lines = this.buffer.subarray(0, at - 4).toString('latin1').split('\r\n')
		const status = Number(lines[0].split(' ')[1])
		const headers = Object.fromEntries(lines.slice(1).map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]))
		this.buffer = this.buffer.subarray(at)
		const length = head || status === 304 || status === 101 ? 0 : Number(headers['content-length'] ?? 0)
		await this.until(() => this.buffer.length >= length, 'response body')
		const body = this.buffer.subarray(0, length).toString('latin1')
		this.buffer = this.buffer.subarray(length)
		return { status, headers, body }
	}
}

export const upgradeRequest = (extra = '', { path = '/', key = 'dGhlIHNhbXBsZSBub25jZQ==' } = {}) =>
	`GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
	`Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n${extra}\r\n`

export class WS extends Raw {
	static async open(port, options = {}) {
		const raw = await Raw.open(port, options.host, options.secure)
		Object.setPrototypeOf(raw, WS.prototype)
		raw.send(upgradeRequest(options.headers ?? '', options))
		raw.answer = await raw.response()
		if (raw.answer.status !== 101) { raw.destroy(); throw Object.assign(new Error(`upgrade: ${raw.answer.status}`), { answer: raw.answer }) }
		return raw
	}
	take() {
		const b = this.buffer
		if (b.length < 2) return undefined
		let n = b[1] & 127
		let at = 2
		if (n === 126) { if (b.length < 4) return undefined; n = b.readUInt16BE(2); at = 4 }
		else if (n === 127) { if (b.length < 10) return undefined; n = Number(b.readBigUInt64BE(2)); at = 10 }
		if (b.length < at + n) return undefined
		this.buffer = b.subarray(at + n)
		return { fin: !!(b[0] & 128), rsv: (b[0] >> 4) & 7, opcode: b[0] & 15, masked: !!(b[1] & 128), payload: b.subarray(at, at + n) }
	}
	next(what = 'frame', ms = patience) { return this.until(() => this.take(), what, ms) }
	async text() {
		const f = await this.next()
		if (f.opcode !== OP.text || !f.fin) throw new Error(`expected a text, got opcode ${f.opcode} ${f.payload.toString()}`)
		return f.payload.toString()
	}
	// The close frame that must come next, the answer to it if none was sent, and the end of the connection.
	async closed({ answer = true, skip = false } = {}) {
		let f = await this.next('close frame')
		while (skip && f.opcode !== OP.close) f = await this.next('close frame')
		if (f.opcode !== OP.close) throw new Error(`expected a close frame, got opcode ${f.opcode}`)
		if (answer) this.send(frame(OP.close, f.payload))
		await this.end()
		if (f.payload.length === 0) return { code: 0, reason: '' }
		return { code: f.payload.readUInt16BE(0), reason: f.payload.subarray(2).toString() }
	}
	async roundTrip(text = 'still here') {
		this.send(frame(OP.text, text))
		const got = await this.text()
		if (got !== text) throw new Error(`expected an echo of ${text}, got ${got.slice(0, 80)}`)
	}
}

// An echo program of one's own, with the flags given. `under` runs it below another program (NET_UNDER: valgrind).
export async function startEcho(flags = []) {
	const echo = process.env.NET_ECHO ?? path.join(path.dirname(fileURLToPath(import.meta.url)), '../../build/net/echo')
	const under = (process.env.NET_UNDER ?? '').split(' ').filter(Boolean)
	// On a busy machine a ping would come between what tests send and read, and clients that do not read answer none.
	const [command, ...rest] = [...under, echo, '0', '--ping-interval=0', ...flags]
	const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] })
	let output = ''
	let log = ''
	let signalled = false
	child.stderr.on('data', (data) => { log += data })
	const port = await withTimeout(new Promise((resolve, reject) => {
		child.stdout.on('data', (data) => {
			output += data
			const found = /listening on (\d+)/.exec(output)
			if (found) resolve(Number(found[1]))
		})
		child.on('exit', (code) => reject(new Error(`echo ended with ${code}: ${log}`)))
	}), patience, 'echo')
	return {
		port,
		pid: child.pid,
		log: () => log,
		// What it writes there comes on a way of its own, perhaps later than what it has sent.
		async logged(text) {
			for (const end = Date.now() + patience; !log.includes(text); await new Promise((resolve) => setTimeout(resolve, 10)))
				if (Date.now() > end) throw new Error(`it has not logged: ${text}\n${log}`)
		},
		signal: (name) => { signalled = true; child.kill(name) },
		exited: () => (child.exitCode !== null ? Promise.resolve() : once(child, 'exit')),
		// Every test ends here: the program must end by itself, cleanly, with nothing left open and no sanitizer report.
		async stop() {
			if (child.exitCode === null && child.signalCode === null) {
				if (!signalled) child.kill('SIGTERM')
				await withTimeout(once(child, 'exit'), patience, 'echo to stop')
			}
			if (child.exitCode !== 0) throw new Error(`echo ended with ${child.exitCode ?? child.signalCode}:\n${log}`)
		},
	}
}
