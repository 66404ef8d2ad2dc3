-- Row security in the worker: who sees which changes, what clients are told when a policy fails, and what reaches those
-- who are already there. row_security_random compares with SELECT; this shows what cannot be compared.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE ROLE rs_owner;
CREATE ROLE rs_one;
CREATE ROLE rs_two;
CREATE SCHEMA rs;
GRANT USAGE ON SCHEMA rs TO PUBLIC;
SET search_path = rs, public;
CREATE TABLE docs (n int PRIMARY KEY, owner text, amount int, hidden text);
INSERT INTO docs VALUES (1, 'ann', 10, 'x'), (2, 'bob', 0, 'y'), (3, 'ann', 30, 'z');
ALTER TABLE docs OWNER TO rs_owner;
GRANT SELECT ON docs TO rs_one, rs_two;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
-- The rows whose insert each client sees; one line for each, with its failure.
CREATE FUNCTION seen(roles text[], claims text[], conditions text[], meanwhile text DEFAULT '', columns text DEFAULT '') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT watcher || ': ' || string_agg(coalesce(failure, number::text), ' ' ORDER BY op, number)
	FROM plank_test.policy_verdicts('docs', roles, claims, conditions, meanwhile, columns) WHERE op IN ('-', 'I') GROUP BY watcher ORDER BY watcher
$$;
\set ann '''{"sub":"ann"}'''
\set bob '''{"sub":"bob"}'''
-- No policy: nothing, but for the owner.
SELECT seen(ARRAY['rs_one', 'rs_owner'], ARRAY[:ann, :ann], ARRAY['', '']);
ALTER TABLE docs FORCE ROW LEVEL SECURITY;
SELECT seen(ARRAY['rs_one', 'rs_owner'], ARRAY[:ann, :ann], ARRAY['', '']);
ALTER TABLE docs NO FORCE ROW LEVEL SECURITY;
CREATE FUNCTION uid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::json ->> 'sub' $$;
CREATE POLICY own ON docs USING (owner = (SELECT rs.uid()));
SELECT seen(ARRAY['rs_one', 'rs_one', 'rs_two', 'rs_owner', 'rs_one'], ARRAY[:ann, :bob, :ann, :bob, :ann], ARRAY['', '', '', '', 'amount > 10']);
-- A condition never meets a row that is hidden: 100 / amount fails for bob's row.
SELECT seen(ARRAY['rs_one', 'rs_one', 'rs_one'], ARRAY[:ann, :bob, :ann], ARRAY['100 / amount > 0', '100 / amount > 0', 'n > 0 AND 100 / amount > 0']);
-- Ten clients with the same claims and conditions are one filter; others have their own, found through the index.
SELECT regexp_replace(plank_test.policy_benchmark('docs', 'rs_one', '{"sub":"user%s"}', '', 50, 1), ':.*', '');
SELECT regexp_replace(plank_test.policy_benchmark('docs', 'rs_one', '{"sub":"ann","jti":"%s"}', '', 50, 1), ':.*', '');

-- Policies that fail: a general text, PostgreSQL's code, and for those alone whom it is for.
ALTER POLICY own ON docs USING (owner = rs.uid() AND 1 / (amount - 10) IS NOT NULL);
SELECT seen(ARRAY['rs_one', 'rs_one', 'rs_owner'], ARRAY[:ann, :bob, :ann], ARRAY['', '', '']);
CREATE FUNCTION tells(secret text) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF secret = 'y' THEN RAISE EXCEPTION 'the secret is %', secret USING DETAIL = secret, HINT = secret, ERRCODE = 'P9999'; END IF;
	RETURN rs.uid() = 'ann';
END $$;
ALTER POLICY own ON docs USING (rs.tells(hidden));
SELECT seen(ARRAY['rs_one', 'rs_one', 'rs_two'], ARRAY[:ann, :bob, :ann], ARRAY['', 'n < 0', 'n = 1']);
-- So does one that raises what a cancel raises, and one that takes too long.
CREATE FUNCTION misbehaves(n int) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF n = 2 THEN RAISE EXCEPTION 'canceled' USING ERRCODE = 'query_canceled'; END IF;
	RETURN true;
END $$;
ALTER POLICY own ON docs USING (rs.misbehaves(n));
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
CREATE OR REPLACE FUNCTION misbehaves(n int) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF n = 2 THEN PERFORM pg_sleep(100); END IF;
	RETURN true;
END $$;
SELECT seen(ARRAY['rs_one', 'rs_one'], ARRAY[:ann, :bob], ARRAY['', 'n = 3']);
-- One that catches the cancel has failed all the same.
CREATE OR REPLACE FUNCTION misbehaves(n int) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF n = 2 THEN
		BEGIN
			PERFORM pg_sleep(100);
		EXCEPTION WHEN query_canceled THEN RETURN true;
		END;
	END IF;
	RETURN true;
END $$;
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
-- Nothing is written, nobody else becomes somebody.
CREATE TABLE written (n int);
GRANT ALL ON written TO PUBLIC;
CREATE OR REPLACE FUNCTION misbehaves(n int) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	INSERT INTO rs.written VALUES (n);
	RETURN true;
END $$;
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
CREATE OR REPLACE FUNCTION misbehaves(n int) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	PERFORM set_config('transaction_read_only', 'off', true);
	INSERT INTO rs.written VALUES (n);
	RETURN true;
END $$;
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
CREATE OR REPLACE FUNCTION misbehaves(n int) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	PERFORM set_config('role', 'none', true);
	RETURN true;
