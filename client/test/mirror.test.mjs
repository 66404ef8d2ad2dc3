// Mirror: section 6 of the protocol, to the letter.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mirror } from '../dist/plank.js';
import { transaction } from './helpers.mjs';

const columns = (...names) => names.map((name) => ({ name, type: 'text' }));
const subscribed = (key, more = {}) => ({ type: 'subscribed', id: 'a', table: 'public.t', key, columns: columns('id', 'v'), position: 'p0', ...more });
const change = (op, parts) => ({ ids: ['a'], table: 'public.t', op, ...parts });
const sorted = (mirror) => mirror.rows().map((row) => JSON.stringify(row)).sort();

function mirrorOf(key, ...changes) {
	const mirror = new Mirror({ id: 'a' });
	mirror.apply(subscribed(key));
	mirror.apply(transaction('1', changes));
	return mirror;
}

test('keyed rows: insert, update over the former row, delete, truncate', () => {
	const mirror = mirrorOf(['id'],
		change('insert', { key: { id: 1 }, new: { id: 1, v: 'x' } }),
		change('insert', { key: { id: 2 }, new: { id: 2, v: 'y' } }),
		change('update', { key: { id: 1 }, new: { id: 1 }, old: { id: 1 } }),
		change('update', { key: { id: 2 }, new: { id: 2, v: 'z' }, old: { id: 2, v: 'y' } }));
	assert.deepEqual(mirror.rows(), [{ id: 1, v: 'x' }, { id: 2, v: 'z' }]);
	assert.deepEqual(mirror.get({ id: 2 }), { id: 2, v: 'z' });
	assert.equal(mirror.position, 'p1');
	mirror.apply(transaction('2', [change('delete', { key: { id: 1 }, old: { id: 1, v: 'x' } })]));
	assert.deepEqual(mirror.rows(), [{ id: 2, v: 'z' }]);
	mirror.apply(transaction('3', [change('truncate'), change('insert', { key: { id: 9 }, new: { id: 9, v: '' } })]));
	assert.deepEqual(mirror.rows(), [{ id: 9, v: '' }]);
});

test('an update of the key moves the row, also when old names only a part of the key', () => {
	const mirror = mirrorOf(['id', 'v'],
		change('insert', { key: { id: 1, v: 'a' }, new: { id: 1, v: 'a' } }),
		change('update', { key: { id: 2, v: 'a' }, new: { id: 2, v: 'a' }, old: { id: 1 } }));
	assert.deepEqual(mirror.rows(), [{ id: 2, v: 'a' }]);
	mirror.apply(transaction('2', [change('update', { key: { id: 2, v: 'b' }, new: { id: 2, v: 'b' }, old: { id: 2, v: 'a' } })]));
	assert.deepEqual(mirror.rows(), [{ id: 2, v: 'b' }]);
});

test('an update of a row not held is an insert, a delete of one is nothing', () => {
	const mirror = mirrorOf(['id'],
		change('update', { key: { id: 1 }, new: { id: 1, v: 'x' }, old: { id: 1, v: 'w' } }),
		change('delete', { key: { id: 5 }, old: { id: 5, v: '' } }));
	assert.deepEqual(mirror.rows(), [{ id: 1, v: 'x' }]);
});

test('a table without a key is a bag: one equal row at a time', () => {
	const row = { id: 1, v: 'x' };
	const mirror = mirrorOf(null, ...[1, 2, 3].map(() => change('insert', { key: null, new: row })));
	assert.deepEqual([mirror.size, mirror.rows()], [3, [row, row, row]]);
	mirror.apply(transaction('2', [
		// Members in another order are the same row.
		change('delete', { key: null, old: { v: 'x', id: 1 } }),
		change('update', { key: null, old: row, new: { id: 1, v: 'y' } }),
		change('delete', { key: null, old: { id: 7, v: 'none' } }),
	]));
	assert.deepEqual(sorted(mirror), ['{"id":1,"v":"x"}', '{"id":1,"v":"y"}']);
	assert.equal(mirror.get({ id: 1 }), undefined);
	mirror.apply(transaction('3', [change('truncate')]));
	assert.equal(mirror.size, 0);
});

