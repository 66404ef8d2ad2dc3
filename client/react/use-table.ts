// A table's live rows as a React hook. Everything but React's own rules is in plank.js.

import { useMemo, useSyncExternalStore } from 'react';
import type { LiveOptions, LiveRows, Plank, PlankError, Row, RowsState } from 'plank-client';

export interface TableView<T> {
	/** The same array until something changes. While `loading` again, those from before. */
	rows: readonly T[];
	state: RowsState;
	error: PlankError | null;
}

const empty: readonly never[] = [];

/** The rows of a table; the component is drawn again after each transaction that touches them. */
export function useTable<T = Row>(plank: Plank, name: string, options: LiveOptions = {}): TableView<T> {
	// By what they say: options written in place are another object each time.
	const text = JSON.stringify(options);
	const store = useMemo(() => new Store<T>(plank, name, JSON.parse(text) as LiveOptions), [plank, name, text]);
	return useSyncExternalStore(store.subscribe, store.view, store.view);
}

// Subscribed from React's first listener to its last.
class Store<T> {
	readonly #begin: (told: () => void) => LiveRows<T>;
	#view: TableView<T> = { rows: empty, state: 'loading', error: null };

	constructor(plank: Plank, name: string, options: LiveOptions) {
		this.#begin = (told) => plank.table(name, options).rows<T>(told);
	}

	readonly view = (): TableView<T> => this.#view;

	readonly subscribe = (listener: () => void): (() => void) => {
		const told = (): void => {
			this.#view = { rows: live.rows, state: live.state, error: live.error };
			listener();
		};
		const live = this.#begin(told);
		live.on('state', told);
		return () => live.unsubscribe();
	};
}
