// The close handshake, from both sides: codes, reasons, who ends what, and what happens to what was on its way.
import { after, before, describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { OP, WS, closePayload, frame, startEcho } from './client.mjs'

let echo
before(async () => { echo = await startEcho(['--commands']) })
after(() => echo.stop())

async function answered(payload) {
	const ws = await WS.open(echo.port)
	ws.send(frame(OP.close, payload))
	return ws.closed({ answer: false })
}

describe('begun by the client', () => {
	for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
		test(`code ${code} is echoed`, async () => assert.equal((await answered(closePayload(code, 'bye'))).code, code))
	for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
		test(`code ${code} is 1002`, async () => assert.equal((await answered(closePayload(code))).code, 1002))
	test('no code is answered with none', async () => assert.equal((await answered('')).code, 0))
	test('half a code is 1002', async () => assert.equal((await answered(Buffer.from([3]))).code, 1002))
	test('a reason of 123 bytes is accepted', async () => assert.equal((await answered(closePayload(1000, 'x'.repeat(123)))).code, 1000))
	test('the server ends the connection by itself', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.close, closePayload(1000)))
		await ws.next()
		await ws.end()
		assert.equal(ws.reset, undefined)
	})
	test('nothing after the close frame is answered', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.close, closePayload(1000)), frame(OP.text, 'late'), frame(OP.ping, 'late'), frame(OP.close, closePayload(1001)))
		assert.equal((await ws.closed({ answer: false })).code, 1000)
	})
	test('a close frame between fragments is answered', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'half', { fin: false }), frame(OP.close, closePayload(1000)))
		assert.equal((await ws.closed({ answer: false })).code, 1000)
	})
	test('a close frame that arrives byte by byte', async () => {
		const ws = await WS.open(echo.port)
		for (const byte of frame(OP.close, closePayload(1000, 'slowly'))) ws.send(Buffer.from([byte]))
		assert.equal((await ws.closed({ answer: false })).code, 1000)
	})
	test('a client that only ends its side is let go', async () => {
		const ws = await WS.open(echo.port)
		ws.socket.end()
		await ws.end()
	})
	test('a reset in the middle of a frame disturbs nobody', async () => {
		const other = await WS.open(echo.port)
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'x'.repeat(100), { length: 100000 }))
		ws.socket.resetAndDestroy()
		await other.roundTrip()
		other.destroy()
	})
})

describe('begun by the server', () => {
	test('the code and the reason arrive', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'close 4001'))
		assert.deepEqual(await ws.closed(), { code: 4001, reason: 'asked for' })
	})
	test('a client that does not answer is cut after about two seconds', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'close 1008'))
		const began = Date.now()
		assert.equal((await ws.closed({ answer: false })).code, 1008)
		const took = Date.now() - began
		assert.ok(took >= 1500, `cut after ${took} ms`)
	})
	test('messages that arrive after it are not delivered', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'close 1008'), frame(OP.text, 'echo me'), frame(OP.ping, 'me too'))
		assert.equal((await ws.closed()).code, 1008)
	})
	test('what waits is sent first when it drains', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'drain 40 300000 4001'))
		for (let i = 0; i < 40; i++) {
			const text = await ws.text()
			assert.equal(text.length, 300000)
			assert.ok(text.startsWith(`#${i} `))
		}
		assert.deepEqual(await ws.closed(), { code: 4001, reason: 'drained' })
	})
	test('an exception in the handler is 1011 for that client alone', async () => {
		const other = await WS.open(echo.port)
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, 'throw'))
		assert.equal((await ws.closed()).code, 1011)
		await other.roundTrip()
		other.destroy()
		await echo.logged("E exception in the network layer's handler: thrown on demand")
	})
	test('exceptions do not fill the log', async () => {
		for (let i = 0; i < 60; i++) {
			const ws = await WS.open(echo.port)
			ws.send(frame(OP.text, 'throw'))
			assert.equal((await ws.closed()).code, 1011)
		}
		const lines = echo.log().split('\n').filter((line) => line.includes('thrown on demand')).length
		assert.ok(lines < 40, `${lines} lines`)
	})
})
