// RFC 6455 section 5, frame by frame: what must be accepted is echoed, what must be refused ends with the right code.
import { after, before, describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { OP, WS, frame, startEcho } from './client.mjs'

let echo
before(async () => { echo = await startEcho() })
after(() => echo.stop())

// Sends `parts` on a new connection and expects the close code.
async function refused(code, ...parts) {
	const ws = await WS.open(echo.port)
	ws.send(...parts)
	assert.equal((await ws.closed()).code, code)
	return ws
}

describe('lengths', () => {
	for (const size of [0, 1, 125, 126, 127, 128, 4096, 65534, 65535, 65536, 65537, 131072, 1000003])
		test(`a text of ${size} bytes comes back`, async () => {
			const ws = await WS.open(echo.port)
			const text = 'abcdefghij'.repeat(Math.ceil(size / 10)).slice(0, size)
			await ws.roundTrip(text)
			ws.destroy()
		})
	for (const size of [0, 125, 126, 65535, 65536])
		test(`a binary message of ${size} bytes comes back as binary`, async () => {
			const ws = await WS.open(echo.port)
			const bytes = Buffer.alloc(size, 0xfe)
			ws.send(frame(OP.binary, bytes))
			const got = await ws.next()
			assert.equal(got.opcode, OP.binary)
			assert.ok(got.payload.equals(bytes))
			ws.destroy()
		})
	test('a length that is not in its shortest form is 1002', async () => {
		await refused(1002, frame(OP.text, 'x', { wide: 16 }))
		await refused(1002, frame(OP.text, 'x', { wide: 64 }))
		await refused(1002, frame(OP.text, 'x'.repeat(200), { wide: 64 }))
	})
	test('a length with its highest bit set is 1002', () =>
		refused(1002, Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4])))
	test('what the server sends is not masked and has no reserved bits', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'x'))
		const got = await ws.next()
		assert.deepEqual([got.masked, got.rsv, got.fin], [false, 0, true])
		ws.destroy()
	})
	test('a frame that arrives byte by byte is read', async () => {
		const ws = await WS.open(echo.port)
		for (const byte of frame(OP.text, 'ünïcode')) {
			ws.send(Buffer.from([byte]))
			await new Promise((resolve) => setImmediate(resolve))
		}
		assert.equal(await ws.text(), 'ünïcode')
		ws.destroy()
	})
	test('a thousand messages in one write come back in order', async () => {
		const ws = await WS.open(echo.port)
		ws.send(...Array.from({ length: 1000 }, (_, i) => frame(OP.text, `message ${i}`)))
		for (let i = 0; i < 1000; i++) assert.equal(await ws.text(), `message ${i}`)
		ws.destroy()
	})
})

describe('masking, reserved bits, opcodes', () => {
	test('an unmasked frame is 1002', () => refused(1002, frame(OP.text, 'x', { masked: false })))
	test('an unmasked ping is 1002', () => refused(1002, frame(OP.ping, '', { masked: false })))
	test('a mask of zeros is a mask', async () => {
		const ws = await WS.open(echo.port)
		ws.send(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
		assert.equal(await ws.text(), 'hi')
		ws.destroy()
	})
	for (let rsv = 1; rsv <= 7; rsv++)
		test(`reserved bits ${rsv.toString(2).padStart(3, '0')} are 1002`, async () => {
			await refused(1002, frame(OP.text, 'x', { rsv }))
			await refused(1002, frame(OP.ping, 'x', { rsv }))
			await refused(1002, frame(OP.text, 'a', { fin: false }), frame(OP.cont, 'b', { rsv }))
		})
	test('reserved bits are refused at the first byte', async () => {
		const ws = await WS.open(echo.port)
		ws.send(Buffer.from([0xc1]))
		assert.equal((await ws.closed()).code, 1002)
	})
	for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
		test(`opcode ${opcode} is 1002`, async () => {
			await refused(1002, frame(opcode, ''))
			await refused(1002, frame(opcode, 'payload'))
		})
	test('messages before a bad frame are answered', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'good'), frame(5, 'bad'))
		const codes = []
		codes.push((await ws.next()).payload.toString())
		codes.push((await ws.closed()).code)
		assert.deepEqual(codes, ['good', 1002])
	})
	test('nothing after a bad frame is answered', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(5, 'bad'), frame(OP.text, 'good'), frame(OP.ping, 'good'))
		assert.equal((await ws.closed()).code, 1002)
	})
})

