// Limits of size and number, floods, the stop with thousands of clients, and frames shared by many readers.
import { describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { OP, Raw, WS, closePayload, frame, patience, startEcho } from './client.mjs'

async function withEcho(flags, body) {
	const echo = await startEcho(['--commands', ...flags])
	try {
		await body(echo)
	} finally {
		await echo.stop()
	}
}
async function stats(ws) {
	ws.send(frame(OP.text, 'stats'))
	return JSON.parse(await ws.text())
}

describe('sizes', () => {
	const flags = ['--max-message=1000']
	test('a message of the limit passes, one byte more is 1009', () =>
		withEcho(flags, async (echo) => {
			const ws = await WS.open(echo.port)
			await ws.roundTrip('x'.repeat(1000))
			ws.send(frame(OP.text, 'x'.repeat(1001)))
			assert.equal((await ws.closed()).code, 1009)
		}))
	test('fragments are counted together', () =>
		withEcho(flags, async (echo) => {
			const ws = await WS.open(echo.port)
			ws.send(frame(OP.text, 'x'.repeat(600), { fin: false }), frame(OP.cont, 'x'.repeat(400)))
			assert.equal((await ws.text()).length, 1000)
			ws.send(frame(OP.text, 'x'.repeat(600), { fin: false }), frame(OP.cont, 'x'.repeat(401), { fin: false }))
			assert.equal((await ws.closed()).code, 1009)
		}))
	test('a length of exabytes is 1009 at its header', () =>
		withEcho(flags, async (echo) => {
			const ws = await WS.open(echo.port)
			ws.send(Buffer.from([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]))
			assert.equal((await ws.closed()).code, 1009)
		}))
	test('a client that goes on sending what was too big still reads 1009', () =>
		withEcho(flags, async (echo) => {
			const ws = await WS.open(echo.port)
			ws.send(frame(OP.text, 'x'.repeat(500000)))
			assert.equal((await ws.closed()).code, 1009)
		}))
	test('binary is 1003 where it is not wanted', () =>
		withEcho(['--no-binary'], async (echo) => {
			const ws = await WS.open(echo.port)
			ws.send(frame(OP.binary, 'x'))
			assert.equal((await ws.closed()).code, 1003)
		}))
})

describe('numbers', () => {
	test('a client beyond max_connections gets 503, and gets in when one leaves', () =>
		withEcho(['--max-connections=3'], async (echo) => {
			const clients = []
			for (let i = 0; i < 3; i++) clients.push(await WS.open(echo.port))
			const error = await WS.open(echo.port).catch((e) => e)
			assert.equal(error.answer?.status, 503)
			assert.equal(error.answer.headers.connection, 'close')
			await clients[1].roundTrip()
			clients[0].destroy()
			const end = Date.now() + patience
			for (;;) {
				const got = await WS.open(echo.port).catch((e) => e)
				if (got instanceof WS) { got.destroy(); break }
				assert.ok(Date.now() < end, 'the place never became free')
			}
			for (const client of clients) client.destroy()
		}))
	test('a flood of connections is survived', () =>
		withEcho([], async (echo) => {
			const watcher = await WS.open(echo.port)
			for (let round = 0; round < 10; round++) {
				const raws = await Promise.all(Array.from({ length: 200 }, () => Raw.open(echo.port)))
				for (const [i, raw] of raws.entries()) {
					if (i % 3 === 0) raw.socket.resetAndDestroy()
					else if (i % 3 === 1) { raw.send('GET / HTTP/1.1\r\n'); raw.destroy() }
					else raw.destroy()
				}
				await watcher.roundTrip(`round ${round}`)
			}
			const end = Date.now() + patience
			while ((await stats(watcher)).connections !== 1) assert.ok(Date.now() < end)
			watcher.destroy()
		}))
	test('pings without end, and none of the pongs read, cost little memory', () =>
		withEcho(['--send-timeout=60000'], async (echo) => {
			const watcher = await WS.open(echo.port)
			const before = (await stats(watcher)).heap
			const flood = await WS.open(echo.port)
			flood.socket.pause()
			const pings = Buffer.concat(Array.from({ length: 500 }, () => frame(OP.ping, 'x'.repeat(125))))
			for (let i = 0; i < 500; i++) flood.socket.write(pings)
			let last = 0
			for (let i = 0; i < 20; i++) {
				await new Promise((resolve) => setTimeout(resolve, 50))
				last = (await stats(watcher)).heap
			}
			assert.ok(last - before < 2e6, `${last - before} bytes`)
			flood.destroy()
			watcher.destroy()
		}))
	test('tiny fragments without end cost no more than the message', () =>
		withEcho(['--max-message=65536'], async (echo) => {
			const ws = await WS.open(echo.port)
			ws.send(frame(OP.text, 'x', { fin: false }))
			const many = Buffer.concat(Array.from({ length: 10000 }, () => frame(OP.cont, 'x', { fin: false })))
			for (let i = 0; i < 7; i++) ws.send(many)
			assert.equal((await ws.closed()).code, 1009)
		}))
})

describe('many clients', () => {
	test('descriptors run out: new clients wait, the others are served, the log says it once', async () => {
		process.env.NET_UNDER_SAVED = process.env.NET_UNDER ?? ''
		process.env.NET_UNDER = `prlimit --nofile=60:60 ${process.env.NET_UNDER_SAVED}`
		let echo
		try {
			echo = await startEcho(['--commands'])
		} finally {
			process.env.NET_UNDER = process.env.NET_UNDER_SAVED
		}
		try {
			const first = await WS.open(echo.port)
			const raws = await Promise.all(Array.from({ length: 100 }, () => Raw.open(echo.port)))
			for (let i = 0; i < 20; i++) await first.roundTrip(`while full ${i}`)
			for (const raw of raws) raw.destroy()
			const late = await WS.open(echo.port)
			await late.roundTrip()
			await echo.logged('new clients have to wait')
			assert.equal(echo.log().split('new clients have to wait').length - 1, 1)
			first.destroy()
			late.destroy()
		} finally {
			await echo.stop()
		}
	})
	const crowd = process.env.NET_SLOW ? 300 : 5000
	test(`${crowd} clients get 1001 at the stop, and none of them delays it`, async (t) => {
		const echo = await startEcho([])
		const clients = []
		for (let i = 0; i < crowd; i += 250)
			clients.push(...await Promise.all(Array.from({ length: Math.min(250, crowd - i) }, () => WS.open(echo.port))))
		const codes = new Map()
		const answer = frame(OP.close, closePayload(1001))
		const gone = clients.map((ws) => new Promise((resolve) => {
			// As little work as can be: they share the processor with the server.
			ws.socket.removeAllListeners('data').on('data', (data) => {
				const code = data[0] === 0x88 ? data.readUInt16BE(2) : `${data[0]}`
				codes.set(code, (codes.get(code) ?? 0) + 1)
				ws.socket.end(answer)
			}).on('close', resolve)
		}))
		const began = Date.now()
		await echo.stop()
		const took = Date.now() - began
		await Promise.all(gone)
		assert.deepEqual([...codes], [[1001, crowd]])
		t.diagnostic(`stopped in ${took} ms`)
	})
	test('a stop does not wait for those who do not read', async () => {
		const echo = await startEcho(['--commands'])
		const slow = await WS.open(echo.port)
		slow.socket.pause()
		slow.send(frame(OP.text, 'push 100 200000'))
		const silent = await WS.open(echo.port)
		silent.socket.pause()
		const half = await Raw.open(echo.port)
		half.send('GET / HT')
		await new Promise((resolve) => setTimeout(resolve, 300))
		await echo.stop()
		for (const raw of [slow, silent, half]) raw.destroy()
	})
	test('large frames shared by slow readers arrive whole', () =>
		withEcho(['--send-timeout=60000'], async (echo) => {
			const sizes = [65535, 65536, 200000, 1000000]
			const readers = await Promise.all(Array.from({ length: 12 }, () => WS.open(echo.port)))
			const expected = (size, number) => {
				let text = `#${number} `
				while (text.length < size) text += `${text.length},`
				return text.slice(0, size)
			}
			for (const [i, ws] of readers.entries()) {
				if (i % 3 === 0) continue
				ws.nap = setInterval(() => {
					ws.socket.pause()
					setTimeout(() => ws.socket.resume(), 5 + i)
				}, 10 + i)
			}
			for (const size of sizes) readers[0].send(frame(OP.text, `push 5 ${size}`))
			await Promise.all(readers.map(async (ws) => {
				for (const size of sizes)
					for (let n = 0; n < 5; n++) {
						const got = await ws.text()
						assert.ok(got === expected(size, n), `frame ${n} of ${size} bytes, got ${got.length}: ${got.slice(0, 40)}`)
					}
				clearInterval(ws.nap)
				ws.destroy()
			}))
		}))
	test('a ping is answered between shared frames', () =>
		withEcho([], async (echo) => {
			const ws = await WS.open(echo.port)
			ws.send(frame(OP.text, 'push 50 300000'), frame(OP.ping, 'now'))
			let texts = 0
			let pong
			while (texts < 50 || !pong) {
				const f = await ws.next()
				if (f.opcode === OP.pong) pong = f.payload.toString()
				else texts++
			}
			assert.equal(pong, 'now')
			ws.destroy()
		}))
})
