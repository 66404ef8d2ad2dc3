// Listeners by event name. A listener that throws stops neither the others nor the connection.

export type Listener<T> = (value: T) => void;

/** Where the exceptions of listeners go. */
export type ThrowHandler = (error: unknown) => void;

/** Makes an exception visible as uncaught, outside the call that is going on. */
export function throwLater(error: unknown): void {
	queueMicrotask(() => {
		throw error;
	});
}

export class Emitter<Events extends object> {
	readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();
	readonly #onThrow: ThrowHandler;

	/** @internal */
	constructor(onThrow: ThrowHandler = throwLater) {
		this.#onThrow = onThrow;
	}

	/** Calls `listener` for every such event from now on. */
	on<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this {
		let listeners = this.#listeners.get(event);
		if (listeners === undefined) this.#listeners.set(event, (listeners = new Set()));
		listeners.add(listener as Listener<never>);
		return this;
	}

	/** Takes back what `on` did. */
	off<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this {
		this.#listeners.get(event)?.delete(listener as Listener<never>);
		return this;
	}

	/** @internal Tells whether anybody was listening. */
	emit<Name extends keyof Events>(event: Name, value: Events[Name]): boolean {
		const listeners = this.#listeners.get(event);
		if (listeners === undefined || listeners.size === 0) return false;
		// A copy, so that a listener added by another hears the next event and not this one.
		for (const listener of [...listeners]) {
			if (!listeners.has(listener)) continue;
			try {
				(listener as Listener<Events[Name]>)(value);
			} catch (error) {
				this.#onThrow(error);
			}
		}
		return true;
	}

	/** @internal */
	listens(event: keyof Events): boolean {
		return (this.#listeners.get(event)?.size ?? 0) > 0;
	}
}
