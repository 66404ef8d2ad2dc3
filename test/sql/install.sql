-- What CREATE EXTENSION makes, who may use it, and that DROP EXTENSION leaves nothing.
\set VERBOSITY terse
CREATE ROLE regress_install LOGIN;

-- A schema that somebody made beforehand is refused: its owner could replace what is in it.
CREATE SCHEMA plank AUTHORIZATION regress_install;
CREATE EXTENSION plank;
DROP SCHEMA plank;

-- Only a superuser installs it.
SET ROLE regress_install;
CREATE EXTENSION plank;
RESET ROLE;

CREATE EXTENSION plank;

-- Every object has a comment.
SELECT pg_describe_object(classid, objid, 0) AS without_comment
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'plank')
	AND classid <> 'pg_type'::regclass AND obj_description(objid, classid::regclass::text::name) IS NULL;
SELECT a.attrelid::regclass, a.attname AS without_comment
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'plank'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
	AND col_description(a.attrelid, a.attnum) IS NULL;

-- Who may do what.
SELECT p.proname AS function, has_function_privilege('regress_install', p.oid, 'EXECUTE') AS anybody,
	has_function_privilege('pg_monitor', p.oid, 'EXECUTE') AS monitor,
	has_function_privilege('pg_database_owner', p.oid, 'EXECUTE') AS database_owner
FROM pg_proc p WHERE p.pronamespace = 'plank'::regnamespace ORDER BY p.proname;
SELECT c.relname AS relation, has_table_privilege('regress_install', c.oid, 'SELECT') AS anybody,
	has_table_privilege('pg_monitor', c.oid, 'SELECT') AS monitor,
	has_table_privilege('pg_database_owner', c.oid, 'SELECT') AS database_owner,
	has_table_privilege('regress_install', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER') AS anybody_writes
FROM pg_class c WHERE c.relnamespace = 'plank'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY c.relname;
SELECT has_schema_privilege('regress_install', 'plank', 'USAGE') AS usage,
	has_schema_privilege('regress_install', 'plank', 'CREATE') AS create;

-- Nothing is SECURITY DEFINER.
SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'plank'::regnamespace AND p.prosecdef;

SELECT * FROM plank.tracked;

-- Tracking goes with the extension, tables stay.
CREATE TABLE install_items (id int PRIMARY KEY, name text);
SELECT plank.track('install_items');
DROP EXTENSION plank;
DROP EXTENSION plank CASCADE;
SELECT count(*) AS triggers_left FROM pg_trigger WHERE tgrelid = 'install_items'::regclass;
INSERT INTO install_items VALUES (1, 'one') RETURNING *;
ALTER TABLE install_items RENAME COLUMN name TO title;

-- And it can come back in the same session.
CREATE EXTENSION plank;
SELECT plank.track('install_items');
SELECT * FROM plank.tracked;
INSERT INTO install_items VALUES (2, 'two') RETURNING *;

DROP TABLE install_items;
DROP EXTENSION plank;
SELECT count(*) AS schemas_left FROM pg_namespace WHERE nspname = 'plank';
DROP ROLE regress_install;
