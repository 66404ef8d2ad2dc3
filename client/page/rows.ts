// The rows as they are now, of one picked table at a time: a bounded part of them, drawn a few times a second at most.
// A row that has not changed keeps its element, so that what is drawn costs what has changed.

import type { LiveRows, Plank, Row, RowsInfo, TableInfo } from '/plank.js';
import { tableName } from './card.js';
import { byId, el } from './dom.js';
import { clip, plural, valueText } from './format.js';

export const ROWS_SHOWN = 100;
/** More rows than this are not held by a page; a condition narrows them. */
export const ROWS_HELD = 20_000;
const DRAW_EVERY_MS = 200;

/** A picked table with its condition. */
export interface Source {
	info: TableInfo;
	where: string;
}

export class RowsPane {
	readonly #plank: Plank;
	readonly #root = byId<HTMLDetailsElement>('rows');
	readonly #tabs = byId('rows-tabs');
	readonly #status = byId('rows-status');
	readonly #head = byId('rows-head');
	readonly #body = byId('rows-body');
	#sources: Source[] = [];
	#chosen: string | null = null;
	#shown = '';
	#live: LiveRows | null = null;
	#columns: string[] = [];
	#elements = new Map<Row, HTMLElement>();
	#timer: ReturnType<typeof setTimeout> | null = null;

	constructor(plank: Plank) {
		this.#plank = plank;
		this.#root.addEventListener('toggle', () => this.#choose(this.#chosen));
	}

	show(sources: Source[]): void {
		this.#sources = sources;
		this.#root.hidden = sources.length === 0;
		const names = sources.map(({ info }) => info.table);
		this.#tabs.replaceChildren(...sources.map(({ info }) => {
			const tab = el('button', 'tab', tableName(info.table));
			tab.type = 'button';
			tab.dataset['table'] = info.table;
			tab.addEventListener('click', () => this.#choose(info.table));
			return tab;
		}));
		this.#choose(this.#chosen !== null && names.includes(this.#chosen) ? this.#chosen : (names[0] ?? null));
	}

	#choose(table: string | null): void {
		this.#chosen = table;
		for (const tab of this.#tabs.children) tab.setAttribute('aria-pressed', String((tab as HTMLElement).dataset['table'] === table));
		const source = this.#root.open ? this.#sources.find(({ info }) => info.table === table) : undefined;
		const wanted = source === undefined ? '' : JSON.stringify([source.info, source.where]);
		// An error may have gone with its cause.
		if (wanted === this.#shown && this.#live?.state !== 'error') return;
		this.#shown = wanted;
		this.#live?.unsubscribe();
		this.#live = null;
		this.#columns = [];
		this.#elements.clear();
		this.#body.replaceChildren();
		this.#head.replaceChildren();
		this.#status.textContent = '';
		if (source === undefined) return;
		const options = { limit: ROWS_SHOWN, maxRows: ROWS_HELD, ...(source.where !== '' && { where: source.where }) };
		const live = this.#plank.table(source.info.table, options).rows(() => this.#schedule());
		this.#live = live.on('state', () => this.#schedule());
		this.#schedule();
	}

	#schedule(): void {
		this.#timer ??= setTimeout(() => requestAnimationFrame(() => {
			this.#timer = null;
			if (this.#live !== null) this.#draw(this.#live.rows, this.#live.info);
		}), DRAW_EVERY_MS);
	}

	#draw(rows: readonly Row[], info: RowsInfo): void {
		this.#status.textContent = statusText(rows, info);
		this.#status.classList.toggle('bad', info.error !== null);
		this.#body.parentElement!.classList.toggle('stale', info.state === 'loading');
		const columns = rows.length === 0 ? this.#columns : Object.keys(rows[0]!);
		if (JSON.stringify(columns) !== JSON.stringify(this.#columns)) {
			this.#columns = columns;
			this.#elements.clear();
			this.#head.replaceChildren(...columns.map((name) => {
				const head = el('th', info.key?.includes(name) === true ? 'is-key' : '', name);
				head.scope = 'col';
				return head;
			}));
		}
		const first = this.#elements.size === 0;
		const elements = new Map<Row, HTMLElement>();
		const list = rows.map((row) => {
			// Equal rows of a table without a key are one object.
			const element = (elements.has(row) ? undefined : this.#elements.get(row)) ?? this.#line(row, first);
			elements.set(row, element);
			return element;
		});
		this.#elements = elements;
		for (const [i, element] of list.entries()) {
			const there = this.#body.children[i];
			if (there !== element) this.#body.insertBefore(element, there ?? null);
		}
		while (this.#body.children.length > list.length) this.#body.lastElementChild!.remove();
	}

	#line(row: Row, first: boolean): HTMLElement {
		return el('tr', first ? '' : 'fresh', ...this.#columns.map((name) => {
			const value = row[name];
			const text = valueText(value);
			const cell = el('td', value === null ? 'none' : '', clip(text));
			if (text.length > 40) cell.title = clip(text, 500);
			return cell;
		}));
	}
}

function statusText(rows: readonly Row[], { state, error, total }: RowsInfo): string {
	if (error !== null) return error.hint === null ? error.message : `${error.message}. ${error.hint}`;
	if (state === 'loading' && rows.length === 0) return 'Reading…';
	const all = total > rows.length ? `the first ${rows.length} of ${plural(total, 'row')}` : plural(total, 'row');
	return state === 'loading' ? `${all}, reading again…` : all;
}
