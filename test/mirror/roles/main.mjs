// The mirror test of who may see what: clients of a dozen identities follow tables with row security while rows, policies
// and privileges change. At the end each copy is what PostgreSQL shows to its identity, and nobody was ever shown more.
// ../README.md says what is checked.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../client/cluster.mjs';
import { secret } from '../../client/jwt.mjs';
import { Wire } from '../../client/wire.mjs';
import { Failures, Finding } from '../failures.mjs';
import { Faults } from '../faults.mjs';
import { Random } from '../random.mjs';
import { Servers } from '../server.mjs';
import { pause } from '../writer.mjs';
import { Books, margin } from './books.mjs';
import { SeeingClient } from './client.mjs';
import { identities } from './identities.mjs';
import { readOptions } from './options.mjs';
import { Registrar } from './registrar.mjs';
import { readable } from './seen.mjs';
import { Sightings } from './sightings.mjs';
import { ddl } from './tables.mjs';
import { RowWriter } from './writer.mjs';

const options = readOptions(process.argv.slice(2));
const random = new Random(options.seed);
const out = process.stdout;
out.write(`mirror of identities: seed ${options.seed}, transport ${options.transport}, ${options.seconds} s\n`);

let begun = Date.now();
let over = () => {};
const ended = new Promise((resolve) => (over = resolve));
const failures = new Failures(() => over());
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => failures.add('the program', new Error(`${signal}: stopped early`)));
const books = new Books();
const sightings = new Sightings();

// One for each identity, and two that change theirs.
function makeClients(servers) {
	const changing = [[0, 2, 5, 9], [4, 3, 11, 7]].map((list) => list.map((i) => identities[i]));
	return [...identities.map((identity) => [identity]), ...changing].map((own, i) => {
		const name = `client ${i}`;
		return new SeeingClient({ name, servers, random: random.fork(name), failures, books, sightings, identities: own, options });
	});
}

function progress({ clients, writers, registrar, faults }) {
	const sum = (what) => clients.reduce((total, client) => total + client[what], 0);
	const happened = [...faults.counts, ...registrar.counts].map(([name, count]) => `${name} ${count}`).join(', ');
	out.write(`${String(Math.round((Date.now() - begun) / 1000)).padStart(4)} s  committed ${writers.reduce((total, { committed }) => total + committed, 0)}`
		+ `  delivered ${sum('transactions')} (${sum('changes')} changes)  whole ${clients.filter(({ whole }) => whole).length}/${clients.length}`
		+ `  connections ${sum('connections')}  resumes ${sum('resumes')}  resets ${sum('resets')}  ended ${sum('ends')}  refused ${sum('refusals')}  switched ${sum('switches')}${happened && `  | ${happened}`}\n`);
}

// Nothing changes any more: each row of the tables whose policies read others is judged once more, and a last row tells all
// clients that they have had everything.
async function settle({ servers, clients }) {
	const session = await servers.session();
	await session.query(`UPDATE tasks SET tag = tag; INSERT INTO beacon VALUES (1)`);
	const known = new Map();
	const may = (role, table) => {
		const key = `${role} ${table}`;
		if (!known.has(key)) known.set(key, readable(servers.primary, role, table));
		return known.get(key);
	};
	const lacking = async () => (await Promise.all(clients.map((client) => (client.failed ? [] : client.lacks(may, 1))))).flat();
	// But for refusals: what may not be had is asked for again and again.
	const told = () => clients.reduce((sum, { transactions, resets, ends, connections }) => sum + transactions + resets + ends + connections, 0);
	let total;
	await until(async () => {
		if (failures.count > 0) return true;
		const before = told();
		if ((await lacking()).length > 0) return false;
		total = { rows: 0, copies: 0, refused: 0 };
		const wrong = [];
		for (const client of clients) {
			const found = await client.compare(session, may).catch((error) => wrong.push([client, error]));
			for (const name of Object.keys(total)) total[name] += found?.[name] ?? 0;
		}
		// What a client was told meanwhile may have made its copies void, or right: they are compared again.
		if (wrong.length > 0 && (told() !== before || (await lacking()).length > 0)) return false;
		for (const [client, error] of wrong) client.fail(error);
		return true;
	}, 'every client catches up').catch(async (error) => {
		throw new Finding(error.message, { lacking: (await lacking()).slice(0, 5).map((one) => JSON.stringify(one)) });
	});
	if (failures.count > 0) return;
	out.write(`compared: ${total.copies} copies with ${total.rows} rows; ${total.refused} are refused, as they must be\n`);
	await session.end();
}

