// What the current transaction will tell the world. Runs in ordinary sessions. Nothing is told before the commit; a
// rolled-back savepoint takes back what it added.
#pragma once

#include <string_view>

#include "backend/transaction_records.hpp"
#include "pg/postgres.hpp"

namespace plank::backend {

// Registers the extension's one pair of transaction callbacks. From _PG_init.
void register_transaction_callbacks();

// The current transaction's records, to be added to.
TransactionRecords& current_records() noexcept;

// Tells the transport that records were added. Throws pg::Error.
void records_grew();

// Adds a `reset` marker for a tracked table (its root, for partitions): what it holds changed without row changes.
// `reason` is a short phrase for the subscribers. Throws pg::Error.
void add_reset(Oid root, const char* reason);

// Adds an application event for `channel`; `payload` is JSON text in UTF-8. Throws pg::Error.
void add_message(std::string_view channel, std::string_view payload);

// The catalog changed in a way the workers must look at after commit (tracking, exposed channels, the extension itself,
// privileges): they are woken then. Never fails.
void note_catalog_change() noexcept;

// A prepared transaction has been committed: the workers are woken. Never fails.
void note_commit_prepared() noexcept;

}  // namespace plank::backend
