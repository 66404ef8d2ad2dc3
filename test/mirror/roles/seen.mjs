// What an identity sees of a table: as PostgreSQL has it, as a subscription asks for it, and as a client holds it.

import { canonical, Copy } from '../copy.mjs';
import { Snapshot } from '../snapshot.mjs';
import { as } from './registrar.mjs';
import { columns, tables } from './tables.mjs';

const atoms = [
	'id % 2 = 0', 'id < 30', 'id IN (1, 5, 9, 12)', `owner = 'alice'`, `owner IN ('bob', 'carol')`, 'owner IS NULL', 'tenant = 1', 'tenant <> 2', 'level > 2', 'level BETWEEN 1 AND 4', 'grp IN (1, 2, 3)', 'grp = level',
	`tag = 'a'`, 'tag IS NULL', `tag = 'hidden'`, `mark LIKE '%1\\_'`, `length(pay) > 5`, `pay > 'xp5'`, `secret IS NOT NULL`, `lower(owner) = 'alice'`,
];

function condition(random, depth) {
	const part = () => condition(random, depth - 1);
	if (depth === 0) return random.pick(atoms);
	return random.weighted([[4, () => random.pick(atoms)], [2, () => `(${part()} AND ${part()})`], [2, () => `(${part()} OR ${part()})`], [1, () => `NOT (${part()})`]])();
}

/** `{ table, where, columns }` as `subscribe` takes it; the last two may be absent. */
export function randomView(random) {
	return {
		table: random.pick(Object.keys(tables)),
		...(random.percent(70) && { where: condition(random, random.between(0, 2)) }),
		...(random.percent(50) && { columns: columns.filter((column) => random.percent(column === 'secret' ? 3 : column === 'mark' ? 70 : 35)) }),
	};
}

/** What a subscription needs to be able to read. */
export function needed({ where = '', columns: chosen = [] }) {
	return columns.filter((column) => chosen.includes(column) || new RegExp(`\\b${column}\\b`).test(where.replaceAll(/'[^']*'/g, '')));
}

/** How the server must answer who may read these columns: `live`, or the code of its refusal. */
export function verdict(view, readable) {
	if (view.table === 'beacon') return 'live';
	if (readable.length === 0) return '42P01';
	if ((tables[view.table].key ?? []).some((column) => !readable.includes(column))) return '0A000';
	return needed(view).every((column) => readable.includes(column)) ? 'live' : '42703';
}

export async function readable(session, role, table) {
	const { rows } = await session.query(`SELECT attname AS name FROM pg_attribute WHERE attrelid = $2::regclass AND attnum > 0 AND NOT attisdropped
		AND has_schema_privilege($1, 'public', 'USAGE') AND has_column_privilege($1, attrelid, attnum, 'SELECT') ORDER BY attnum`, [role, table]);
	return rows.map(({ name }) => name);
}

/** The columns of a subscription, in the table's order. */
export function shown(view, may) {
	if (view.columns === undefined || view.table === 'beacon') return may;
	const asked = new Set([...(tables[view.table].key ?? []), ...view.columns]);
	return may.filter((column) => asked.has(column));
}

/** What PostgreSQL shows to the identity, with the snapshot it was read under. */
export async function read(session, identity, { table, where }, names) {
	await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
	try {
		const { rows: [{ snapshot }] } = await session.query('SELECT pg_current_snapshot()::text AS snapshot');
		const { rows } = await as(session, identity, () => session.query(
			`SELECT to_jsonb(x)::text AS row FROM (SELECT ${names} FROM ${table}${where === undefined ? '' : ` WHERE ${where}`}) x`));
		return { rows: rows.map(({ row }) => JSON.parse(row)), columns: names, snapshot: new Snapshot(snapshot) };
	} finally {
		await session.query('ROLLBACK').catch(() => {});
	}
}

/**
 * A copy of what an identity sees. While privileges have just changed (`inDoubt`), and where policies read other tables,
 * changes are applied as the page says for those: an update of a row not held is an insert, a delete of one is nothing.
 */
export class SeenCopy extends Copy {
	#weak;
	#inDoubt;

	constructor(id, rows, history, view, inDoubt) {
		super(id, rows, history, view);
		this.source = `${view.table} WHERE ${view.where ?? 'true'}`;
		this.#weak = tables[view.table]?.weak ?? false;
		this.#inDoubt = inDoubt;
	}

	transaction(xid, changes) {
		if (!this.whole || !(this.#weak || this.#inDoubt())) {
			super.transaction(xid, changes);
			return;
		}
		for (const change of changes) {
			this.history.add(this.table, change.op === 'truncate' ? null : this.name(change.key ?? change.old ?? change.new), [`xid ${xid}`, change]);
			if (!this.covers(xid)) this.#apply(change);
		}
	}

	#apply({ op, key, old, new: now }) {
		const { rows } = this;
		if (op === 'truncate') {
			rows.clear();
		} else if (!rows.key) {
			if (op !== 'insert' && rows.held(old) !== undefined) rows.takeFromBag(old);
			if (op !== 'delete') rows.put(now);
		} else {
			if (op === 'delete') rows.rows.delete(rows.keyText(key));
			if (op === 'update') rows.rows.delete(rows.keyText(old ?? {}, now));
			if (op !== 'delete') rows.put(now);
		}
	}

	/** Throws unless these are the rows held. Where a row is judged only when it changes, one may be held that is not seen any more. */
	compare(expected) {
		const left = new Map();
		for (const row of expected) left.set(canonical(row), (left.get(canonical(row)) ?? 0) + 1);
		const surplus = [];
		for (const row of this.rows.all()) {
			const text = canonical(row);
			const count = left.get(text) ?? 0;
			if (count === 0) surplus.push(row);
			else if (count === 1) left.delete(text);
			else left.set(text, count - 1);
		}
		if (left.size === 0 && (surplus.length === 0 || this.#weak)) return;
		const missing = [...left.keys()].map((text) => JSON.parse(text));
		const row = this.name(missing[0] ?? surplus[0]);
		throw this.finding(`differs from what may be seen: ${missing.length} rows missing, ${surplus.length} too many`, row, { missing: missing.slice(0, 3), surplus: surplus.slice(0, 3) });
	}
}

