-- Rows are read as the client's role: its row security and privileges as PostgreSQL has them, its claims where policies
-- look for them, and nothing of one client left for the next, who is served by the same process.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE ROLE regress_web;
CREATE ROLE regress_team;
CREATE ROLE regress_lead IN ROLE regress_team;
CREATE ROLE regress_owner;
CREATE SCHEMA roles;
GRANT USAGE ON SCHEMA roles TO PUBLIC;
GRANT CREATE ON SCHEMA roles TO regress_owner;
SET search_path = roles;
ALTER DATABASE regression SET row_security = off;
ALTER DATABASE regression SET search_path = roles;
ALTER DATABASE regression SET "request.jwt.claims" = '{"sub": "mallory"}';
SELECT plank_test.snapshot_limit(1);
CREATE FUNCTION rows(relation regclass, role text, claims text DEFAULT '{}', condition text DEFAULT '', columns text[] DEFAULT '{id}')
	RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(code || ': ' || message || coalesce(' (' || detail || ')', '') || CASE WHEN retry THEN ' [again]' ELSE '' END,
		'[' || coalesce(rows, '') || ']')
	FROM plank_test.read_snapshot(relation, columns, condition, false, role, claims => claims) $$;
CREATE FUNCTION uid() RETURNS text LANGUAGE sql STABLE AS
	$$ SELECT current_setting('request.jwt.claims', true)::json ->> 'sub' $$;

CREATE TABLE notes (id int PRIMARY KEY, owner text, word text, secret int DEFAULT 0);
INSERT INTO notes VALUES (1, 'alice', 'a', 0), (2, 'bob', 'b', 0), (3, 'alice', 'c', 7), (4, NULL, 'd', 0);
GRANT SELECT ON notes TO regress_web, regress_team, regress_owner;
SELECT plank.track('notes');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;

-- Without a policy there is no row, and without row security on there is no question.
SELECT rows('notes', 'regress_web');
ALTER TABLE notes DISABLE ROW LEVEL SECURITY;
SELECT rows('notes', 'regress_web');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;

-- Claims.
CREATE POLICY own ON notes USING (owner = uid());
SELECT rows('notes', 'regress_web', '{"sub":"alice"}');
SELECT rows('notes', 'regress_web', '{"sub":"bob"}');
SELECT rows('notes', 'regress_web');
SELECT rows('notes', 'regress_web', '{"sub":"alice"}', 'word <> ''a''');
ALTER POLICY own ON notes USING (owner = (SELECT current_setting('request.jwt.claims', true)::jsonb ->> 'sub'));
SELECT rows('notes', 'regress_web', '{"sub":"alice"}');
-- The policy's columns need no privilege, the condition's do.
REVOKE SELECT ON notes FROM regress_web;
GRANT SELECT (id) ON notes TO regress_web;
SELECT rows('notes', 'regress_web', '{"sub":"bob"}');
SELECT rows('notes', 'regress_web', '{"sub":"bob"}', 'word = ''b''');
SELECT rows('notes', 'regress_web', '{"sub":"bob"}', columns => '{id,word}');
GRANT SELECT ON notes TO regress_web;

-- To roles, restrictive ones, commands that do not read.
CREATE POLICY everything ON notes TO regress_team USING (true);
SELECT rows('notes', 'regress_web', '{"sub":"bob"}'), rows('notes', 'regress_team'), rows('notes', 'regress_lead');
CREATE POLICY open ON notes AS RESTRICTIVE USING (secret = 0);
SELECT rows('notes', 'regress_web', '{"sub":"alice"}'), rows('notes', 'regress_team');
CREATE POLICY writing ON notes FOR UPDATE USING (true);
SELECT rows('notes', 'regress_web', '{"sub":"alice"}');
CREATE POLICY named ON notes FOR SELECT USING (word = 'd' AND current_user = 'regress_web');
SELECT rows('notes', 'regress_web'), rows('notes', 'regress_owner');

-- The owner, and whoever has its privileges, are exempt until FORCE.
ALTER TABLE notes OWNER TO regress_owner;
SELECT rows('notes', 'regress_owner');
GRANT regress_owner TO regress_lead;
SELECT rows('notes', 'regress_lead');
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
SELECT rows('notes', 'regress_owner', '{"sub":"bob"}'), rows('notes', 'regress_lead');
REVOKE regress_owner FROM regress_lead;
DROP POLICY everything ON notes;
DROP POLICY open ON notes;
DROP POLICY named ON notes;

