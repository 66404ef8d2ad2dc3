// The one kind of error this library makes.

/** SQLSTATEs that the client itself reports; all others come from the server. */
export const Code = {
	connectionLost: '08006',
	connectionClosed: '08003',
	cannotConnect: '08001',
	protocolViolation: '08P01',
	invalidArgument: '22023',
	notSupported: '0A000',
	notAuthenticated: '28000',
	limitReached: '53400',
} as const;

export interface ErrorParts {
	code: string;
	message: string;
	detail?: string | null | undefined;
	hint?: string | null | undefined;
	cause?: unknown;
}

/** An error with PostgreSQL's parts: SQLSTATE `code`, `message`, and where known `detail` and `hint`. */
export class PlankError extends Error {
	readonly code: string;
	readonly detail: string | null;
	readonly hint: string | null;

	constructor(parts: ErrorParts) {
		super(parts.message, parts.cause === undefined ? undefined : { cause: parts.cause });
		this.name = 'PlankError';
		this.code = parts.code;
		this.detail = parts.detail ?? null;
		this.hint = parts.hint ?? null;
	}
}
