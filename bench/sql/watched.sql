-- What the measures of Plank alone write to, beside `tracked`.
CREATE TABLE watched (LIKE plain INCLUDING ALL, user_id int NOT NULL, amount int NOT NULL) WITH (autovacuum_enabled = off);
CREATE TABLE big (LIKE plain INCLUDING ALL) WITH (autovacuum_enabled = off);
CREATE TABLE foreign_rows (note text NOT NULL) WITH (autovacuum_enabled = off);
GRANT SELECT ON watched, big TO bench_web;
SELECT plank.track('watched');
