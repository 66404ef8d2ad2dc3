// The list of tables, and which of them are picked. The choice is kept in the address, so that a link repeats it.

import type { TableInfo } from '/plank.js';
import { tableName } from './card.js';
import { byId, el } from './dom.js';

/** Up to so many tables are all picked at first. */
export const PICK_ALL_UP_TO = 5;

interface Line {
	root: HTMLElement;
	box: HTMLInputElement;
	filter: HTMLInputElement;
	count: HTMLElement;
	problem: HTMLElement;
	seen: number;
}

export class Picker {
	readonly #list = byId('table-list');
	readonly #pickedCount = byId('picked-count');
	readonly #lines = new Map<string, Line>();
	readonly #onPick: () => void;
	#available = new Map<string, TableInfo>();
	#picked: Set<string>;
	// Conditions by table, as typed.
	#where: Map<string, string>;
	// Without a choice in the address, the first list of tables makes it.
	#chosen: boolean;
	readonly #dirty = new Set<Line>();

	constructor(onPick: () => void) {
		this.#onPick = onPick;
		const remembered = readHash();
		this.#chosen = remembered !== null;
		this.#picked = new Set(remembered ?? []);
		this.#where = readConditions();
		byId('pick-all').addEventListener('click', () => this.#choose(this.#available.keys()));
		byId('pick-none').addEventListener('click', () => this.#choose([]));
		addEventListener('hashchange', () => {
			const tables = readHash();
			if (tables === null) return;
			this.#where = readConditions();
			for (const [table, { filter }] of this.#lines) filter.value = this.where(table);
			this.#choose(tables);
		});
	}

	/** Picked and there to be read. */
	get active(): string[] {
		return [...this.#picked].filter((table) => this.#available.has(table));
	}

	/** The picked tables, by name. */
	get activeTables(): TableInfo[] {
		return this.active.sort().map((table) => this.#available.get(table)!);
	}

	/** The condition for a table; empty for all rows. */
	where(table: string): string {
		return this.#where.get(table) ?? '';
	}

	show(tables: TableInfo[]): void {
		this.#available = new Map(tables.map((info) => [info.table, info]));
		if (!this.#chosen && tables.length > 0) {
			if (tables.length <= PICK_ALL_UP_TO) for (const { table } of tables) this.#picked.add(table);
			this.#chosen = true;
		}
		for (const [table, line] of this.#lines) {
			if (this.#available.has(table)) continue;
			line.root.remove();
			this.#lines.delete(table);
		}
		for (const info of [...tables].sort((a, b) => (a.table < b.table ? -1 : 1))) {
			const line = this.#lines.get(info.table) ?? this.#add(info);
			this.#list.append(line.root);
		}
		this.#update();
	}

	/** Another change of this table was seen; shown with the next `refresh`. */
	count(table: string): void {
		const line = this.#lines.get(table);
		if (line === undefined) return;
		line.seen += 1;
		this.#dirty.add(line);
	}

	refresh(): void {
		for (const line of this.#dirty) line.count.textContent = line.seen.toLocaleString('en');
		this.#dirty.clear();
	}

	/** Why nothing comes from a table; null when all is well. */
	problem(table: string, text: string | null): void {
		const line = this.#lines.get(table);
		if (line === undefined) return;
		line.problem.textContent = text ?? '';
		line.problem.hidden = text === null;
		line.filter.setAttribute('aria-invalid', String(text !== null && line.filter.value !== ''));
	}

	#add(info: TableInfo): Line {
		const box = el('input', '');
		box.type = 'checkbox';
		box.addEventListener('change', () => {
			if (box.checked) this.#picked.add(info.table);
			else this.#picked.delete(info.table);
			this.#choose(this.#picked);
		});
		const count = el('span', 'count');
		const problem = el('span', 'problem');
		problem.hidden = true;
		const label = el('label', '', box, tableName(info.table), count);
		label.title = info.columns.map(({ name, type }) => `${name} ${type}`).join('\n');
		const filter = el('input', 'filter');
		filter.placeholder = 'where: any condition';
		filter.title = 'Only rows that fulfil this SQL condition, for example: ' + exampleFor(info);
		filter.spellcheck = false;
		filter.value = this.where(info.table);
		filter.setAttribute('aria-label', `condition for ${info.table}`);
		filter.addEventListener('change', () => {
			const text = filter.value.trim();
			if (text === '') this.#where.delete(info.table);
			else this.#where.set(info.table, text);
			this.#choose(this.#picked);
		});
		const line: Line = { root: el('li', '', label, filter, problem), box, filter, count, problem, seen: 0 };
		this.#lines.set(info.table, line);
		return line;
	}

	#choose(tables: Iterable<string>): void {
		this.#chosen = true;
		this.#picked = new Set(tables);
		// Not location.hash: every click would become a step of the browser's history.
		const conditions = [...this.#where].map(([table, text]) => `&where=${encodeURIComponent(table)}:${encodeURIComponent(text)}`);
		history.replaceState(null, '', `#tables=${[...this.#picked].sort().map(encodeURIComponent).join(',')}${conditions.join('')}`);
		this.#update();
	}

	#update(): void {
		for (const [table, { box, filter }] of this.#lines) {
			box.checked = this.#picked.has(table);
			filter.hidden = !box.checked;
		}
		this.#pickedCount.textContent = this.#available.size === 0 ? '' : `${this.active.length} of ${this.#available.size}`;
		this.#onPick();
	}
}

function exampleFor({ key, columns }: TableInfo): string {
	return `${key?.[0] ?? columns[0]?.name ?? 'id'} < 100`;
}

function readConditions(): Map<string, string> {
	const conditions = new Map<string, string>();
	for (const [, table, text] of location.hash.matchAll(/&where=([^&:]+):([^&]+)/g)) {
		try {
			conditions.set(decodeURIComponent(table!), decodeURIComponent(text!));
		} catch {
			// Not of this page's making.
		}
	}
	return conditions;
}

function readHash(): string[] | null {
	const match = /(?:^#|&)tables=([^&]*)/.exec(location.hash);
	if (match === null) return null;
	try {
		return match[1]!.split(',').filter((name) => name !== '').map(decodeURIComponent);
	} catch {
		return null;
	}
}
