-- Tables whose rows are not for everybody. Policies are written as PostgREST's users write them.
CREATE FUNCTION claim(name text) RETURNS text STABLE
LANGUAGE sql AS $$ SELECT current_setting('request.jwt.claims', true)::json ->> name $$;

CREATE TABLE owned (LIKE plain INCLUDING ALL, owner text NOT NULL) WITH (autovacuum_enabled = off);
CREATE POLICY owners ON owned FOR SELECT USING (owner = claim('sub'));

CREATE TABLE graded (LIKE plain INCLUDING ALL, grade int NOT NULL) WITH (autovacuum_enabled = off);
CREATE POLICY grades ON graded FOR SELECT USING (grade >= claim('grade')::int AND grade < claim('grade')::int + 1);

CREATE TABLE members (member text, room int, PRIMARY KEY (member, room));
CREATE TABLE rooms (LIKE plain INCLUDING ALL, grade int NOT NULL) WITH (autovacuum_enabled = off);
CREATE POLICY rooms ON rooms FOR SELECT
	USING (EXISTS (SELECT FROM members WHERE members.room = rooms.grade AND members.member = claim('sub')));

CREATE TABLE shared_secured (LIKE plain INCLUDING ALL, owner text NOT NULL DEFAULT 'everybody') WITH (autovacuum_enabled = off);
CREATE POLICY owners ON shared_secured FOR SELECT USING (owner = claim('sub'));
CREATE TABLE shared_open (LIKE shared_secured INCLUDING ALL) WITH (autovacuum_enabled = off);

ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
ALTER TABLE graded ENABLE ROW LEVEL SECURITY;
ALTER TABLE rooms ENABLE ROW LEVEL SECURITY;
ALTER TABLE shared_secured ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON owned, graded, members, rooms, shared_secured, shared_open TO bench_web;
SELECT plank.track(name::regclass) FROM unnest('{owned,graded,rooms,shared_secured,shared_open}'::text[]) AS of(name);
