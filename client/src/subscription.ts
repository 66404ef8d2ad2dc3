// One subscription as the server knows it, for all the handles that want the same. It outlives connections: each new
// one subscribes again under a new id.
//
//   waiting ──send──▶ asked ──subscribed──▶ live ──lost──▶ waiting
//      any ──refused, ended by the server, left by its last handle, closed──▶ ended

import { canonical } from './apply.js';
import { Code, type PlankError } from './errors.js';
import type { RowsMessage, SubscribedMessage, TableOptions } from './protocol.js';
import type { ChannelMessage, Change } from './transaction.js';
import type { ChannelEvents, CommonEvents, Subscribed, TableEvents, Watch } from './watch.js';

/** What is asked of the server, without the id. */
export type Wanted = ({ table: string } & TableOptions) | { channel: string };

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
	/** Equal for those that want the same. */
	readonly text: string;
	/** The id on the present connection; null when none was used yet. */
	id: string | null = null;
	readonly #owner: SubscriptionOwner;
	readonly #watches = new Set<AnyWatch>();
	#agreed: Subscribed | null = null;
	#position: string | null = null;
	#live = false;
	#ended = false;
	// It was live on an earlier connection, so the next `subscribed` leaves a gap behind.
	#gap: string | null = null;

	constructor(wanted: Wanted, owner: SubscriptionOwner) {
		this.wanted = wanted;
		this.text = canonical(wanted);
		this.#owner = owner;
	}

	get live(): boolean {
		return this.#live;
	}

	get ended(): boolean {
		return this.#ended;
	}

	/** How far the stream has come: what a resume will start from. */
	get position(): string | null {
		return this.#position;
	}

	join(watch: AnyWatch): void {
		this.#watches.add(watch);
		const agreed = (): Subscribed | null => (this.#live ? this.#agreed : null);
		watch.joined({
			get agreed() {
				return agreed();
			},
			leave: () => {
				this.#watches.delete(watch);
				if (this.#watches.size > 0 || this.#ended) return;
				this.#ended = true;
				this.#owner.abandoned(this);
			},
		});
	}

	subscribed(message: SubscribedMessage): void {
		this.#agreed = {
			table: message.table ?? null,
			channel: message.channel ?? null,
			key: message.key ?? null,
			columns: message.columns ?? [],
			position: message.position ?? null,
		};
		this.#position = message.position ?? this.#position;
		this.#live = true;
		for (const watch of [...this.#watches]) watch.subscribed(this.#agreed);
		if (this.#gap !== null) {
			const reason = this.#gap;
			this.#gap = null;
			this.reset(reason, message.position ?? null);
		}
	}

	reset(reason: string, position: string | null): void {
		this.#position = position ?? this.#position;
		this.#each((watch) => watch.deliver('reset', { reason, position }));
	}

	rows(message: RowsMessage): void {
		this.#each((watch) => (watch as Watch<TableEvents>).deliver('rows', message.rows));
		if (message.more !== true) this.moved(message.position ?? null);
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

	moved(position: string | null): void {
		if (this.#live && position !== null) this.#position = position;
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
		if (this.#live) this.#gap = `${error.message}; changes in between were not received`;
		this.#live = false;
		this.#each((watch) => watch.interrupted());
	}

	/** For good. `quiet` when it is what the application asked for. */
	end(error: PlankError, quiet = false): void {
		this.#ended = true;
		this.#live = false;
		const watches = [...this.#watches];
		this.#watches.clear();
		for (const watch of watches) watch.ended(error);
		if (!quiet) this.#tell(error, watches);
	}

	#tell(error: PlankError, watches: AnyWatch[]): void {
		let heard = false;
		for (const watch of watches) heard = watch.failed(error) || heard;
		if (!heard) this.#owner.unheard(error);
	}

	#each(action: (watch: Watch<CommonEvents> & AnyWatch) => void): void {
		for (const watch of [...this.#watches]) {
			// One of the others may have unsubscribed it just now.
			if (watch.state !== 'ended') action(watch as Watch<CommonEvents> & AnyWatch);
		}
	}
}
