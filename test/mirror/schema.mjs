// The tables that are mirrored, and the DDL that happens to them. Each has a trigger that counts its changes in the
// running transaction, for the transaction's line in the ledger: the count is PostgreSQL's own, so it knows of cascades
// of triggers, of rows that move between partitions, and of what a savepoint took back.

/** Name, and whether its rows have a version: a number that only grows, whoever writes the row. */
export const tables = ['ledger', 'checking', 'savings', 'items', 'audit', 'pairs', 'bag', 'parts', 'facets'];
export const versioned = new Set(['checking', 'savings', 'items', 'pairs', 'parts', 'facets']);
export const keys = {
	ledger: ['writer', 'n'], checking: ['id'], savings: ['id'], items: ['id'], audit: ['id'], pairs: ['b', 'a'], bag: null, parts: ['id', 'region'], facets: ['id'],
};
export const total = 2 * 20 * 100;

// Values of few kinds, so that conditions meet them; each is null at times.
const pool = (...literals) => `(ARRAY[${literals}, NULL])[1 + floor(random() * ${literals.length + 1})::int]`;
const text = (value) => `'${value}'`;

/** Expressions that give a random value of each of the columns of `facets` but its key and version. */
export const facets = {
	n: pool(-3, 0, 1, 7, 7, 42), big: pool('0::bigint', '9007199254740993', '-9223372036854775808', '7'),
	price: pool('1.0', '1.00', '1', '0.5', '10.50', '99999999999999999999.125', `'NaN'::numeric`, '-2.50'), amount: pool('1.000', '2.5', '-7.125', '1000000.001'),
	name: pool(...['alpha', 'Alpha', 'ALPHA', 'älpha', 'zeta', 'Zeta', '', 'a%b_c', 'ünïcödé', '_x', 'back\\slash'].map(text)), code: pool(...['a', 'B', 'b', 'Z', 'ä', '-a', 'a '].map(text)),
	kind: pool(`'ab'::char(4)`, `'ab  '`, `'abcd'`, `''`),
	tags: `(ARRAY['{}', '{red}', '{red,blue}', '{NULL}', '{blue,NULL,red}', '{green}', NULL]::text[])[1 + floor(random() * 7)::int]::text[]`,
	nums: `(ARRAY['{}', '{1}', '{1,2,3}', '{7,NULL}', '[2:3]={4,5}', NULL]::text[])[1 + floor(random() * 6)::int]::int[]`,
	doc: `(ARRAY['{}', '[]', 'null', '1', '"x"', '{"a": 1}', '{"a": {"b": [1, 2]}}', '{"a": "1", "tag": "red"}', '[1, "red", null]', NULL]::jsonb[])[1 + floor(random() * 10)::int]`,
	span: pool(`'empty'::int4range`, `'[1,5)'`, `'(,10]'`, `'[7,)'`, `'[3,3]'`), at: pool(`'2026-03-29 01:30:00+00'::timestamptz`, `'2026-10-25 02:30:00.123456+02'`, `'infinity'`, `'2000-01-01 00:00:00-08'`, `'1900-01-01 00:00+00'`),
	day: pool(`'2026-02-28'::date`, `'2024-02-29'`, `'-infinity'`, `'2026-11-01'`), took: pool(`'1 mon'::interval`, `'30 days'`, `'36:00'`, `'-1 day'`),
	flag: pool('true', 'false'), ratio: pool(`'NaN'::float8`, `'-0'`, '0', '0.1', `'Infinity'`, '1e308'), address: pool(`'10.0.0.1'::inet`, `'10.0.0.0/8'`, `'::1'`),
};

/** A query of random rows of `facets`; `key` gives each its id. */
export const facetRows = (from, key) => `(id, ${Object.keys(facets)}, version) SELECT ${key}, ${Object.values(facets)}, nextval('versions') FROM ${from}`;

const counted = tables.filter((name) => name !== 'ledger');

