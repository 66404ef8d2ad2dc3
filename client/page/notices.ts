// What the page says in words: the state of the connection, errors, and what to do when there is nothing to see.

import type { ConnectionStatus, PlankError, TableInfo, WelcomeMessage } from '/plank.js';
import { button, byId, el, type Child } from './dom.js';

const NOTICES_SHOWN = 3;

/** What decides which empty state is shown. */
export interface Situation {
	status: ConnectionStatus;
	welcome: WelcomeMessage | null;
	/** null until the server has said. */
	tables: TableInfo[] | null;
	picked: number;
	feedEmpty: boolean;
}

export class Notices {
	readonly #pill = byId('state');
	readonly #who = byId('who');
	readonly #notices = byId('notices');
	readonly #empty = byId('empty');
	readonly #lost = byId('lost');
	readonly #lostReason = el('p', '');
	#emptyShown = '';
	#retryAt = 0;
	// Connected, but as nobody.
	#refused = false;
	readonly #reconnect: () => void;

	constructor(reconnect: () => void) {
		this.#reconnect = reconnect;
		this.#lost.append(this.#lostReason, button('Try again now', reconnect));
	}

	status(status: ConnectionStatus): void {
		this.#retryAt = status.retryIn === null ? 0 : performance.now() + status.retryIn;
		this.#refused = false;
		if (status.state === 'open') this.#lost.hidden = true;
		this.#showPill(status);
	}

	/** Once a second: the time until the next attempt, and why. Short losses pass without a word. */
	tick(situation: Situation): void {
		const { status, feedEmpty } = situation;
		this.#showPill(status);
		this.#lost.hidden = feedEmpty || status.state === 'open' || status.state === 'connecting';
		if (!this.#lost.hidden) this.#lostReason.textContent = `No connection: ${status.reason ?? ''}`;
	}

	#showPill(status: ConnectionStatus): void {
		const seconds = Math.ceil((this.#retryAt - performance.now()) / 1000);
		const wait = status.state === 'reconnecting' && seconds > 1 ? ` in ${seconds} s` : '';
		const refused = status.state === 'open' && this.#refused;
		const text = refused ? 'no role' : status.state === 'open' ? 'live' : status.state + wait;
		this.#pill.dataset['state'] = refused ? 'refused' : status.state;
		this.#pill.title = status.reason ?? '';
		if (this.#pill.textContent !== text) this.#pill.textContent = text;
	}

	who(welcome: WelcomeMessage, status: ConnectionStatus): void {
		this.#refused = welcome.role === null;
		this.#showPill(status);
		const role = welcome.role === null ? 'no role' : `role ${welcome.role}`;
		this.#who.textContent = `${role} · ${location.host} · ${welcome.server}`;
	}

	error(error: PlankError, about: string | null): void {
		const text = `${about === null ? '' : `${about}: `}${error.message}`;
		const key = `${error.code} ${text}`;
		for (const old of [...this.#notices.children]) if ((old as HTMLElement).dataset['key'] === key) old.remove();
		const notice = el('div', 'notice',
			el('code', '', error.code),
			el('p', '', text, error.detail === null ? null : el('small', '', error.detail),
				error.hint === null ? null : el('small', '', error.hint)));
		const dismiss = button('×', () => notice.remove());
		dismiss.setAttribute('aria-label', 'Dismiss');
		notice.append(dismiss);
		notice.dataset['key'] = key;
		this.#notices.prepend(notice);
		while (this.#notices.childElementCount > NOTICES_SHOWN) this.#notices.lastElementChild!.remove();
	}

	clearErrors(): void {
		this.#notices.replaceChildren();
	}

	/** Shows what to do next, when the feed has nothing to show. */
	empty(situation: Situation): void {
		const { name, content } = this.#choose(situation);
		if (situation.feedEmpty) this.#lost.hidden = true;
		this.#empty.hidden = name === '';
		if (name === this.#emptyShown) return;
		this.#emptyShown = name;
		this.#empty.replaceChildren(...content());
	}

	#choose({ status, welcome, tables, picked, feedEmpty }: Situation): { name: string; content: () => HTMLElement[] } {
		const state = (name: string, ...content: HTMLElement[]) => ({ name, content: () => content });
		if (welcome !== null && welcome.role === null) {
			return state('role', title('The server does not know who you are'),
				text('It gives clients without a token no role. To let this page in, name the role whose tables it may read:'),
				sql(`CREATE ROLE web;\nALTER SYSTEM SET plank.anonymous_role = 'web';\nSELECT pg_reload_conf();`),
				text('The page goes on by itself once that is done.'));
		}
		if (!feedEmpty) return state('');
		if (status.state !== 'open' && status.state !== 'connecting') {
			return state(`lost ${status.reason}`, title('No connection'), text(status.reason ?? ''),
				el('p', '', button('Try again now', this.#reconnect)));
		}
		if (status.state === 'connecting' || tables === null) return state('connecting', title('Connecting…'));
		if (tables.length === 0) {
			const role = identifier(welcome?.role ?? 'web');
			return state('tables', title('No tracked table that this role may read'),
				text('Track one and let the role read it, for example:'),
				sql(`SELECT plank.track('items');\nGRANT SELECT ON items TO ${role};`),
				text('It appears here within seconds.'));
		}
		if (picked === 0) return state('pick', title('Pick a table'), text('Its transactions appear here as they are committed.'));
		return state(`waiting ${picked}`, title('Waiting for the next commit'),
			text('Change a row, in whatever way you like; rolled-back work never shows.'));
	}
}

function title(content: string): HTMLElement {
	return el('h2', '', content);
}

function text(...content: Child[]): HTMLElement {
	return el('p', '', ...content);
}

function sql(content: string): HTMLElement {
	return el('pre', 'sql', content);
}

function identifier(name: string): string {
	return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
