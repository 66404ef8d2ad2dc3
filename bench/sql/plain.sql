-- The table every measure writes to; untracked as it stands here. Autovacuum would come when it likes, and a run is
-- short enough to do without.
CREATE TABLE plain (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	mark text NOT NULL,
	note text NOT NULL
) WITH (autovacuum_enabled = off);