test('a bag tells 1 from "1", null from "null", and -0 from 0, in nested values too', () => {
	const mirror = mirrorOf(null,
		...[1, '1', null, 'null', 0, -0, [0], [-0], { a: 1, b: 2 }].map((v) => change('insert', { new: { v } })),
		...['1', null, -0, [0], { b: 2, a: 1 }].map((v) => change('delete', { old: { v } })));
	assert.deepEqual(mirror.rows().map(({ v }) => v), [1, 'null', 0, [-0]]);
});

test('parts are applied together, and dropped when the connection goes', () => {
	const mirror = mirrorOf(['id']);
	const part = transaction('2', [change('insert', { key: { id: 1 }, new: { id: 1 } })], { more: true });
	mirror.apply(part);
	assert.equal(mirror.size, 0);
	mirror.apply({ type: 'pong' });
	mirror.apply(transaction('2', [change('insert', { key: { id: 2 }, new: { id: 2 } })]));
	assert.equal(mirror.size, 2);
	mirror.apply(part);
	mirror.disconnected();
	mirror.apply(transaction('3', [change('insert', { key: { id: 3 }, new: { id: 3 } })]));
	assert.deepEqual(mirror.rows().map(({ id }) => id), [1, 2, 3]);
});

test('only what names the subscription counts', () => {
	const mirror = new Mirror({ id: 'a' });
	mirror.apply({ ...subscribed(['id']), id: 'b' });
	mirror.apply(subscribed(['id']));
	mirror.apply(transaction('1', [
		{ ...change('insert', { key: { id: 1 }, new: { id: 1 } }), ids: ['b'] },
		{ ...change('insert', { key: { id: 2 }, new: { id: 2 } }), ids: ['b', 'a'] },
	]));
	mirror.apply({ type: 'reset', id: 'b', reason: '', position: 'x' });
	assert.deepEqual(mirror.rows(), [{ id: 2 }]);
});

test('positions: every transaction and position message, catchup only for its own', () => {
	const mirror = mirrorOf(['id']);
	mirror.apply(transaction('2', [], { catchup: 'b' }));
	assert.equal(mirror.position, 'p1');
	mirror.apply(transaction('3', [change('insert', { key: { id: 1 }, new: { id: 1 } })], { catchup: 'a' }));
	assert.equal(mirror.position, 'p3');
	mirror.apply({ type: 'position', position: 'p4' });
	assert.equal(mirror.position, 'p4');
	mirror.apply({ type: 'reset', id: 'a', reason: '', position: 'p5' });
	assert.deepEqual([mirror.position, mirror.size], ['p5', 0]);
	mirror.apply({ type: 'unsubscribed', id: 'a', code: null, message: null });
	mirror.apply({ type: 'position', position: 'p6' });
	assert.equal(mirror.position, null);
});

test('rows of a snapshot come before the transactions', () => {
	const mirror = mirrorOf(['id']);
	mirror.apply({ type: 'rows', id: 'a', rows: [{ id: 1, v: 'x' }], more: true });
	assert.equal(mirror.position, 'p1');
	mirror.apply({ type: 'rows', id: 'a', rows: [{ id: 2, v: 'y' }], more: false, position: 'p2' });
	assert.deepEqual([mirror.size, mirror.position], [2, 'p2']);
});

test('the first subscribed empties, unless resumed; a later one keeps the rows', () => {
	const mirror = mirrorOf(['id'], change('insert', { key: { id: 1 }, new: { id: 1, v: 'x' } }));
	// Told again for a new name of the table: it has not come any further by that.
	mirror.apply(subscribed(['id'], { position: 'p9' }));
	assert.deepEqual([mirror.rows(), mirror.position], [[{ id: 1, v: 'x' }], 'p1']);
	mirror.apply({ type: 'unsubscribed', id: 'a', code: null, message: null });
	mirror.put({ rows: [{ id: 3, v: 'kept' }] });
	mirror.apply(subscribed(['id'], { resumed: true }));
	assert.deepEqual(mirror.rows(), [{ id: 3, v: 'kept' }]);
	mirror.apply({ type: 'unsubscribed', id: 'a', code: null, message: null });
	mirror.put({ rows: [{ id: 3, v: 'gone' }] });
	mirror.apply(subscribed(['id']));
	assert.equal(mirror.size, 0);
});

