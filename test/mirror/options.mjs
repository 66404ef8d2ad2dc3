// The command line.

import { parseArgs } from 'node:util';

export const allFaults = ['drop', 'slow', 'restart-client', 'reload', 'ddl', 'views', 'snapshots', 'terminate-worker', 'kill-worker', 'kill-server'];

const help = `Usage: node test/mirror/main.mjs [options]

  --transport notify|wal   how changes get to the worker (notify)
  --seconds N              how long writers write and faults happen (30)
  --seed N                 of what happens; printed, and random when absent
  --writers N              sessions that write (4)
  --clients N              copies, half of them raw, half the client library (6)
  --rate N                 transactions a second that each writer tries for (40)
  --faults LIST            of ${allFaults.join(',')}; "all", or "none" (all)
  --standby                a hot standby that serves half of the clients, and a promotion; transport wal only
  --snapshot               all clients ask for snapshot:true; else one half does, the other reads the tables itself
  --views N                random conditions and columns that each raw client subscribes to besides (12)
  --keep                   leave the servers' folder behind
`;

export function readOptions(args) {
	const { values } = parseArgs({
		args, options: {
			transport: { type: 'string', default: 'notify' }, seconds: { type: 'string', default: '30' }, seed: { type: 'string' },
			writers: { type: 'string', default: '4' }, clients: { type: 'string', default: '6' }, rate: { type: 'string', default: '40' },
			faults: { type: 'string', default: 'all' }, standby: { type: 'boolean', default: false },
			snapshot: { type: 'boolean', default: false }, views: { type: 'string', default: '12' }, keep: { type: 'boolean', default: false }, help: { type: 'boolean' },
		},
	});
	if (values.help) {
		process.stdout.write(help);
		process.exit(0);
	}
	const number = (name, least) => {
		const value = Number(values[name]);
		if (!Number.isSafeInteger(value) || value < least) throw new Error(`--${name} must be a whole number of at least ${least}`);
		return value;
	};
	if (!['notify', 'wal'].includes(values.transport)) throw new Error('--transport is notify or wal');
	if (values.standby && values.transport !== 'wal') throw new Error('--standby needs --transport wal');
	const faults = values.faults === 'all' ? allFaults : values.faults.split(',').filter((name) => name !== '' && name !== 'none');
	const unknown = faults.filter((name) => !allFaults.includes(name));
	if (unknown.length > 0) throw new Error(`no fault is called ${unknown.join(', ')}; there are: ${allFaults.join(', ')}`);
	return {
		transport: values.transport, seconds: number('seconds', 1), writers: number('writers', 1), clients: number('clients', 1),
		rate: number('rate', 1), seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : number('seed', 0),
		faults, standby: values.standby, snapshot: values.snapshot, views: number('views', 0), keep: values.keep,
	};
}