describe('fragments', () => {
	test('a message in three fragments is one message', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'one ', { fin: false }), frame(OP.cont, 'two ', { fin: false }), frame(OP.cont, 'three'))
		assert.equal(await ws.text(), 'one two three')
		ws.destroy()
	})
	test('empty fragments are fragments', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, '', { fin: false }), frame(OP.cont, '', { fin: false }), frame(OP.cont, ''))
		assert.equal(await ws.text(), '')
		ws.send(frame(OP.text, '', { fin: false }), frame(OP.cont, 'middle', { fin: false }), frame(OP.cont, ''))
		assert.equal(await ws.text(), 'middle')
		ws.destroy()
	})
	test('pings between fragments are answered at once and change nothing', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'be', { fin: false }), frame(OP.ping, 'p1'), frame(OP.cont, 'twe', { fin: false }))
		assert.equal((await ws.next()).payload.toString(), 'p1')
		ws.send(frame(OP.ping, ''), frame(OP.pong, 'unasked'), frame(OP.cont, 'en'))
		assert.equal((await ws.next()).opcode, OP.pong)
		assert.equal(await ws.text(), 'between')
		ws.destroy()
	})
	test('fragments of one byte each, sent apart', async () => {
		const ws = await WS.open(echo.port)
		const text = 'κόσμε and more'
		const bytes = Buffer.from(text)
		for (let i = 0; i < bytes.length; i++)
			ws.send(frame(i ? OP.cont : OP.text, bytes.subarray(i, i + 1), { fin: i === bytes.length - 1 }))
		assert.equal(await ws.text(), text)
		ws.destroy()
	})
	test('a binary message in fragments', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.binary, Buffer.from([0, 255]), { fin: false }), frame(OP.cont, Buffer.from([254])))
		const got = await ws.next()
		assert.deepEqual([got.opcode, ...got.payload], [OP.binary, 0, 255, 254])
		ws.destroy()
	})
	test('a continuation without a start is 1002', async () => {
		await refused(1002, frame(OP.cont, 'x'))
		await refused(1002, frame(OP.cont, 'x', { fin: false }))
	})
	test('a continuation after a finished message is 1002', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'a', { fin: false }), frame(OP.cont, 'b'), frame(OP.cont, 'c'))
		assert.equal(await ws.text(), 'ab')
		assert.equal((await ws.closed()).code, 1002)
	})
	test('a message that begins inside another is 1002', async () => {
		await refused(1002, frame(OP.text, 'a', { fin: false }), frame(OP.text, 'b'))
		await refused(1002, frame(OP.text, 'a', { fin: false }), frame(OP.binary, 'b'))
		await refused(1002, frame(OP.binary, 'a', { fin: false }), frame(OP.text, 'b', { fin: false }))
	})
})

describe('control frames', () => {
	test('ten pings in a row are answered in order', async () => {
		const ws = await WS.open(echo.port)
		ws.send(...Array.from({ length: 10 }, (_, i) => frame(OP.ping, `payload-${i}`)))
		for (let i = 0; i < 10; i++) {
			const got = await ws.next()
			assert.deepEqual([got.opcode, got.payload.toString()], [OP.pong, `payload-${i}`])
		}
		await ws.roundTrip()
		ws.destroy()
	})
	test('ten pings in a row, byte by byte', async () => {
		const ws = await WS.open(echo.port)
		for (let i = 0; i < 10; i++)
			for (const byte of frame(OP.ping, `p${i}`)) ws.send(Buffer.from([byte]))
		for (let i = 0; i < 10; i++) assert.equal((await ws.next()).payload.toString(), `p${i}`)
		ws.destroy()
	})
	test('ten thousand pings in one write are answered', async () => {
		const ws = await WS.open(echo.port)
		ws.send(...Array.from({ length: 10000 }, (_, i) => frame(OP.ping, String(i))))
		for (let i = 0; i < 10000; i++) assert.equal((await ws.next()).payload.toString(), String(i))
		ws.destroy()
	})
	test('a ping of 0 and of 125 bytes comes back', async () => {
		const ws = await WS.open(echo.port)
		for (const payload of [Buffer.alloc(0), Buffer.alloc(125, 0xfe)]) {
			ws.send(frame(OP.ping, payload))
			const got = await ws.next()
			assert.equal(got.opcode, OP.pong)
			assert.ok(got.payload.equals(payload))
		}
		ws.destroy()
	})
	test('an unasked pong is ignored', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.pong, 'unasked'), frame(OP.pong, ''))
		await ws.roundTrip()
		ws.destroy()
	})
	for (const opcode of [OP.ping, OP.pong, OP.close]) {
		test(`control frame ${opcode} of 126 bytes is 1002`, () => refused(1002, frame(opcode, 'x'.repeat(126))))
		test(`control frame ${opcode} with a 64-bit length is 1002`, () =>
			refused(1002, frame(opcode, 'x'.repeat(10), { wide: 64 })))
		test(`control frame ${opcode} in fragments is 1002`, () => refused(1002, frame(opcode, '', { fin: false })))
	}
})
