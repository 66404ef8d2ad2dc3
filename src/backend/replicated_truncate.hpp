// TRUNCATE as logical replication applies it: no statement runs and object_access_hook is not called, so that only a new
// file tells that a partition was emptied. Runs in logical replication's workers; costs nothing elsewhere.
#pragma once

namespace plank::backend {

// Registers what it listens to. From _PG_init.
void watch_replicated_truncates();

// Adds a `reset` for each tracked table of which the current transaction has emptied a partition. Before the commit.
// Throws pg::Error.
void add_replicated_truncates();

// The transaction has ended.
void forget_replicated_truncates() noexcept;

}  // namespace plank::backend
