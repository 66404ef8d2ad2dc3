// UTF-8 in messages and close reasons: valid text passes whatever way it is cut, invalid text is 1007 at once.
import { after, before, describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { OP, WS, closePayload, frame, startEcho } from './client.mjs'

let echo
before(async () => { echo = await startEcho() })
after(() => echo.stop())

const hex = (text) => Buffer.from(text.replaceAll(' ', ''), 'hex')

const valid = {
	'two, three and four bytes': Buffer.from('é ह 𝄞 κόσμε'),
	'the smallest of each length': hex('00 c280 e0a080 f0908080'),
	'the largest of each length': hex('7f dfbf efbfbf f48fbfbf'),
	'around the surrogates': hex('ed9fbf ee8080'),
	'non-characters': hex('efbfbe efbfbf f09fbfbe'),
	'a byte order mark': hex('efbbbf 61'),
}
const invalid = {
	'a lone continuation byte': hex('80'),
	'a start byte at the end': hex('c3'),
	'three bytes short of one': hex('f09f98'),
	'a start byte before ASCII': hex('c3 28'),
	'an overlong slash of two bytes': hex('c0af'),
	'an overlong slash of three bytes': hex('e080af'),
	'an overlong slash of four bytes': hex('f08080af'),
	'an overlong c1': hex('c1bf'),
	'a high surrogate': hex('eda080'),
	'a low surrogate': hex('edbfbf'),
	'a pair of surrogates': hex('eda080edb080'),
	'above U+10FFFF': hex('f4908080'),
	'a start byte f5': hex('f5808080'),
	'five bytes': hex('f888808080'),
	fe: hex('fe'),
	ff: hex('ff'),
	'after much valid text': Buffer.concat([Buffer.alloc(5000, 'a'), hex('ff')]),
	'a wrong third byte': hex('e28228'),
}

describe('valid', () => {
	for (const [name, bytes] of Object.entries(valid))
		test(name, async () => {
			const ws = await WS.open(echo.port)
			ws.send(frame(OP.text, bytes))
			assert.ok((await ws.next()).payload.equals(bytes), 'in one frame')
			for (let cut = 1; cut < bytes.length; cut++) {
				ws.send(frame(OP.text, bytes.subarray(0, cut), { fin: false }), frame(OP.cont, bytes.subarray(cut)))
				assert.ok((await ws.next()).payload.equals(bytes), `cut at ${cut}`)
			}
			ws.destroy()
		})
})

describe('invalid', () => {
	for (const [name, bytes] of Object.entries(invalid))
		test(name, async () => {
			const whole = await WS.open(echo.port)
			whole.send(frame(OP.text, bytes))
			assert.equal((await whole.closed()).code, 1007)
			const cut = await WS.open(echo.port)
			const parts = [...bytes].map((_, i) => frame(i ? OP.cont : OP.text, bytes.subarray(i, i + 1), { fin: i === bytes.length - 1 }))
			cut.send(...(bytes.length > 100 ? [frame(OP.text, bytes.subarray(0, 50), { fin: false }), frame(OP.cont, bytes.subarray(50))] : parts))
			assert.equal((await cut.closed()).code, 1007)
		})
	test('is refused before its message ends', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, hex('ce ba e1 bd b9 cf 83 f4 90'), { fin: false }))
		assert.equal((await ws.closed()).code, 1007)
	})
	test('is refused before its frame ends', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.text, hex('61 ff'), { length: 5000 }))
		assert.equal((await ws.closed()).code, 1007)
	})
	test('a close reason is 1007', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.close, Buffer.concat([closePayload(1000), hex('ceba ff')])))
		assert.equal((await ws.closed()).code, 1007)
	})
	test('binary messages may hold anything', async () => {
		const ws = await WS.open(echo.port)
		ws.send(frame(OP.binary, hex('ff fe 80 c0')))
		assert.ok((await ws.next()).payload.equals(hex('ff fe 80 c0')))
		await ws.roundTrip()
		ws.destroy()
	})
})
