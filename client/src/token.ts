// What the client reads of a token: when it expires. It verifies nothing; that is the server's business. Pure.

/** A renewal that would come later than this is made now and then anyway; timers cannot wait longer. */
const LONGEST_MS = 2 ** 31 - 1;
/** So long before its end a token is renewed, or at half of what is left of it when that is less. */
const AHEAD_MS = 60_000;
/** With less left than this the server's close is waited for, which brings a new token too. */
const SHORTEST_MS = 2_000;

/** The end of a JWT in milliseconds since 1970; null when it does not say. */
export function expiryOf(token: string): number | null {
	try {
		const payload = token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/');
		const { exp } = JSON.parse(atob(payload)) as { exp?: unknown };
		return typeof exp === 'number' && Number.isFinite(exp) ? exp * 1000 : null;
	} catch {
		return null;
	}
}

/** Milliseconds until a token that ends at `expiry` should be renewed; null when there is no point. */
export function renewalDelay(expiry: number, now: number): number | null {
	const left = expiry - now;
	return left < SHORTEST_MS ? null : Math.min(Math.max(left - AHEAD_MS, left / 2), LONGEST_MS);
}
