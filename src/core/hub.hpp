// The hub: sessions, what they watch, the log of transactions, and who is to be told what. One per worker.
// Runs in the worker, on one thread. Must not call PostgreSQL; it asks the Catalog.
//
// A transaction goes into the shared log once. Sessions with equal subscriptions form an audience; the audiences that
// watch a table are found by its OID, and their idle sessions get a place in the log to read from. Frames are rendered when
// a socket takes bytes, once per audience and place.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/audience.hpp"
#include "core/catalog.hpp"
#include "core/identity.hpp"
#include "core/session.hpp"
#include "core/transaction_log.hpp"

namespace plank::core {

struct HubLimits {
	size_t max_subscriptions = 1000;
	int subscribe_rate = 0;  // subscribe and auth requests of a client, a second; 0: no limit
	TransactionLog::Limits log;
};

struct HubCounters {
	uint64_t subscriptions = 0;  // live now
	uint64_t transactions = 0, changes = 0, messages = 0, resets = 0, errors = 0;
};

// Takes what `plank.track(notify => …)` asks to be sent on public channels.
using NoticeSink = std::function<void(const std::string& channel, std::string&& payload)>;

class Hub {
 public:
	// `epoch`: tells this server start's positions from another's. `clock`: microseconds since 2000-01-01 UTC.
	Hub(std::string epoch, HubLimits limits, Catalog& catalog, std::function<int64_t()> clock);
	~Hub();
	Hub(const Hub&) = delete;
	Hub& operator=(const Hub&) = delete;

	void set_limits(HubLimits limits);
	void set_notice_sink(NoticeSink sink) { notices_ = std::move(sink); }
	// Who judges tokens; without a gate every token is refused.
	void set_gate(Gate& gate) noexcept { gate_ = &gate; }

	// --- Called from network callbacks: short, and without the catalog.
	// `identity` null: nobody, who may authenticate.
	Session& open(Link& link, std::string name, IdentityPtr identity);
	Session& open_with_token(Link& link, std::string name, std::string token);
	void close(Session& session) noexcept;
	void receive(Session& session, std::string_view text);
	FramePtr next_frame(Session& session);
	size_t waiting(const Session& session) const noexcept;

	// --- Called from the worker's loop.
	// A committed transaction; its body has been read. Resets and lost markers in it are acted on.
	void deliver(Transaction&& transaction);
	// Another application's NOTIFY on an exposed channel. `payload`: text in UTF-8.
	void deliver_notify(const std::string& channel, std::string_view payload);
	// Something was lost: every table's subscribers must start anew.
	void reset_all(const std::string& reason);
	// Answers requests until `deadline`; true when some are left. Uses the catalog.
	bool process_requests(std::chrono::steady_clock::time_point deadline);
	// True when there is something to be asked now, or soon (has_delayed_requests).
	bool has_requests() const noexcept { return !asking_.empty() || has_delayed_requests(); }
	bool has_delayed_requests() const noexcept { return !asking_later_.empty(); }
	// Looks at every watched table and channel again and tells subscribers what changed; false when some table could not
	// be looked at and it should be tried again. Uses the catalog.
	bool look_again();
	// Tells all clients where they are, so that quiet ones stay current.
	void send_positions();
	// Ends every session whose right to be here is gone: for whom `judge` gives a reason.
	void end_identities(const std::function<const char*(const Identity&)>& judge);
	void end_expired();
	// Closes sessions that have not said who they are for ten seconds.
	void close_unauthenticated();
	// Starts a turn: frames are rendered until `deadline`, then sessions wait for the next turn.
	void begin_turn(std::chrono::steady_clock::time_point deadline);
	bool has_starved() const noexcept { return !starved_.empty(); }
	// Keeps the log and the caches within their limits. Returns an error of the temporary files, or "".
	std::string trim();

	const HubCounters& counters() const noexcept { return counters_; }
	const TransactionLog& log() const noexcept { return log_; }
	size_t sessions() const noexcept { return sessions_.size(); }
	void for_each_session(const std::function<void(const Session&)>& visit) const;
	// Name of a watched table, for plank.subscriptions; empty when nobody watches it.
	bool anybody_watches(uint32_t relation) const noexcept;

 private:
	// Who watches a table or channel. The entry lives as long as a subscription or an audience does: new subscriptions
	// have no audience until they are settled, ended ones still have.
	struct Watched {
		std::map<std::string, size_t> roles;  // and how many subscriptions each has
		std::unordered_set<Audience*> audiences;
		ShapePtr shape;  // a table's, as subscribers were told last
	};
	template <typename Key>
	using WatchedMap = std::unordered_map<Key, Watched>;

