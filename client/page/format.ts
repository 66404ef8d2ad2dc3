// Values, keys, differences and times as short text. Pure.

import type { Change, Json, Row } from '/plank.js';

export const CLIP = 64;
export const COLUMNS_SHOWN = 8;

export function valueText(value: Json | undefined): string {
	if (value === undefined) return '';
	if (typeof value === 'string') return value;
	return JSON.stringify(value);
}

/** At most `length` characters; never half of a surrogate pair. */
export function clip(text: string, length = CLIP): string {
	if (text.length <= length) return text;
	const cut = text.slice(0, length - 1);
	return `${/[\uD800-\uDBFF]$/.test(cut) ? cut.slice(0, -1) : cut}…`;
}

export function keyText(key: Row | null): string {
	if (key === null) return '';
	return Object.entries(key).map(([name, value]) => `${name}=${clip(valueText(value), 40)}`).join(' ');
}

export interface Difference {
	column: string;
	old: Json | undefined;
	new: Json | undefined;
}

/** What a change says beyond its key: of an update what changed, of an insert or delete the row. */
export function differences(change: Change): Difference[] {
	const isKey = (column: string): boolean => change.key !== null && Object.hasOwn(change.key, column);
	if (change.op === 'update') {
		const row = change.new ?? {};
		return Object.entries(change.old ?? {})
			.filter(([column, value]) => JSON.stringify(value) !== JSON.stringify(row[column]))
			.map(([column, value]) => ({ column, old: value, new: row[column] }));
	}
	const row = (change.op === 'delete' ? change.old : change.new) ?? {};
	return Object.entries(row).filter(([column]) => !isKey(column)).map(([column, value]) => (
		change.op === 'delete' ? { column, old: value, new: undefined } : { column, old: undefined, new: value }
	));
}

/** Hours to milliseconds, local time. */
export function timeText(time: Date): string {
	const two = (n: number): string => String(n).padStart(2, '0');
	const millis = String(time.getMilliseconds()).padStart(3, '0');
	return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${millis}`;
}

export function plural(count: number, word: string): string {
	return `${count.toLocaleString('en')} ${word}${count === 1 ? '' : 's'}`;
}

/** Schema and name of a table as the server prints it; the schema is empty for `public`. */
export function splitName(table: string): { schema: string; name: string } {
	const match = /^("(?:[^"]|"")*"|[^".]+)\.(.+)$/s.exec(table);
	if (match === null) return { schema: '', name: table };
	return { schema: match[1] === 'public' ? '' : `${match[1]}.`, name: match[2]! };
}
