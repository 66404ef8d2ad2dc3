// Which column of a table's new definition was which of the former one. The server tells names, types and the key, not
// what was done to the table, so this follows from what PostgreSQL can do: columns never change their order, new ones
// come last, and one without values cannot belong to the key.

import type { Column } from './protocol.js';

export interface Definition {
	key: readonly string[] | null;
	columns: readonly Column[];
}

/**
 * For each column its former name, or null for a new one. Null altogether when it cannot be told: at the end of the list
 * a renamed column looks like one that was added after another was dropped. A name that stays is the same column.
 */
export function origins(former: Definition, now: Definition): (string | null)[] | null {
	const result: (string | null)[] = now.columns.map(() => null);
	let [formerNext, next] = [0, 0];
	for (const [formerIndex, index] of [...certain(former, now), [former.columns.length, now.columns.length] as const]) {
		// What stands between two columns that are known cannot have been added: it was renamed.
		const [gone, come] = [formerIndex - formerNext, index - next];
		const last = index === now.columns.length;
		if (gone < 0 || (come > 0 && (last ? gone > 0 : gone !== come))) return null;
		for (let i = 0; i < come && !last; i += 1) result[next + i] = former.columns[formerNext + i]!.name;
		if (!last) result[index] = former.columns[formerIndex]!.name;
		[formerNext, next] = [formerIndex + 1, index + 1];
	}
	return result;
}

/** Pairs of places, in the new order: columns of the same name, and key columns in the key's order. */
function certain(former: Definition, now: Definition): (readonly [number, number])[] {
	const formerPlace = new Map(former.columns.map(({ name }, i) => [name, i]));
	const names = new Set(now.columns.map(({ name }) => name));
	const renamedKey = new Map<string, string>();
	if (former.key !== null && now.key !== null && former.key.length === now.key.length) {
		former.key.forEach((name, i) => renamedKey.set(now.key![i]!, name));
	}
	return now.columns.flatMap(({ name }, i) => {
		const before = renamedKey.get(name);
		const place = formerPlace.get(name) ?? (before === undefined || names.has(before) ? undefined : formerPlace.get(before));
		return place === undefined ? [] : [[place, i] as const];
	});
}
