// How far one subscription has come in the stream, which is what a resume starts from. The position moves only to where
// everything before it was applied; when in doubt it stays behind, for to be sent something that moves nothing is
// cheap, and to miss something is not.
//
// While a subscription catches up (what a resume or a snapshot owes it is sent as `catchup`), the rest of the
// connection goes on ahead of it: what moves the others says nothing about this one. It has caught up when a
// transaction outside the catching up names it, or with a `position` message, which counts for all.

/** What a subscription asked for, as far as its position is concerned. */
export interface Asked {
	/** Rows come first; until the last of them there is nothing to resume from. */
	snapshot: boolean;
}

export class Progress {
	readonly #snapshot: boolean;
	#position: string | null;
	#catchingUp = false;
	#rowsPending = false;

	constructor(asked: Asked, position: string | null = null) {
		this.#snapshot = asked.snapshot;
		this.#position = position;
	}

	/** What `since` takes; null when there is nothing to resume from. */
	get position(): string | null {
		return this.#position;
	}

	get catchingUp(): boolean {
		return this.#catchingUp;
	}

	/** The first `subscribed` of a connection, to a subscription that did not ask for `since`, or in vain. */
	begun(position: string | null): void {
		this.#start(position);
	}

	/** The first `subscribed` of a connection, with `resumed`: the stream goes on from where this one stands. */
	resumed(): void {
		this.#catchingUp = true;
	}

	/** The last `rows`. */
	filled(position: string | null): void {
		this.#rowsPending = false;
		this.#position = position ?? this.#position;
	}

	/** A whole transaction was applied; `named` when one of its changes was for this subscription. */
	applied(position: string | null, named: boolean): void {
		if (named && !this.#rowsPending) this.#catchingUp = false;
		if (!this.#catchingUp) this.#position = position ?? this.#position;
	}

	/** A whole transaction of this subscription's own catching up was applied. */
	caughtUpTo(position: string | null): void {
		if (!this.#rowsPending) this.#position = position ?? this.#position;
	}

	/** A `position` message. */
	told(position: string): void {
		if (this.#rowsPending) return;
		this.#catchingUp = false;
		this.#position = position;
	}

	/** What is held is void, and the stream goes on from there. */
	reset(position: string | null): void {
		this.#start(position, this.#catchingUp);
	}

	/** Nothing can be resumed: refused, or ended by the server. */
	forget(): void {
		this.#position = null;
		this.#catchingUp = false;
		this.#rowsPending = false;
	}

	/** The connection is gone. A catching up or a snapshot begins anew with the next. */
	lost(): void {
		this.#catchingUp = false;
		this.#rowsPending = false;
	}

	#start(position: string | null, catchingUp = false): void {
		this.#rowsPending = this.#snapshot;
		this.#catchingUp = this.#snapshot || catchingUp;
		this.#position = this.#snapshot ? null : position;
	}
}
