// What goes wrong on purpose. One fault after another at random times; each says what clients may be told because of it.

import { pause } from './writer.mjs';

export class Faults {
	counts = new Map();
	#world;
	#random;
	#stopped = false;

	/** `world`: servers, clients, writers, allowance, definitions, scribe, options; `more`: faults of its own, by name, as [weight, what to do]. */
	constructor(world, random) {
		this.#world = world;
		this.#random = random;
	}

	async run() {
		const { options, more = {} } = this.#world;
		const weights = { drop: 8, slow: 2, 'restart-client': 2, reload: 1, ddl: 4, views: 4, snapshots: 4, 'terminate-worker': 1.5, 'kill-worker': 0.7, 'kill-server': 0.7 };
		const choices = options.faults.map((name) => [more[name]?.[0] ?? weights[name], name]);
		if (choices.length === 0) return;
		this.#stopped = false;
		// Each once, however short the run; then as they come.
		const first = [...options.faults];
		while (!this.#stopped) {
			await pause(this.#random.between(50, 900));
			if (this.#stopped) return;
			const name = first.length > 0 ? first.splice(this.#random.between(0, first.length - 1), 1)[0] : this.#random.weighted(choices);
			this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
			await this.#begin(name);
		}
	}

	stop() {
		this.#stopped = true;
	}

	#begin(name) {
		const own = this.#world.more?.[name];
		if (own !== undefined) return own[1]();
		switch (name) {
			case 'drop': return this.#drop();
			case 'slow': return this.#slow();
			case 'restart-client': return this.#someClient().restart();
			case 'reload': return this.#world.servers.primary.query('SELECT pg_reload_conf()').catch(() => {});
			case 'ddl': return this.#ddl();
			case 'views': return this.#viewer()?.changeViews(this.#random.between(1, 8));
			case 'snapshots': return this.#snapshots();
			default: return this.#disturb(name);
		}
	}

	#someClient() {
		return this.#random.pick(this.#world.clients);
	}

	#viewer() {
		return this.#random.pick(this.#world.clients.filter(({ changeViews }) => changeViews !== undefined));
	}

	// Many at once, and something in the middle of them.
	async #snapshots() {
		const { servers, scribe } = this.#world;
		const client = this.#viewer();
		if (client === undefined) return;
		client.dropAtRows = this.#random.pick(['amid', 'after', null]);
		client.changeViews(this.#random.between(4, 12));
		await pause(this.#random.between(0, 30));
		const amid = this.#random.pick(['nothing', 'drop', 'ddl', 'truncate', 'reader', 'terminate-worker', 'kill-worker']);
		switch (amid) {
			case 'drop': return client.drop(false);
			case 'ddl': return this.#ddl();
			case 'truncate': return scribe.try((session) => session.query(`TRUNCATE ${this.#random.pick(['facets', 'items', 'bag', 'pairs'])}`));
			case 'reader': return servers.primary.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'plank snapshot'`).catch(() => {});
			case 'nothing': return undefined;
			default: return this.#world.options.faults.includes(amid) ? this.#disturb(amid) : undefined;
		}
	}

	#drop() {
		for (let i = this.#random.between(1, 3); i > 0; i -= 1) this.#someClient().drop(this.#random.percent(40));
	}

	// Not awaited: the next fault may hit a client that reads nothing.
	#slow() {
		void this.#someClient().stall(this.#random.between(500, 4000));
	}

	async #ddl() {
		const { definitions, scribe, allowance, servers } = this.#world;
		const change = definitions.next(this.#random);
		if (change.alone) {
			const session = await servers.session().catch(() => null);
			await session?.query(`SET lock_timeout = '2s'`).then(() => session.query(change.sql)).catch(() => {});
			await session?.end().catch(() => {});
			return;
		}
		// The reset may arrive before this program hears of the commit.
		if (change.reset) allowance.grant(change.table);
		const committed = await scribe.try((session) => session.query(change.sql));
		if (committed) change.done?.();
	}

	// While the worker is away `notify` records nothing, so that positions from before are void; `wal` misses nothing.
	async #disturb(name) {
		const from = Date.now();
		const { servers, allowance, options } = this.#world;
		const server = servers.standby !== null && this.#random.percent(40) ? servers.standby : servers.primary;
		allowance.clock.stop();
		if (options.transport === 'notify') allowance.grantAll();
		let pid = null;
		if (name === 'kill-server') {
			server.kill(server.postmaster);
			await server.start();
		} else {
			pid = await server.worker().catch(() => null);
			if (pid !== null && name === 'kill-worker') server.kill(pid);
			else if (pid !== null) await server.query('SELECT pg_terminate_backend($1)', [pid]).catch(() => (pid = null));
		}
		await server.ready(pid);
		allowance.clock.go();
		allowance.disturbed?.(from);
	}
}
