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
	mirror.apply(subscribed(['id'], { position: 'p9' }));
	assert.deepEqual([mirror.rows(), mirror.position], [[{ id: 1, v: 'x' }], 'p9']);
	mirror.apply({ type: 'unsubscribed', id: 'a', code: null, message: null });
	mirror.put({ rows: [{ id: 3, v: 'kept' }] });
	mirror.apply(subscribed(['id'], { resumed: true }));
	assert.deepEqual(mirror.rows(), [{ id: 3, v: 'kept' }]);
	mirror.apply({ type: 'unsubscribed', id: 'a', code: null, message: null });
	mirror.put({ rows: [{ id: 3, v: 'gone' }] });
	mirror.apply(subscribed(['id']));
	assert.equal(mirror.size, 0);
});

test('rows follow a table whose columns are renamed, dropped and added', () => {
	const mirror = mirrorOf(['id'], change('insert', { key: { id: 1 }, new: { id: 1, v: 'x' } }));
	mirror.apply(subscribed(['nr'], { columns: columns('nr', 'w') }));
	assert.deepEqual(mirror.rows(), [{ nr: 1, w: 'x' }]);
	mirror.apply(transaction('2', [change('update', { key: { nr: 1 }, new: { nr: 1, w: 'y' }, old: { nr: 1, w: 'x' } })]));
	assert.deepEqual(mirror.rows(), [{ nr: 1, w: 'y' }]);
	mirror.apply(subscribed(['nr'], { columns: columns('nr', 'w', 'more') }));
	assert.deepEqual(mirror.rows(), [{ nr: 1, w: 'y', more: null }]);
	mirror.apply(subscribed(null, { columns: columns('w') }));
	assert.deepEqual([mirror.rows(), mirror.key], [[{ w: 'y' }], null]);
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
