// The sending end of `plank.transport = 'wal'`: records leave as chunks in logical messages, which PostgreSQL's own commit
// or abort record decides about. Runs in ordinary sessions.
//
// A message carries the xid of the subtransaction that writes it, so a savepoint level's records are written while that
// level is the current one, once there are 64 kB of them; what is left of a released level merges into the one around it,
// and leaves with it or at PRE_COMMIT under the top-level xid. So a session holds at most 64 kB a level and one record.
#include "core/chunk.hpp"

#include "backend/chunk_stream.hpp"
#include "backend/transport.hpp"
#include "pg/session.hpp"
#include "pg/shared_state.hpp"

namespace plank::backend {

namespace {

class WalTransport final : public Transport {
 public:
	void grew(TransactionRecords& records) override
	{
		const RecordPlace start = records.start_of(GetCurrentTransactionNestLevel());
		if (records.bytes_since(start) < core::kChunkBytes) return;
		chunk_stream().write(records, start);
		records.cut(start);
	}

	// The level around is never the current one while PL/pgSQL loops over blocks with EXCEPTION, and must not grow for
	// ever; so it leaves together with the last that was released into it, under that one's xid. From here on the two share
	// their fate.
	void before_release(TransactionRecords& records, int level) override
	{
		const RecordPlace start = records.start_of(level - 1);
		if (records.bytes_since(start) < core::kChunkBytes) return;
		chunk_stream().write(records, start);
		records.cut(start);
		records.lent_to = level;
	}

	void before_commit(TransactionRecords& records) override
	{
		chunk_stream().write(records, {});
		if (records.broken) chunk_stream().write_lost(records, true);
	}

	void before_prepare(TransactionRecords& records) override
	{
		before_commit(records);
		chunk_stream().prepare();
	}

	void after_commit() noexcept override
	{
		if (!chunk_stream().has_written()) return;
		pg::DatabaseSlot* const slot = pg::my_database_slot();
		if (!slot) return;
		if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
			pg::wake_for_unflushed(slot);
		else
			pg::wake_workers(slot);
	}

	void after_abort() noexcept override {}
};

constinit WalTransport transport;

}  // namespace

Transport& wal_transport() noexcept { return transport; }

}  // namespace plank::backend
