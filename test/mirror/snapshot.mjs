// A table's rows under one MVCC snapshot, and which transactions that snapshot has seen: what makes a copy exact that is
// read while the stream goes on. A transaction whose xid is visible in the snapshot is in the rows already; one that is
// not has to be applied. The xids of the stream are 64 bits wide, as pg_current_snapshot's are.

/** pg_visible_in_snapshot, for the text of a pg_snapshot: `xmin:xmax:xip,xip`. */
export class Snapshot {
	constructor(text) {
		const [xmin, xmax, running = ''] = text.split(':');
		this.text = text;
		this.xmin = BigInt(xmin);
		this.xmax = BigInt(xmax);
		this.running = new Set(running.split(',').filter((xid) => xid !== '').map(BigInt));
	}

	sees(xid) {
		const number = BigInt(xid);
		return number < this.xmin || (number < this.xmax && !this.running.has(number));
	}
}

/** The rows that a copy should hold as clients get them (rule 8), with the snapshot they were read under. */
export async function readTable(session, { of, source }) {
	await session.query(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`);
	try {
		await session.query(`SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'`);
		const { rows: [{ snapshot }] } = await session.query('SELECT pg_current_snapshot()::text AS snapshot');
		const { rows } = await session.query(`SELECT to_jsonb(x)::text AS row FROM (${source}) x`);
		const { rows: columns } = await session.query(
			`SELECT attname AS name FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, [of]);
		return { rows: rows.map(({ row }) => JSON.parse(row)), columns: columns.map(({ name }) => name), snapshot: new Snapshot(snapshot) };
	} finally {
		await session.query('ROLLBACK').catch(() => {});
	}
}

/**
 * Once nothing that the session's snapshots have seen can be lost any more, be it committed without waiting or rolled back:
 * after a crash or a failover other transactions would have its xids, and pass for seen.
 */
export const lasting = (session) => session.query(`SELECT pg_logical_emit_message(true, 'mirror', '')`);
