// Numbers that a seed decides. Every actor has a generator of its own, so that what one does depends on nobody's timing.

export class Random {
	#state;

	constructor(seed) {
		this.#state = seed >>> 0;
	}

	/** Another generator, decided by this one's seed and the name. */
	fork(name) {
		let hash = this.#state ^ 0x9e3779b9;
		for (const character of String(name)) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
		return new Random(hash ^ (hash >>> 15));
	}

	/** From 0 up to 1, without 1. */
	unit() {
		this.#state = (this.#state + 0x6d2b79f5) >>> 0;
		let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	}

	/** A whole number from `low` to `high`, both included. */
	between(low, high) {
		return low + Math.floor(this.unit() * (high - low + 1));
	}

	/** True in so many of a hundred cases. */
	percent(share) {
		return this.unit() * 100 < share;
	}

	pick(list) {
		return list[Math.floor(this.unit() * list.length)];
	}

	/** One of [weight, value] pairs. */
	weighted(pairs) {
		let left = this.unit() * pairs.reduce((sum, [weight]) => sum + weight, 0);
		for (const [weight, value] of pairs) if ((left -= weight) < 0) return value;
		return pairs.at(-1)[1];
	}
}
