// Random subscriptions: what a client may ask to see of a table by `where` and `columns`. The conditions use operators of
// every kind on values that the writers write, so that rows enter and leave them all the time.

import { keys } from './schema.mjs';

const facets = [
	'n = 7', 'n <> 7', 'n IN (0, 1, 42)', 'n NOT IN (7, 42)', 'n IN (7, NULL)', 'n BETWEEN 0 AND 7', 'n IS NULL', 'n IS NOT NULL', 'n = ANY (ARRAY[1, 42])', 'n > ALL (ARRAY[0, 1])',
	'n IS DISTINCT FROM 7', 'n % 2 = 1', 'abs(n) = 3', '7 = n', 'n = 7.0', 'n + 1 > 2', '-n < 0',
	'big = 9007199254740993', 'big < 0', 'big = 7', 'big IN (7, 0)', 'big = n',
	'price = 1', 'price = 1.000', 'price IN (0.5, 10.5)', `price = 'NaN'`, 'price > 99999999999999999999', 'round(price) = 1', 'scale(price) = 2', 'trim_scale(price) = 10.5',
	'amount = 1', 'amount = 2.50', 'amount < -7', 'amount BETWEEN 0 AND 2.5', 'amount = price',
	`name = 'alpha'`, `name LIKE 'a%'`, `name ILIKE 'AL%'`, `name NOT LIKE '%a'`, `name ~ '^[a-z]+$'`, `name ~* 'Z'`, `name < 'm'`, `name > 'Z' COLLATE "C"`, `name = ''`, `lower(name) = 'alpha'`, `length(name) = 5`,
	`name LIKE 'a\\%b\\_c'`, `name || 'x' = 'zetax'`, `name COLLATE "POSIX" BETWEEN 'A' AND 'b'`, `upper(name) IN ('ALPHA', 'ZETA')`, `name IN ('alpha', 'zeta', '')`, `position('a' in name) = 1`, `substr(name, 1, 1) = 'Z'`, `name SIMILAR TO '(a|z)%'`,
	`code < 'a'`, `code = 'a'`, `code IN ('b', 'B')`, `code >= 'b'`, 'code = name', `kind = 'ab'`, `kind = 'ab  '`, `kind IN ('', 'abcd')`, `kind > 'ab'`,
	`tags = '{red}'`, `'red' = ANY (tags)`, `tags @> '{red}'`, `tags <@ ARRAY['red', 'blue']`, `tags && '{green,blue}'`, `tags[1] = 'red'`, 'cardinality(tags) = 0', 'array_length(tags, 1) > 1', `'red' <> ALL (tags)`, `array_position(tags, 'blue') = 2`,
	'nums = ARRAY[1]', 'nums[2] = 4', '1 = ANY (nums)', 'nums < ARRAY[1, 3]', 'nums @> ARRAY[7]', 'array_lower(nums, 1) = 2', 'n = ANY (nums)',
	`doc @> '{"a": 1}'`, `doc ? 'a'`, `doc ?| ARRAY['tag', 'b']`, `doc->>'a' = '1'`, `doc->'a' = '1'`, `doc #>> '{a,b,0}' = '1'`, `doc = 'null'`, `jsonb_typeof(doc) = 'array'`, `doc <@ '[1, 2, "red", null]'`, `(doc->>'tag') = ANY (tags)`, `doc['a'] = '1'`, `doc @? '$.a.b[*] ? (@ > 1)'`,
	'span @> 4', `span && '[4,6)'`, 'isempty(span)', `span << '[8,9)'`, 'upper_inf(span)', `span = '[3,4)'`, 'id <@ span', `span -|- '[5,6)'`,
	`at = '2026-03-29 03:30:00+02'`, `at < '2026-01-01 00:00:00 America/New_York'`, `at > '2026-10-25 00:30+00'`, `at = 'infinity'`, `at AT TIME ZONE 'Europe/Berlin' >= '2026-03-29 03:00'`, `extract(hour FROM at AT TIME ZONE 'Asia/Kolkata') = 7`, 'isfinite(at)',
	`date_trunc('day', at AT TIME ZONE 'Europe/Berlin') = '2026-10-25'`, `at IN ('2000-01-01 08:00+00', '1900-01-01 00:00Z')`,
	`day = '2024-02-29'`, `day > '2026-01-01'`, `day + 1 = '2026-03-01'`, 'extract(year FROM day) = 2026', `took = '30 days'`, `took > '1 day'`, `took = '1 mon'`, `took IN ('720:00', '36:00')`,
	'flag', 'NOT flag', 'flag IS NOT TRUE', 'flag IS UNKNOWN', 'flag = true', `ratio = 'NaN'`, 'ratio = 0', 'ratio > 1', 'ratio = 0.1', `ratio IN (0.1, 'Infinity')`,
	`address << '10.0.0.0/8'`, `address = '10.0.0.1'`, 'family(address) = 6', `address <<= '10.0.0.0/8'`,
	'coalesce(n, 0) = 0', `CASE WHEN flag THEN n > 0 ELSE name IS NULL END`, 'nullif(n, 7) IS NULL', '(n, big) = (7, 7)', `(name, code) IN (('alpha', 'a'), ('zeta', 'b'))`, 'greatest(n, 5) = 5', 'num_nulls(n, price, name) > 1',
	'id % 3 = 0', 'id < 100', 'id IN (1, 2, 3, 50)', 'id = 17',
];

