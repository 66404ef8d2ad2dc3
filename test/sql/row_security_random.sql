-- Random policies over random rows, for several roles and claims at once: the worker shows of every row's insert, update
-- and delete what SELECT shows the same role with the same claims. On a difference the seed is printed; run it again with
-- PGOPTIONS="-c plank_test.seed=<seed>".
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE ROLE rs_owner;
CREATE ROLE rs_one;
CREATE ROLE rs_two;
CREATE ROLE rs_child IN ROLE rs_one;
CREATE SCHEMA random_policies;
GRANT USAGE ON SCHEMA random_policies TO PUBLIC;
SET search_path = random_policies, public;
SELECT coalesce(nullif(current_setting('plank_test.seed', true), ''), trunc(extract(epoch FROM clock_timestamp()) * 1000 % 1000000)::text)
	AS seed \gset
SELECT setseed(:seed / 1000000.0) IS NOT NULL;
CREATE FUNCTION whole(low int, high int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(low + random() * (high - low + 1))::int $$;
CREATE FUNCTION one_of(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT choices[whole(1, cardinality(choices))] $$;

CREATE FUNCTION claims() RETURNS jsonb LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
CREATE FUNCTION uid() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))
$$;
CREATE FUNCTION slow_uid() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN current_setting('request.jwt.claims', true)::json ->> 'sub';
END $$;
CREATE TABLE membership (member text, team int, rank int);
INSERT INTO membership SELECT m, t, whole(0, 5) FROM unnest(ARRAY['ann', 'bob', 'rs_one', 'rs_two']) m, generate_series(1, 4) t WHERE random() < 0.6;
GRANT SELECT ON membership TO PUBLIC;
ALTER TABLE membership ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON membership USING (member = random_policies.uid() OR member = current_user);
CREATE FUNCTION teams() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER SET search_path = random_policies, pg_temp
	AS $$ SELECT team FROM membership WHERE member = uid() $$;

