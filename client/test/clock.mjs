// Time that moves when a test says so.

export class ManualClock {
	#now = 0;
	#timers = new Map();
	#last = 0;

	now = () => this.#now;

	setTimeout = (callback, ms) => {
		this.#timers.set(++this.#last, { at: this.#now + ms, callback });
		return this.#last;
	};

	clearTimeout = (timer) => {
		this.#timers.delete(timer);
	};

	get timers() {
		return this.#timers.size;
	}

	/** Milliseconds until the next timer. */
	get next() {
		return Math.min(...[...this.#timers.values()].map(({ at }) => at)) - this.#now;
	}

	advance(ms) {
		const end = this.#now + ms;
		for (;;) {
			const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
			if (due === undefined) break;
			this.#timers.delete(due[0]);
			this.#now = due[1].at;
			due[1].callback();
		}
		this.#now = end;
	}
}
