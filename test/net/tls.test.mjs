// TLS: what is spoken and what is not, large frames both ways, other certificates without dropping anybody, and clients that
// do not finish, do not begin or do not mean TLS.
import { after, before, describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { once } from 'node:events'
import { OP, Raw, WS, closePayload, frame, patience, startEcho, upgradeRequest } from './client.mjs'

const folder = mkdtempSync(path.join(tmpdir(), 'plank-tls-'))
const file = (name) => path.join(folder, name)
function certificate(name, ...kind) {
	execFileSync('openssl', ['req', '-x509', '-newkey', ...kind, '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost',
		'-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)], { stdio: 'ignore' })
	chmodSync(file(`${name}.key`), 0o600)
	return [file(`${name}.crt`), file(`${name}.key`)]
}
const [crt, key] = certificate('one', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1')
const [, sameKindKey] = certificate('three', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1')
const [otherCrt, otherKey] = certificate('two', 'rsa:2048')

let echo
before(async () => { echo = await startEcho(['--commands', `--cert=${crt}`, `--key=${key}`, '--handshake-timeout=60000']) })
after(async () => {
	rmSync(folder, { recursive: true })
	await echo.stop()
})
const open = (options = {}) => WS.open(echo.port, { secure: {}, ...options })
const ask = async (ws, text) => { ws.send(frame(OP.text, text)); return ws.text() }

describe('what is spoken', () => {
	for (const version of ['TLSv1.2', 'TLSv1.3']) {
		test(version, async () => {
			const ws = await open({ secure: { minVersion: version, maxVersion: version } })
			assert.equal(ws.socket.getProtocol(), version)
			await ws.roundTrip()
			ws.send(frame(OP.close, closePayload(1000)))
			assert.deepEqual(await ws.closed({ answer: false }), { code: 1000, reason: '' })
		})
	}
	test('nothing older than TLS 1.2', async () => {
		await assert.rejects(open({ secure: { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } }))
	})
	test('no cipher without forward secrecy', async () => {
		await assert.rejects(open({ secure: { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256:AES256-SHA' } }))
		await assert.rejects(open({ secure: { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' } }))
	})
	test('ALPN: http/1.1 among others, and not h2 alone', async () => {
		assert.equal((await open({ secure: { ALPNProtocols: ['h2', 'http/1.1'] } })).socket.alpnProtocol, 'http/1.1')
		assert.equal((await open()).socket.alpnProtocol, false)
		await assert.rejects(open({ secure: { ALPNProtocols: ['h2'] } }))
	})
	test('a session is resumed with its ticket', async () => {
		for (const version of ['TLSv1.2', 'TLSv1.3']) {
			const first = await Raw.open(echo.port, undefined, { minVersion: version, maxVersion: version })
			first.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
			await first.response()
			const session = first.socket.getSession()
			first.destroy()
			const second = await open({ secure: { session, minVersion: version, maxVersion: version } })
			assert.equal(second.socket.isSessionReused(), true, version)
			second.destroy()
		}
	})
})

describe('bytes', () => {
	test('HTTP: two requests of one connection, a large answer, an end', async () => {
		const raw = await Raw.open(echo.port, undefined, {})
		raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
		assert.equal((await raw.response()).body, 'hello\n')
		assert.equal((await raw.response()).body.length, 3_000_000)
		await raw.end()
	})
	test('a frame of 8 MB comes back as it was, in whatever pieces it arrives', async () => {
		const ws = await open()
		const text = Array.from({ length: 800_000 }, (_, i) => `${i}`.padStart(10)).join('')
		const bytes = frame(OP.text, text)
		for (let at = 0; at < bytes.length; at += 1_234_567) ws.send(bytes.subarray(at, at + 1_234_567))
		assert.equal(await ws.text(), text)
		await ws.roundTrip()
		ws.destroy()
	})
	test('many frames at once stay in order', async () => {
		const ws = await open()
		ws.send(...Array.from({ length: 5000 }, (_, i) => frame(OP.text, `number ${i}`)))
		for (let i = 0; i < 5000; i += 1) assert.equal(await ws.text(), `number ${i}`)
		ws.destroy()
	})
	test('a handshake that comes byte by byte', async () => {
		const { Duplex } = await import('node:stream')
		const plain = await Raw.open(echo.port)
		const drop = new Duplex({
			read() {},
			write(chunk, encoding, done) {
				const step = (at) => (at < chunk.length ? plain.socket.write(chunk.subarray(at, at + 1), () => setImmediate(step, at + 1)) : done())
				step(0)
			},
		})
		plain.socket.on('data', (data) => drop.push(data))
		const tls = await import('node:tls')
		const secure = tls.connect({ socket: drop, rejectUnauthorized: false })
		await once(secure, 'secureConnect')
		secure.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
		const [answer] = await once(secure, 'data')
		assert.match(answer.toString(), /^HTTP\/1.1 200 OK/)
		plain.destroy()
	})
	test('a client that takes nothing is closed with 4008, and others are served meanwhile', async () => {
		// Of its own: what is pushed goes to every client.
		const own = await startEcho(['--commands', `--cert=${crt}`, `--key=${key}`, '--send-timeout=3000', '--send-buffer=100000'])
		const [victim, other] = [await WS.open(own.port, { secure: {} }), await WS.open(own.port, { secure: {} })]
		victim.socket.pause()
		for (let round = 0; round < 20; round += 1) {
			other.send(frame(OP.text, 'push 10 100000'))
			for (let i = 0; i < 10; i += 1) await other.text()
		}
		for (const end = Date.now() + patience; JSON.parse(await ask(other, 'stats')).too_slow < 1;) {
			assert.ok(Date.now() < end, 'the slow client was not closed')
			await new Promise((resolve) => setTimeout(resolve, 20))
		}
		victim.destroy()
		other.destroy()
		await own.stop()
	})
})

describe('certificates', () => {
	test('another one is for new clients, and those that are there stay', async () => {
		const old = await open()
		assert.equal(old.socket.getPeerCertificate().subject.CN, 'one')
		assert.equal(await ask(old, `tls ${otherCrt} ${otherKey}`), 'tls: ')
		const young = await open()
		assert.equal(young.socket.getPeerCertificate().subject.CN, 'two')
		await old.roundTrip()
		assert.equal(await ask(young, `tls ${crt} ${key}`), 'tls: ')
		await young.roundTrip()
		assert.equal((await open()).socket.getPeerCertificate().subject.CN, 'one')
		old.destroy()
		young.destroy()
	})
	test('bad files are told of, and the former stay', async () => {
		const ws = await open()
		writeFileSync(file('garbage'), 'garbage')
		writeFileSync(file('open.key'), execFileSync('cat', [key]))
		chmodSync(file('open.key'), 0o644)
		execFileSync('openssl', ['pkey', '-in', key, '-aes128', '-passout', 'pass:secret', '-out', file('locked.key')])
		chmodSync(file('locked.key'), 0o600)
		for (const [certificateFile, keyFile, why] of [[file('none'), key, /none" cannot be used for TLS: .*[Nn]o such file/], [crt, file('none'), /none" cannot .*No such file/], [file('garbage'), key, /garbage" cannot/],
			[crt, file('open.key'), /open.key" cannot be used for TLS: others may read it/], [crt, sameKindKey, /three.key" cannot be used for TLS: it is not the key of/], [crt, otherKey, /two.key" cannot be used for TLS: it is not the key of/], [crt, file('locked.key'), /locked.key" cannot/], [crt, folder, /not a regular file/]]) {
			assert.match(await ask(ws, `tls ${certificateFile} ${keyFile}`), why)
		}
		assert.equal((await open()).socket.getPeerCertificate().subject.CN, 'one')
		ws.destroy()
	})
	test('TLS is switched off and on, for new clients', async () => {
		const secure = await open()
		assert.equal(await ask(secure, 'tls'), 'tls: ')
		const plain = await WS.open(echo.port)
		assert.equal(await ask(plain, `tls ${crt} ${key}`), 'tls: ')
		await plain.roundTrip()
		await secure.roundTrip()
		await assert.rejects(WS.open(echo.port))
		plain.destroy()
		secure.destroy()
	})
})

describe('who does not speak TLS', () => {
	test('plain HTTP gets a plain answer and an end', async () => {
		for (const request of ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'G', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n', upgradeRequest()]) {
			const raw = await Raw.open(echo.port)
			raw.send(request)
			const { status, body, headers } = await raw.response()
			assert.equal(status, 400)
			assert.equal(headers.connection, 'close')
			assert.match(body, /speaks TLS: use https:\/\/ or wss:\/\//)
			await raw.end()
		}
	})
	test('nonsense gets an alert or nothing, and an end', async () => {
		for (const bytes of [Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]), Buffer.alloc(1000, 0x16), Buffer.alloc(100), Buffer.from([0x80, 0x2e, 1, 0, 2]), Buffer.alloc(70000, 0xff), Buffer.from([0x15, 3, 3, 0, 2, 2, 40])]) {
			const raw = await Raw.open(echo.port)
			raw.send(bytes)
			await raw.end()
		}
	})
	test('records that are changed on their way end the connection', async () => {
		const ws = await open()
		await ws.roundTrip()
		const { net } = { net: await import('node:net') }
		const proxy = net.createServer((client) => {
			const server = net.connect(echo.port, '127.0.0.1')
			server.pipe(client)
			client.on('data', (data) => {
				if (data[0] === 0x17 && client.broken) data[data.length - 1] ^= 1
				server.write(data)
			})
			for (const each of [client, server]) each.on('error', () => {}).on('close', () => { client.destroy(); server.destroy() })
			proxy.client = client
		}).listen(0, '127.0.0.1')
		await once(proxy, 'listening')
		const victim = await WS.open(proxy.address().port, { secure: {} })
		await victim.roundTrip()
		proxy.client.broken = true
		victim.send(frame(OP.text, 'changed'))
		await victim.end()
		proxy.close()
		await ws.roundTrip()
		ws.destroy()
	})
	test('a handshake must be complete in time, and so must a head, which gets 408 within TLS', async () => {
		const own = await startEcho([`--cert=${crt}`, `--key=${key}`, `--handshake-timeout=${process.env.NET_SLOW ? 20000 : 4000}`])
		const silent = await Raw.open(own.port)
		const half = await Raw.open(own.port)
		half.send(Buffer.from([0x16, 3, 1, 0x02, 0x00, 1, 0, 1, 0xfc, 3, 3]))
		const raw = await Raw.open(own.port, undefined, {})
		raw.send('GET / HT')
		assert.equal((await raw.response()).status, 408)
		await Promise.all([silent.end(), half.end(), raw.end()])
		await own.stop()
	})
})

test('the server stops with 1001 and goodbye', async () => {
	const own = await startEcho([`--cert=${crt}`, `--key=${key}`])
	const ws = await WS.open(own.port, { secure: {} })
	own.signal('SIGTERM')
	assert.equal((await ws.closed()).code, 1001)
	await own.stop()
})

test('no certificate without its key', async () => {
	await assert.rejects(startEcho([`--cert=${crt}`]), /cannot be used for TLS/)
})
