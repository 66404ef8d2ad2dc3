// Random changes of who may see what: policies over the row and the claims, row security, privileges on tables and columns,
// and a role's membership. Each is SQL for a table and the same for its shadow, and says whom it may concern.

import { group, roles } from './identities.mjs';
import { columns, names, shadow, tables } from './tables.mjs';

const overClaims = [
	'owner = auth.uid()', 'owner = auth.uid()', 'owner = (SELECT auth.uid())', `owner = (current_setting('request.jwt.claims', true)::json ->> 'sub')`, `(auth.jwt() ->> 'sub') = owner`, 'owner <> auth.uid()', 'owner IS DISTINCT FROM auth.uid()',
	'tenant = auth.tenant()', `tenant = (auth.jwt() ->> 'tenant')::int`, `tenant = (SELECT (auth.jwt() ->> 'tenant')::int)`, 'tenant <> auth.tenant()', '(owner, tenant) = (auth.uid(), auth.tenant())',
	'level <= auth.level()', `level < coalesce((auth.jwt() ->> 'level')::int, 3)`, 'level BETWEEN 1 AND auth.level()', 'level > auth.tenant()',
	'grp = ANY (auth.groups())', 'grp <> ALL (auth.groups())', `grp IN (SELECT g::int FROM jsonb_array_elements_text(CASE WHEN auth.groups() IS NOT NULL THEN auth.jwt() -> 'groups' END) g)`, `auth.jwt() -> 'groups' @> to_jsonb(grp)`, 'grp = ANY (ARRAY(SELECT unnest(auth.groups())))',
	'auth.knows(owner)', `lower(owner) = auth.uid()`, `owner LIKE left(auth.uid(), 1) || '%'`, `auth.jwt() ->> 'role' = current_user AND id % 2 = 0`, `current_user = 'viewer' OR id % 3 = 0`, `auth.jwt() ? 'sub' AND tag = 'a'`, 'auth.uid() IS NULL AND level > 1',
	`CASE WHEN auth.level() > 2 THEN level > 0 ELSE tenant = 1 END`, `coalesce(owner = auth.uid(), tag = 'b')`,
];
const overRows = ['id % 2 = 0', 'id < 40', `tag <> 'b'`, `tag IN ('a', 'b')`, 'tag IS NULL', 'owner IS NULL', 'level > 2', 'tenant IN (1, 3)'];
const constant = ['true', 'true', 'false', 'NULL::boolean'];
const overMembers = [
	'grp IN (SELECT m.grp FROM members m WHERE m.sub = auth.uid())', 'EXISTS (SELECT FROM members m WHERE m.sub = auth.uid() AND m.grp = $table.grp)', 'auth.belongs(grp)',
	'(SELECT count(*) FROM members m WHERE m.sub = $table.owner) > 1', 'NOT EXISTS (SELECT FROM members m WHERE m.grp = $table.grp AND m.sub <> auth.uid())',
];

/** A condition for USING; `$table` stands for the table's name. */
export function predicate(random, table, depth = 2) {
	const part = () => predicate(random, table, depth - 1);
	const atom = () => random.pick(random.weighted([[table.weak ? 12 : 0, overMembers], [8, overClaims], [3, overRows], [0.7, constant]]));
	if (depth === 0) return atom();
	return random.weighted([[5, atom], [2, () => `(${part()}) AND (${part()})`], [2, () => `(${part()}) OR (${part()})`], [0.6, () => `NOT (${part()})`]])();
}

const someRoles = (random, among = [...roles, group]) => {
	const chosen = among.filter(() => random.percent(35));
	return chosen.length > 0 ? chosen : [random.pick(among)];
};
/** Roles that a change for these may concern. */
const concerned = (chosen) => (chosen.includes('public') ? null : new Set([...chosen, ...(chosen.includes(group) ? ['member'] : [])]));
const toRoles = (random) => (random.percent(45) ? ['public'] : someRoles(random));

function createPolicy(random, name, policy, more = {}) {
	const to = more.to ?? toRoles(random);
	const kind = more.kind ?? random.weighted([[4, 'PERMISSIVE'], [1.3, 'RESTRICTIVE']]);
	const command = random.weighted([[5, 'ALL'], [3, 'SELECT'], [0.6, 'UPDATE']]);
	const using = predicate(random, tables[name]);
	return { table: name, roles: concerned(to), sql: `CREATE POLICY ${policy} ON $table AS ${kind} FOR ${command} TO ${to} USING (${using})` };
}

