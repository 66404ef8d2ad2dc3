// The receiving end of `plank.transport = 'wal'`: reads the server's own WAL and hands committed transactions to the hub, in
// the order of their commit records, once they are flushed and a new snapshot would show them.
// Runs in the worker, outside network callbacks.
//
//   stopped ──begin──▶ seeking ──a record found──▶ warming ──all is known──▶ streaming
//                         ▲                                                      │
//                         └─────────────── recycled, torn, another secret ───────┘
//
// Warming reads what was written before the worker came, so that there is a commit record to name as position, and history
// for those who come back. It ends when it is known of every transaction that commits from then on whether all it wrote has
// been read: on a primary sessions publish where they began to write, elsewhere a list of running transactions tells.
#pragma once

// net/ and core/ come before anything of PostgreSQL's.
#include "core/assembler.hpp"
#include "core/chunk.hpp"
#include "core/hub.hpp"
#include "core/past.hpp"
#include "core/wal_position.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pg/wal_reader.hpp"
#include "worker/receiver.hpp"
#include "worker/wal_replay.hpp"
#include "worker/wal_stream.hpp"

namespace plank::worker {

class WalReceiver final : public Receiver {
 public:
	WalReceiver();

	core::Past& past() noexcept override { return replay_; }
	void attach(core::Hub& hub) noexcept override;
	void set_limits(const core::TransactionLog::Limits& limits) override;
	void listen(const std::vector<std::string>& channels) override;
	void unlisten() override;
	void begin() override;
	bool ready() const noexcept override { return state_ == State::streaming || has_streamed_; }
	void receive(Clock::time_point deadline) override;
	void fence(uint64_t number, uint64_t wal_end) override { fences_.emplace_back(number, wal_end); }
	long patience() const override;
	bool is_past() const noexcept override { return state_ != State::streaming; }
	ReceiverCounters counters() override;

 private:
	enum class State : uint8_t { stopped, seeking, warming, streaming };
	// A commit record whose transaction waits to be told, or to be seen by others.
	struct Held {
		CommitPoint point;
		std::unique_ptr<core::Assembly> assembly;
		bool unknown = false;
		Clock::time_point since{};
	};

	void seek();
	bool read(Clock::time_point deadline);
	void take(const pg::WalEvent& event);
	void take_commit(const pg::WalEvent& event);
	bool settle_held(Clock::time_point deadline);
	void pass(const CommitPoint& point);
	void look_whether_known();
	void begin_history();
	void start_again(const std::string& reason);
	void tell_position();
	void tell_fences();
	core::WalPosition position() const;
	void receive_plain();
	void log_trouble();

	core::Hub* hub_ = nullptr;
	mutable WalStream stream_;
	WalReplay replay_;
	core::ShapeCache shapes_;
	core::Assembler::Limits limits_;
	std::unique_ptr<core::Assembler> assembler_;
	std::unique_ptr<pg::WalReader> reader_;

	State state_ = State::stopped;
	bool has_streamed_ = false;
	std::string prefix_;        // of this database's messages
	std::string reset_reason_;  // said when streaming begins again
	bool in_recovery_ = false;
	uint64_t unreadable_ = 0;  // a message that could not be understood ends here
	uint64_t target_ = 0;      // where warming ends
	bool published_ = false;   // sessions have told that what commits after `target_` is whole; else a list has to tell
	std::vector<uint32_t> suspects_;  // but for these
	bool history_ = false;            // the hub's log has begun
	CommitPoint last_;                // passed
	bool moved_ = false;              // since the hub was told
	std::unique_ptr<Held> held_;
	std::vector<std::pair<uint64_t, uint64_t>> fences_;  // numbers, and where they stand
	bool more_ = false;
	Clock::time_point seek_again_{};

	// When to look again.
	uint64_t seen_end_ = 0, unflushed_ = 0;
	Clock::time_point active_{};  // WAL was written
	long interval_ = 1;
	bool plain_failed_ = false, trouble_ = false;

	uint64_t read_ = 0, ours_ = 0, forged_before_ = 0;
};

}  // namespace plank::worker