-- Functions find what they would in a session of the database, and print it no other way.
CREATE TABLE named (id regclass, v int);
INSERT INTO named VALUES ('notes', 1), ('named', 2);
GRANT SELECT ON named TO regress_web;
SELECT plank.track('named');
ALTER TABLE named ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION finds(v int) RETURNS bool LANGUAGE plpgsql STABLE AS
	$$ BEGIN RETURN current_setting('search_path') = 'roles' AND EXISTS (SELECT FROM named) AND uid() = 'a' AND v = 1; END $$;
CREATE POLICY finding ON named USING (v = 2);
SELECT rows('named', 'regress_web', '{"sub":"a"}', 'v = 2');
CREATE FUNCTION finds_itself(v int) RETURNS bool LANGUAGE plpgsql STABLE SECURITY DEFINER AS 'BEGIN RETURN finds(v); END';
ALTER POLICY finding ON named USING (finds_itself(v));
SELECT rows('named', 'regress_web', '{"sub":"a"}', 'v < 3');

-- Another table decides, which itself has row security.
CREATE TABLE members (team int, name text);
INSERT INTO members VALUES (1, 'alice'), (2, 'bob'), (2, 'alice');
CREATE TABLE tasks (id int PRIMARY KEY, team int);
INSERT INTO tasks VALUES (10, 1), (20, 2), (30, 3);
GRANT SELECT ON tasks TO regress_web;
SELECT plank.track('tasks', filter => 'id <> 20');
ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON tasks USING (EXISTS (SELECT FROM members m WHERE m.team = tasks.team AND m.name = uid()));
SELECT rows('tasks', 'regress_web', '{"sub":"alice"}');
GRANT SELECT ON members TO regress_web;
SELECT rows('tasks', 'regress_web', '{"sub":"alice"}'), rows('tasks', 'regress_web', '{"sub":"bob"}');
SELECT plank.track('tasks');
SELECT rows('tasks', 'regress_web', '{"sub":"alice"}'), rows('tasks', 'regress_web', '{"sub":"bob"}');
ALTER TABLE members ENABLE ROW LEVEL SECURITY;
SELECT rows('tasks', 'regress_web', '{"sub":"alice"}');
CREATE POLICY see ON members USING (team <> 1);
SELECT rows('tasks', 'regress_web', '{"sub":"alice"}');

-- Of a partitioned table the root's policies count, of an inheritance parent its own rows.
CREATE TABLE parts (id int PRIMARY KEY, owner text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 (owner text, gone int, id int NOT NULL);
ALTER TABLE parts_2 DROP COLUMN gone;
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (10) TO (20);
INSERT INTO parts VALUES (1, 'alice'), (2, 'bob'), (11, 'alice'), (12, 'bob');
CREATE TABLE parent (id int PRIMARY KEY, owner text);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1, 'alice'), (2, 'bob');
INSERT INTO child VALUES (3, 'alice');
SELECT plank.track('parts'), plank.track('parent');
GRANT SELECT ON parts, parent TO regress_web;
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
ALTER TABLE parts_2 ENABLE ROW LEVEL SECURITY;
ALTER TABLE parent ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON parts USING (owner = uid());
CREATE POLICY own ON parent USING (owner = uid());
SELECT rows('parts', 'regress_web', '{"sub":"alice"}'), rows('parent', 'regress_web', '{"sub":"alice"}');

