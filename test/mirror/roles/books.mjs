// What was changed when, and for whom: what entitles a client to a reset or an end, and when what it may see is in doubt.

import { CalmClock } from '../clock.mjs';
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
	/** What `grace` is counted in. */
	clock = new CalmClock();

	/** Privileges, or what policies show, change now, or did since `from`; `roles`: for these, null: for all. `reset`: clients are told. */
	changed(table, roles, { time = Date.now(), from = time, reset = true } = {}) {
		for (const name of table === null ? names : [table]) this.#causes.get(name).push({ from, time, at: this.clock.now(), roles, reset });
	}

	/** All positions are void, as after a fault under `notify`. */
	grantAll() {
		for (const causes of this.#causes.values()) causes.push({ at: this.clock.now(), roles: null, reset: true, fault: true });
	}

	/** The worker reads nothing meanwhile; what it then reads is judged by what is in force then. */
	disturbed(from, to = Date.now()) {
		this.#disturbed.push({ from, to });
	}

	#recent(table, role, now) {
		return this.#causes.get(table).filter(({ at, roles, reset }) => reset && at > now - grace && (roles === null || roles.has(role)));
	}

	/** Whether there is a reason for a subscription to end, or to be refused otherwise than PostgreSQL would. */
	unsettled(table, role, now = this.clock.now()) {
		return this.#recent(table, role, now).some(({ fault }) => !fault);
	}

	/** How many changes of the table there were. */
	changes(table) {
		return this.#causes.get(table).length;
	}

	/** Whether changes of the table may be judged by the one or the other. */
	inDoubt(table, now = this.clock.now()) {
		return this.#causes.get(table).some(({ fault, at }) => !fault && at > now - grace);
	}

	/** Resets that one subscription has taken. Each cause pays for two: a resume may fail for it before the live one is looked at. */
	account() {
		const taken = new Map();
		return {
			take: (table, role, now = this.clock.now()) => {
				if (this.any) return true;
				const cause = this.#recent(table, role, now).find((one) => (taken.get(one) ?? 0) < 2);
				if (cause !== undefined) taken.set(cause, (taken.get(cause) ?? 0) + 1);
				return cause !== undefined;
			},
		};
	}

	/**
	 * Whether a row version of that life may have been judged by privileges from before or after it. What was written at
	 * `born` or `died` is judged when its transaction has committed, at the time that goes with it.
	 */
	doubtful(table, { born, bornCommit, died, diedCommit }) {
		const ends = [[born, bornCommit ?? born], ...(died === null ? [] : [[died, diedCommit ?? died]])];
		const near = (one, other) => one[0] <= other[1] + margin && other[0] <= one[1] + margin;
		return this.#causes.get(table).some(({ from, time, fault }) => !fault && ends.some((end) => near(end, [from, time])
			|| this.#disturbed.some((disturbed) => near(end, [disturbed.from, disturbed.to]) && near([from, time], [disturbed.from, disturbed.to]))));
	}
}
