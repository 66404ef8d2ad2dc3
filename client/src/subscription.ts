// One subscription as the server knows it, for all the handles that want the same. It outlives connections: each new
// one subscribes again under a new id, since the position that was reached.
//
//   waiting ──send──▶ asked ──subscribed──▶ live ──lost──▶ waiting
//      any ──refused, ended by the server, left by its last handle, closed──▶ ended
//
// A gap is what was missed if the next `subscribed` does not resume. It ends with `resumed`, or with a reset: the
// server's when it knows `since`, else one made here.

import { canonical } from './apply.js';
import { Code, type PlankError } from './errors.js';
import { Progress } from './progress.js';
import type { RowsMessage, SubscribedMessage, TableOptions } from './protocol.js';
import type { ChannelMessage, Change } from './transaction.js';
import type { ChannelEvents, CommonEvents, Subscribed, TableEvents, Watch } from './watch.js';

/** What is asked of the server, without the id and where to begin. */
export type Wanted = ({ table: string } & Omit<TableOptions, 'since'>) | { channel: string };

export interface SubscriptionOwner {
	/** The last handle has left. */
	abandoned(subscription: Subscription): void;
	/** An error that none of the handles heard. */
	unheard(error: PlankError): void;
	/** Whether another attempt with another token is to come. */
	readonly renewsToken: boolean;
}

type AnyWatch = Watch<TableEvents> | Watch<ChannelEvents>;

export class Subscription {
	readonly wanted: Wanted;
	/** What it catches up with is no event of the connection: the application is shown rows, not changes. */
	readonly quiet: boolean;
	/** Equal for those that want the same. */
	readonly text: string;
	/** The id on the present connection; null when none was used yet. */
	id: string | null = null;
	readonly #owner: SubscriptionOwner;
	readonly #watches = new Set<AnyWatch>();
	readonly #progress: Progress;
	// A copy that an application kept: it is owed what was committed since, or a reset.
	readonly #continues: boolean;
	#agreed: Subscribed | null = null;
	#since: string | null = null;
	#live = false;
	#ended = false;
	#gap: string | null = null;

	constructor(wanted: Wanted, owner: SubscriptionOwner, since: string | null = null, quiet = false) {
		this.wanted = wanted;
		this.quiet = quiet;
		this.text = canonical(wanted);
		this.#owner = owner;
		this.#progress = new Progress({ snapshot: 'snapshot' in wanted && wanted.snapshot === true }, since);
		this.#continues = since !== null;
		if (since !== null) this.#gap = 'the server does not resume; changes since the given position were not received';
	}

	get ended(): boolean {
		return this.#ended;
	}

	/** Where the next resume starts; null when there is nothing to resume from. */
	get position(): string | null {
		return this.#progress.position;
	}

	/**
	 * Whether another handle may join. Not while it catches up, or is about to: the newcomer would get what was
	 * committed before it came.
	 */
	get open(): boolean {
		return this.#gap === null && (this.#live ? !this.#progress.catchingUp : !this.#continues);
	}

	/** The position to ask for on a new connection. */
	asked(): string | null {
		this.#since = this.#progress.position;
		return this.#since;
	}

	join(watch: AnyWatch): void {
		this.#watches.add(watch);
		// What is said of the position and of resuming concerns those who were there.
		const agreed = (): Subscribed | null =>
			this.#live && this.#agreed !== null ? { ...this.#agreed, position: this.position, resumed: null } : null;
		watch.joined({
			get agreed() {
				return agreed();
			},
			since: this.#continues ? this.position : null,
			leave: () => {
				this.#watches.delete(watch);
				if (this.#watches.size > 0 || this.#ended) return;
				this.#ended = true;
				this.#owner.abandoned(this);
			},
		});
	}

	subscribed(message: SubscribedMessage): void {
		const first = !this.#live;
		const position = message.position ?? null;
		// Only a server that knows `since` says whether it resumes; when it does not, its own reset comes next.
		const resumed = first && this.#since !== null ? (message.resumed ?? null) : null;
		let gap: string | null = null;
		if (resumed === true) {
			this.#gap = null;
			this.#progress.resumed();
		} else if (first && resumed === null) {
			gap = this.#gap;
			this.#progress.begun(position);
		}
		this.#agreed = {
			table: message.table ?? null,
			channel: message.channel ?? null,
			key: message.key ?? null,
			columns: message.columns ?? [],
			position,
			resumed: gap === null ? resumed : false,
		};
		this.#live = true;
		for (const watch of [...this.#watches]) watch.subscribed(this.#agreed, this.position);
		if (gap !== null) this.reset(gap, position);
	}

	reset(reason: string, position: string | null): void {
		this.#gap = null;
		this.#progress.reset(position);
		this.#each((watch) => watch.deliver('reset', { reason, position }));
		this.#tellPosition();
	}

	rows(message: RowsMessage): void {
		this.#each((watch) => (watch as Watch<TableEvents>).deliver('rows', message.rows));
		if (message.more === true) return;
		this.#progress.filled(message.position ?? null);
		this.#each((watch) => watch.whole?.(true));
		this.#tellPosition();
	}

	/** A change for this subscription. A change's events come before the next change's. */
	changed(change: Change | ChannelMessage): void {
		if (change.op === 'message') {
			this.#each((watch) => (watch as Watch<ChannelEvents>).deliver('message', change));
			return;
		}
		this.#each((watch) => {
			(watch as Watch<TableEvents>).deliver('change', change);
			if (watch.state !== 'ended') (watch as Watch<TableEvents>).deliver(change.op, change);
		});
	}

