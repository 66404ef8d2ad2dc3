-- Filters when their table changes: those that still make sense go on, the others end with the reason, and rows written
-- before are judged by what they were written as or not at all.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE TABLE items (id int PRIMARY KEY, name text, price int, code int);
INSERT INTO items VALUES (1, 'a', 10, 1), (2, 'b', 20, NULL);
SELECT plank_test.filter_after('items', ARRAY['id = 1', 'price = 10', 'name = ''b''', 'price > 10 AND code IS NULL'], 'SELECT 1');
SELECT plank_test.filter_after('items', ARRAY['id = 1', 'price = 10', 'name = ''b''', 'price > 10 AND code IS NULL'], 'ALTER TABLE items ADD COLUMN extra int DEFAULT 5');
SELECT plank_test.filter_after('items', ARRAY['id = 1', 'price = 10', 'name = ''b''', 'price > 10 AND code IS NULL'], 'ALTER TABLE items ALTER COLUMN price TYPE numeric');
SELECT plank_test.filter_after('items', ARRAY['id = 1', 'price = 10', 'name = ''b''', 'price > 10 AND code IS NULL'], 'ALTER TABLE items RENAME COLUMN price TO cost');
SELECT plank_test.filter_after('items', ARRAY['id = 1', 'cost = 10', 'name = ''b''', 'cost > 10 AND code IS NULL'], 'ALTER TABLE items DROP COLUMN code');
SELECT plank_test.filter_after('items', ARRAY['id = 1', 'items.cost = 10', 'name = ''b'''], 'ALTER TABLE items RENAME TO things');
SELECT plank_test.filter_after('things', ARRAY['id = 1', 'name = ''b''', 'lower(name) = ''a'''], 'ALTER TABLE things ALTER COLUMN name TYPE int USING ascii(name)');
DROP TABLE things;
DROP EXTENSION plank_test;
