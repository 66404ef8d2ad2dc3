-- The evaluator in a background worker: it begins and ends transactions of its own, leaves other people's open, and after
-- every call, good or bad, everything is as it was.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION plank_test;
CREATE TABLE items (id int PRIMARY KEY, name text);
INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c');
SELECT plank_test.run_filter_worker('items');
SELECT line FROM plank_test.noted;
DROP TABLE items;
DROP EXTENSION plank_test;
