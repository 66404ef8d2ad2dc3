// One transaction, or one reset, as an element. The full values of a change are made only when it is opened.

import type { Change, ChannelMessage, Json } from '/plank.js';
import { el, type Child } from './dom.js';
import { clip, COLUMNS_SHOWN, differences, keyText, plural, splitName, timeText, valueText } from './format.js';

/** More changes of one transaction than this are counted and not shown. */
export const CHANGES_SHOWN = 50;

export interface TransactionEntry {
	kind: 'transaction';
	xid: string | null;
	time: Date;
	/** At most CHANGES_SHOWN of them. */
	changes: (Change | ChannelMessage)[];
	count: number;
}

export interface ResetEntry {
	kind: 'reset';
	table: string;
	reason: string;
	time: Date;
}

export type Entry = TransactionEntry | ResetEntry;

/** How many lines it takes on the page. */
export function linesOf(entry: Entry): number {
	return entry.kind === 'reset' ? 1 : entry.changes.length + 1;
}

export function card(entry: Entry): HTMLElement {
	return entry.kind === 'reset' ? resetCard(entry) : transactionCard(entry);
}

function transactionCard(entry: TransactionEntry): HTMLElement {
	const list = el('ol', 'changes', ...entry.changes.map((change) => el('li', '', changeLine(change))));
	const hidden = entry.count - entry.changes.length;
	if (hidden > 0) list.append(el('li', 'more', `+${plural(hidden, 'more change')}`));
	const title = entry.xid === null ? 'notification' : `transaction ${entry.xid}`;
	const article = el('article', 'card',
		el('header', '',
			el('time', '', timeText(entry.time)),
			el('span', 'xid', title),
			el('span', 'tally', plural(entry.count, 'change'))),
		list);
	article.setAttribute('aria-label', `${title}, ${plural(entry.count, 'change')}`);
	return article;
}

function resetCard(entry: ResetEntry): HTMLElement {
	return el('article', 'card reset',
		el('header', '', el('time', '', timeText(entry.time)), badge('reset'), tableName(entry.table),
			el('span', 'reason', entry.reason)));
}

function changeLine(change: Change | ChannelMessage): HTMLElement {
	if (change.op === 'message') {
		const payload = valueText(change.payload);
		return opened(change, badge('message'), el('span', 'table', clip(change.channel)), el('span', 'value', clip(payload, 160)));
	}
	if (change.op === 'truncate') {
		return el('div', 'line', badge('truncate'), tableName(change.table), el('span', 'note', 'all rows removed'));
	}
	const all = differences(change);
	const shown = all.slice(0, COLUMNS_SHOWN).map(({ column, old, new: now }) => {
		const parts: Child[] = [el('span', 'column', clip(column, 40))];
		if (old !== undefined) parts.push(value('old', old));
		if (old !== undefined && now !== undefined) parts.push(el('span', 'arrow', '→'));
		if (now !== undefined) parts.push(value('value', now));
		return el('span', 'pair', ...parts);
	});
	return opened(change, badge(change.op), tableName(change.table),
		change.key === null ? null : el('span', 'key', keyText(change.key)),
		change.cause === null ? null : el('span', 'note', `by ${clip(change.cause)}`),
		...shown,
		all.length > COLUMNS_SHOWN ? el('span', 'note', `+${all.length - COLUMNS_SHOWN} columns`) : null);
}

/** A line that opens to the whole values. */
function opened(change: Change | ChannelMessage, ...line: Child[]): HTMLElement {
	const details = el('details', '', el('summary', 'line', ...line));
	details.addEventListener('toggle', () => {
		if (details.open && details.childElementCount === 1) details.append(wholeValues(change));
	});
	return details;
}

function wholeValues(change: Change | ChannelMessage): HTMLElement {
	if (change.op === 'message') return el('pre', 'whole', JSON.stringify(change.payload, null, '\t'));
	const before = change.old ?? {};
	const after = change.new ?? {};
	const rows = [...new Set([...Object.keys(after), ...Object.keys(before)])].map((column) => {
		const changed = change.op === 'update' && Object.hasOwn(before, column)
			&& JSON.stringify(before[column]) !== JSON.stringify(after[column]);
		return el('tr', changed ? 'changed' : '',
			el('th', '', column),
			el('td', '', changed || change.op === 'delete' ? value('old', before[column], Infinity) : null,
				changed ? el('span', 'arrow', '→') : null,
				change.op === 'delete' ? null : value('value', after[column], Infinity)));
	});
	return el('div', 'whole', el('table', '', el('tbody', '', ...rows)));
}

function value(className: string, json: Json | undefined, length?: number): HTMLElement {
	const text = clip(valueText(json), length);
	const element = el('span', className, text === '' ? '""' : text);
	if (json === null || text === '') element.classList.add('none');
	return element;
}

function badge(op: string): HTMLElement {
	const element = el('span', 'badge', op);
	element.dataset['op'] = op;
	return element;
}

export function tableName(table: string): HTMLElement {
	const { schema, name } = splitName(table);
	return el('span', 'table', schema === '' ? null : el('span', 'schema', schema), name);
}
