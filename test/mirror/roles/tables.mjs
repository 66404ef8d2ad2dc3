// The tables that identities see parts of. Each row version has a marker of its own in `mark`, and others in `pay` (read by
// some) and `secret` (read by nobody). A table's shadow has the same columns, owner, policies and privileges, and keeps all
// row versions that lived since privileges last changed, so that PostgreSQL itself says afterwards who could see which.

import { group, roles } from './identities.mjs';

export const columns = ['id', 'owner', 'tenant', 'level', 'grp', 'tag', 'pay', 'secret', 'mark'];

/**
 * `guarded`: row security from the start, and never without; its `secret` is granted to nobody.
 * `weak`: policies read another table, so that a row is judged only when it changes.
 */
export const tables = {
	notes: { key: ['id'], guarded: true },
	docs: { key: ['id'], owner: 'boss' },
	cases: { key: ['id', 'tenant'], guarded: true, partitioned: true },
	lines: { key: null },
	plain: { key: ['id'] },
	tasks: { key: ['id'], guarded: true, weak: true },
};
export const names = Object.keys(tables);
export const shadow = (name) => `shadow_${name}`;

/** Markers as they stand in bytes. */
export const markers = /(?:mk|xp|xs)\d+_/g;
export const isSecret = (marker) => marker.startsWith('xs');

const definition = 'id int NOT NULL, owner text, tenant int, level int, grp int, tag text, pay text, secret text, mark text';
const people = `(ARRAY['alice', 'bob', 'carol', 'dave', 'o''brien "\\q', 'zoë', 'Alice', NULL])[1 + floor(random() * 8)::int]`;
const number = (low, high) => `${low} + floor(random() * ${high - low + 1})::int`;
/** SQL for random values of the columns that are not markers. */
export const values = {
	owner: people, tenant: number(1, 4), level: number(0, 6), grp: number(1, 6), tag: `(ARRAY['a', 'b', 'hidden', '', NULL])[1 + floor(random() * 5)::int]`,
};
/** An INSERT of rows whose ids the query `from` gives as `i`. */
export const insert = (table, from) => `INSERT INTO ${table} (id, ${Object.keys(values)}) SELECT i, ${Object.values(values)} FROM ${from} i`;

function table([name, { key, owner, guarded, partitioned }]) {
	return `
	CREATE TABLE ${name} (${definition}${key ? `, PRIMARY KEY (${key})` : ''}) ${partitioned ? 'PARTITION BY LIST (tenant)' : ''};
	${partitioned ? `CREATE TABLE ${name}_1 PARTITION OF ${name} FOR VALUES IN (1); CREATE TABLE ${name}_2 PARTITION OF ${name} FOR VALUES IN (2);
	CREATE TABLE ${name}_rest PARTITION OF ${name} DEFAULT; REVOKE ALL ON ${name}_1, ${name}_2, ${name}_rest FROM web;` : ''}
	CREATE TABLE ${shadow(name)} (${definition}, born timestamptz NOT NULL DEFAULT clock_timestamp(), born_by xid NOT NULL DEFAULT pg_current_xact_id()::xid, died timestamptz, died_by xid);
	CREATE INDEX ON ${shadow(name)} (mark);
	REVOKE ALL ON ${name}, ${shadow(name)} FROM web;
	CREATE TRIGGER marked BEFORE INSERT OR UPDATE ON ${name} FOR EACH ROW EXECUTE FUNCTION marked('${guarded ? 'xs' : ''}', '${name}');
	CREATE TRIGGER shadowed AFTER INSERT OR UPDATE OR DELETE ON ${name} FOR EACH ROW EXECUTE FUNCTION shadowed('${name}');
	CREATE TRIGGER emptied AFTER TRUNCATE ON ${name} EXECUTE FUNCTION shadowed('${name}');
	${insert(name, 'generate_series(1, 60)')};
	${guarded ? `ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY; ALTER TABLE ${shadow(name)} ENABLE ROW LEVEL SECURITY;` : ''}
	${owner ? `ALTER TABLE ${name} OWNER TO ${owner}; ALTER TABLE ${shadow(name)} OWNER TO ${owner};` : ''}
	SELECT plank.track('${name}');`;
}