	// hub_requests.cpp
	bool answer(Session& session, const Request& request);
	bool subscribe(Session& session, const Request& request);
	bool subscribe_table(Session& session, const Request& request);
	void start_subscription(Session& session, const Request& request, const ShapePtr& found);
	void subscribe_channel(Session& session, const Request& request);
	void add_subscription(Session& session, Subscription&& subscription);
	void end_subscriptions(Session& session, const std::function<bool(const Subscription&)>& ends,
	                       std::string_view code, std::string_view message);
	void watch(const Session& session, const Subscription& subscription);
	void unwatch(const Session& session, const Subscription& subscription) noexcept;
	void end_where(const std::function<bool(const Session&, const Subscription&)>& ends, const char* code,
	               std::string_view message);
	void reply(Session& session, std::string&& text);
	void queue_reply(Session& session, FramePtr frame);
	static bool backed_up(const Session& session) noexcept;
	static void pause_reading(Session& session) noexcept;
	static void resume_reading(Session& session) noexcept;
	void refuse(Session& session, Fault&& fault);
	bool has_allowance(Session& session) const noexcept;
	std::string position() const;

	// hub_audiences.cpp
	void close_stretch(Session& session);
	void changed_subscriptions(Session& session);
	void settle();
	void leave_audience(Session& session) noexcept;
	void join_audience(Session& session);
	void make_idle(Session& session);
	void leave_idle(Session& session) noexcept;
	void drop_audience(Audience& audience) noexcept;
	void wake(const LogEntry& entry);
	void wake(Audience& audience, const LogEntry& entry);
	FramePtr join_replies(Session& session);
	FramePtr render_next(Session& session);
	void keep_batch(const AudiencePtr& audience, Batch&& batch);
	static const Batch* find_batch(const Audience& audience, Cursor at, uint64_t until, FramePtr& frame) noexcept;
	void let_oldest_batch_go() noexcept;
	void pop_waiting(Session& session, size_t count);

	// hub_identity.cpp
	void authenticate(Session& session, const Request& request);

	// hub.cpp
	void close_all(const std::vector<Session*>& sessions, uint16_t code, std::string_view reason, bool drain);
	LogEntry& append(LogEntry&& entry);
	void announce_shape(const ShapePtr& shape);
	void send_notices(const LogEntry& entry);

	const std::string epoch_;
	HubLimits limits_;
	Catalog& catalog_;
	Gate* gate_ = nullptr;
	std::function<int64_t()> clock_;
	NoticeSink notices_;
	HubCounters counters_;

	TransactionLog log_;
	uint64_t last_xid_ = 0;

	std::unordered_map<const Session*, std::unique_ptr<Session>> sessions_;
	std::unordered_map<std::string_view, AudiencePtr> audiences_;  // by the audience's own key
	WatchedMap<uint32_t> tables_;
	WatchedMap<std::string> channels_;

	// Requests of one client that may wait before it is no longer read from, and how few let it be read again.
	static constexpr size_t kRequestsPause = 64;
	static constexpr size_t kRequestsResume = 16;
	// The same for what waits for it: bytes of answers, and pieces of any kind.
	static constexpr size_t kRepliesPause = 256 * 1024;
	static constexpr size_t kRepliesResume = 64 * 1024;
	static constexpr size_t kWaitingPause = 128;
	static constexpr size_t kWaitingResume = 32;
	// Subscriptions of sessions that change audience at once; more would make a turn too long.
	static constexpr size_t kRegroupingWork = 4096;

	struct CachedBatch {
		std::weak_ptr<Audience> audience;
		uint64_t serial;
	};

	// Who has requests is in one of these, or stalled.
	std::deque<Session*> asking_;
	std::vector<Session*> asking_later_;  // asked about a table that DDL holds
	std::chrono::steady_clock::time_point ask_again_at_{};
	std::vector<Session*> regrouping_;
	size_t regrouping_work_ = 0;
	std::vector<Session*> starved_;
	std::deque<CachedBatch> cached_;  // batches that are kept in memory, oldest first; some may be gone already
	size_t cached_bytes_ = 0;
	uint64_t last_batch_ = 0;
	bool sent_ = false;  // something, in this turn
	std::chrono::steady_clock::time_point look_at_spill_{};
	std::chrono::steady_clock::time_point render_deadline_ = std::chrono::steady_clock::time_point::max();
};

}  // namespace plank::core
