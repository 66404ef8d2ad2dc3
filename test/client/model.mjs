// A client's copy of one subscription's rows, written from section 6 of the protocol alone and sharing no code with the
// project's own client: what the two agree on is the page.

import assert from 'node:assert/strict';

// Rows are compared as text with sorted names.
const textOf = (row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));

export class Model {
	constructor(id) {
		this.id = id;
		this.rows = null;
		this.parts = [];
	}

	keyText(row, otherwise = {}) {
		return JSON.stringify(this.key.map((name) => (name in row ? row[name] : otherwise[name])));
	}

	put(row) {
		if (this.key) this.rows.set(this.keyText(row), row);
		else this.rows.set(textOf(row), (this.rows.get(textOf(row)) ?? 0) + 1);
	}

	takeFromBag(row) {
		const count = this.rows.get(textOf(row));
		assert.ok(count > 0, `no such row in the bag: ${textOf(row)}`);
		if (count === 1) this.rows.delete(textOf(row));
		else this.rows.set(textOf(row), count - 1);
	}

	take(message) {
		if (message.type === 'subscribed' && message.id === this.id) {
			this.key = message.key;
			this.rows ??= new Map();
		} else if (message.type === 'reset' && message.id === this.id) {
			this.rows.clear();
			this.resets = (this.resets ?? 0) + 1;
		} else if (message.type === 'transaction') {
			this.parts.push(...message.changes);
			if (message.more) return;
			for (const change of this.parts) if (change.ids.includes(this.id)) this.change(change);
			this.parts = [];
		}
	}

	change({ op, key, new: now, old }) {
		switch (op) {
			case 'insert':
				if (this.key) assert.ok(!this.rows.has(this.keyText(now)), `inserted twice: ${textOf(now)}`);
				return this.put(now);
			case 'update':
				if (!this.key) this.takeFromBag(old);
				else assert.ok(this.rows.delete(this.keyText(old, now)), `updated, but not held: ${textOf(now)}`);
				return this.put(now);
			case 'delete':
				if (!this.key) return this.takeFromBag(old);
				assert.ok(this.rows.delete(this.keyText(key)), `deleted, but not held: ${textOf(key)}`);
				return;
			case 'truncate':
				return this.rows.clear();
			default:
				assert.fail(`unknown op ${op}`);
		}
	}

	/** All rows as sorted texts, a bag's as often as they are there. */
	texts() {
		return (this.key ? [...this.rows.values()].map(textOf) : [...this.rows].flatMap(([text, count]) => Array(count).fill(text))).sort();
	}
}

export { textOf };
