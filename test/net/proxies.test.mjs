// Unix-domain sockets, whom X-Forwarded-For is believed from, and how often one address may come.
import { after, before, describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { OP, Raw, WS, frame, startEcho } from './client.mjs'

const folder = mkdtempSync(path.join(tmpdir(), 'plank-unix-'))
after(() => rmSync(folder, { recursive: true }))
const ask = async (ws, text) => { ws.send(frame(OP.text, text)); return ws.text() }
const peer = async (port, forwarded, host) => {
	const lines = [forwarded ?? []].flat().map((value) => `X-Forwarded-For: ${value}\r\n`)
	const ws = await WS.open(port, { headers: lines.join(''), host })
	const told = await ask(ws, 'peer')
	ws.destroy()
	return told.replace('peer ', '')
}

describe('Unix-domain sockets', () => {
	let echo
	let control
	const socket = path.join(folder, '.s.plank.1')
	before(async () => {
		echo = await startEcho(['--commands'])
		control = await WS.open(echo.port)
	})
	after(() => echo.stop())
	const listen = (...addresses) => ask(control, `listen localhost:0 ${addresses.join(' ')}`)
	test('is listened on beside the port, has no address, and is gone when it is no longer wanted', async () => {
		assert.equal(await listen(socket), `port ${echo.port}`)
		assert.equal(statSync(socket).mode & 0o777, 0o777)
		const ws = await WS.open(0, { host: socket })
		assert.equal(await ask(ws, 'peer'), 'peer ')
		const text = 'x'.repeat(4_000_000)
		assert.equal(await ask(ws, text), text)
		assert.equal(await listen(), `port ${echo.port}`)
		assert.equal(existsSync(socket), false)
		await ws.roundTrip()
		ws.destroy()
	})
	test('one that a dead server left behind is replaced; a living one and other files are not', async () => {
		const dead = await startEcho(['--commands'])
		const ws = await WS.open(dead.port)
		await ask(ws, `listen localhost:0 ${socket}`)
		assert.match(await listen(socket), /could not listen on Unix-domain socket ".*": Address already in use/)
		dead.signal('SIGKILL')
		await dead.exited()
		assert.equal(existsSync(socket), true)
		assert.equal(await listen(socket), `port ${echo.port}`)
		;(await WS.open(0, { host: socket })).destroy()
		writeFileSync(path.join(folder, 'file'), 'mine')
		assert.match(await listen(path.join(folder, 'file')), /Address already in use/)
		assert.equal(existsSync(path.join(folder, 'file')), true)
		assert.match(await listen(path.join(folder, 'x'.repeat(200))), /the path is too long/)
		assert.match(await listen('/no/such/folder/x'), /No such file or directory/)
	})
})

describe('X-Forwarded-For', () => {
	let echo
	before(async () => { echo = await startEcho(['--commands', '--proxies=127.0.0.1, 10.0.0.0/8, 2001:db8::/32, unix']) })
	after(() => echo.stop())
	test('the last that is no trusted proxy is the client', async () => {
		for (const [forwarded, client] of [[undefined, '127.0.0.1'], ['192.0.2.1', '192.0.2.1'], ['6.6.6.6, 192.0.2.1', '192.0.2.1'], ['192.0.2.1, 10.1.2.3', '192.0.2.1'],
			['192.0.2.1, 2001:db8:1::1 , 10.0.0.1', '192.0.2.1'], [['6.6.6.6', '192.0.2.1', '10.9.9.9'], '192.0.2.1'], ['10.0.0.1, 10.0.0.2', '10.0.0.1'], ['192.0.2.1:4711', '192.0.2.1'],
			['2001:DB9::0:1', '2001:db9::1'], ['[2001:db9::1]:99', '2001:db9::1'], ['"[2001:db9::1]:99"', '2001:db9::1'], ['::ffff:192.0.2.7', '192.0.2.7'], ['11.0.0.0', '11.0.0.0']]) {
			assert.equal(await peer(echo.port, forwarded), client, `${forwarded}`)
		}
	})
	test('what is no address ends the search, and is never shown', async () => {
		for (const forwarded of ['unknown', '_hidden', '', ',', '192.0.2.1, unknown', '192.0.2.300', '192.0.2.1 evil', 'x'.repeat(8000), '192.0.2.1,']) assert.equal(await peer(echo.port, forwarded), '127.0.0.1', forwarded.slice(0, 40))
	})
	test('it is not believed from others', async () => {
		assert.equal(await peer(echo.port, '192.0.2.1', '::1'), '::1')
		const none = await startEcho(['--commands'])
		assert.equal(await peer(none.port, '192.0.2.1'), '127.0.0.1')
		await none.stop()
	})
	test('a Unix-domain socket is a proxy when the list says so', async () => {
		const socket = path.join(folder, 'proxy')
		const control = await WS.open(echo.port)
		await ask(control, `listen localhost:0 ${socket}`)
		assert.equal(await peer(0, '192.0.2.1', socket), '192.0.2.1')
		assert.equal(await peer(0, undefined, socket), '')
		control.destroy()
	})
	test('entries that cannot be read are told', async () => {
		const own = await startEcho(['--proxies=10.0.0.0/33, 10.0.0.0/, ::/129, fred, 10.0.0.0/8x, ::1,'])
		for (const bad of ['10.0.0.0/33', '10.0.0.0/', '::/129', 'fred', '10.0.0.0/8x']) await own.logged(`not an address: ${bad}\n`)
		assert.ok(!own.log().includes('::1\n'))
		await own.stop()
	})
})

describe('connection rate', () => {
	let echo
	before(async () => { echo = await startEcho(['--commands', '--proxies=127.0.0.1', '--connection-rate=1']) })
	after(() => echo.stop())
	const come = async (forwarded) => {
		const ws = await WS.open(echo.port, { headers: `X-Forwarded-For: ${forwarded}\r\n` }).catch(({ answer }) => answer)
		ws.destroy?.()
		return ws.status ?? 101
	}
	// One a second is let in meanwhile, however long each takes; of so many at once not all are.
	const many = (count, address) => Promise.all(Array.from({ length: count }, (_, i) => come(address(i))))
	test('ten seconds\' worth may come at once, then 429, and others still come', async () => {
		assert.deepEqual(await many(10, () => '192.0.2.1'), Array(10).fill(101))
		const got = await many(60, () => '192.0.2.1')
		assert.ok(got.includes(429), `${got}`)
		assert.equal(await come('192.0.2.2'), 101)
	})
	test('an IPv6 network of 64 bits counts as one', async () => {
		assert.ok((await many(70, (i) => `2001:db8::${i + 1}`)).includes(429))
		assert.equal(await come('2001:db8:0:1::1'), 101)
	})
	test('this machine itself is not counted', async () => {
		assert.deepEqual(await many(70, () => '127.0.0.9'), Array(70).fill(101))
		for (let i = 0; i < 15; i += 1) (await WS.open(echo.port, { host: '::1' })).destroy()
		const raw = await Raw.open(echo.port)
		raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
		assert.equal((await raw.response()).status, 200)
		raw.destroy()
	})
	test('it is logged, in few lines', async () => {
		await echo.logged('more than plank.connection_rate come from 192.0.2.1')
	})
})
