-- Who may call what: owners track their tables, nobody else's; the database's owner exposes channels.
CREATE EXTENSION plank;
CREATE ROLE regress_owner;
CREATE ROLE regress_group;
CREATE ROLE regress_member IN ROLE regress_group;
CREATE ROLE regress_other;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
CREATE ROLE regress_dba;
CREATE SCHEMA privileges;
GRANT ALL ON SCHEMA privileges TO PUBLIC;
SET search_path = privileges;

SET ROLE regress_owner;
CREATE TABLE items (id int PRIMARY KEY, name text);
SELECT plank.track('items');
INSERT INTO items VALUES (1, 'one');
RESET ROLE;
CREATE TABLE shared (id int PRIMARY KEY);
ALTER TABLE shared OWNER TO regress_group;

-- Others may not, whatever other privileges they have, and learn no more than that.
GRANT ALL ON items TO regress_other;
SET ROLE regress_other;
SELECT plank.track('items', '{insert}');
SELECT plank.untrack('items');
SELECT plank.track('items', filter => 'no such thing');
SELECT plank.track('pg_class');
SELECT relation, events FROM plank.tracked;
-- They write, and their writes are captured all the same.
INSERT INTO items VALUES (2, 'two');
-- Using the trigger function on one's own table is what restoring a dump does.
CREATE TABLE mine (id int);
CREATE TRIGGER plank_insert AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION plank.capture('insert', '', '');
INSERT INTO mine VALUES (1);
SELECT plank.capture();

-- A failed attempt does not even wait for the table.
RESET ROLE;
BEGIN;
SET LOCAL lock_timeout = '1ms';
SET ROLE regress_other;
SAVEPOINT a;
SELECT plank.track('items');
ROLLBACK TO a;
SELECT count(*) AS locks FROM pg_locks WHERE relation = 'items'::regclass AND pid = pg_backend_pid();
ROLLBACK;

-- A member of the owning role is an owner.
SET ROLE regress_member;
SELECT plank.track('shared');
SELECT plank.untrack('shared');

-- An owner without the TRIGGER privilege cannot, as for any trigger.
SET ROLE regress_owner;
REVOKE TRIGGER ON items FROM regress_owner;
SELECT plank.track('items', '{insert}');
GRANT TRIGGER ON items TO regress_owner;

-- Channels
SET ROLE regress_other;
SELECT plank.send('anything', '{"by": "anybody"}');
SELECT plank.expose('jobs');
SELECT plank.unexpose('jobs');
SELECT * FROM plank.channel;
INSERT INTO plank.channel VALUES ('jobs', NULL);
RESET ROLE;
SELECT current_database() AS database \gset
SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = :'database' \gset
ALTER DATABASE :"database" OWNER TO regress_dba;
SET ROLE regress_dba;
SELECT plank.expose('jobs', 'regress_other');
SELECT * FROM plank.channel;
SELECT plank.unexpose('jobs');
TRUNCATE plank.channel;
RESET ROLE;
ALTER DATABASE :"database" OWNER TO :"owner";

-- Views
SET ROLE regress_other;
SELECT count(*) FROM plank.clients;
SELECT count(*) FROM plank.subscriptions;
SELECT count(*) FROM plank._clients();
SELECT count(*) FROM plank._subscriptions();
SELECT count(*) >= 0 AS readable FROM plank.stat;
SET ROLE regress_monitor;
SELECT count(*) >= 0 AS readable FROM plank.clients;
SELECT count(*) >= 0 AS readable FROM plank.subscriptions;
SELECT count(*) FROM plank.channel;
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA privileges CASCADE;
DROP ROLE regress_owner, regress_group, regress_member, regress_other, regress_monitor, regress_dba;
DROP EXTENSION plank;