-- Neither a condition that fails nor one that talks sees a row that is hidden, dear as the policy may be.
CREATE TABLE oracle (id int PRIMARY KEY, owner text, x int);
INSERT INTO oracle VALUES (1, 'alice', 1), (2, 'bob', 0), (3, 'alice', 2);
CREATE INDEX ON oracle (x);
GRANT SELECT ON oracle TO regress_web;
SELECT plank.track('oracle');
ALTER TABLE oracle ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION dear(text) RETURNS bool LANGUAGE plpgsql STABLE COST 1000000 AS 'BEGIN RETURN $1 = roles.uid(); END';
CREATE POLICY own ON oracle USING (dear(owner));
SELECT rows('oracle', 'regress_web', '{"sub":"alice"}', '1 / x > 0');
-- Where the policy cannot have been it, the condition's error is the client's own; where it can, nothing is quoted.
SELECT rows('oracle', 'regress_web', '{"sub":"bob"}', '1 / x > 0');
ALTER POLICY own ON oracle USING (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
SELECT rows('oracle', 'regress_web', '{"sub":"bob"}', '1 / x > 0');
SELECT rows('oracle', 'regress_web', '{"sub":"alice"}', '1 / x > 0');
SELECT rows('oracle', 'regress_web', '{"sub":"alice"}', 'nothing = 1');
ALTER POLICY own ON oracle USING (owner = uid());
SELECT rows('oracle', 'regress_web', '{"sub":"bob"}', '1 / x > 0');
SELECT rows('oracle', 'regress_web', 'no claims');
ALTER POLICY own ON oracle USING ((owner || ' is secret')::int = 1);
SELECT rows('oracle', 'regress_web');
CREATE OR REPLACE FUNCTION dear(text) RETURNS bool LANGUAGE plpgsql STABLE AS
	$$ BEGIN RAISE EXCEPTION 'the secret is %', $1 USING ERRCODE = '08003', DETAIL = $1, HINT = $1; END $$;
ALTER POLICY own ON oracle USING (dear(owner));
SELECT rows('oracle', 'regress_web');
ALTER POLICY own ON oracle USING (dear('everybody'));
SELECT rows('oracle', 'regress_web');
ALTER POLICY own ON oracle USING (EXISTS (SELECT FROM oracle o WHERE o.x = oracle.x));
SELECT rows('oracle', 'regress_web');
REVOKE EXECUTE ON FUNCTION dear FROM PUBLIC;
ALTER POLICY own ON oracle USING (dear('x'));
SELECT rows('oracle', 'regress_web');
GRANT EXECUTE ON FUNCTION dear TO PUBLIC;

-- What the stream of changes could not follow is not read either.
ALTER POLICY own ON oracle USING (session_user = 'regress_web');
SELECT rows('oracle', 'regress_web');
ALTER POLICY own ON oracle USING (EXISTS (SELECT FROM members WHERE oracle.xmin <> '1'::xid OR name = session_user));
SELECT rows('oracle', 'regress_web');
ALTER POLICY own ON oracle USING (EXISTS (SELECT FROM members WHERE name = (SELECT session_user)));
SELECT rows('oracle', 'regress_web');
ALTER POLICY own ON oracle USING (tableoid = 'oracle'::regclass);
SELECT rows('oracle', 'regress_web');
ALTER POLICY own ON oracle USING ((SELECT members.ctid FROM members LIMIT 1) IS NOT NULL);
SELECT rows('oracle', 'regress_web');

-- Functions see the client, whichever way they look, and cannot become anybody else. The filter of plank.track tells what
-- a statement gives when the reading process runs it.
CREATE TABLE questions (n int, statement text);
GRANT SELECT ON questions TO PUBLIC;
CREATE TABLE probe (id text);
INSERT INTO probe VALUES ('');
GRANT SELECT ON probe TO regress_web, regress_team;
CREATE FUNCTION answer() RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	EXECUTE (SELECT statement FROM roles.questions WHERE n = (current_setting('request.jwt.claims')::json ->> 'n')::int) INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN RETURN sqlstate || ' ' || sqlerrm;
END $$;
CREATE FUNCTION ask(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION '%', roles.answer(); END $$;
SELECT plank.track('probe', filter => 'roles.ask(id)');
ALTER TABLE probe ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_it ON probe USING (true);
INSERT INTO questions VALUES
	(1, 'SELECT concat_ws('' '', session_user, current_user, user, current_setting(''is_superuser''), current_setting(''request.jwt.claims''))'),
	(2, 'SELECT current_setting(''transaction_read_only'') || current_setting(''row_security'')'),
	(3, 'RESET ROLE'), (4, 'SET ROLE regress_team'), (5, 'RESET SESSION AUTHORIZATION'), (6, 'SET transaction_read_only = off'),
	(7, 'SET transaction_isolation = ''read committed'''), (8, 'CREATE TEMP TABLE t (id int)'), (9, 'INSERT INTO roles.notes VALUES (9)'),
	(10, 'SELECT count(*) FROM pg_catalog.pg_authid'), (11, 'PREPARE p AS SELECT 1'), (12, 'LISTEN p'),
	(13, 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'), (14, 'DISCARD ALL'), (15, 'SELECT count(*) FROM roles.notes');
SELECT n, rows('probe', 'regress_web', format('{"n":%s}', n)) FROM questions ORDER BY n;
TRUNCATE questions;

-- What a function of one client does is not there for the next one, in the same process, whether it has failed or not.
CREATE FUNCTION soil() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('request.jwt.claims', '{"sub":"mallory"}', false), set_config('TimeZone', 'Asia/Kolkata', false),
		set_config('row_security', 'off', false), set_config('search_path', 'roles', false),
		set_config('default_transaction_read_only', 'off', false), set_config('lock_timeout', '1', false),
		set_config('default_transaction_isolation', 'read committed', false), set_config('application_name', 'mallory', false),
		pg_advisory_lock(7), pg_notify('soiled', 'x');
	PERFORM plank.send('soiled', '1');
	RETURN 'soiled';
END $$;
CREATE TABLE times (id timestamptz);
INSERT INTO times VALUES ('2024-02-29 12:00+00'), ('2024-02-29 13:00+00');
GRANT SELECT ON times TO regress_web;
SELECT plank.track('times');
ALTER TABLE times ENABLE ROW LEVEL SECURITY;
CREATE POLICY soiling ON times USING (soil() = 'soiled');
INSERT INTO questions VALUES (1, $$ SELECT concat_ws(' ', current_setting('request.jwt.claims'), current_setting('TimeZone'),
	current_setting('row_security'), current_setting('search_path'), current_setting('transaction_isolation'),
	current_setting('transaction_read_only'), current_setting('lock_timeout'), current_setting('application_name'),
	(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), session_user) $$),
	(2, $$ SELECT current_setting('soiled.by', true) IS NULL $$);
CREATE FUNCTION reader() RETURNS int LANGUAGE sql AS $$ SELECT pid FROM pg_stat_activity WHERE backend_type = 'plank snapshot' $$;
LISTEN soiled;
SELECT reader() AS former \gset
SELECT rows('times', 'regress_web', '{"sub":"alice"}');
SELECT rows('probe', 'regress_team', '{"n":1}');
ALTER POLICY soiling ON times USING (soil() = 'soiled' AND 1 / length(soil()) = id::text::int);
SELECT rows('times', 'regress_web', '{"sub":"alice"}');
SELECT rows('probe', 'regress_team', '{"n":1}');
SELECT reader() = :former AS the_same;
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'plank snapshot';

-- A function that lies about being immutable is folded anew for each client.
CREATE FUNCTION liar() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT current_user || current_setting('request.jwt.claims') $$;
CREATE FUNCTION planned(who text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..10 LOOP
		IF (SELECT count(*) FROM roles.members WHERE roles.liar() = who) = 0 THEN RETURN false; END IF;
	END LOOP;
	RETURN true;
END $$;
GRANT SELECT ON members TO regress_team;
CREATE TABLE plans (id int, who text);
INSERT INTO plans VALUES (1, 'regress_web{"sub":"a"}'), (2, 'regress_team{"sub":"a"}'), (3, 'regress_team{"sub":"b"}');
GRANT SELECT ON plans TO regress_web, regress_team;
SELECT plank.track('plans');
ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
CREATE POLICY planned ON plans USING (planned(who));
SELECT rows('plans', 'regress_web', '{"sub":"a"}'), rows('plans', 'regress_team', '{"sub":"a"}'), rows('plans', 'regress_team', '{"sub":"b"}');
SELECT reader() = :former AS the_same;

-- A setting of its own that a function makes up can be emptied, but not unmade: that process serves nobody else.
ALTER POLICY planned ON plans USING (set_config('soiled.by', who, false) <> '');
SELECT rows('plans', 'regress_web', '{"sub":"a"}');
SELECT rows('probe', 'regress_web', '{"n":2}');
SELECT reader() = :former AS the_same;

-- Between requests a process is nobody's and holds nothing.
SELECT DISTINCT state, usename, backend_xmin IS NULL AS no_xmin,
	(SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid AND locktype <> 'virtualxid') AS locks
	FROM pg_stat_activity a WHERE backend_type = 'plank snapshot';

SET client_min_messages = warning;
DROP EXTENSION plank CASCADE;
DROP EXTENSION plank_test;
ALTER DATABASE regression RESET ALL;
DROP SCHEMA roles CASCADE;
DROP ROLE regress_web, regress_lead, regress_team, regress_owner;
