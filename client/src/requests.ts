// Questions with one answer (`tables`, `ping`), matched by id.

import { Code, PlankError } from './errors.js';
import type { ClientMessage, ServerMessage } from './protocol.js';

type Answer = Extract<ServerMessage, { type: 'tables' | 'pong' }>;
type Question = Extract<ClientMessage, { type: 'tables' | 'ping' }>;

interface Pending {
	question: Question;
	answer: Answer['type'];
	/** Asked again on the next connection; otherwise it fails with the connection. */
	patient: boolean;
	resolve(answer: Answer): void;
	reject(error: PlankError): void;
}

export class Requests {
	readonly #send: (message: ClientMessage) => boolean;
	readonly #pending = new Map<string, Pending>();
	#lastId = 0;
	#closed: PlankError | null = null;

	constructor(send: (message: ClientMessage) => boolean) {
		this.#send = send;
	}

	ask<Type extends Answer['type']>(
		question: Question, answer: Type, patient: boolean,
	): Promise<Extract<Answer, { type: Type }>> {
		return new Promise((resolve, reject) => {
			if (this.#closed !== null) {
				reject(this.#closed);
				return;
			}
			const id = `r${++this.#lastId}`;
			const sent = this.#send({ ...question, id });
			if (!sent && !patient) {
				reject(new PlankError({ code: Code.connectionLost, message: 'there is no connection' }));
				return;
			}
			this.#pending.set(id, { question, answer, patient, resolve: resolve as (answer: Answer) => void, reject });
		});
	}

	opened(): void {
		for (const [id, { question }] of this.#pending) this.#send({ ...question, id });
	}

	answered(answer: Answer): void {
		// The client's own check for life has no id, and nobody waits for its answer.
		if (answer.id === undefined || answer.id === null) return;
		const pending = this.#pending.get(answer.id);
		if (pending === undefined || pending.answer !== answer.type) return;
		this.#pending.delete(answer.id);
		pending.resolve(answer);
	}

	/** Tells whether the id was that of a question. */
	failed(id: string, error: PlankError): boolean {
		const pending = this.#pending.get(id);
		if (pending === undefined) return false;
		this.#pending.delete(id);
		pending.reject(error);
		return true;
	}

	lost(error: PlankError, final: boolean): void {
		if (final) this.#closed = error;
		for (const [id, pending] of [...this.#pending]) {
			if (pending.patient && !final) continue;
			this.#pending.delete(id);
			pending.reject(error);
		}
	}
}