// A mirror with the row {id: 1, …} of the columns, told of others.
function reshaped(from, to, { key = ['id'], newKey = key } = {}) {
	const row = Object.fromEntries(from.map((name, i) => [name, name === 'id' ? 1 : `v${i}`]));
	const mirror = new Mirror({ id: 'a' });
	mirror.apply(subscribed(key, { columns: columns(...from) }));
	mirror.apply(transaction('1', [change('insert', { new: row })]));
	mirror.apply(subscribed(newKey, { columns: columns(...to) }));
	return mirror;
}

test('rows follow a table whose columns are renamed, dropped and added', () => {
	for (const [from, to, row, more] of [
		[['id', 'a', 'b'], ['id', 'x', 'b'], { id: 1, x: 'v1', b: 'v2' }],
		[['id', 'a', 'b'], ['nr', 'a', 'b'], { nr: 1, a: 'v1', b: 'v2' }, { newKey: ['nr'] }],
		[['a', 'id'], ['a', 'nr'], { a: 'v0', nr: 1 }, { newKey: ['nr'] }],
		[['id', 'a', 'b'], ['id', 'b'], { id: 1, b: 'v2' }],
		[['id', 'a', 'b'], ['id', 'a'], { id: 1, a: 'v1' }],
		[['id', 'a'], ['id', 'a', 'more'], { id: 1, a: 'v1', more: null }],
		[['id', 'a', 'b'], ['id', 'x', 'b', 'more'], { id: 1, x: 'v1', b: 'v2', more: null }],
		[['id', 'a', 'b', 'c'], ['id', 'x', 'c'], null],
		[['id', 'a', 'b', 'c', 'd'], ['id', 'x', 'y', 'c'], null],
	]) {
		const mirror = reshaped(from, to, more);
		if (row !== null) assert.deepEqual([mirror.rows(), mirror.missing], [[row], null], `${from} to ${to}`);
		else if (to.length === 3) assert.ok(mirror.missing, 'one of two was dropped, and the other renamed');
		else assert.deepEqual(mirror.rows(), [{ id: 1, x: 'v1', y: 'v2', c: 'v3' }]);
	}
	const mirror = reshaped(['id', 'a'], ['a'], { newKey: null });
	assert.deepEqual([mirror.rows(), mirror.key], [[{ a: 'v1' }], null]);
	mirror.apply(transaction('2', [change('delete', { key: null, old: { a: 'v1' } })]));
	assert.equal(mirror.size, 0);
});

test('a column dropped and another added in its place is not taken for a renamed one', () => {
	for (const [from, to] of [[['id', 'a'], ['id', 'x']], [['id', 'a', 'b'], ['id', 'b', 'a']], [['id', 'a'], ['id', 'x', 'y']]]) {
		const mirror = reshaped(from, to);
		assert.deepEqual([mirror.size, typeof mirror.missing], [0, 'string'], `${from} to ${to}`);
		// The stream goes on, and rows read anew make it whole.
		mirror.apply(transaction('2', [change('insert', { new: { ...Object.fromEntries(to.map((name) => [name, null])), id: 2 } })]));
		mirror.put({ rows: [{ id: 1, [to[1]]: null }] });
		assert.deepEqual([mirror.rows().map(({ id }) => id), mirror.missing], [[2, 1], null]);
	}
	const empty = new Mirror();
	empty.subscribed({ key: ['id'], columns: columns('id', 'a') });
	empty.subscribed({ key: ['id'], columns: columns('id', 'x') });
	assert.equal(empty.missing, null, 'there was nothing to lose');
});

