// The live page: connects to the server it came from and shows the transactions of the picked tables.

import { connect, PlankError, type Change, type TableEvents, type TableInfo, type Watch, type WelcomeMessage } from '/plank.js';
import { CHANGES_SHOWN } from './card.js';
import { byId } from './dom.js';
import { Feed } from './feed.js';
import { Notices, type Situation } from './notices.js';
import { Picker } from './picker.js';
import { Rates } from './rates.js';
import { RowsPane } from './rows.js';

/** How often the list of tables is read again, while the page is visible. */
const TABLES_EVERY_MS = 10_000;

// A function, so that a server that gives no role yet is asked again: the page goes on once it is set up. Numbers as
// text, so that every digit is shown.
const plank = connect(new URL('/ws', location.href), { token: () => null, numbers: 'text' });
const watches = new Map<string, { watch: Watch<TableEvents>; where: string }>();
let tables: TableInfo[] | null = null;
let welcome: WelcomeMessage | null = null;

const rates = new Rates();
const notices = new Notices(() => plank.reconnect());
const feed = new Feed(showEmpty);
const rows = new RowsPane(plank);
const picker = new Picker(subscribePicked);

function situation(): Situation {
	return { status: plank.status, welcome, tables, picked: picker.active.length, feedEmpty: feed.empty };
}

function showEmpty(): void {
	notices.empty(situation());
}

function subscribePicked(): void {
	const active = new Set(picker.active);
	for (const [table, { watch, where }] of watches) {
		if (active.has(table) && watch.state !== 'ended' && where === picker.where(table)) continue;
		watch.unsubscribe();
		watches.delete(table);
		if (!active.has(table)) picker.problem(table, null);
	}
	for (const table of active) {
		const where = picker.where(table);
		if (!watches.has(table)) watches.set(table, { watch: subscribe(table, where), where });
	}
	rows.show(picker.activeTables.map((info) => ({ info, where: picker.where(info.table) })));
	showEmpty();
}

function subscribe(table: string, where: string): Watch<TableEvents> {
	return plank.table(table, where === '' ? {} : { where }).subscribe()
		.on('subscribed', () => picker.problem(table, null))
		.on('reset', ({ reason }) => feed.push({ kind: 'reset', table, reason, time: new Date() }))
		.on('error', (error) => {
			if (welcome?.role !== null) picker.problem(table, error.message);
			report(error, table);
		});
}

function report(error: unknown, about: string | null): void {
	// The empty state says what to do about a missing role, at more length.
	if (error instanceof PlankError && error.code === '28000' && welcome?.role === null) return;
	const known = error instanceof PlankError ? error : new PlankError({ code: 'XX000', message: String(error) });
	notices.error(known, about);
}

async function readTables(): Promise<void> {
	try {
		tables = await plank.tables();
		// Also subscribes again to what the server had ended and offers once more.
		picker.show(tables);
	} catch (error) {
		report(error, null);
	}
	showEmpty();
}

plank
	.on('welcome', (message) => {
		welcome = message;
		notices.who(message, plank.status);
		if (message.role !== null) void readTables();
		showEmpty();
	})
	.on('state', (status) => {
		notices.status(status);
		if (status.state === 'open') notices.clearErrors();
		showEmpty();
	})
	.on('error', (error) => report(error, null))
	.on('transaction', ({ xid, committed_at, changes }) => {
		rates.count(changes.length);
		for (const change of changes) picker.count((change as Change).table);
		feed.push({
			kind: 'transaction',
			xid,
			time: committed_at === null ? new Date() : new Date(committed_at),
			changes: changes.slice(0, CHANGES_SHOWN),
			count: changes.length,
		});
	});

byId('clear').addEventListener('click', () => rates.clear());
if (matchMedia('(max-width: 45rem)').matches) for (const id of ['tables', 'rows']) byId<HTMLDetailsElement>(id).open = false;
notices.status(plank.status);
showEmpty();
setInterval(() => {
	picker.refresh();
	notices.tick(situation());
}, 1000);
setInterval(() => {
	if (document.visibilityState === 'visible' && plank.state === 'open' && welcome?.role != null) void readTables();
}, TABLES_EVERY_MS);
