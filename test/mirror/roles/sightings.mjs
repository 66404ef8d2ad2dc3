// Every byte that a client receives is searched for markers. Afterwards each that an identity was shown must be one that
// PostgreSQL would have shown it at some time in the life of that row version.

import { Finding } from '../failures.mjs';
import { isSecret, markers } from './tables.mjs';

export class Sightings {
	// identity → marker → when first, and the message.
	#seen = new Map();
	#allowed = new Map();
	#known = new Map();
	/** What `check` found: sightings that PostgreSQL would have shown, and those not judged because privileges had just changed. */
	counts = { seen: 0, right: 0, doubtful: 0, versions: 0, hidden: 0 };

	/** Bytes that were sent to this identity. */
	see(identity, bytes) {
		const seen = this.#of(this.#seen, identity, Map);
		// The markers are ASCII, so that one character is one byte.
		for (const { 0: marker, index } of bytes.toString('latin1').matchAll(markers)) {
			if (!isSecret(marker) && seen.has(marker)) continue;
			const frame = bytes.toString('utf8', Math.max(0, index - 400), index + 60);
			if (isSecret(marker)) throw new Finding('a secret was sent', { identity, marker, frame });
			seen.set(marker, { time: Date.now(), frame });
		}
	}

	/** PostgreSQL shows these to it. */
	allow(identity, list) {
		const allowed = this.#of(this.#allowed, identity, Set);
		for (const marker of list) allowed.add(marker);
	}

	/** Row versions there are or were: `{ table, mark, pay, born, bornCommit, died, diedCommit }`, times in milliseconds. */
	learn(versions) {
		for (const { mark, pay, ...version } of versions) {
			this.#known.set(mark, version);
			this.#known.set(pay, version);
		}
	}

	/** Once everything was learnt: throws for the first that nobody should have seen. */
	check(books) {
		const { counts } = this;
		Object.assign(counts, { seen: 0, right: 0, doubtful: 0, versions: this.#known.size / 2, hidden: 0 });
		for (const [identity, seen] of this.#seen) {
			const allowed = this.#of(this.#allowed, identity, Set);
			for (const marker of this.#known.keys()) if (!allowed.has(marker)) counts.hidden += 1;
			for (const [marker, { time, frame }] of seen) {
				counts.seen += 1;
				const version = this.#known.get(marker);
				if (version === undefined) throw new Finding('a row that was never committed', { identity, marker, frame });
				if (allowed.has(marker)) counts.right += 1;
				else if (books.doubtful(version.table, version)) counts.doubtful += 1;
				else throw new Finding(`${version.table}: a row that this identity could never see`, { identity, marker, version, seen: time, after: time - version.born, frame });
			}
		}
	}

	#of(map, identity, Kind) {
		if (!map.has(identity)) map.set(identity, new Kind());
		return map.get(identity);
	}
}