test('a reset says what is missing, until the rows are put or there are none', () => {
	const mirror = mirrorOf(['id'], change('insert', { new: { id: 1 } }));
	mirror.apply({ type: 'reset', id: 'a', reason: 'partition attached', position: 'p5' });
	assert.deepEqual([mirror.missing, mirror.size, mirror.position], ['partition attached', 0, 'p5']);
	mirror.put({ rows: [{ id: 3 }], more: true });
	assert.notEqual(mirror.missing, null);
	mirror.put({ rows: [{ id: 4 }] });
	assert.deepEqual([mirror.missing, mirror.size, mirror.position], [null, 2, 'p5']);
	mirror.apply({ type: 'reset', id: 'a', reason: 'again', position: 'p6' });
	mirror.apply(transaction('7', [change('truncate')]));
	assert.equal(mirror.missing, null);
});

test('after a lost connection a resume keeps the rows, and anything else empties', () => {
	const begin = () => {
		const mirror = mirrorOf(['id'], change('insert', { new: { id: 1, v: 'x' } }));
		mirror.apply(transaction('2', [change('insert', { new: { id: 2, v: 'half' } })], { more: true, position: undefined }));
		mirror.disconnected();
		// Nothing moves it before the server has answered.
		mirror.apply({ type: 'position', position: 'p7' });
		assert.deepEqual([mirror.size, mirror.position], [1, 'p1']);
		return mirror;
	};
	const kept = begin();
	kept.apply(subscribed(['id'], { resumed: true, position: 'p9' }));
	assert.deepEqual([kept.size, kept.position], [1, 'p1']);
	kept.apply(transaction('2', [change('insert', { new: { id: 2, v: 'whole' } })], { catchup: 'a' }));
	assert.deepEqual([kept.size, kept.position], [2, 'p2']);
	const failed = begin();
	failed.apply(subscribed(['id'], { resumed: false, position: 'p9' }));
	assert.equal(failed.position, 'p1', 'a loss in between must not make a resume of what is missing');
	failed.apply({ type: 'reset', id: 'a', reason: 'too old', position: 'p9' });
	assert.deepEqual([failed.size, failed.position, failed.missing], [0, 'p9', 'too old']);
	const fresh = begin();
	fresh.apply(subscribed(['id'], { position: 'p9' }));
	assert.deepEqual([fresh.size, fresh.position], [0, 'p9']);
});

test('what moves the others does not move one that is catching up', () => {
	const mirror = mirrorOf(['id']);
	mirror.disconnected();
	mirror.apply(subscribed(['id'], { resumed: true }));
	mirror.apply(transaction('50', [{ ...change('insert', { new: { id: 1 } }), ids: ['b'] }]));
	assert.equal(mirror.position, 'p1');
	mirror.apply(transaction('2', [change('insert', { new: { id: 2 } })], { catchup: 'a' }));
	mirror.apply(transaction('51', [{ ...change('insert', { new: { id: 1 } }), ids: ['b'] }]));
	assert.equal(mirror.position, 'p2');
	// Named outside of the catching up, it has caught up.
	mirror.apply(transaction('52', [change('insert', { new: { id: 3 } })]));
	mirror.apply(transaction('53', [{ ...change('insert', { new: { id: 1 } }), ids: ['b'] }]));
	assert.equal(mirror.position, 'p53');
	mirror.disconnected();
	mirror.apply(subscribed(['id'], { resumed: true }));
	mirror.apply({ type: 'position', position: 'p60' });
	assert.equal(mirror.position, 'p60', 'a position message counts for all');
});

