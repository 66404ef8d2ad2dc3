// What the clock ends: half requests, half messages, unanswered pings, slow readers; and what it must not end. The
// deadlines are far longer than a busy machine keeps a client from running, so that only who is meant to be late is late.
import { describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { OP, Raw, WS, frame, patience, startEcho } from './client.mjs'

async function withEcho(flags, body) {
	const echo = await startEcho(['--commands', ...flags])
	try {
		await body(echo)
	} finally {
		await echo.stop()
	}
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

describe('requests', () => {
	test('a head that drips in is 408, and one that never begins is cut', () =>
		withEcho(['--handshake-timeout=2000'], async (echo) => {
			const began = Date.now()
			const silent = await Raw.open(echo.port)
			const slow = await Raw.open(echo.port)
			const drip = setInterval(() => slow.socket.writable && slow.send('X'), 50)
			slow.send('GET / HTTP/1.1\r\n')
			try {
				assert.match(await slow.end(), /^HTTP\/1.1 408 /)
			} finally {
				clearInterval(drip)
			}
			assert.ok(Date.now() - began >= 1950)
			assert.equal(await silent.end(), '')
		}))
	test('a connection kept alive is cut when no request follows', () =>
		withEcho(['--handshake-timeout=2000'], async (echo) => {
			const raw = await Raw.open(echo.port)
			raw.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
			assert.equal((await raw.response()).status, 200)
			assert.equal(await raw.end(), '')
		}))
	test('a hundred half requests do not keep a client out', () =>
		withEcho(['--handshake-timeout=30000'], async (echo) => {
			const half = await Promise.all(Array.from({ length: 100 }, () => Raw.open(echo.port)))
			for (const raw of half) raw.send('GET / HT')
			const ws = await WS.open(echo.port)
			await ws.roundTrip()
			ws.destroy()
			for (const raw of half) raw.destroy()
		}))
})

describe('messages', () => {
	const late = async (flags, ...parts) => withEcho(['--message-timeout=600', ...flags], async (echo) => {
		const ws = await WS.open(echo.port)
		ws.send(...parts)
		const { code } = await ws.closed()
		assert.equal(code, 1008)
	})
	test('a half frame is 1008', () => late([], frame(OP.text, 'half', { length: 100 })))
	test('half a header is 1008', () => late([], Buffer.from([0x81])))
	test('a message without its last fragment is 1008', () => late([], frame(OP.text, 'half', { fin: false })))
	test('pings do not keep a half message alive', () =>
		withEcho(['--message-timeout=600'], async (echo) => {
			const ws = await WS.open(echo.port)
			ws.send(frame(OP.text, 'half', { fin: false }))
			const pings = setInterval(() => ws.socket.writable && ws.send(frame(OP.ping, 'p')), 50)
			try {
				assert.equal((await ws.closed({ skip: true })).code, 1008)
			} finally {
				clearInterval(pings)
			}
		}))
	test('an idle client is not cut', () =>
		withEcho(['--message-timeout=3000', '--handshake-timeout=3000', '--send-timeout=3000'], async (echo) => {
			const ws = await WS.open(echo.port)
			await ws.roundTrip()
			await sleep(6500)
			await ws.roundTrip()
			ws.destroy()
		}))
})

describe('pings', () => {
	test('a client that answers none is 4002', () =>
		withEcho(['--ping-interval=300'], async (echo) => {
			const began = Date.now()
			const ws = await WS.open(echo.port)
			assert.equal((await ws.closed({ skip: true })).code, 4002)
			assert.ok(Date.now() - began >= 600, 'not before two intervals')
		}))
	test('a client that answers stays', () =>
		withEcho(['--ping-interval=2500'], async (echo) => {
			const ws = await WS.open(echo.port)
			for (let i = 0; i < 4; i++) {
				const ping = await ws.next()
				assert.equal(ping.opcode, OP.ping)
				ws.send(frame(OP.pong, ping.payload))
			}
			await ws.roundTrip()
			ws.destroy()
		}))
	test('a client that is gone without a word is noticed', () =>
		withEcho(['--ping-interval=2500'], async (echo) => {
			const gone = await WS.open(echo.port)
			gone.socket.pause()
			const watcher = await WS.open(echo.port)
			for (;;) {
				const f = await watcher.next()
				if (f.opcode === OP.ping) {
					watcher.send(frame(OP.pong, f.payload), frame(OP.text, 'stats'))
				} else if (JSON.parse(f.payload.toString()).connections === 1) {
					break
				}
			}
			watcher.destroy()
			gone.destroy()
		}))
})

describe('a server that is kept from running', () => {
	const limit = 3000
	async function stopped(echo, body) {
		process.kill(echo.pid, 'SIGSTOP')
		try {
			await body()
			await sleep(2 * limit + 1500)
		} finally {
			process.kill(echo.pid, 'SIGCONT')
		}
	}
	test('reads what has come meanwhile before anybody is late', () =>
		withEcho([`--handshake-timeout=${limit}`, `--message-timeout=${limit}`, `--ping-interval=${limit}`], async (echo) => {
			const ws = await WS.open(echo.port)
			const ping = await ws.next()
			assert.equal(ping.opcode, OP.ping)
			const head = await Raw.open(echo.port)
			head.send('GET / HT')
			const whole = frame(OP.text, 'in two pieces')
			ws.send(frame(OP.text, 'first'), whole.subarray(0, 5))
			assert.equal(await ws.text(), 'first')
			await stopped(echo, () => {
				head.send('TP/1.1\r\nHost: x\r\n\r\n')
				ws.send(whole.subarray(5), frame(OP.pong, ping.payload))
			})
			assert.equal((await head.response()).status, 200)
			let message = await ws.next()
			while (message.opcode === OP.ping) message = await ws.next()
			assert.equal(message.payload.toString(), 'in two pieces')
			head.destroy()
			ws.destroy()
		}))
})

describe('slow readers', () => {
	const flags = ['--send-buffer=1000000', '--send-timeout=2000', '--ping-interval=60000']
	test('one that takes nothing is 4008, and others are not held up', () =>
		withEcho([...flags, '--send-timeout=6000'], async (echo) => {
			const slow = await WS.open(echo.port)
			slow.socket.pause()
			slow.send(frame(OP.text, 'push 200 100000'))
			const other = await WS.open(echo.port)
			await other.roundTrip()
			let answered = 0
			for (;;) {
				other.send(frame(OP.text, 'stats'))
				let f = await other.next()
				while (f.payload.length > 1000) f = await other.next()
				if (JSON.parse(f.payload.toString()).too_slow === 1) break
				answered++
				await sleep(20)
			}
			assert.ok(answered >= 3, `the other was answered ${answered} times meanwhile`)
			slow.socket.resume()
			const { code, reason } = await slow.closed({ skip: true })
			assert.deepEqual([code, reason], [4008, 'too slow'])
			other.destroy()
		}))
	test('one that keeps reading, however slowly, gets everything', () =>
		withEcho([...flags, '--send-timeout=10000'], async (echo) => {
			const slow = await WS.open(echo.port)
			slow.send(frame(OP.text, 'push 100 200000'))
			const nap = setInterval(() => {
				slow.socket.pause()
				setTimeout(() => slow.socket.resume(), 80)
			}, 100)
			try {
				for (let i = 0; i < 100; i++) assert.ok((await slow.text()).startsWith(`#${i} `))
			} finally {
				clearInterval(nap)
			}
			slow.socket.resume()
			await slow.roundTrip()
			slow.destroy()
		}))
	test('one that never reads again is cut, and its memory with it', () =>
		withEcho(flags, async (echo) => {
			const slow = await WS.open(echo.port)
			slow.socket.pause()
			slow.send(frame(OP.text, 'push 200 100000'))
			const other = await WS.open(echo.port)
			for (;;) {
				other.send(frame(OP.text, 'stats'))
				let f = await other.next()
				while (f.payload.length > 1000) f = await other.next()
				const stats = JSON.parse(f.payload.toString())
				if (stats.connections === 1) {
					assert.ok(stats.heap < 5e6, `${stats.heap} bytes are left`)
					break
				}
				await sleep(50)
			}
			slow.destroy()
			other.destroy()
		}))
	test('a blocked client that keeps sending does not turn the loop idly', () =>
		withEcho(['--send-timeout=60000'], async (echo) => {
			const { readFileSync } = await import('node:fs')
			const cpu = () => {
				const fields = readFileSync(`/proc/${echo.pid}/stat`, 'latin1').split(') ')[1].split(' ')
				return (Number(fields[11]) + Number(fields[12])) * 10
			}
			const slow = await WS.open(echo.port)
			slow.socket.pause()
			slow.send(frame(OP.text, 'push 200 100000'))
			await sleep(500)
			for (let i = 0; i < 50; i++) slow.send(frame(OP.text, 'more'))
			// It comes to rest; a loop that spins never does.
			const end = Date.now() + patience
			for (;;) {
				const before = cpu()
				await sleep(500)
				const used = cpu() - before
				if (used < 150) break
				assert.ok(Date.now() < end, `${used} ms of 500`)
			}
			slow.destroy()
		}))
})
