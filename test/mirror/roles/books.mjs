// What was changed when, and for whom: what entitles a client to a reset or an end, and when what it may see is in doubt.

import { names } from './tables.mjs';

/** How long after its cause a reset or an end may come, at the most. */
export const grace = 15_000;
/** Changes so near to a change of privileges may be judged by either: a second, and a busy machine's delay. */
export const margin = 3_000;

export class Books {
	#causes = new Map([...names, 'beacon'].map((name) => [name, []]));
	#disturbed = [];
	/** Set when the server cannot resume. */
	any = false;

	/** Privileges, or what policies show, change from now on; `roles`: for these, null: for all. `reset`: clients are told. */
	changed(table, roles, { time = Date.now(), reset = true } = {}) {
		for (const name of table === null ? names : [table]) this.#causes.get(name).push({ time, roles, reset });
	}

	/** All positions are void, as after a fault under `notify`. */
	grantAll() {
		for (const causes of this.#causes.values()) causes.push({ time: Date.now(), roles: null, reset: true, fault: true });
	}

	/** The worker reads nothing meanwhile; what it then reads is judged by what is in force then. */
	disturbed(from, to = Date.now()) {
		this.#disturbed.push({ from, to });
	}

	#recent(table, role, now) {
		return this.#causes.get(table).filter(({ time, roles, reset }) => reset && time > now - grace && (roles === null || roles.has(role)));
	}

	/** Whether there is a reason for a subscription to end, or to be refused otherwise than PostgreSQL would. */
	unsettled(table, role, now = Date.now()) {
		return this.#recent(table, role, now).some(({ fault }) => !fault);
	}

	/** How many changes of the table there were. */
	changes(table) {
		return this.#causes.get(table).length;
	}

	/** Whether changes of the table may be judged by the one or the other. */
	inDoubt(table, time = Date.now()) {
		return this.#causes.get(table).some((cause) => !cause.fault && cause.time > time - grace);
	}

	/** Resets that one subscription has taken. Each cause pays for two: a resume may fail for it before the live one is looked at. */
	account() {
		const taken = new Map();
		return {
			take: (table, role, now = Date.now()) => {
				if (this.any) return true;
				const cause = this.#recent(table, role, now).find((one) => (taken.get(one) ?? 0) < 2);
				if (cause !== undefined) taken.set(cause, (taken.get(cause) ?? 0) + 1);
				return cause !== undefined;
			},
		};
	}

	/** Whether a row version of that life may have been judged by privileges from before or after it. */
	doubtful(table, { born, died }) {
		const ends = died === null ? [born] : [born, died];
		return this.#causes.get(table).some(({ time, fault }) => !fault && ends.some((end) => Math.abs(time - end) <= margin
			|| this.#disturbed.some(({ from, to }) => end >= from - margin && end <= to + margin && time >= from - margin && time <= to + margin)));
	}
}
