// The listening sockets: several addresses, changed at run time without touching clients, failures told one by one.
import { after, before, describe, test } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import { once } from 'node:events'
import { OP, WS, frame, startEcho } from './client.mjs'

let echo
let client
before(async () => {
	echo = await startEcho(['--commands'])
	client = await WS.open(echo.port)
})
after(async () => {
	client.destroy()
	await echo.stop()
})

async function listen(...addresses) {
	client.send(frame(OP.text, `listen ${addresses.join(' ')}`))
	return client.text()
}
// Below the ports that the system gives to whoever asks for any.
async function freePort() {
	for (;;) {
		const port = 10_000 + Math.floor(Math.random() * 22_000)
		const probe = net.createServer().listen(port, '127.0.0.1')
		if (await once(probe, 'listening').then(() => true, () => false)) {
			probe.close()
			await once(probe, 'close')
			return port
		}
	}
}
const reachable = (host, port) => WS.open(port, { host }).then((ws) => { ws.destroy(); return true }, () => false)

describe('addresses', () => {
	test('localhost is both families, on one port', async () => {
		assert.equal(await reachable('127.0.0.1', echo.port), true)
		assert.equal(await reachable('::1', echo.port), true)
	})
	test('an address is taken away and another added; clients and the rest stay', async () => {
		const port = await freePort()
		assert.equal(await listen('localhost:0', `127.0.0.1:${port}`), `port ${echo.port}`)
		assert.equal(await reachable('127.0.0.1', port), true)
		assert.equal(await reachable('127.0.0.1', echo.port), true)
		assert.equal(await listen('localhost:0'), `port ${echo.port}`)
		assert.equal(await reachable('127.0.0.1', port), false)
		assert.equal(await reachable('127.0.0.1', echo.port), true)
	})
	test('a port in use and an unknown host are told, and the others listen', async () => {
		const taken = net.createServer().listen(0, '127.0.0.1')
		await once(taken, 'listening')
		const { port } = taken.address()
		// No resolver is asked about a name that cannot be one.
		const unknown = 'x'.repeat(64)
		const said = await listen('localhost:0', `127.0.0.1:${port}`, `${unknown}:1`, '192.0.2.1:0')
		const lines = said.split('\n')
		assert.ok(lines.includes(`could not listen on address "127.0.0.1", port ${port}: Address already in use`), said)
		assert.ok(lines.some((line) => line.startsWith(`could not listen on address "${unknown}", port 1: `)), said)
		assert.ok(lines.includes('could not listen on address "192.0.2.1", port 0: Cannot assign requested address'), said)
		assert.equal(lines.length, 4)
		assert.equal(await reachable('127.0.0.1', echo.port), true)
		taken.close()
	})
	test('a star is every address', async () => {
		const said = await listen('*:0')
		const port = Number(/^port (\d+)$/.exec(said)[1])
		assert.equal(await reachable('127.0.0.1', port), true)
		assert.equal(await reachable('127.0.0.2', port), true)
		assert.equal(await reachable('::1', port), true)
		await client.roundTrip()
	})
})
