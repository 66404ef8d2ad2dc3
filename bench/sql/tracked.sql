-- What a user of Plank writes.
CREATE EXTENSION plank;
CREATE TABLE tracked (LIKE plain INCLUDING ALL) WITH (autovacuum_enabled = off);
GRANT SELECT ON tracked TO bench_web;
SELECT plank.track('tracked');
