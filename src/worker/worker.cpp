// The worker's loop. Every turn is short: what could take long is cut into slices and goes on in the next turn.
// Runs in the worker.
#include "worker/worker.hpp"

#include <algorithm>
#include <utility>

#include "pg/catalog_change.hpp"
#include "pg/encoding.hpp"
#include "pg/notifications.hpp"
#include "pg/process.hpp"
#include "pg/roles.hpp"
#include "pg/settings.hpp"
#include "pg/table.hpp"
#include "pg/unit_of_work.hpp"
#include "pg/wal_history.hpp"

namespace plank::worker {

namespace {

constexpr auto kTick = std::chrono::milliseconds(500);
constexpr auto kRenderTime = std::chrono::milliseconds(20);  // of one turn
constexpr auto kReceiveTime = std::chrono::milliseconds(5);
constexpr auto kReceiveTimeAlone = std::chrono::milliseconds(20);  // nobody is served yet
constexpr auto kJudgeTime = std::chrono::milliseconds(10);
constexpr auto kRowsTime = std::chrono::milliseconds(5);
constexpr auto kRequestTime = std::chrono::milliseconds(10);
constexpr auto kLookTime = std::chrono::milliseconds(10);
constexpr long kHeld = 10;  // ms
constexpr long kLocked = 20;
constexpr auto kGoodbye = std::chrono::milliseconds(800);  // a fast shutdown takes less than 2 s

}  // namespace

Worker::Worker(int slot)
    : slot_number_(slot),
      slot_(pg::shared_state()->worker[slot]),
      database_(pg::shared_state()->database[slot_.database]),
      receiver_(pg::Settings::transport == static_cast<int>(pg::TransportKind::wal) ? make_wal_receiver()
                                                                                    : make_notify_receiver(database_)),
      rows_(*receiver_),
      identities_(slot == 0),
      hub_(hub_limits(), {catalog_, receiver_->past(), evaluator_, rows_, [] { return GetCurrentTimestamp(); }}),
      web_(hub_),
      report_(slot)
{
	receiver_->attach(hub_);
	rows_.attach(hub_);
	in_recovery_ = pg::in_recovery();
	web_.database = pg::to_utf8(database_.name);
	if (slot_.number == 0)
		hub_.set_notice_sink([this](const std::string& channel, std::string&& payload) {
			if (!in_recovery_ && !receiver_->is_past()) notices_.add(channel, std::move(payload));
		});
	hub_.set_gate(identities_);
	apply_settings();
}

Worker::~Worker() = default;

void Worker::run()
{
	while (!ShutdownRequestPending) {
		try {
			turn();
		} catch (pg::Error& error) {
			// The unit that failed has been rolled back; whatever it was about, the next turn tries again.
			++errors_;
			pg::log_line(LOG, error.what(), error.data()->detail, error.data()->hint);
			error.release();
			pg::abort_unit();
		} catch (const std::exception& error) {
			++errors_;
			pg::log_line(LOG, error.what());
			pg::abort_unit();
		}
	}
	say_goodbye();
}

void Worker::turn()
{
	hub_.begin_turn(Clock::now() + kRenderTime);
	loop_.turn();
	write_log();
	// What serve_database leaves alone while the database is not served must not keep the loop from sleeping.
	const bool ready = web_.not_ready.empty();
	const bool more = (hub_.has_starved() && !hub_.is_holding()) || hub_.has_to_look() ||
	                  (ready && (hub_.has_to_judge() || hub_.has_requests_now() || more_rows_ || rows_.has_changes() ||
	                             notices_.has_more()));
	const auto now = Clock::now();
	const auto to_tick = std::chrono::duration_cast<std::chrono::milliseconds>(next_tick_ - now).count();
	// Requests that wait for a lock are asked again every 50 ms; others are answered at once below.
	long patience = hub_.is_holding() ? kHeld : receiving_ ? receiver_->patience() : 1000;
	if (ready && (hub_.has_delayed_requests() || hub_.waits_for_lock())) patience = std::min(patience, kLocked);
	loop_.wait(more ? 0 : std::clamp<long>(to_tick + 1, 0, patience));
	MemoryContextReset(pg::turn_memory());
	MemoryContextSwitchTo(pg::turn_memory());
	pg::check_interrupts();
	if (ConfigReloadPending) {
		ConfigReloadPending = false;
		reload();
	}
	if (database_.catalog_changes.load() != seen_catalog_changes_) {
		seen_catalog_changes_ = database_.catalog_changes.load();
		look_ = true;
	}
	if (receiving_) serve_database();
	look_at_memory();
	if (Clock::now() >= next_tick_) tick();
	// Also after the extension has gone: who still watches a table hears of it as soon as the drop lets us look.
	if (hub_.has_to_look()) {
		hub_.look_further(Clock::now() + kLookTime);
		catalog_.finish();
	}
	report_.answer(hub_);
}

// What has committed, what clients ask, and what public channels are to hear.
void Worker::serve_database()
{
	const bool ready = slot_.state.load() == static_cast<int>(pg::WorkerState::ready);
	// Before the look: whoever commits without waiting for the flush from now on wakes us again.
	database_.unflushed.store(false);
	receiver_->receive(Clock::now() + (ready ? kReceiveTime : kReceiveTimeAlone));
	if (!ready) {
		if (receiver_->ready()) become_ready();
		return;
	}
	hub_.judge(Clock::now() + kJudgeTime);
	more_rows_ = rows_.poll(Clock::now() + kRowsTime);
	// Requests were read before the look, so whoever has exposed a channel can subscribe to it at once.
	if (look_) look_for_extension();
	if (hub_.has_requests() && slot_.state.load() == static_cast<int>(pg::WorkerState::ready)) {
		hub_.process_requests(Clock::now() + kRequestTime);
		catalog_.finish();
	}
	const std::string error = hub_.trim();
	if (!error.empty() && !spill_in_trouble_)
		pg::log_line(WARNING, "transactions that slow clients need could not be kept", error.c_str(),
		             "Make room on the data directory's file system, or lower plank.spill_size.");
	spill_in_trouble_ = !error.empty();
	notices_.send(pg::shared_state()->queue_usage.load());
}

// Twice a second: what nobody tells us about.
void Worker::tick()
{
	next_tick_ = Clock::now() + kTick;
	// On a standby no session tells of what has changed in the catalog; after its promotion there is NOTIFY to listen to.
	const bool was_standby = std::exchange(in_recovery_, in_recovery_ && pg::in_recovery());
	look_ = look_ || was_standby;
	look_for_extension();
	if (server_ && (server_->port() == 0 || !may_listen_) && Clock::now() >= next_listen_) listen_on_port();
	identities_.look_at_key_file();
	const bool ready = slot_.state.load() == static_cast<int>(pg::WorkerState::ready);
	if (ready)
		pg::unit_of_work("plank: looking at the catalog", [&] {
			if (!in_recovery_) pg::shared_state()->queue_usage.store(pg::notification_queue_usage());
			choose_anonymous_role();
		});
	if (pg::catalog_has_changed()) {
		pg::CatalogChange change;
		pg::unit_of_work("plank: looking at the catalog", [&] { change = pg::take_catalog_change(); });
		hub_.look_again({change.everything, {change.relations.begin(), change.relations.end()}});
		identities_.note_catalog();
	}
	if (std::exchange(look_at_tables_, false)) hub_.look_again({false, {}});
	hub_.look_at_locked();
	// Whoever may no longer be here goes before its subscriptions do.
	if (ready) judge_clients();
	if (ready) {
		// At least so often, so before the next look would be too late. A shorter interval counts from when it was set.
		const Clock::time_point latest = Clock::now() + std::chrono::milliseconds(pg::Settings::ping_interval);
		next_position_ = std::min(next_position_, latest);
		if (next_tick_ >= next_position_) {
			next_position_ = latest;
			hub_.send_positions();
		}
	}
	received_ = receiver_->counters();
	publish_counters();
}

// Ends clients whose token, role or key is no longer good.
void Worker::judge_clients()
{
	hub_.end_expired();
	hub_.close_unauthenticated();
	if (!identities_.must_judge_again()) return;
	try {
		pg::unit_of_work("plank: judging clients", [&] {
			identities_.begin_judging();
			hub_.end_identities([&](const core::Identity& identity) { return identities_.judge(identity); });
		});
	} catch (...) {
		identities_.note_catalog();
		throw;
	}
}

void Worker::set_state(pg::WorkerState state, const std::string& reason)
{
	slot_.state.store(static_cast<int>(state));
	web_.not_ready = reason;
}

void Worker::publish_counters() noexcept
{
	const auto put = [](std::atomic<uint64_t>& counter, uint64_t value) {
		counter.store(value, std::memory_order_relaxed);
	};
	pg::WorkerCounters& to = slot_.counters;
	const core::HubCounters& hub = hub_.counters();
	put(to.clients, hub_.sessions());
	put(to.subscriptions, hub.subscriptions);
	put(to.transactions, hub.transactions);
	put(to.changes, hub.changes);
	put(to.messages, hub.messages);
	put(to.resets, hub.resets_ddl + hub.resets_lost + hub.resets_resume);
	put(to.transaction_bytes, hub.bytes);
	put(to.resets_ddl, hub.resets_ddl);
	put(to.resets_lost, hub.resets_lost);
	put(to.resets_resume, hub.resets_resume);
	put(to.resumed_from_log, hub.resumed_from_log);
	put(to.resumed_by_replay, hub.resumed_by_replay);
	put(to.errors, hub.errors + errors_);
	put(to.log_bytes, hub_.log().memory());
	put(to.spill_bytes, hub_.log().spilled());
	put(to.clients_shed, hub.shed);
	put(to.notify_sent, notices_.sent());
	put(to.notify_skipped, notices_.skipped());
	const ReceiverCounters& received = received_;
	put(to.wal_read, received.wal_read);
	put(to.wal_skipped, received.wal_skipped);
	put(to.wal_replayed, received.wal_replayed);
	put(to.messages_forged, received.forged);
	put(to.lag_bytes, received.lag_bytes);
	put(to.lag_time, static_cast<uint64_t>(received.lag_time));
	put(to.oldest_position, received.oldest_position);
	if (!server_) return;
	const net::Counters& net = server_->counters();
	put(to.clients_accepted, net.accepted);
	put(to.clients_refused, net.refused);
	put(to.clients_too_slow, net.closed_too_slow);
	put(to.clients_timed_out, net.closed_ping_timeout);
	put(to.frames_sent, net.frames_sent);
	put(to.bytes_sent, net.bytes_sent);
	put(to.bytes_received, net.bytes_received);
	slot_.port.store(server_->port());
}

void Worker::write_log()
{
	for (const Web::Line& line : web_.take_lines())
		pg::log_line(line.level == 'D' ? DEBUG1 : line.level == 'I' ? LOG : WARNING, line.text.c_str());
}

void Worker::say_goodbye()
{
	set_state(pg::WorkerState::stopping, "the server is stopping");
	slot_.listening.store(false);
	if (!server_) return;
	server_->stop(net::CloseCode::going_away, "the server is stopping");
	const auto patience = Clock::now() + kGoodbye;
	while (!server_->stopped() && Clock::now() < patience) {
		loop_.turn();
		try {
			loop_.wait(10);
			pg::check_interrupts();
		} catch (pg::Error& error) {
			error.release();
		}
	}
	write_log();
	server_.reset();
}

}  // namespace plank::worker
