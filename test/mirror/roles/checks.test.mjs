// The checks of the mirror test of identities: that each finds what it is there for. Without a server.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ModelRows } from '../copy.mjs';
import { Finding, History } from '../failures.mjs';
import { Random } from '../random.mjs';
import { Books, grace, margin } from './books.mjs';
import { identities, roles } from './identities.mjs';
import { initial, membership, next, statements } from './rights.mjs';
import { needed, randomView, SeenCopy, shown, verdict } from './seen.mjs';
import { Sightings } from './sightings.mjs';
import { columns, names } from './tables.mjs';

const frame = (text) => Buffer.from(JSON.stringify({ type: 'rows', rows: [{ mark: text }] }));
const version = (mark, born, died = null) => ({ table: 'docs', mark, pay: mark.replace('mk', 'xp'), born, died });

test('what an identity was shown must be what it could see, in all of the bytes', () => {
	const sightings = new Sightings();
	const books = new Books();
	sightings.see('a', frame('mk1_ and xp1_'));
	sightings.learn([version('mk1_', 1_000), version('mk2_', 1_000), version('mk3_', 1_000, 2_000)]);
	assert.throws(() => sightings.check(books), Finding);
	sightings.allow('b', ['mk1_', 'xp1_']);
	assert.throws(() => sightings.check(books), Finding, 'another may');
	sightings.allow('a', ['mk1_']);
	assert.throws(() => sightings.check(books), /never see/, 'the row, but not that column');
	sightings.allow('a', ['xp1_']);
	sightings.check(books);
	assert.deepEqual([sightings.counts.seen, sightings.counts.right], [2, 2]);
	sightings.see('a', frame('mk2_'));
	assert.throws(() => sightings.check(books), Finding);
});

test('a secret fails at once, and so does a row that was rolled back', () => {
	const sightings = new Sightings();
	assert.throws(() => sightings.see('a', Buffer.from('{"detail":"ünï xs5_"}')), /a secret was sent/);
	sightings.see('a', frame('mk9_'));
	assert.throws(() => sightings.check(new Books()), /never committed/);
});

test('only near a change of privileges of that table is a sighting in doubt', () => {
	const [now, long] = [1_000_000, 100_000];
	for (const [what, change, died, doubtful] of [
		['just before it', now - margin, null, true], ['just after it', now + margin, null, true], ['long before', now - long, null, false], ['when it died', now + long, now + long + 1, true], ['in between', now + long / 2, now + long, false],
	]) {
		const books = new Books();
		books.changed('docs', null, { time: change });
		assert.equal(books.doubtful('docs', { born: now, died }), doubtful, what);
		assert.equal(books.doubtful('notes', { born: now, died }), false, what);
	}
	// The worker was away, and reads what came before by what is in force when it is back.
	const books = new Books();
	books.changed('docs', null, { time: now + 20_000 });
	assert.equal(books.doubtful('docs', { born: now, died: null }), false);
	books.disturbed(now - 10, now + 20_010);
	assert.equal(books.doubtful('docs', { born: now, died: null }), true);
	// What commits long after it was written is judged then; a change is one at any time until its commit is known.
	const slow = new Books();
	slow.changed('docs', null, { from: now + 20_000, time: now + 40_000 });
	for (const [what, life, doubtful] of [
		['committed before', { born: now, bornCommit: now + 10_000, died: null }, false], ['committed just before', { born: now, bornCommit: now + 19_000, died: null }, true],
		['committed while nobody knew', { born: now + 25_000, bornCommit: now + 30_000, died: null }, true], ['deleted just before', { born: now - 60_000, died: now, diedCommit: now + 18_000 }, true],
		['written after', { born: now + 50_000, bornCommit: now + 50_001, died: null }, false],
	]) assert.equal(slow.doubtful('docs', life), doubtful, what);
	// Faults alone change nobody's privileges.
	const faults = new Books();
	faults.grantAll();
	assert.equal(faults.doubtful('docs', { born: Date.now(), died: null }), false);
});

test('a reset has a cause: for that table, that role, not long ago, and not for ever', () => {
	const books = new Books();
	const account = books.account();
	assert.equal(account.take('docs', 'viewer'), false);
	books.changed('docs', new Set(['editor']));
	assert.deepEqual([account.take('docs', 'viewer'), account.take('notes', 'editor')], [false, false]);
	assert.deepEqual([1, 2, 3].map(() => account.take('docs', 'editor')), [true, true, false]);
	assert.equal(books.account().take('docs', 'editor'), true, 'another subscription has its own');
	assert.equal(books.account().take('docs', 'editor', Date.now() + grace + 1000), false);
	books.changed('tasks', new Set(), { reset: false });
	assert.equal(account.take('tasks', 'viewer'), false, 'members of a table that policies read ask for none');
	books.grantAll();
	assert.equal(account.take('tasks', 'viewer'), true);
	assert.equal(books.unsettled('tasks', 'viewer'), false, 'a fault ends no subscription');
	books.changed(null, null);
	assert.equal(books.unsettled('plain', 'web'), true);
});

