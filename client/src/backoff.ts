// How long to wait before the next attempt: exponential, with full jitter, so that ten thousand clients of a server
// that restarts do not all come back in the same instant.

export const BASE_MS = 250;
export const CAP_MS = 30_000;

export class Backoff {
	#attempt = 0;
	readonly #random: () => number;

	constructor(random: () => number) {
		this.#random = random;
	}

	/** Failed attempts since the last reset. */
	get attempt(): number {
		return this.#attempt;
	}

	/** The next delay: evenly between 0 and the ceiling, which doubles with each attempt. */
	next(): number {
		const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.#attempt, 20));
		this.#attempt += 1;
		return Math.round(this.#random() * ceiling);
	}

	/** Goes on as if at least so many attempts had failed: for a server that says it needs time. */
	atLeast(attempt: number): void {
		this.#attempt = Math.max(this.#attempt, attempt);
	}

	reset(): void {
		this.#attempt = 0;
	}
}
