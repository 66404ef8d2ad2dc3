// What went wrong, said so that somebody can find out why: who held what, what it should have been, and what the client
// was last told about that row.

/** A finding; `facts` are printed one a line. */
export class Finding extends Error {
	constructor(message, facts = {}) {
		super(message);
		this.facts = facts;
	}
}

const shown = (value) => {
	const text = typeof value === 'string' ? value : JSON.stringify(value, (_, part) => (part instanceof Set ? [...part] : typeof part === 'bigint' ? String(part) : part));
	return text === undefined || text.length <= 800 ? text : `${text.slice(0, 800)}… (${text.length} characters)`;
};

export class Failures {
	#list = [];
	#onFirst;

	constructor(onFirst) {
		this.#onFirst = onFirst;
	}

	get count() {
		return this.#list.length;
	}

	add(client, error) {
		this.#list.push({ client, error });
		if (this.#list.length === 1) this.#onFirst();
	}

	print(out) {
		for (const { client, error } of this.#list.slice(0, 10)) {
			out.write(`\nFAILED ${client}: ${error instanceof Finding ? error.message : error.stack}\n`);
			for (const [name, value] of Object.entries(error.facts ?? {})) {
				if (Array.isArray(value) && typeof value[0] === 'string') out.write(`  ${name}:\n${value.map((line) => `    ${shown(line)}\n`).join('')}`);
				else out.write(`  ${name}: ${shown(value)}\n`);
			}
		}
		if (this.#list.length > 10) out.write(`\n… and ${this.#list.length - 10} more\n`);
	}
}

/** The last messages that a client was told, to look up what they said about a row. */
export class History {
	#lines = [];
	#next = 0;
	#size;

	constructor(size = 5_000) {
		this.#size = size;
	}

	/** `what` is made a line of only when somebody asks. */
	add(table, row, what) {
		this.#lines[this.#next] = { table, row, what };
		this.#next = (this.#next + 1) % this.#size;
	}

	/** Oldest first; lines about the whole table count for each of its rows. */
	about(table, row, count = 12) {
		const ordered = [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)].filter(Boolean);
		return ordered.filter((line) => line.table === table && (line.row === null || line.row === row)).slice(-count)
			.map(({ what }) => what.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))).join(' '));
	}
}