END $$;
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
-- What a function sets, claims among it, meets no other client and no other row.
CREATE OR REPLACE FUNCTION misbehaves(n int) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	sub text := current_setting('request.jwt.claims', true)::json ->> 'sub';
	names text := current_setting('search_path');
BEGIN
	PERFORM set_config('request.jwt.claims', '{"sub":"bob"}', n = 1), set_config('search_path', 'rs', n = 1);
	RETURN sub = 'ann' AND names <> 'rs';
END $$;
SELECT seen(ARRAY['rs_one', 'rs_one', 'rs_two', 'rs_two'], ARRAY[:ann, :bob, '{"sub":"carl"}', :ann], ARRAY['', '', '', '']);
-- The session is the client's, in functions too.
CREATE OR REPLACE FUNCTION misbehaves(n int) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN session_user = current_user AND session_user = CASE n WHEN 1 THEN 'rs_one' ELSE 'rs_two' END;
END $$;
SELECT seen(ARRAY['rs_one', 'rs_two', 'rs_one'], ARRAY[:ann, :ann, :bob], ARRAY['', '', 'n < 3']);
SELECT count(*) FROM written;
SELECT current_user = session_user;

-- What changes cannot answer is refused.
ALTER POLICY own ON docs USING (ctid IS NOT NULL);
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
ALTER POLICY own ON docs USING (session_user = owner);
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
ALTER POLICY own ON docs USING (EXISTS (SELECT FROM rs.docs d WHERE d.n = docs.n AND docs.xmin IS NOT NULL));
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
ALTER POLICY own ON docs USING (owner = rs.uid());
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY[''], '', '{n,amount}');
-- A claim that cannot be what the policy takes it for.
ALTER POLICY own ON docs USING (amount = (current_setting('request.jwt.claims', true)::json ->> 'amount')::int);
SELECT seen(ARRAY['rs_one', 'rs_one'], ARRAY['{"amount":"a secret"}', '{"amount":10}'], ARRAY['', '']);
-- A policy over its own table never ends.
ALTER POLICY own ON docs USING (EXISTS (SELECT FROM rs.docs d WHERE d.n = docs.n));
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
-- What the role may not execute or read.
CREATE TABLE members (member text);
INSERT INTO members VALUES ('ann');
ALTER POLICY own ON docs USING (EXISTS (SELECT FROM rs.members m WHERE m.member = owner));
SELECT seen(ARRAY['rs_one'], ARRAY[:ann], ARRAY['']);
GRANT SELECT ON members TO rs_one;
SELECT seen(ARRAY['rs_one', 'rs_two'], ARRAY[:ann, :ann], ARRAY['', '']);

-- Those who are already there.
CREATE FUNCTION after(statement text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT plank_test.policy_after('docs', ARRAY['rs_one', 'rs_two', 'rs_one', 'rs_owner'], ARRAY['{"sub":"ann"}', '{"sub":"bob"}', '{"sub":"bob"}', '{}'], ARRAY['', '', 'hidden > ''x''', 'n > 1'], statement)
$$;
ALTER POLICY own ON docs USING (owner = rs.uid());
SELECT after('SELECT 1');
BEGIN; SELECT after('ALTER POLICY own ON docs USING (n = 1)'); ROLLBACK;
BEGIN; SELECT after('ALTER POLICY own ON docs TO rs_one'); ROLLBACK;
BEGIN; SELECT after('DROP POLICY own ON docs'); ROLLBACK;
BEGIN; SELECT after('CREATE POLICY more ON docs TO rs_two USING (true)'); ROLLBACK;
BEGIN; SELECT after('ALTER TABLE docs DISABLE ROW LEVEL SECURITY'); ROLLBACK;
BEGIN; SELECT after('ALTER TABLE docs FORCE ROW LEVEL SECURITY'); ROLLBACK;
BEGIN; SELECT after('ALTER TABLE docs OWNER TO rs_one'); ROLLBACK;
BEGIN; SELECT after('GRANT rs_owner TO rs_one'); ROLLBACK;
BEGIN; SELECT after('CREATE OR REPLACE FUNCTION rs.uid() RETURNS text LANGUAGE sql STABLE AS $f$ SELECT ''bob'' $f$'); ROLLBACK;
BEGIN; SELECT after('CREATE OR REPLACE FUNCTION rs.uid() RETURNS text LANGUAGE plpgsql STABLE AS $f$ BEGIN RETURN ''bob''; END $f$'); ROLLBACK;
BEGIN; SELECT after('REVOKE SELECT ON docs FROM rs_one; GRANT SELECT (n, owner, amount) ON docs TO rs_one'); ROLLBACK;
BEGIN; SELECT after('ALTER TABLE docs ADD COLUMN extra int'); ROLLBACK;
BEGIN; SELECT after('ALTER TABLE docs RENAME COLUMN owner TO holder'); ROLLBACK;
-- Clients that come and go leave nothing behind.
SELECT plank_test.policy_memory('docs', 'rs_one', '{"sub":"user%s"}', 'n = %s AND hidden <> ''%s''', 2000);
ALTER POLICY own ON docs USING (rs.tells(hidden));
SELECT plank_test.policy_memory('docs', 'rs_one', '{"sub":"user%s"}', 'n = %s', 1000);
ALTER POLICY own ON docs USING (EXISTS (SELECT FROM rs.members m WHERE m.member = owner));
SELECT plank_test.policy_memory('docs', 'rs_one', '{"sub":"user%s"}', '', 1000);

DROP SCHEMA rs CASCADE;
DROP EXTENSION plank_test;
DROP ROLE rs_one, rs_two, rs_owner;