// When the machine or the server stops for a moment, the worker looks at privileges later than it would. Told by an answer
// that is late, which this is itself when it was this program that stopped.
async function noteDelays(servers, running) {
	let wire = null;
	while (running()) {
		const from = Date.now();
		await pause(200);
		try {
			wire ??= await Wire.open(await servers.url(false));
			await wire.ask({ type: 'ping' }, 'pong');
		} catch {
			wire?.close();
			wire = null;
		}
		const took = Date.now() - from;
		if (took <= 1200) continue;
		books.disturbed(from);
		books.clock.stood(took);
	}
	wire?.close();
}

async function run(servers) {
	await servers.primary.sql(ddl);
	const registrar = new Registrar({ servers, random: random.fork('rights'), books, sightings });
	await registrar.begin();
	const clients = makeClients(servers);
	const writers = Array.from({ length: options.writers }, (_, i) => new RowWriter({ servers, random: random.fork(`writer ${i}`), rate: options.rate }));
	const world = { servers, clients, writers, registrar, options, allowance: books };
	const authenticate = () => random.pick(clients).authenticate();
	world.faults = new Faults({ ...world, more: { auth: [5, authenticate], views: [6, () => random.pick(clients).changeViews(random.between(1, 4))] } }, random.fork('faults'));
	begun = Date.now();
	for (const client of clients) client.start();
	const ticking = setInterval(() => progress(world), 1000);
	const guarded = (work) => work.catch((error) => failures.add('the program', error));
	const writing = writers.map((writer) => guarded(writer.run()));
	const happening = guarded(world.faults.run());
	let running = true;
	const noting = noteDelays(servers, () => running);
	const changing = options.rights > 0 ? guarded(registrar.run(60_000 / options.rights)) : null;
	try {
		await Promise.race([ended, pause(options.seconds * 1000)]);
		registrar.stop();
		world.faults.stop();
		await Promise.race([ended, Promise.all([changing, happening])]);
		// What was changed last must be in force for what is written last.
		await Promise.race([ended, pause(margin)]);
		for (const writer of writers) writer.stop();
		if (failures.count === 0) {
			await Promise.all(writing);
			await settle(world);
			await registrar.finish();
			sightings.check(books);
			const { seen, right, doubtful, versions, hidden } = sightings.counts;
			out.write(`searched: ${seen} sightings of ${versions} row versions, ${right} of what may be seen, ${doubtful} amid changes of privileges; ${hidden} were to be hidden\n`);
		}
		progress(world);
	} finally {
		clearInterval(ticking);
		running = false;
		await noting;
		for (const client of clients) await client.stop();
	}
	for (const line of servers.complaints()) failures.add('the server', new Error(line));
}

const folder = mkdtempSync(join(tmpdir(), 'plank-key-'));
chmodSync(folder, 0o755);
const keyFile = join(folder, 'jwt.key');
writeFileSync(keyFile, secret, { mode: 0o644 });
// Under `wal` a small memory makes resumes read the WAL; `notify` has nothing else to serve them from.
const historySize = options.transport === 'wal' ? random.pick(['1MB', '8MB', '64MB']) : '256MB';
const servers = await Servers.launch({ ...options, historySize, settings: { 'plank.jwt_key_file': keyFile, 'plank.subscribe_rate': 0, track_commit_timestamp: 'on' } });
if (servers === null) {
	out.write(`mirror of identities: plank.transport = '${options.transport}' is not in this version\n`);
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
	out.write(`\nAgain: node test/mirror/roles/main.mjs ${process.argv.slice(2).filter((arg, i, all) => !arg.startsWith('--seed') && all[i - 1] !== '--seed').join(' ')} --seed ${options.seed}\n`);
	out.write(`Server's log: ${servers.all.map(({ logFile }) => logFile).join(' ')}\n`);
}
await servers.stop({ keep: options.keep || failed });
rmSync(folder, { recursive: true, force: true });
out.write(`mirror of identities: ${options.transport} ${failed ? 'failed' : 'passed'}\n`);
process.exit(failed ? 1 : 0);