	/** All changes of a transaction have been handed on; `named` when some were for this subscription. */
	applied(position: string | null, named: boolean): void {
		if (!this.#live) return;
		this.#progress.applied(position, named);
		if (named) this.#each((watch) => watch.whole?.(false));
		this.#tellPosition();
	}

	/** The same for a transaction of its own catching up. */
	caughtUpTo(position: string | null): void {
		if (!this.#live) return;
		this.#progress.caughtUpTo(position);
		this.#each((watch) => watch.whole?.(false));
		this.#tellPosition();
	}

	told(position: string): void {
		if (!this.#live) return;
		this.#progress.told(position);
		this.#tellPosition();
	}

	/** Whether the refusal may be due to `since`, so that it is worth asking without. */
	canAskWithout(error: PlankError): boolean {
		const about = error.code === Code.notSupported || error.code === Code.invalidArgument;
		if (!about || this.#live || this.#since === null) return false;
		this.#gap = `the server did not resume (${error.message}); changes in between were not received`;
		this.#progress.forget();
		this.#tellPosition();
		return true;
	}

	/** The server refused it, or said no to something about it while it lives on. */
	refused(error: PlankError): void {
		// With another token on the next connection it may be allowed.
		const final = !this.#live && !(error.code === Code.notAuthenticated && this.#owner.renewsToken);
		if (final) this.end(error);
		else this.#tell(error, [...this.#watches]);
	}

	/** The connection is gone. */
	lost(error: PlankError): void {
		this.id = null;
		// A reset that is still to come stays so.
		if (this.#live) this.#gap ??= `${error.message}; changes in between were not received`;
		this.#live = false;
		this.#progress.lost();
		this.#each((watch) => watch.interrupted());
	}

	/** Ended by the server for want of a good token; subscribed again with the next. What was held is void. */
	suspended(error: PlankError): void {
		this.lost(error);
		this.#gap = `${error.message}; changes in between were not received`;
		this.#progress.forget();
		this.#tellPosition();
	}

	/** Ended by the server: nothing is left to come back to. */
	end(error: PlankError): void {
		this.#progress.forget();
		this.#tellPosition();
		this.closed(error, false);
	}

	/** Ended with the connection; the handles keep the position. `quiet` when it is what the application asked for. */
	closed(error: PlankError, quiet: boolean): void {
		this.#ended = true;
		this.#live = false;
		const watches = [...this.#watches];
		this.#watches.clear();
		for (const watch of watches) watch.ended(error);
		if (!quiet) this.#tell(error, watches);
	}

	#tellPosition(): void {
		const { position } = this;
		for (const watch of [...this.#watches]) watch.moved(position);
	}

	#tell(error: PlankError, watches: AnyWatch[]): void {
		let heard = false;
		for (const watch of watches) heard = watch.failed(error) || heard;
		if (!heard) this.#owner.unheard(error);
	}

	#each(action: (watch: Watch<CommonEvents> & AnyWatch) => void): void {
		for (const watch of [...this.#watches]) {
			// Who joined a live subscription just now has not been told so yet; others may have been unsubscribed.
			if (watch.state === 'live') action(watch as Watch<CommonEvents> & AnyWatch);
		}
	}
}