test('a snapshot can be resumed from when its last row is there, not before', () => {
	const mirror = new Mirror({ id: 'a', snapshot: true });
	mirror.apply(subscribed(['id']));
	mirror.apply({ type: 'rows', id: 'a', rows: [{ id: 1 }], more: true });
	mirror.apply(transaction('9', [{ ...change('insert', { new: { id: 1 } }), ids: ['b'] }]));
	mirror.apply({ type: 'position', position: 'p9' });
	assert.equal(mirror.position, null);
	mirror.apply({ type: 'rows', id: 'a', rows: [{ id: 2 }], more: false, position: 'p4' });
	assert.equal(mirror.position, 'p4');
	mirror.apply(transaction('5', [change('insert', { new: { id: 5 } })], { catchup: 'a' }));
	assert.equal(mirror.position, 'p5');
	mirror.apply({ type: 'reset', id: 'a', reason: 'truncated', position: 'p6' });
	assert.equal(mirror.position, null, 'rows follow');
});

test('rows that an application kept are taken over by a resume', () => {
	for (const key of [['id'], null]) {
		const mirror = new Mirror();
		mirror.put({ rows: [{ id: 1, v: 'x' }, { id: 2, v: 'y' }] });
		mirror.subscribed({ key, columns: columns('id', 'v'), resumed: true });
		assert.equal(mirror.size, 2);
		mirror.change({ op: 'delete', key: key && { id: 1 }, old: { id: 1, v: 'x' } });
		assert.deepEqual(mirror.rows(), [{ id: 2, v: 'y' }]);
	}
});

test('numbers as text keep keys apart that JavaScript numbers cannot', () => {
	const rows = (a, b) => ({ rows: [JSON.parse(`{"id":${a}}`), JSON.parse(`{"id":${b}}`)] });
	const text = new Mirror({ numbers: 'text' });
	text.subscribed({ key: ['id'], columns: [{ name: 'id', type: 'bigint' }] });
	text.put(rows('"9007199254740992"', '"9007199254740993"'));
	assert.deepEqual([text.size, text.inexact], [2, false]);
	const json = new Mirror();
	json.subscribed({ key: ['id'], columns: [{ name: 'id', type: 'bigint' }] });
	json.put({ rows: [{ id: 9007199254740991 }] });
	assert.equal(json.inexact, false);
	json.put(rows('9007199254740992', '9007199254740993'));
	assert.equal(json.inexact, true);
});

test('columns named __proto__ and constructor are columns', () => {
	const row = JSON.parse('{"__proto__":"p","constructor":"c","id":1}');
	const mirror = mirrorOf(['__proto__'], change('insert', { new: row }), change('update', { new: JSON.parse('{"__proto__":"p","id":2}'), old: JSON.parse('{"__proto__":"p"}') }));
	assert.deepEqual(JSON.stringify(mirror.rows()), '[{"__proto__":"p","constructor":"c","id":2}]');
});

// Rows applied one by one against a plain model: the same contents, whatever happens. The seed is in the message.
test('a long random history leaves exactly the rows', () => {
	for (const keyed of [true, false]) {
		const seed = Math.floor(Math.random() * 2 ** 31);
		let state = seed || 1;
		const random = (n) => {
			state ^= state << 13;
			state ^= state >>> 17;
			state ^= state << 5;
			return (state >>> 0) % n;
		};
		let model = [];
		const mirror = mirrorOf(keyed ? ['id'] : null);
		for (let step = 0; step < 3000; step += 1) {
			const at = random(model.length + 1);
			const row = { id: random(keyed ? 1e9 : 3), v: String(random(3)) };
			const action = model.length === 0 ? 0 : random(10);
			if (action < 4 || at === model.length) {
				if (keyed && model.some(({ id }) => id === row.id)) continue;
				model.push(row);
				mirror.change({ op: 'insert', new: row });
			} else if (action < 8) {
				const old = model[at];
				if (keyed && row.id !== old.id && model.some(({ id }) => id === row.id)) continue;
				model[at] = row;
				mirror.change({ op: 'update', old: { ...old }, new: row });
			} else if (action < 9 || random(50) > 0) {
				const [old] = model.splice(at, 1);
				mirror.change({ op: 'delete', key: keyed ? { id: old.id } : null, old: { ...old } });
			} else {
				model = [];
				mirror.change({ op: 'truncate' });
			}
		}
		assert.deepEqual(sorted(mirror), model.map((row) => JSON.stringify(row)).sort(), `seed ${seed}`);
	}
});
