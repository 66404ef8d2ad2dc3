// The sending end of a transport: how a transaction's records leave the session. Runs in ordinary sessions, from the
// transaction callbacks.
#pragma once

#include "backend/transaction_records.hpp"

namespace plank::backend {

class Transport {
 public:
	// Records were added; a transport may let some go already. Throws pg::Error.
	virtual void grew(TransactionRecords& records) = 0;
	// A savepoint's level is about to be released into the one around it, which cannot fail afterwards but for bugs.
	// Throws pg::Error.
	virtual void before_release(TransactionRecords& records, int level) = 0;
	// The transaction is about to commit: everything leaves now. Throws pg::Error only for what would fail any commit.
	virtual void before_commit(TransactionRecords& records) = 0;
	// PREPARE TRANSACTION. Throws pg::Error to refuse it.
	virtual void before_prepare(TransactionRecords& records) = 0;
	// The transaction has committed, or ended otherwise. Must not fail.
	virtual void after_commit() noexcept = 0;
	virtual void after_abort() noexcept = 0;

 protected:
	~Transport() = default;
};

// The ones for plank.transport, and the one for where nobody records changes: Plank is not preloaded, or the database is
// not in plank.databases.
Transport& notify_transport() noexcept;
Transport& wal_transport() noexcept;
Transport& gap_transport() noexcept;

}  // namespace plank::backend