/** Columns of a grant: the key and the marker as a rule, not `secret` where that is nobody's. */
function someColumns(random, name) {
	const key = tables[name].key ?? [];
	const others = columns.filter((column) => !key.includes(column) && column !== 'mark' && !(column === 'secret' && tables[name].guarded));
	const hidesKey = key.length > 0 && random.percent(6);
	return [...(hidesKey ? key.slice(1) : key), 'mark', ...others.filter(() => random.percent(75))];
}
const grant = (random, name, role) => (!tables[name].guarded && random.percent(50) ? `GRANT SELECT ON $table TO ${role}` : `GRANT SELECT (${someColumns(random, name)}) ON $table TO ${role}`);

/** What there is at the start. Nobody is told of it, for nobody is there. */
export function initial(random) {
	const changes = [];
	for (const name of names) {
		if (name !== 'plain') {
			for (let i = random.between(2, 3); i > 0; i -= 1) changes.push(createPolicy(random, name, `first${i}`, { kind: 'PERMISSIVE' }));
			if (random.percent(40)) changes.push(createPolicy(random, name, 'first', { kind: 'RESTRICTIVE' }));
			if (!tables[name].guarded && random.percent(70)) changes.push({ table: name, roles: null, sql: 'ALTER TABLE $table ENABLE ROW LEVEL SECURITY' });
		}
		for (const role of [...roles, group]) if (role !== 'boss' || name !== 'docs') if (random.percent(85)) changes.push({ table: name, roles: concerned([role]), sql: grant(random, name, role) });
	}
	if (random.percent(50)) changes.push({ table: null, roles: concerned([group]), sql: `GRANT ${group} TO member` });
	return changes;
}

let last = 0;

/** The next change; `policies` are those there are now: `{ table, name, roles }`. Without `table` it concerns all of them. */
export function next(random, policies) {
	const name = random.pick(names);
	const own = policies.filter(({ table, name: policy }) => table === name && policy !== 'forever');
	const policy = own.length > 0 ? random.pick(own) : null;
	const role = random.pick([...roles, group]);
	const to = toRoles(random);
	const choices = [
		[own.length < 5 ? 3 : 0, () => createPolicy(random, name, `p${(last += 1)}`)],
		[2, () => ({ table: name, roles: concerned([role]), sql: `REVOKE SELECT ON $table FROM ${role}; ${grant(random, name, role)}` })],
		[1.5, () => ({ table: name, roles: concerned([role]), sql: `REVOKE SELECT ON $table FROM ${role}` })],
		[2, () => ({ table: name, roles: concerned([role]), sql: grant(random, name, role) })],
		[1, () => ({ table: null, roles: concerned([group]), sql: `${random.percent(50) ? `GRANT ${group} TO` : `REVOKE ${group} FROM`} member` })],
		[tables[name].owner ? 4 : 0.5, () => ({ table: name, roles: concerned([tables[name].owner ?? 'nobody']), sql: `ALTER TABLE $table ${random.pick(['', 'NO '])}FORCE ROW LEVEL SECURITY` })],
		[tables[name].guarded ? 0 : 2, () => ({ table: name, roles: null, sql: `ALTER TABLE $table ${random.weighted([[3, 'ENABLE'], [1, 'DISABLE']])} ROW LEVEL SECURITY` })],
	];
	if (policy !== null) {
		choices.push(
			[3, () => ({ table: name, roles: concerned(policy.roles), sql: `ALTER POLICY ${policy.name} ON $table USING (${predicate(random, tables[name])})` })],
			[1.5, () => ({ table: name, roles: concerned([...policy.roles, ...to]), sql: `ALTER POLICY ${policy.name} ON $table TO ${to}` })],
			[own.length > 2 ? 2.5 : 0.7, () => ({ table: name, roles: concerned(policy.roles), sql: `DROP POLICY ${policy.name} ON $table` })],
			[1, () => ({ table: name, roles: concerned(policy.roles), sql: `DROP POLICY ${policy.name} ON $table; ${createPolicy(random, name, policy.name, { to: policy.roles }).sql}` })],
		);
	}
	return random.weighted(choices)();
}

/** Who belongs to which group: decides in `tasks` when a row changes. */
export const membership = (random) => {
	const [sub, grp] = [random.pick(['alice', 'bob', 'carol', 'dave', 'zoë']), random.between(1, 6)];
	return { table: 'tasks', members: true, roles: new Set(), sql: random.percent(50) ? `INSERT INTO members VALUES ('${sub}', ${grp}) ON CONFLICT DO NOTHING` : `DELETE FROM members WHERE sub = '${sub}' AND grp = ${grp}` };
};

/** Statements for the table and its shadow. */
export const statements = ({ table, sql }) => (table === null || !sql.includes('$table') ? sql : `${sql.replaceAll('$table', table)}; ${sql.replaceAll('$table', shadow(table))}`);
