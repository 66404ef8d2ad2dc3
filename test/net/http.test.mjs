// HTTP on the same port, and every way not to become a WebSocket.
import { after, before, describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { OP, Raw, WS, frame, startEcho, upgradeRequest } from './client.mjs'

let echo
before(async () => { echo = await startEcho(['--path=/ws']) })
after(() => echo.stop())

const get = (path = '/', extra = '', method = 'GET') => `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${extra}\r\n`

async function ask(request) {
	const raw = await Raw.open(echo.port)
	raw.send(request)
	const answer = await raw.response(request.startsWith('HEAD'))
	return Object.assign(answer, { raw })
}
// The status, and that the connection ends after it with nothing more.
async function refused(request, status) {
	const answer = await ask(request)
	assert.equal(answer.status, status)
	assert.equal(answer.headers.connection, 'close')
	assert.equal(await answer.raw.end(), '')
	return answer
}
// After each kind of abuse the server still serves.
const alive = async () => {
	const ws = await WS.open(echo.port, { path: '/ws' })
	await ws.roundTrip()
	ws.destroy()
}

describe('requests', () => {
	test('GET is answered with a length and without sniffing', async () => {
		const { status, headers, body, raw } = await ask(get())
		assert.deepEqual([status, body, headers['content-length'], headers['x-content-type-options']], [200, 'hello\n', '6', 'nosniff'])
		assert.equal(headers['content-type'], 'text/plain; charset=utf-8')
		raw.destroy()
	})
	test('HEAD has the same head and no body', async () => {
		const { status, headers, raw } = await ask(get('/', '', 'HEAD'))
		assert.deepEqual([status, headers['content-length']], [200, '6'])
		raw.send(get('/', 'Connection: close\r\n'))
		assert.equal((await raw.response()).body, 'hello\n')
		assert.equal(await raw.end(), '')
	})
	test('a connection serves one request after another', async () => {
		const raw = await Raw.open(echo.port)
		for (let i = 0; i < 20; i++) {
			raw.send(get('/', `X-Number: ${i}\r\n`))
			assert.equal((await raw.response()).body, 'hello\n')
		}
		raw.destroy()
	})
	test('pipelined requests are answered in order', async () => {
		const raw = await Raw.open(echo.port)
		raw.send(get('/'), get('/missing'), get('/large'), get('/'))
		const answers = []
		for (let i = 0; i < 4; i++) answers.push(await raw.response())
		assert.deepEqual(answers.map((a) => a.status), [200, 404, 200, 200])
		assert.equal(answers[2].body.length, 3000000)
		raw.destroy()
	})
	test('a request that arrives byte by byte is read', async () => {
		const raw = await Raw.open(echo.port)
		for (const byte of Buffer.from(get())) raw.send(Buffer.from([byte]))
		assert.equal((await raw.response()).status, 200)
		raw.destroy()
	})
	test('empty lines before a request are forgiven', async () => assert.equal((await ask(`\r\n\r\n${get()}`)).status, 200))
	test('If-None-Match is answered with 304', async () => {
		for (const tags of ['"1"', 'W/"1"', '"0", "1"', '*']) {
			const { status, headers, raw } = await ask(get('/', `If-None-Match: ${tags}\r\n`))
			assert.deepEqual([status, headers.etag], [304, '"1"'])
			raw.send(get())
			assert.equal((await raw.response()).body, 'hello\n')
			raw.destroy()
		}
		assert.equal((await ask(get('/', 'If-None-Match: "2"\r\n'))).status, 200)
	})
	test('HTTP/1.0 is answered and closed', async () => {
		const answer = await ask('GET / HTTP/1.0\r\n\r\n')
		assert.equal(answer.body, 'hello\n')
		assert.equal(await answer.raw.end(), '')
	})
	test('a client that ends its side after the request gets the answer', async () => {
		const raw = await Raw.open(echo.port)
		raw.socket.end(get('/', 'Connection: close\r\n'))
		assert.match(await raw.end(), /^HTTP\/1.1 200 OK\r\n[^]*hello\n$/)
	})
	test('a body of 3 MB reaches a slow reader whole', async () => {
		const raw = await Raw.open(echo.port)
		raw.socket.pause()
		raw.send(get('/large', 'Connection: close\r\n'))
		await new Promise((resolve) => setTimeout(resolve, 300))
		raw.socket.resume()
		assert.equal((await raw.response()).body.length, 3000000)
		await raw.end()
	})
	test('an exception in the handler is 500', () => refused(get('/throw'), 500))
})

describe('refused requests', () => {
	for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'BREW'])
		test(`${method} is 405`, async () => assert.equal((await refused(get('/', '', method), 405)).headers.allow, 'GET, HEAD'))
	test('CONNECT is 405', () => refused('CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n', 405))
	test('an absolute URI is 400', () => refused('GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n', 400))
	test('an asterisk is 400', () => refused('GET * HTTP/1.1\r\nHost: localhost\r\n\r\n', 400))
	test('a body is 413', async () => {
		await refused(get('/', 'Content-Length: 5\r\n') + 'hello', 413)
		await refused(get('/', 'Transfer-Encoding: chunked\r\n') + '0\r\n\r\n', 413)
	})
	test('a head of 64 kB is 431', () => refused(get('/', `X-Large: ${'x'.repeat(65536)}\r\n`), 431))
	test('a head of 64 kB without an end is 431', () => refused(`GET / HTTP/1.1\r\nX: ${'x'.repeat(65536)}`, 431))
	test('a path of 20 kB is 431', () => refused(get(`/${'x'.repeat(20000)}`), 431))
	test('101 headers are 431', () => refused(get('/', 'X: y\r\n'.repeat(101)), 431))
	test('a head of 12 kB is served', async () => assert.equal((await ask(get('/', `Cookie: ${'x'.repeat(12000)}\r\n`))).status, 200))
	test('HTTP/2 with prior knowledge is refused', () => refused('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505))
	test('unknown versions are refused', async () => {
		await refused('GET / HTTP/3.0\r\nHost: x\r\n\r\n', 505)
		await refused('GET / HTTP/1\r\nHost: x\r\n\r\n', 400)
		await refused('GET /\r\n\r\n', 400)
	})
	for (const [name, request] of Object.entries({
		'no Host': 'GET / HTTP/1.1\r\n\r\n',
		'two Hosts': get('/', 'Host: evil\r\n'),
		'a Host with a path': 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
		'a folded header': get('/', 'X: a\r\n b\r\n'),
		'white space before the colon': get('/', 'X : a\r\n'),
		'a header without a colon': get('/', 'nonsense\r\n'),
		'a lone line feed': 'GET / HTTP/1.1\nHost: x\n\r\n\r\n',
		'a lone carriage return': get('/', 'X: a\rb\r\n'),
		'a zero byte': get('/', 'X: a\0b\r\n'),
		'a space in the path': get('/a b'),
		'two spaces': 'GET  / HTTP/1.1\r\nHost: x\r\n\r\n',
		'bytes that are no request': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
		'a length that is no number': get('/', 'Content-Length: -1\r\n'),
	}))
		test(`${name} is 400`, () => refused(request, 400))
	test('all this disturbed nobody', alive)
})

describe('upgrades', () => {
	test('the answer is the one of RFC 6455', async () => {
		const ws = await WS.open(echo.port, { path: '/ws' })
		assert.equal(ws.answer.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
		assert.equal(ws.answer.headers['sec-websocket-protocol'], undefined)
		assert.equal(ws.answer.headers['sec-websocket-extensions'], undefined)
		ws.destroy()
	})
	test('TLS on a port without it is answered at once', async () => {
		const raw = await Raw.open(echo.port)
		raw.send(Buffer.from([0x16, 3, 1, 0x02, 0x00, 1, 0, 1, 0xfc, 3, 3]))
		assert.equal((await raw.response()).status, 400)
		await raw.end(2000)
	})
	test('a query is not part of the path', async () => (await WS.open(echo.port, { path: '/ws?access_token=x' })).destroy())
	test('header names and tokens in any case', async () => {
		const raw = await Raw.open(echo.port)
		raw.send('GET /ws HTTP/1.1\r\nhost: x\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, uPGRADE\r\n' +
			'sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION: 13\r\n\r\n')
		assert.equal((await raw.response()).status, 101)
		raw.destroy()
	})
	for (const [offer, selected] of [
		['plank.v1', 'plank.v1'], ['plank.v1, plank.token.abc', 'plank.v1'], ['plank.token.abc.def-_x, plank.v1', 'plank.v1'],
		['other,plank.v1,another', 'plank.v1'], ['other', undefined], ['plank.v10', undefined], ['PLANK.V1', undefined],
	])
		test(`offering "${offer}" selects ${selected ?? 'none'}`, async () => {
			const ws = await WS.open(echo.port, { path: '/ws', headers: `Sec-WebSocket-Protocol: ${offer}\r\n` })
			assert.equal(ws.answer.headers['sec-websocket-protocol'], selected)
			await ws.roundTrip()
			ws.destroy()
		})
	test('subprotocols in two headers are one list', async () => {
		const ws = await WS.open(echo.port, { path: '/ws', headers: 'Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: plank.v1\r\n' })
		assert.equal(ws.answer.headers['sec-websocket-protocol'], 'plank.v1')
		ws.destroy()
	})
	test('extensions are not taken', async () => {
		const ws = await WS.open(echo.port, { path: '/ws', headers: 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n' })
		assert.equal(ws.answer.headers['sec-websocket-extensions'], undefined)
		ws.destroy()
	})
	test('frames sent together with the request are read', async () => {
		const raw = await Raw.open(echo.port)
		Object.setPrototypeOf(raw, WS.prototype)
		raw.send(upgradeRequest('', { path: '/ws' }), frame(OP.text, 'early'), frame(OP.ping, 'too'))
		assert.equal((await raw.response()).status, 101)
		const got = [await raw.next(), await raw.next()].map((f) => f.payload.toString()).sort()
		assert.deepEqual(got, ['early', 'too'])
		raw.destroy()
	})
	test('after ordinary requests on the same connection', async () => {
		const raw = await Raw.open(echo.port)
		Object.setPrototypeOf(raw, WS.prototype)
		raw.send(get())
		assert.equal((await raw.response()).status, 200)
		raw.send(upgradeRequest('', { path: '/ws' }))
		assert.equal((await raw.response()).status, 101)
		await raw.roundTrip()
		raw.destroy()
	})
	test('another path is 404', () => refused(upgradeRequest('', { path: '/' }), 404))
	test('a refusal of the handler carries its status and text', async () => {
		const answer = await refused(upgradeRequest('', { path: '/ws?refuse' }), 403)
		assert.equal(answer.body, 'refused on demand\n')
	})
	test('another version is 426 and says which', async () => {
		const answer = await refused(upgradeRequest('', { path: '/ws' }).replace('Version: 13', 'Version: 8'), 426)
		assert.equal(answer.headers['sec-websocket-version'], '13')
	})
	for (const [name, change] of Object.entries({
		'no key': (r) => r.replace(/Sec-WebSocket-Key.*\r\n/, ''),
		'a short key': (r) => r.replace('dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZQ=='),
		'a key that is no base64': (r) => r.replace('dGhlIHNhbXBsZSBub25jZQ==', '!!!!!!!!!!!!!!!!!!!!!!=='),
		'two keys': (r) => r.replace('Sec-WebSocket-Version', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version'),
		'a key of 4 kB': (r) => r.replace('dGhlIHNhbXBsZSBub25jZQ==', 'A'.repeat(4096)),
		'no Connection: Upgrade': (r) => r.replace('Connection: Upgrade', 'Connection: keep-alive'),
		'HTTP/1.0': (r) => r.replace('HTTP/1.1', 'HTTP/1.0'),
		'HEAD': (r) => r.replace('GET', 'HEAD'),
	}))
		test(`${name} is 400`, () => refused(change(upgradeRequest('', { path: '/ws' })), 400))
	for (const upgrade of ['foo', 'h2c', 'websocket2', 'websock', 'websocket, foo', 'TLS/1.0', ''])
		test(`Upgrade: ${upgrade} is 400, at first and after keep-alive`, async () => {
			const request = get('/ws', `Upgrade: ${upgrade}\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n`)
			await refused(request, 400)
			const raw = await Raw.open(echo.port)
			raw.send(get())
			assert.equal((await raw.response()).status, 200)
			raw.send(request)
			assert.equal((await raw.response()).status, 400)
			assert.equal(await raw.end(), '')
		})
	test('POST with an upgrade is 405', () => refused(upgradeRequest('', { path: '/ws' }).replace('GET', 'POST'), 405))
	test('all this disturbed nobody', alive)
})
