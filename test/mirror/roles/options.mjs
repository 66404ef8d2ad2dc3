// The command line.

import { parseArgs } from 'node:util';

export const allFaults = ['drop', 'slow', 'restart-client', 'reload', 'views', 'auth', 'terminate-worker', 'kill-worker', 'kill-server'];

const help = `Usage: node test/mirror/roles/main.mjs [options]

  --transport notify|wal   how changes get to the worker (notify)
  --seconds N              how long writers write, privileges change and faults happen (30)
  --seed N                 of what happens; printed, and random when absent
  --writers N              sessions that write (3)
  --rate N                 transactions a second that each writer tries for (20)
  --rights N               changes of privileges a minute; 0: none (50)
  --views N                random conditions and columns that each client subscribes to besides (6)
  --faults LIST            of ${allFaults.join(',')}; "all", or "none" (all)
  --keep                   leave the server's folder behind
`;

export function readOptions(args) {
	const text = (value) => ({ type: 'string', default: value });
	const { values } = parseArgs({
		args, options: {
			transport: text('notify'), seconds: text('30'), seed: { type: 'string' }, writers: text('3'), rate: text('20'), rights: text('50'), views: text('6'),
			faults: text('all'), keep: { type: 'boolean', default: false }, help: { type: 'boolean' },
		},
	});
	if (values.help) {
		process.stdout.write(help);
		process.exit(0);
	}
	if (!['notify', 'wal'].includes(values.transport)) throw new Error('--transport is notify or wal');
	const number = (name, least) => {
		const value = Number(values[name]);
		if (!Number.isSafeInteger(value) || value < least) throw new Error(`--${name} must be a whole number of at least ${least}`);
		return value;
	};
	const faults = values.faults === 'all' ? allFaults : values.faults.split(',').filter((name) => name !== '' && name !== 'none');
	const unknown = faults.filter((name) => !allFaults.includes(name));
	if (unknown.length > 0) throw new Error(`no fault is called ${unknown.join(', ')}; there are: ${allFaults.join(', ')}`);
	return {
		transport: values.transport, seconds: number('seconds', 1), writers: number('writers', 1), rate: number('rate', 1), rights: number('rights', 0), views: number('views', 0),
		seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : number('seed', 0), faults, keep: values.keep,
	};
}
