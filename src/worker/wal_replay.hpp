// Reading the past again for clients that come back with a position that has left memory: one pass over WAL at a time,
// shared by all who wait. Runs in the worker, outside network callbacks.
#pragma once

// net/ and core/ come before anything of PostgreSQL's.
#include "core/assembler.hpp"
#include "core/hub.hpp"
#include "core/past.hpp"
#include "core/wal_position.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pg/wal_reader.hpp"
#include "worker/wal_stream.hpp"

namespace plank::worker {

class WalReplay final : public core::Past {
 public:
	using Clock = std::chrono::steady_clock;

	explicit WalReplay(WalStream& stream) : stream_(stream) {}
	void attach(core::Hub& hub) noexcept { hub_ = &hub; }
	// Whose messages are read. Ends a pass that is under way: its tickets are refused.
	void configure(uint32_t database, const std::string& prefix);
	void set_limits(core::Assembler::Limits limits) { limits_ = std::move(limits); }

	core::Found find(std::string_view position, const core::TransactionLog& log) override;
	void want(uint64_t ticket, std::string_view position) override;
	void forget(uint64_t ticket) noexcept override;

	// Goes on until `deadline`; `live`: where the live stream stands, beyond which there is nothing for anybody.
	void step(Clock::time_point deadline, uint64_t live);
	// After `step` has thrown: whoever was being served is to start anew.
	void give_up();
	// True when it could go on at once.
	bool has_more() const noexcept { return more_; }
	// True while somebody waits, if only for clients to read or a standby to catch up.
	bool is_busy() const noexcept { return !waiting_.empty() || pass_; }
	uint64_t bytes_read() const noexcept { return bytes_read_; }

 private:
	// A walk from the lowest place that its tickets need.
	struct Pass {
		Pass(uint32_t database, const std::string& prefix, core::Assembler::Limits limits);
		core::ShapeCache shapes;
		core::Assembler assembler;
		pg::WalReader reader;
		std::multimap<uint64_t, uint64_t> tickets;  // not met yet: by the end of their commit record
		bool verified = false;                      // some ticket has been met
		bool needed = false;                        // a verified one needs more
		CommitPoint point;                          // of `assembly`
		std::unique_ptr<core::Assembly> assembly;
		uint64_t passed = 0;
	};

	bool begin(uint64_t live);
	bool go_on(Clock::time_point deadline);
	bool take(const pg::WalEvent& event);
	void take_commit(const pg::WalEvent& event);
	void meet_tickets(const CommitPoint& point);
	void passed(uint64_t place);
	void deliver();
	void refuse(uint64_t ticket, const char* reason);
	void end(const char* broken);

	WalStream& stream_;
	core::Hub* hub_ = nullptr;
	uint32_t database_ = 0;
	std::string prefix_;
	core::Assembler::Limits limits_;
	std::map<uint64_t, core::WalPosition> waiting_;  // by ticket
	std::unique_ptr<Pass> pass_;
	bool more_ = false;
	uint64_t bytes_read_ = 0;
};

}  // namespace plank::worker
