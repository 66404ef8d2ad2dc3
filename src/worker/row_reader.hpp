// The hub's requests for a table's rows, handed to the pool of reading processes and back; and fences, which tell when the
// stream has passed what a snapshot has seen. Runs in the worker, outside network callbacks but for `pause`.
#pragma once

// net/ and core/ come before anything of PostgreSQL's.
#include "core/hub.hpp"
#include "core/row_source.hpp"
#include "core/snapshot.hpp"

#include <deque>
#include <unordered_map>

#include "worker/receiver.hpp"
#include "worker/snapshots.hpp"

namespace plank::worker {

class RowReader final : public core::RowSource, private core::SnapshotHandler {
 public:
	explicit RowReader(Receiver& receiver) : receiver_(receiver) {}
	void attach(core::Hub& hub) noexcept { hub_ = &hub; }
	void set_limit(int limit) noexcept { pool_.set_limit(limit); }

	void start(uint64_t number, const core::RowsWanted& wanted) override;
	void cancel(uint64_t number) noexcept override;
	void pause(uint64_t number, bool paused) noexcept override;
	void fence(uint64_t number) override;

	// Once a turn, outside a unit of work. True when there is more that waits for nobody. Throws pg::Error.
	bool poll(SnapshotPool::Clock::time_point deadline);
	// Something was asked of it since.
	bool has_changes() const noexcept { return !changed_.empty(); }

 private:
	struct Changed {
		uint64_t id;
		enum class What : uint8_t { pause, go_on, cancel } what;
	};
	void snapshot_began(uint64_t id, core::SnapshotHeader&& header) override;
	void snapshot_rows(uint64_t id, std::string_view rows, uint64_t count) override;
	void snapshot_done(uint64_t id) override;
	void snapshot_failed(uint64_t id, const core::SnapshotFailure& failure) override;
	uint64_t forget(uint64_t id) noexcept;
	void ask_for_fences();
	void tell_denied();

	Receiver& receiver_;
	core::Hub* hub_ = nullptr;
	SnapshotPool pool_;
	std::unordered_map<uint64_t, uint64_t> ids_, numbers_;  // the pool's by the hub's, and back
	std::unordered_map<uint64_t, uint64_t> wal_ends_;       // by the hub's number: where what it has seen ends
	std::vector<Changed> changed_;                          // told the pool in the next poll
	struct Fence {
		uint64_t number, wal_end;
	};
	std::vector<Fence> fences_;  // that the transport has not been asked for yet
	SnapshotPool::Clock::time_point next_fence_{};
	struct Denied {
		uint64_t number;
		SnapshotPool::Clock::time_point at;
	};
	std::deque<Denied> denied_;  // readings for want of privileges, until the hub may be told
};

}  // namespace plank::worker
