// The worker's side of snapshots: processes that read tables' rows for it, started when needed, and what waits for them.
// Runs in the worker, outside network callbacks. Nothing here waits.
#pragma once

// core/ comes before anything of PostgreSQL's.
#include "core/snapshot.hpp"

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "pg/reader_link.hpp"

namespace plank::worker {

class SnapshotPool final : public core::Snapshots {
 public:
	using Clock = std::chrono::steady_clock;

	SnapshotPool();
	~SnapshotPool();
	SnapshotPool(const SnapshotPool&) = delete;
	SnapshotPool& operator=(const SnapshotPool&) = delete;

	// Most snapshots at a time.
	void set_limit(int limit) noexcept { limit_ = static_cast<size_t>(limit); }
	// How long a reader that has nothing to do is kept.
	void set_patience(Clock::duration patience) noexcept { patience_ = patience; }

	uint64_t start(core::SnapshotRequest request) override;
	void cancel(uint64_t id) override;
	void take_more(uint64_t id, bool on) override;

	// Once a turn: gives requests to readers and hands over what readers have sent, at most until `deadline`. The
	// process's latch is set when readers have more. True when something is left that waits for nobody: call it again in
	// the next turn, without sleeping. Outside a unit of work.
	bool poll(core::SnapshotHandler& handler, Clock::time_point deadline);

	size_t waiting() const noexcept { return line_.size(); }
	size_t running() const noexcept;  // cancelled ones included until their reader has stopped

 private:
	struct Request {
		uint64_t id;
		core::SnapshotRequest request;
		bool take = true;
	};
	struct Reader;
	enum class Outcome { idle, more, gone };

	void end_idle(Clock::time_point now);
	void hand_out(Clock::time_point now);
	Reader* free_reader(Clock::time_point now);
	Outcome listen(Reader& reader, core::SnapshotHandler& handler, Clock::time_point deadline);
	static pg::Transfer hear(Reader& reader, std::string_view& message);
	void answer(Reader& reader, std::string_view message, core::SnapshotHandler& handler);
	void lose(std::unique_ptr<Reader> reader, core::SnapshotHandler& handler);
	void back_off(Clock::time_point now, const char* message, const char* detail, const char* hint);

	size_t limit_ = 4;
	Clock::duration patience_ = std::chrono::minutes(1);
	uint64_t last_id_ = 0;
	std::deque<Request> line_;
	std::vector<std::unique_ptr<Reader>> readers_;
	Clock::time_point next_start_{};
	unsigned failed_starts_ = 0;  // in a row
};

}  // namespace plank::worker
