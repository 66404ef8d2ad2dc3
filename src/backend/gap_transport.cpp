// What stands for a transport where nobody records changes: Plank is loaded by a session alone, or the database is not in
// plank.databases. Positions of `plank.transport = 'wal'` outlive restarts, so a client may come back with one from before
// this run of the server: in place of its changes each transaction writes one small chunk that names its tables, which
// become a `reset` for whoever resumes over it. Runs in ordinary sessions.
#include "core/record.hpp"

#include "backend/chunk_stream.hpp"
#include "backend/transport.hpp"
#include "pg/guard.hpp"

namespace plank::backend {

namespace {

class GapTransport final : public Transport {
 public:
	void grew(TransactionRecords& records) override
	{
		if (!records.given_up) pg::call([&] { records.give_up(); });
	}
	void before_release(TransactionRecords&, int) override {}
	void before_commit(TransactionRecords& records) override { chunk_stream().write_lost(records, false); }
	void before_prepare(TransactionRecords& records) override { before_commit(records); }
	void after_commit() noexcept override {}
	void after_abort() noexcept override {}
};

constinit GapTransport transport;

}  // namespace

Transport& gap_transport() noexcept { return transport; }

}  // namespace plank::backend