const atoms = {
	facets,
	items: ['id <= 200', 'id < 0', 'id = 7', `name LIKE 'nest%'`, `name LIKE 'was %'`, `name = 'bulk'`, 'length(body) > 32', 'length(body) > 40000', `body LIKE '%a'`, `body < '8'`, 'id % 2 = 0', 'id IN (1, 2, 3, 401)', `at > '2026-01-01 00:00 Europe/Paris'`, 'body IS NULL'],
	pairs: ['v = 1', 'v = 2.50', 'v IS NULL', 'v < 20.125', 'v % 1 = 0', `b = 'a'`, `b IN ('a', 'ß', ' ')`, `b > 'b'`, `b COLLATE "C" > 'b'`, 'a < 50', 'a = 7', '(a, b) < (50, \'b\')'],
	bag: ['a = 3', 'a IN (1, 2, 9)', `b = 'x'`, `b <> 'x'`, 'a % 2 = 1', 'a > 4'],
	parts: [`region = 'north'`, `region IN ('south', 'east')`, `region > 'm'`, 'id < 75', `note = 'note'`, `note LIKE '%a%'`, 'length(note) = 32', 'id % 2 = 0'],
	checking: ['balance > 100', 'balance < 0', 'id <= 10', 'balance = 100'],
	audit: [`kind = 'INSERT'`, `kind IN ('UPDATE', 'DELETE')`, 'item < 200', 'item IS NULL'],
};

const columns = {
	facets: ['n', 'big', 'price', 'amount', 'name', 'code', 'kind', 'tags', 'nums', 'doc', 'span', 'at', 'day', 'took', 'flag', 'ratio', 'address', 'version'],
	items: ['name', 'body', 'at', 'version'], pairs: ['v', 'version'], bag: ['a', 'b'], parts: ['note', 'version'], checking: ['balance', 'version'], audit: ['item', 'kind'],
};

function condition(random, table, depth) {
	const part = () => condition(random, table, depth - 1);
	if (depth === 0) return `(${random.pick(atoms[table])})`;
	return random.weighted([
		[4, () => `(${random.pick(atoms[table])})`], [3, () => `(${part()} AND ${part()})`], [3, () => `(${part()} OR ${part()})`], [1, () => `NOT ${part()}`],
		[0.5, () => `(${part()} IS NOT TRUE)`], [0.5, () => `(${part()} = ${part()})`],
	])();
}

/** `{ table, where, columns, events }`, each as `subscribe` takes it; the last three may be absent. */
export function randomView(random) {
	const table = random.weighted([[8, 'facets'], [2, 'items'], [2, 'pairs'], [2, 'bag'], [2, 'parts'], [1, 'checking'], [1, 'audit']]);
	return {
		table,
		...(random.percent(92) && { where: condition(random, table, random.between(0, 3)) }),
		...(random.percent(60) && { columns: columns[table].filter(() => random.percent(40)) }),
		...(random.percent(30) && { events: ['truncate', 'update', 'delete', 'insert'] }),
	};
}

/** The query of what such a subscription holds: a key is there without being asked for. */
export function query({ table, where, columns: asked }) {
	const list = asked === undefined ? '*' : [...new Set([...(keys[table] ?? []), ...asked])].join();
	return `SELECT ${list} FROM ${table}${where === undefined ? '' : ` WHERE ${where}`}`;
}