export const ddl = `
	CREATE SEQUENCE versions;
	CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('mirror.' || TG_ARGV[0],
			(coalesce(nullif(current_setting('mirror.' || TG_ARGV[0], true), ''), '0')::int + 1)::text, true);
		RETURN NULL;
	END $$;
	CREATE FUNCTION counts() RETURNS jsonb LANGUAGE sql AS $$
		SELECT coalesce(jsonb_object_agg(name, n), '{}') FROM (SELECT name, nullif(current_setting('mirror.' || name, true), '')::int AS n
			FROM unnest('{${counted}}'::text[]) name) counted WHERE n IS NOT NULL
	$$;

	CREATE TABLE ledger (writer int, n bigint, counts jsonb NOT NULL, PRIMARY KEY (writer, n));
	CREATE TABLE checking (id int PRIMARY KEY, balance int NOT NULL, version bigint NOT NULL);
	CREATE TABLE savings (id int PRIMARY KEY, balance int NOT NULL, version bigint NOT NULL);
	CREATE TABLE items (id bigint PRIMARY KEY, name text, body text, at timestamptz, version bigint NOT NULL);
	CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item bigint, kind text);
	CREATE TABLE pairs (a int, b text, v numeric(8,2), version bigint NOT NULL, PRIMARY KEY (b, a));
	CREATE TABLE bag (a int, b text);
	CREATE TABLE parts (id int, region text, note text, version bigint NOT NULL, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE facets (id int PRIMARY KEY, n int, big bigint, price numeric, amount numeric(12,3), name text, code text COLLATE "C", kind char(4), tags text[], nums int[],
		doc jsonb, span int4range, at timestamptz, day date, took interval, flag boolean, ratio float8, address inet, version bigint NOT NULL);
	CREATE TABLE parts_north PARTITION OF parts FOR VALUES IN ('north');
	CREATE TABLE parts_south PARTITION OF parts FOR VALUES IN ('south');
	CREATE TABLE parts_rest PARTITION OF parts DEFAULT;

	CREATE FUNCTION audit_items() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO audit (item, kind) VALUES (coalesce(NEW.id, OLD.id), TG_OP);
		-- Its own row once more, and another one: captured before what the statement itself has still to tell.
		IF TG_OP <> 'DELETE' AND NEW.name LIKE 'nest%' AND pg_trigger_depth() < 2 THEN
			UPDATE items SET name = 'was ' || name, version = nextval('versions') WHERE id = NEW.id;
			UPDATE items SET at = now(), version = nextval('versions') WHERE id = (SELECT max(id) FROM items WHERE id < NEW.id);
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER audit_items AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW WHEN (pg_trigger_depth() < 2) EXECUTE FUNCTION audit_items();
	${counted.map((name) => `
	CREATE TRIGGER zz_count AFTER INSERT OR UPDATE OR DELETE ON ${name} FOR EACH ROW EXECUTE FUNCTION count_change('${name}');
	CREATE TRIGGER zz_truncated AFTER TRUNCATE ON ${name} EXECUTE FUNCTION count_change('${name}');`).join('')}

	INSERT INTO checking SELECT i, CASE WHEN i > 0 THEN 100 ELSE 0 END, 0 FROM generate_series(0, 20) i;
	INSERT INTO savings SELECT i, CASE WHEN i > 0 THEN 100 ELSE 0 END, 0 FROM generate_series(0, 20) i;
	INSERT INTO items SELECT i, 'item ' || i, md5(i::text), now(), 0 FROM generate_series(1, 200) i;
	INSERT INTO pairs SELECT i, chr(97 + i % 26), i / 4.0, 0 FROM generate_series(1, 100) i;
	INSERT INTO bag SELECT i % 10, 'x' FROM generate_series(1, 100) i;
	INSERT INTO parts SELECT i, (ARRAY['north', 'south', 'east'])[1 + i % 3], 'note', 0 FROM generate_series(1, 100) i;
	INSERT INTO facets ${facetRows('generate_series(1, 150) i', 'i')};
	${tables.map((name) => `SELECT plank.track('${name}');`).join(' ')}
`;

/** Statements for one table; `reset` when its contents change without row changes, so that a reset must follow. */
export class Definitions {
	#columns = new Map();
	#last = 0;
	#detached = false;

	/** The columns that were added to the table and are still there. */
	extra(table) {
		return this.#columns.get(table) ?? [];
	}

	/** What to do next, and `done` to call when it was committed. */
	next(random) {
		const table = random.pick(['items', 'pairs', 'bag', 'parts', 'checking', 'facets']);
		const extra = this.extra(table);
		const set = (columns) => () => this.#columns.set(table, columns);
		const name = `x${this.#last += 1}`;
		const choices = [
			[3, { table, sql: `ALTER TABLE ${table} ADD COLUMN ${name} int`, done: set([...extra, name]) }],
			[1, { table, sql: `ALTER TABLE ${table} ADD COLUMN ${name} int DEFAULT 7`, reset: true, done: set([...extra, name]) }],
			[1, { table, sql: `VACUUM (FULL) ${table}`, alone: true }],
			[1, this.#detached
				? { table: 'parts', sql: `DELETE FROM parts WHERE region = 'south'; ALTER TABLE parts ATTACH PARTITION parts_south FOR VALUES IN ('south')`, reset: true, done: () => (this.#detached = false) }
				: { table: 'parts', sql: 'ALTER TABLE parts DETACH PARTITION parts_south', reset: true, done: () => (this.#detached = true) }],
			[1, { table: 'parts', sql: 'TRUNCATE parts_north', reset: true }],
			[1, { table: 'facets', sql: `ALTER TABLE facets ALTER n TYPE ${random.pick(['int', 'bigint', 'numeric'])}`, reset: true }],
			[1, { table: 'pairs', sql: `ALTER TABLE pairs ALTER v TYPE numeric(${8 + (this.#last % 3)},${2 + (this.#last % 2)})`, reset: true }],
		];
		if (extra.length > 0) {
			const column = random.pick(extra);
			const others = extra.filter((other) => other !== column);
			choices.push(
				[2, { table, sql: `ALTER TABLE ${table} DROP COLUMN ${column}`, done: set(others) }],
				[2, { table, sql: `ALTER TABLE ${table} RENAME ${column} TO ${column}r`, done: set(extra.map((other) => (other === column ? `${column}r` : other))) }],
				[1, { table, sql: `ALTER TABLE ${table} DROP COLUMN ${column}, ADD COLUMN ${name} int`, done: set([...others, name]) }],
			);
		}
		return random.weighted(choices);
	}
}

/** Columns that are the same but for having been renamed have the same: only names here grow an `r`. */
export const identity = (name) => name.replace(/^(x\d+)r+$/, '$1');
