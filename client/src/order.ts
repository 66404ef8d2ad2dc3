// The order of rows on the client: by columns, as PostgreSQL orders them where JavaScript can (nulls last, or first when
// descending; numbers by value also as text). Text is compared as JavaScript compares strings, without a collation. Pure.

import { canonical } from './apply.js';
import { Code, PlankError } from './errors.js';
import type { Column, Json, Row } from './protocol.js';

/** A column by exact name, ascending unless it says otherwise. */
export type OrderBy = string | { column: string; direction?: 'asc' | 'desc' };

export type Comparison<T> = (a: T, b: T) => number;

interface Term {
	column: string;
	sign: 1 | -1;
}

/** What `orderBy` asks for, one entry a column. Throws when it is not understood. */
export function orderTerms(orderBy: OrderBy | readonly OrderBy[] | undefined): Term[] {
	const list = orderBy === undefined ? [] : Array.isArray(orderBy) ? (orderBy as readonly OrderBy[]) : [orderBy as OrderBy];
	return list.map((entry) => {
		const { column, direction = 'asc' } = typeof entry === 'string' ? { column: entry } : entry;
		if (typeof column !== 'string' || (direction !== 'asc' && direction !== 'desc')) {
			throw new PlankError({
				code: Code.invalidArgument,
				message: `orderBy cannot be ${JSON.stringify(entry)}`,
				hint: `Name a column, or write { column: 'price', direction: 'desc' }.`,
			});
		}
		return { column, sign: direction === 'desc' ? -1 : 1 };
	});
}

/** Compares rows by the terms and then by the key, so that equal ones do not change places. */
export function rowComparison(terms: readonly Term[], key: readonly string[] | null, columns: readonly Column[]): Comparison<Row> {
	const all = [...terms, ...(key ?? []).map((column): Term => ({ column, sign: 1 }))];
	const numeric = new Set(columns.filter(({ type }) => /^(bigint|numeric)\b(?!.*\[)/.test(type)).map(({ name }) => name));
	return (a, b) => {
		for (const { column, sign } of all) {
			const result = compare(a[column] ?? null, b[column] ?? null, numeric.has(column));
			if (result !== 0) return sign * result;
		}
		return 0;
	};
}

function compare(a: Json, b: Json, numeric: boolean): number {
	if (a === b) return 0;
	if (a === null || b === null) return a === null ? 1 : -1;
	if (numeric && (typeof a === 'string' || typeof b === 'string')) return compareNumbers(String(a), String(b));
	if (typeof a === 'number' && typeof b === 'number') return a - b;
	// Of floating point, what JSON has no number for comes as text; PostgreSQL takes NaN as the greatest.
	if (typeof a === 'number' || typeof b === 'number') return compareNumbers(String(a), String(b));
	if (typeof a === 'boolean' && typeof b === 'boolean') return a ? 1 : -1;
	const [left, right] = [a, b].map((value) => (typeof value === 'string' ? value : canonical(value)));
	return left! < right! ? -1 : left! > right! ? 1 : 0;
}

/** Decimal numbers as text, with every digit. */
function compareNumbers(a: string, b: string): number {
	const [x, y] = [special(a), special(b)];
	if (x !== 0 || y !== 0) return x - y;
	const [left, right] = [decimal(a), decimal(b)];
	if (left === null || right === null) return Number(a) - Number(b) || (a < b ? -1 : 1);
	if (left.negative !== right.negative) return left.negative ? -1 : 1;
	const sign = left.negative ? -1 : 1;
	if (left.whole.length !== right.whole.length) return sign * (left.whole.length - right.whole.length);
	const [p, q] = [left.whole + left.fraction, right.whole + right.fraction];
	return p === q ? 0 : p < q ? -sign : sign;
}

function special(text: string): number {
	return { NaN: 2, Infinity: 1, '-Infinity': -1 }[text] ?? 0;
}

function decimal(text: string): { negative: boolean; whole: string; fraction: string } | null {
	const match = /^(-?)0*(\d*)(?:\.(\d*?)0*)?$/.exec(text);
	if (match === null) return null;
	const [, minus, whole = '', fraction = ''] = match;
	return { negative: minus === '-' && whole + fraction !== '', whole, fraction };
}

/** Two ordered lists as one. */
export function merge<T>(a: readonly T[], b: readonly T[], comparison: Comparison<T>): T[] {
	const result: T[] = [];
	let [i, j] = [0, 0];
	while (i < a.length && j < b.length) result.push(comparison(a[i]!, b[j]!) <= 0 ? a[i++]! : b[j++]!);
	while (i < a.length) result.push(a[i++]!);
	while (j < b.length) result.push(b[j++]!);
	return result;
}