export const ddl = `
	${[...roles.filter((role) => role !== 'web'), group].map((role) => `CREATE ROLE ${role};`).join(' ')}
	CREATE SCHEMA auth; GRANT USAGE ON SCHEMA auth TO PUBLIC;
	CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::jsonb $$;
	CREATE FUNCTION auth.uid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::jsonb ->> 'sub' $$;
	CREATE FUNCTION auth.tenant() RETURNS int LANGUAGE sql STABLE AS $$ SELECT (auth.jwt() ->> 'tenant')::int $$;
	CREATE FUNCTION auth.level() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN coalesce((auth.jwt() ->> 'level')::int, 0); END $$;
	CREATE FUNCTION auth.groups() RETURNS int[] LANGUAGE sql STABLE AS $$
		SELECT CASE WHEN jsonb_typeof(auth.jwt() -> 'groups') = 'array' THEN ARRAY(SELECT g::int FROM jsonb_array_elements_text(auth.jwt() -> 'groups') g) END $$;
	CREATE FUNCTION auth.knows(owner text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
		BEGIN RETURN owner = auth.uid() OR (owner < 'c' AND auth.level() > 2); END $$;

	CREATE TABLE members (sub text, grp int, PRIMARY KEY (sub, grp));
	REVOKE ALL ON members FROM web; GRANT SELECT ON members TO PUBLIC;
	INSERT INTO members VALUES ('alice', 1), ('alice', 2), ('bob', 3), ('carol', 4), ('carol', 5), ('dave', 6), ('zoë', 2);
	CREATE FUNCTION auth.belongs(grp int) RETURNS boolean LANGUAGE sql STABLE AS $$
		SELECT EXISTS (SELECT FROM public.members m WHERE m.sub = auth.uid() AND m.grp = belongs.grp) $$;

	CREATE SEQUENCE marks;
	CREATE FUNCTION marked() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE n text := nextval('marks') || '_';
	BEGIN
		-- In notes a policy that stands for ever hides these.
		NEW.mark := CASE WHEN TG_ARGV[1] = 'notes' AND NEW.tag = 'hidden' THEN 'xs' ELSE 'mk' END || n;
		NEW.pay := 'xp' || n;
		NEW.secret := CASE WHEN TG_ARGV[0] <> '' THEN 'xs' || n END;
		RETURN NEW;
	END $$;
	CREATE FUNCTION shadowed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	DECLARE shadow text := 'public.shadow_' || TG_ARGV[0];
	BEGIN
		IF TG_OP = 'TRUNCATE' THEN
			EXECUTE format('UPDATE %s SET died = clock_timestamp(), died_by = pg_current_xact_id()::xid WHERE died IS NULL', shadow);
			RETURN NULL;
		END IF;
		IF TG_OP <> 'INSERT' THEN EXECUTE format('UPDATE %s SET died = clock_timestamp(), died_by = pg_current_xact_id()::xid WHERE mark = $1', shadow) USING OLD.mark; END IF;
		IF TG_OP <> 'DELETE' THEN
			EXECUTE format('INSERT INTO %s VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)', shadow)
				USING NEW.id, NEW.owner, NEW.tenant, NEW.level, NEW.grp, NEW.tag, NEW.pay, NEW.secret, NEW.mark;
		END IF;
		RETURN NULL;
	END $$;
	CREATE TABLE beacon (n int PRIMARY KEY);
	GRANT SELECT ON beacon TO PUBLIC;
	SELECT plank.track('beacon');
	${Object.entries(tables).map(table).join('')}
	ALTER TABLE notes OWNER TO postgres;
	CREATE POLICY forever ON notes AS RESTRICTIVE USING (tag IS DISTINCT FROM 'hidden');
	CREATE POLICY forever ON shadow_notes AS RESTRICTIVE USING (tag IS DISTINCT FROM 'hidden');
`;
