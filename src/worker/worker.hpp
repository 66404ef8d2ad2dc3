// One worker process: its state, its loop and what a turn does. Runs in the worker.
#pragma once

// net/, token/ and core/ come before anything of PostgreSQL's.
#include "core/memory_pressure.hpp"
#include "core/row.hpp"
#include "core/row_source.hpp"
#include "core/snapshot.hpp"
#include "token/verifier.hpp"
#include "worker/web.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "pg/shared_state.hpp"
#include "worker/event_loop.hpp"
#include "worker/filter_evaluator.hpp"
#include "worker/identity.hpp"
#include "worker/memory_meter.hpp"
#include "worker/postgres_catalog.hpp"
#include "worker/public_notices.hpp"
#include "worker/receiver.hpp"
#include "worker/report.hpp"
#include "worker/row_reader.hpp"

namespace plank::worker {

// The hub's limits as the settings have them.
core::HubLimits hub_limits();

class Worker {
 public:
	explicit Worker(int slot);
	~Worker();
	// Serves until a shutdown is asked for, then says goodbye to the clients.
	void run();

 private:
	using Clock = std::chrono::steady_clock;

	// worker.cpp
	void turn();
	void tick();
	void judge_clients();
	void serve_database();
	void say_goodbye();
	void set_state(pg::WorkerState state, const std::string& reason);
	void publish_counters() noexcept;
	void write_log();

	// worker_memory.cpp
	void apply_memory_limits();
	void apply_log_limits();
	void look_at_memory();
	void tell_of_memory(core::MemoryPressure::State before, size_t used);

	// worker_setup.cpp
	void reload();
	void apply_settings();
	void listen_on_port();
	void prepare_tls();
	void trust_proxies();
	void choose_anonymous_role();
	// Looks whether the extension is there, and begins or stops serving accordingly. In no unit of work.
	void look_for_extension();
	void begin_serving();
	void become_ready();
	void stop_serving(pg::WorkerState state, const std::string& reason);

	const int slot_number_;
	pg::WorkerSlot& slot_;
	pg::DatabaseSlot& database_;

	EventLoop loop_;
	PostgresCatalog catalog_;
	FilterEvaluator evaluator_;
	const std::unique_ptr<Receiver> receiver_;
	RowReader rows_;
	Identities identities_;
	core::Hub hub_;
	Web web_;
	PublicNotices notices_;
	Report report_;
	std::unique_ptr<net::Server> server_;

	Clock::time_point next_tick_{}, next_position_{}, next_listen_{};
	uint32_t seen_catalog_changes_ = 0;
	bool receiving_ = false;    // the extension is there; clients are served once the receiver is ready
	bool in_recovery_ = false;  // a standby
	bool look_failed_ = false;
	bool more_rows_ = false;        // readers have sent more than was taken
	bool look_ = true;              // the extension or its channels may have changed
	bool look_at_tables_ = true;    // watched tables and channels may have changed
	bool may_listen_ = false;       // the port speaks what the settings want
	bool port_in_trouble_ = false;  // said once
	std::string tls_trouble_, proxies_trouble_;
	bool spill_in_trouble_ = false;
	std::string role_in_trouble_;
	MemoryMeter meter_;
	core::MemoryPressure pressure_;
	Clock::time_point next_look_at_memory_{}, give_back_at_ = Clock::time_point::max();
	uint64_t shed_before_ = 0;  // sessions, when memory was ample last
	bool history_is_cut_ = false;
	ReceiverCounters received_;  // as of the last tick
	uint64_t errors_ = 0;
};

}  // namespace plank::worker
