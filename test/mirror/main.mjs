// The mirror test: writers write, clients keep copies, faults happen; at the end every copy equals its table, and on the
// way no transaction came in part, twice or out of order. README.md says what is checked and how to read a failure.

import { until } from '../client/cluster.mjs';
import { Wire } from '../client/wire.mjs';
import { Failures, Finding } from './failures.mjs';
import { Faults } from './faults.mjs';
import { Allowance } from './follower.mjs';
import { LibraryClient } from './library_client.mjs';
import { readOptions } from './options.mjs';
import { Random } from './random.mjs';
import { RawClient } from './raw_client.mjs';
import { ddl, Definitions, tables } from './schema.mjs';
import { Servers } from './server.mjs';
import { readTable } from './snapshot.mjs';
import { query } from './views.mjs';
import { pause, Scribe, Writer } from './writer.mjs';

const options = readOptions(process.argv.slice(2));
const random = new Random(options.seed);
const out = process.stdout;
out.write(`mirror: seed ${options.seed}, transport ${options.transport}, ${options.seconds} s\n`);

let begun = Date.now();
let over = () => {};
const ended = new Promise((resolve) => (over = resolve));
const failures = new Failures(() => over());
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => failures.add('the program', new Error(`${signal}: stopped early`)));
const allowance = new Allowance();
const definitions = new Definitions();

// Whether the server resumes is asked, not assumed: one that does not has to be read anew after every loss. From here on
// positions are of something that was committed now: the standby has no WAL from before its backup to resume from.
async function resumes(servers) {
	const wire = await Wire.open(await servers.url(false));
	try {
		wire.send({ type: 'subscribe', id: 'a', table: 'items' });
		await wire.next('subscribed');
		// With a line in the ledger: clients of a standby that is late are told of it.
		await servers.primary.query('TRUNCATE items; INSERT INTO ledger VALUES (998, 1, counts())');
		const { position } = await wire.transaction();
		wire.send({ type: 'subscribe', id: 'b', table: 'items', since: position });
		const answer = await wire.next();
		return answer.code !== '0A000';
	} finally {
		wire.close();
	}
}

function makeClients(servers) {
	return Array.from({ length: options.clients }, (_, i) => {
		const Kind = i % 2 === 0 ? RawClient : LibraryClient;
		const name = `${Kind === RawClient ? 'raw' : 'library'} client ${i}`;
		// Half of either kind, and of those on either server.
		const snapshot = options.snapshot || [1, 2, 4].includes(i % 6);
		const client = new Kind({ name, number: i, servers, random: random.fork(name), failures, allowance, options, snapshot });
		client.prefersStandby = options.standby && i % 4 >= 2;
		return client;
	});
}

function progress(world) {
	const { clients, writers, faults } = world;
	const sum = (what) => clients.reduce((total, client) => total + client[what], 0);
	const happened = [...faults.counts].map(([name, count]) => `${name} ${count}`).join(', ');
	out.write(`${String(Math.round((Date.now() - begun) / 1000)).padStart(4)} s  committed ${writers.reduce((total, { committed }) => total + committed, 0)}`
		+ `  delivered ${sum('transactions')} (${sum('changes')} changes, ${clients.reduce((total, { ledger }) => total + ledger.verified, 0)} found whole)`
		+ `  whole copies ${clients.filter(({ whole }) => whole).length}/${clients.length}  connections ${sum('connections')}`
		+ `  resumes ${sum('resumes')}  resets ${sum('resets')}${happened && `  | ${happened}`}\n`);
}

// A row in every table that says: all that was written before it is here.
const marks = {
	ledger: (rows) => rows.held({ writer: 0, n: 2 }), checking: (rows) => rows.held({ id: -1 }), savings: (rows) => rows.held({ id: -1 }),
	items: (rows) => rows.held({ id: 10 ** 9 }), audit: (rows) => rows.all().some(({ kind }) => kind === 'mark'),
	pairs: (rows) => rows.held({ a: -1, b: 'mark' }), bag: (rows) => rows.all().some(({ a }) => a === -1),
	parts: (rows) => rows.held({ id: -1, region: 'mark' }), facets: (rows) => rows.held({ id: 10 ** 9 }),
};

async function mark(scribe) {
	await scribe.commit(() => {});
	await scribe.commit((session) => session.query(`
		INSERT INTO checking VALUES (-1, 0, 0); INSERT INTO savings VALUES (-1, 0, 0); INSERT INTO items VALUES (1000000000, 'mark', '', now(), 0);
		INSERT INTO audit (kind) VALUES ('mark'); INSERT INTO pairs VALUES (-1, 'mark', 0, 0); INSERT INTO bag VALUES (-1, 'mark');
		INSERT INTO parts VALUES (-1, 'mark', '', 0); INSERT INTO facets (id, version) VALUES (1000000000, 0)`));
}