test('the time that a server was away does not count', (t) => {
	let now = 1_000_000;
	t.mock.method(Date, 'now', () => now);
	const books = new Books();
	const account = books.account();
	books.changed('docs', null);
	books.clock.stop();
	books.grantAll();
	now += 10 * grace;
	books.clock.go();
	assert.deepEqual([books.unsettled('docs', 'web'), books.inDoubt('docs'), account.take('notes', 'web')], [true, true, true]);
	now += grace + 1;
	assert.deepEqual([books.unsettled('docs', 'web'), books.inDoubt('docs'), account.take('notes', 'web')], [false, false, false]);
});

test('how the server must answer follows from the columns that may be read', () => {
	const view = { table: 'cases', where: `owner = 'pay' AND level > 1`, columns: ['tag'] };
	assert.deepEqual(needed(view), ['owner', 'level', 'tag']);
	assert.equal(verdict(view, []), '42P01');
	assert.equal(verdict(view, ['id', 'owner', 'level', 'tag']), '0A000', 'half of the key');
	assert.equal(verdict(view, ['id', 'tenant', 'owner', 'tag']), '42703');
	assert.equal(verdict(view, ['id', 'tenant', 'owner', 'level', 'tag']), 'live');
	assert.deepEqual(shown(view, columns), ['id', 'tenant', 'tag']);
	assert.deepEqual(shown({ table: 'lines' }, ['mark']), ['mark']);
});

function copyOf(table, inDoubt = () => false) {
	const copy = new SeenCopy('c', new ModelRows('c'), new History(), { table }, inDoubt);
	copy.shape({ key: ['id'], columns: [{ name: 'id' }, { name: 'tag' }] });
	copy.fill(copy.void('test'), { rows: [{ id: 1, tag: 'a' }], columns: ['id', 'tag'], snapshot: null });
	return copy;
}

test('a change that does not fit is found, but where privileges have just changed, or policies read other tables', () => {
	const wrong = [
		[{ op: 'insert', key: { id: 1 }, new: { id: 1, tag: 'b' } }, [{ id: 1, tag: 'b' }]], [{ op: 'update', key: { id: 2 }, old: { id: 2, tag: 'x' }, new: { id: 2, tag: 'b' } }, [{ id: 1, tag: 'a' }, { id: 2, tag: 'b' }]],
		[{ op: 'delete', key: { id: 2 }, old: { id: 2, tag: 'x' } }, [{ id: 1, tag: 'a' }]], [{ op: 'update', key: { id: 3 }, old: { id: 1, tag: 'z' }, new: { id: 3, tag: 'b' } }, [{ id: 3, tag: 'b' }]],
	];
	for (const [change, rows] of wrong) {
		assert.throws(() => copyOf('docs').transaction('1', [change]), Finding);
		for (const copy of [copyOf('tasks'), copyOf('docs', () => true)]) {
			copy.transaction('1', [change]);
			assert.deepEqual(copy.rows.all(), rows);
		}
	}
});

test('the comparison: missing, other and surplus rows; a surplus only where a row is judged when it changes', () => {
	for (const table of ['docs', 'tasks']) {
		copyOf(table).compare([{ tag: 'a', id: 1 }]);
		assert.throws(() => copyOf(table).compare([{ id: 1, tag: 'b' }]), Finding);
		assert.throws(() => copyOf(table).compare([{ id: 1, tag: 'a' }, { id: 2, tag: 'b' }]), Finding);
	}
	assert.throws(() => copyOf('docs').compare([]), Finding);
	copyOf('tasks').compare([]);
});

test('a seed decides the views and all privileges, which change the table and its shadow alike', () => {
	const take = (seed) => {
		const random = new Random(seed);
		return [...initial(random), ...Array.from({ length: 50 }, () => next(random, [{ table: 'docs', name: 'first1', roles: ['public'] }])), membership(random)].map(statements);
	};
	// Policies are numbered as they come.
	const numberless = (list) => list.map((sql) => sql.replaceAll(/\bp\d+ ON/g, 'p ON'));
	assert.deepEqual(numberless(take(5)), numberless(take(5)));
	assert.notDeepEqual(numberless(take(5)), numberless(take(6)));
	for (const sql of take(7)) {
		assert.ok(!sql.includes('$table'), sql);
		for (const name of names) assert.equal(sql.split(` ${name} `).length, sql.split(` shadow_${name} `).length, sql);
	}
	const views = (seed) => Array.from({ length: 20 }, function () {
		return randomView(this);
	}, new Random(seed));
	assert.deepEqual(views(3), views(3));
});

test('there are a dozen identities, some of one role and some of one name', () => {
	assert.ok(identities.length >= 12);
	assert.equal(new Set(identities.map(({ name }) => name)).size, identities.length);
	for (const role of roles.filter((one) => one !== 'web')) assert.ok(identities.filter((one) => one.role === role).length > 1, role);
});
