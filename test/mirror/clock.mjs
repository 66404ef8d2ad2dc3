// Time that stands still while a server is away: how long after its reason something may come is counted in this, so that
// a machine that takes long to start a server again makes no failures.

export class CalmClock {
	#stood = 0;
	#since = null;

	now() {
		return (this.#since ?? Date.now()) - this.#stood;
	}

	stop() {
		this.#since ??= Date.now();
	}

	go() {
		if (this.#since !== null) this.#stood += Date.now() - this.#since;
		this.#since = null;
	}

	/** It should have stood still for so long. */
	stood(ms) {
		if (this.#since === null) this.#stood += ms;
	}
}
