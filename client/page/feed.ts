// The feed: newest first, bounded, drawn at most once per animation frame and never with more than a part of the
// page's time. Held while it is paused or the reader has scrolled away from its top.

import { card, linesOf, type Entry } from './card.js';
import { byId } from './dom.js';
import { plural } from './format.js';

/** Transactions kept, drawn or waiting to be. */
export const KEPT = 300;
/** Lines drawn, over all transactions: what bounds the number of elements. */
export const LINES = 600;
/** After a frame that took t milliseconds the next drawing waits 3 t: the page stays quick on slow machines too. */
const REST_FACTOR = 3;
/** More drawings than this per second nobody can read. */
const REST_AT_LEAST_MS = 50;

interface Drawn {
	element: HTMLElement;
	lines: number;
}

export class Feed {
	readonly #root = byId('feed');
	readonly #newer = byId<HTMLButtonElement>('newer');
	readonly #kept = byId('kept');
	readonly #pauseButton = byId<HTMLButtonElement>('pause');
	// Oldest first; what the next drawing puts on top.
	#waiting: Entry[] = [];
	#waitingCount = 0;
	// Newest first.
	#drawn: Drawn[] = [];
	#dropped = false;
	#scheduled = false;
	#restUntil = 0;
	#drawBegun = 0;
	// Its message comes when the browser has laid out and painted what was drawn, which takes longer than drawing.
	readonly #painted = new MessageChannel();
	#paused = false;
	#scrolledAway = false;
	readonly #onContent: () => void;

	constructor(onContent: () => void) {
		this.#onContent = onContent;
		this.#painted.port1.onmessage = () => {
			const now = performance.now();
			this.#restUntil = now + Math.max((now - this.#drawBegun) * REST_FACTOR, REST_AT_LEAST_MS);
		};
		new IntersectionObserver(([entry]) => {
			this.#scrolledAway = !entry!.isIntersecting;
			this.#schedule();
		}, { rootMargin: '80px 0px 0px 0px' }).observe(byId('sentinel'));
		this.#newer.addEventListener('click', () => {
			this.pause(false);
			scrollTo({ top: 0 });
		});
		this.#pauseButton.addEventListener('click', () => this.pause(!this.#paused));
		byId('clear').addEventListener('click', () => this.clear());
		// Whoever opens a change wants to read it, and what is read must not move.
		this.#root.addEventListener('toggle', (event) => {
			if ((event.target as HTMLDetailsElement).open) this.pause(true);
		}, true);
	}

	get empty(): boolean {
		return this.#drawn.length === 0 && this.#waiting.length === 0;
	}

	push(entry: Entry): void {
		this.#waiting.push(entry);
		this.#waitingCount += 1;
		// Cut rarely: a shift for each would be slow.
		if (this.#waiting.length > 2 * KEPT) {
			this.#waiting = this.#waiting.slice(-KEPT);
			this.#dropped = true;
		}
		this.#schedule();
	}

	pause(paused: boolean): void {
		this.#paused = paused;
		this.#pauseButton.textContent = paused ? 'Resume' : 'Pause';
		this.#pauseButton.setAttribute('aria-pressed', String(paused));
		this.#schedule();
	}

	clear(): void {
		this.#waiting = [];
		this.#waitingCount = 0;
		this.#drawn = [];
		this.#dropped = false;
		this.#root.replaceChildren();
		this.#showCounts();
		this.#onContent();
	}

	#schedule(): void {
		if (this.#scheduled) return;
		this.#scheduled = true;
		requestAnimationFrame((now) => {
			this.#scheduled = false;
			if (this.#paused || this.#scrolledAway) this.#showCounts();
			else if (now < this.#restUntil) this.#schedule();
			else this.#draw();
		});
	}

	#draw(): void {
		this.#drawBegun = performance.now();
		const fresh: Drawn[] = [];
		const fragment = document.createDocumentFragment();
		let lines = 0;
		while (this.#waiting.length > 0 && fresh.length < KEPT && lines < LINES) {
			const entry = this.#waiting.pop()!;
			const drawn: Drawn = { element: card(entry), lines: linesOf(entry) };
			lines += drawn.lines;
			fragment.append(drawn.element);
			fresh.push(drawn);
		}
		this.#dropped ||= this.#waiting.length > 0;
		this.#waiting = [];
		this.#waitingCount = 0;
		this.#drawn = fresh.concat(this.#drawn);
		this.#root.classList.toggle('calm', fresh.length < 4);
		this.#root.prepend(fragment);
		this.#trim();
		this.#showCounts();
		this.#onContent();
		this.#painted.port2.postMessage(null);
	}

	#trim(): void {
		let lines = 0;
		let keep = 0;
		for (const drawn of this.#drawn) {
			lines += drawn.lines;
			if (keep > 0 && (lines > LINES || keep >= KEPT)) break;
			keep += 1;
		}
		for (const { element } of this.#drawn.splice(keep)) {
			element.remove();
			this.#dropped = true;
		}
	}

	#showCounts(): void {
		const held = this.#waitingCount > 0 && (this.#paused || this.#scrolledAway);
		this.#newer.hidden = !held;
		if (held) this.#newer.textContent = `↑ ${plural(this.#waitingCount, 'new transaction')}`;
		this.#kept.hidden = !this.#dropped;
		this.#kept.textContent = 'Older transactions have left this page.';
	}
}