// How much all clients have been told.
const told = (clients) => clients.reduce((sum, { transactions, resets, connections }) => sum + transactions + resets + connections, 0);

const lacks = (client) => client.lacks((table, rows) => marks[table](rows));
const late = (client) => !client.failed && lacks(client).length > 0;

const sources = new Map(tables.map((table) => [query({ table }), table]));

// Null where a client has been told of something meanwhile: what was read may be older, or its copies void again.
async function compare(servers, clients) {
	const before = told(clients);
	const session = await servers.session();
	const expected = new Map();
	for (const client of clients)
		for (const copy of client.comparable().values())
			if (!expected.has(copy.source)) expected.set(copy.source, (await readTable(session, copy)).rows);
	await session.end();
	if (told(clients) !== before || clients.some(late)) return null;
	for (const client of clients) client.guard(() => client.compare(expected));
	const views = [...expected].filter(([source]) => !sources.has(source));
	return `${[...sources].map(([source, table]) => `${table} ${expected.get(source).length}`).join(', ')}, and ${views.length} views, ${views.filter(([, rows]) => rows.length > 0).length} with rows`;
}

// The clients of the standby go on as they are; the others' server is gone.
async function promotion({ servers, clients }) {
	await servers.promote();
	await Promise.all(clients.filter(({ prefersStandby }) => !prefersStandby).map((client) => client.restart()));
}

// Nothing is written any more: all clients come to the end, and are compared.
async function settle({ servers, clients }) {
	await mark(new Scribe(servers, 0));
	await until(async () => {
		if (failures.count > 0) return true;
		if (clients.some(late)) return false;
		const compared = await compare(servers, clients);
		if (compared !== null) out.write(`compared: ${compared}\n`);
		return compared !== null;
	}, 'every client catches up').catch((error) => {
		if (!clients.some(late)) throw error;
		for (const client of clients.filter(late)) client.fail(new Finding(error.message, { incomplete: lacks(client).map((id) => client.standing(id)) }));
	});
}

async function run(servers) {
	await servers.primary.sql(ddl);
	if (options.standby) await servers.addStandby();
	allowance.any = !(await resumes(servers));
	if (allowance.any) out.write('the server does not resume: clients read the tables again after every loss\n');
	const clients = makeClients(servers);
	const scribe = new Scribe(servers, 999);
	const writers = Array.from({ length: options.writers }, (_, i) => new Writer({
		servers, writer: i + 1, random: random.fork(`writer ${i}`), rate: options.rate, definitions,
		// NOTIFY forbids the one; a failover would take back what the other has committed.
		twoPhase: options.transport === 'wal', asynchronous: !options.standby,
	}));
	const world = { servers, clients, writers, allowance, definitions, scribe, options };
	world.faults = new Faults(world, random.fork('faults'));
	begun = Date.now();
	for (const client of clients) client.start();
	const ticking = setInterval(() => progress(world), 1000);
	const guarded = (work) => work.catch((error) => failures.add('the program', error));
	const writing = writers.map((writer) => guarded(writer.run()));
	let happening = guarded(world.faults.run());
	try {
		const half = options.seconds * 500;
		await Promise.race([ended, pause(half)]);
		if (options.standby && failures.count === 0) {
			world.faults.stop();
			await happening;
			await promotion(world);
			happening = guarded(world.faults.run());
		}
		await Promise.race([ended, pause(half)]);
		world.faults.stop();
		for (const writer of writers) writer.stop();
		if (failures.count === 0) {
			await Promise.all([...writing, happening]);
			await settle(world);
		}
		progress(world);
	} finally {
		clearInterval(ticking);
		for (const client of clients) await client.stop();
	}
	for (const line of servers.complaints()) failures.add('the server', new Error(line));
}

// Under `wal` a small memory makes resumes read the WAL; `notify` has nothing else to serve them from.
const historySize = options.transport === 'wal' ? random.pick(['1MB', '8MB', '64MB']) : '256MB';
const servers = await Servers.launch({ ...options, historySize });
if (servers === null) {
	out.write(`mirror: plank.transport = '${options.transport}' is not in this version\n`);
	process.exit(77);
}
try {
	await run(servers);
} catch (error) {
	failures.add('the program', error);
}
const failed = failures.count > 0;
if (failed) {
	failures.print(out);
	out.write(`\nAgain: node test/mirror/main.mjs ${process.argv.slice(2).filter((arg, i, all) => !arg.startsWith('--seed') && all[i - 1] !== '--seed').join(' ')} --seed ${options.seed}\n`);
	out.write(`Servers' logs: ${servers.all.map(({ logFile }) => logFile).join(' ')}\n`);
}
await servers.stop({ keep: options.keep || failed });
out.write(`mirror: ${options.transport} ${failed ? 'failed' : 'passed'}\n`);
process.exit(failed ? 1 : 0);