CREATE TABLE notes (n int PRIMARY KEY, owner text, team int, level numeric, tags text[], doc jsonb, open bool, written timestamptz);
ALTER TABLE notes OWNER TO rs_owner;
GRANT SELECT ON notes TO PUBLIC;
CREATE FUNCTION may_see(note notes) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN note.owner = current_user OR note.level > 3 AND note.doc ->> 'who' = random_policies.uid();
END $$;
CREATE FUNCTION fill(rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE notes;
	FOR i IN 1 .. rows LOOP
		-- Each row is the one before it with some columns changed.
		INSERT INTO notes SELECT i, CASE WHEN keep[1] THEN s.owner ELSE one_of('ann', 'bob', 'rs_one', 'rs_two', NULL) END,
			CASE WHEN keep[2] THEN s.team ELSE nullif(whole(0, 4), 0) END, CASE WHEN keep[3] THEN s.level ELSE whole(0, 50) / 10.0 END,
			CASE WHEN keep[4] THEN s.tags ELSE ARRAY[one_of('ann', 'x'), one_of('bob', 'y', NULL)] END,
			CASE WHEN keep[5] THEN s.doc ELSE jsonb_build_object('who', one_of('ann', 'bob', NULL)) END,
			CASE WHEN keep[6] THEN s.open ELSE one_of('true', 'false', NULL)::bool END, '2024-01-01'::timestamptz + i * interval '1 day'
		FROM (SELECT ARRAY[random() < 0.6, random() < 0.6, random() < 0.6, random() < 0.6, random() < 0.6, random() < 0.6] AS keep) k
			LEFT JOIN notes s ON s.n = i - 1;
	END LOOP;
END $$;

CREATE FUNCTION simple() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT one_of('owner = current_setting(''request.jwt.claims'', true)::json ->> ''sub''', 'owner = (SELECT current_setting(''request.jwt.claims'')::json ->> ''sub'')',
		'owner = random_policies.uid()', 'owner = (SELECT random_policies.uid())', 'owner = random_policies.slow_uid()', 'owner = (SELECT random_policies.slow_uid())',
		'owner = current_user', 'owner = current_role::text', 'random_policies.uid() = owner', 'team = (random_policies.claims() ->> ''team'')::int', 'coalesce((random_policies.claims() ->> ''admin'')::bool, false)',
		'team IN (SELECT team FROM random_policies.membership WHERE member = random_policies.uid())', 'team IN (SELECT random_policies.teams())', 'team = ANY (ARRAY(SELECT m.team FROM random_policies.membership m))',
		'EXISTS (SELECT FROM random_policies.membership m WHERE m.team = notes.team AND m.rank > notes.level)', '(SELECT max(m.rank) FROM random_policies.membership m WHERE m.team = notes.team) > level',
		'NOT EXISTS (SELECT FROM (SELECT 1 FROM random_policies.membership m WHERE m.team = notes.team OFFSET 0) o)', 'open', 'NOT open', 'open IS NULL', 'level > 3', 'level BETWEEN 1 AND 3.5', 'tags && ARRAY[random_policies.uid()]',
		'random_policies.claims() ->> ''sub'' = ANY (tags)', 'doc ->> ''who'' = random_policies.uid()', 'random_policies.may_see(notes)', 'random_policies.may_see(notes.*)', 'pg_has_role(current_user, ''rs_one'', ''member'')', 'written < now()', 'n % 3 = 0',
		'CASE WHEN open THEN owner = current_user ELSE team = 2 END', 'owner IN (''ann'', random_policies.uid())', '(owner, team) = (random_policies.uid(), 1)', 'true', 'false', 'random_policies.claims() ? ''team''', 'owner LIKE ''rs%''', 'notes IS NOT NULL')
$$;
CREATE FUNCTION expression(depth int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	kind float := random();
BEGIN
	IF depth = 0 OR kind < 0.5 THEN
		RETURN simple();
	ELSIF kind < 0.7 THEN
		RETURN format('(%s AND %s)', expression(depth - 1), expression(depth - 1));
	ELSIF kind < 0.9 THEN
		RETURN format('(%s OR %s)', expression(depth - 1), expression(depth - 1));
	END IF;
	RETURN format('(NOT %s)', expression(depth - 1));
END $$;
CREATE FUNCTION set_policies() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	statement text;
	all_of_them text := '';
BEGIN
	FOR statement IN SELECT format('DROP POLICY %I ON notes', polname) FROM pg_policy WHERE polrelid = 'notes'::regclass LOOP
		EXECUTE statement;
	END LOOP;
	FOR i IN 1 .. whole(0, 3) LOOP
		statement := format('CREATE POLICY p%s ON notes AS %s FOR %s TO %s USING (%s)', i, one_of('permissive', 'permissive', 'restrictive'),
			one_of('ALL', 'SELECT', 'SELECT', 'UPDATE'), one_of('public', 'public', 'rs_one', 'rs_two, rs_owner', 'rs_child'), expression(2));
		EXECUTE statement;
		all_of_them := all_of_them || statement || '; ';
	END LOOP;
	statement := 'ALTER TABLE notes ' || one_of('ENABLE', 'ENABLE', 'ENABLE', 'ENABLE', 'DISABLE') || ' ROW LEVEL SECURITY, ' || one_of('FORCE', 'NO FORCE') || ' ROW LEVEL SECURITY';
	EXECUTE statement;
	RETURN all_of_them || statement;
END $$;
CREATE FUNCTION compare(rounds int) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	policies text;
	roles text[] := ARRAY['rs_one', 'rs_one', 'rs_one', 'rs_two', 'rs_two', 'rs_child', 'rs_owner', 'rs_one', 'rs_two', 'rs_two'];
	claims text[] := ARRAY['{"sub": "ann", "team": 1}', '{"sub": "bob", "admin": true}', '{"role": "rs_one"}', '{"sub": "ann", "team": 1}', '{"sub": "bob", "team": 2, "admin": false}',
		'{"sub": "bob"}', '{"sub": "ann"}', '{"sub": "ann", "team": 3}', '{}', '{"sub": "ann"}'];
	conditions text[] := ARRAY['', 'level > 2', 'team = 2', '', 'owner = ''bob''', '', '', 'n = 3 OR n > 5', '', 'team IN (1, 2)'];
BEGIN
	FOR i IN 1 .. rounds LOOP
		policies := set_policies();
		RETURN QUERY SELECT m || ' under ' || policies FROM plank_test.policy_mismatches('notes', roles, claims, conditions) m LIMIT 5;
	END LOOP;
END $$;
SELECT fill(25);
SELECT 'seed ' || :'seed' || ': ' || m FROM compare(60) m LIMIT 20;

DROP SCHEMA random_policies CASCADE;
DROP EXTENSION plank_test;
DROP ROLE rs_child, rs_one, rs_two, rs_owner;
