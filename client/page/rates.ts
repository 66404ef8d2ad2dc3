// Counters: what came in the last second, the minute before as a curve, and the sum.

import { byId } from './dom.js';

const SECONDS = 60;
const WIDTH = 120;
const HEIGHT = 28;

export class Rates {
	#transactions = 0;
	#changes = 0;
	#total = 0;
	#since = performance.now();
	readonly #history: number[] = Array<number>(SECONDS).fill(0);
	readonly #transactionsRate = byId('transactions-rate');
	readonly #changesRate = byId('changes-rate');
	readonly #changesTotal = byId('changes-total');
	readonly #line = byId<SVGElement>('spark').querySelector('.line')!;
	readonly #area = byId<SVGElement>('spark').querySelector('.area')!;

	constructor() {
		setInterval(() => this.#tick(), 1000);
		this.#draw();
	}

	/** Changes per second, as last shown. */
	get changesPerSecond(): number {
		return this.#history[SECONDS - 1]!;
	}

	count(changes: number): void {
		this.#transactions += 1;
		this.#changes += changes;
	}

	clear(): void {
		this.#total = 0;
		this.#changesTotal.textContent = '0';
	}

	#tick(): void {
		// Timers of hidden pages come late.
		const seconds = Math.max((performance.now() - this.#since) / 1000, 0.001);
		this.#since = performance.now();
		this.#total += this.#changes;
		const changesRate = this.#changes / seconds;
		this.#history.shift();
		this.#history.push(changesRate);
		this.#transactionsRate.textContent = rateText(this.#transactions / seconds);
		this.#changesRate.textContent = rateText(changesRate);
		this.#changesTotal.textContent = this.#total.toLocaleString('en');
		this.#transactions = this.#changes = 0;
		this.#draw();
	}

	#draw(): void {
		const top = Math.max(...this.#history, 1);
		const points = this.#history.map((value, i) => (
			`${((i * WIDTH) / (SECONDS - 1)).toFixed(1)},${(HEIGHT - 2 - (value / top) * (HEIGHT - 5)).toFixed(1)}`
		));
		this.#line.setAttribute('d', `M${points.join('L')}`);
		this.#area.setAttribute('d', `M0,${HEIGHT}L${points.join('L')}L${WIDTH},${HEIGHT}Z`);
	}
}

function rateText(rate: number): string {
	if (rate === 0) return '0';
	return rate < 9.95 ? rate.toFixed(1) : Math.round(rate).toLocaleString('en');
}
