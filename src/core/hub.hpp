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
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "core/audience.hpp"
#include "core/catalog.hpp"
#include "core/evaluator.hpp"
#include "core/few.hpp"
#include "core/hub_limits.hpp"
#include "core/identity.hpp"
#include "core/past.hpp"
#include "core/reply.hpp"
#include "core/row_source.hpp"
#include "core/session.hpp"
#include "core/ticket.hpp"
#include "core/transaction_log.hpp"

namespace plank::core {

class Hub {
 public:
	// What it asks of its surroundings.
	struct Outside {
		Catalog& catalog;
		Past& past;
		Evaluator& evaluator;
		RowSource& rows;
		std::function<int64_t()> clock;  // microseconds since 2000-01-01 UTC
	};
	Hub(HubLimits limits, Outside outside);
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
	// The stream begins here: the log holds everything that comes after `place`.
	void begin_stream(uint64_t place, std::string position);
	// A committed transaction; its body has been read. Resets and lost markers in it are acted on.
	void deliver(Transaction&& transaction);
	// The stream has come to `place`, and there was nothing on the way.
	void moved(uint64_t place, std::string position);
	// What was asked for by RowSource::fence has been passed.
	void fence_passed(uint64_t number);
	// Judges transactions by the filters until `deadline`, and lets those that are done into the log; true when some are
	// left. Uses the database.
	bool judge(std::chrono::steady_clock::time_point deadline);
	bool has_to_judge() const noexcept;
	bool waits_for_lock() const noexcept;  // on a table that row security reads: it is looked at again within 50 ms
	// More has come than was judged: the transport should not bring more for now, if it can wait.
	bool is_behind() const noexcept { return incoming_bytes_ > limits_.log.memory / 4; }
	// Another application's NOTIFY on an exposed channel. `payload`: text in UTF-8.
	void deliver_notify(const std::string& channel, std::string_view payload);
	// Something was lost: every table's subscribers must start anew.
	void reset_all(const std::string& reason);
	// Answers requests until `deadline`; true when some are left. Uses the catalog.
	bool process_requests(std::chrono::steady_clock::time_point deadline);
	// True when there is something to be asked now, or soon (has_delayed_requests).
	bool has_requests() const noexcept { return !asking_.empty() || has_delayed_requests(); }
	bool has_delayed_requests() const noexcept { return !asking_later_.empty(); }
	bool has_requests_now() const noexcept { return !asking_.empty() && !(progress_.begun && waits_for_lock()); }
	// Every watched table and channel is to be looked at again, because of `change`.
	void look_again(const CatalogChange& change);
	// Does it until `deadline`, and tells subscribers what is different for them; true when some is left that need not
	// wait. Uses the catalog.
	bool look_further(std::chrono::steady_clock::time_point deadline);
	// What DDL held when it was looked at may be free now.
	void look_at_locked();
	bool has_to_look() const noexcept;
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
	// So many bytes of frames were made in this turn that memory is to be looked at before more are.
	bool has_rendered_much() const noexcept { return limits_.memory > 0 && rendered_ >= limits_.memory / 32; }
	// Keeps the log and the caches within their limits. Returns an error of the temporary files, or "".
	std::string trim();

	// --- Memory: see hub_memory.cpp. What it is in all, and how much there may be, is for the worker to know.
	// How much more the log may take than it does (below 0: less). True when that changes `log_limits`.
	bool set_spare_memory(int64_t spare);
	TransactionLog::Limits log_limits() const;
	// Closes those sessions that take most, until about `bytes` will be free or the turn's time is over; how many.
	size_t shed(size_t bytes);
	// While it is low new subscriptions are refused.
	void set_memory_is_low(bool low) noexcept { memory_is_low_ = low; }
	// Nothing is sent for a moment, until those who were closed have taken their memory with them.
	void hold(bool held) noexcept { held_ = held; }
	bool is_holding() const noexcept { return held_; }

	// --- A pass over the past: see past.hpp.
	void replay_begun();
	void replay_verified(uint64_t ticket);
	void replay_refused(uint64_t ticket, const std::string& reason);
	void replay(Transaction&& transaction);
	// True while somebody waits for what comes after `place`.
	bool replay_passed(uint64_t place);
	void replay_broken(const std::string& reason);
	void replay_ended();
	// Clients have not read enough of what was replayed: more has to wait.
	bool replay_is_full() const;

	// --- Snapshots: see row_source.hpp.
	void snapshot_begun(uint64_t number, SeenPtr seen, const ShapePtr& shape);
	void snapshot_rows(uint64_t number, std::string&& rows);
	void snapshot_done(uint64_t number);
	// `again`: the reader had trouble of its own.
	void snapshot_failed(uint64_t number, const Fault& fault, bool again);
	size_t snapshots() const noexcept { return readings_.size(); }

	const std::string& position() const noexcept { return position_; }
	uint64_t place() const noexcept { return place_; }
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
		struct Role {
			size_t subscriptions = 0;
			ColumnNames readable;  // of a table, as its subscriptions were last held against it
		};
		std::map<std::string, Role> roles;
		std::unordered_set<Audience*> audiences;
		std::unordered_set<Audience*> every_row;  // of these, those with a subscription without a filter
		ShapePtr checked;                         // what columns and filters were last held against
	};
	struct alignas(64) Filter {  // a cache line: of very many few are in the cache
		size_t references = 0;
		std::shared_ptr<const std::string> where;  // of whoever was the first to say it
		uint64_t born = 0;                         // of filters_born_
		size_t bytes = 0;                          // of the evaluator's memory
		Few<Audience> audiences;
	};
	// A table's shape as the log told it last, and where.
	struct Told {
		ShapePtr shape;
		uint64_t entry;
	};
	template <typename Key>
	using WatchedMap = std::unordered_map<Key, Watched>;

	// hub_requests.cpp
	bool answer(Session& session, const Request& request);
	bool subscribe(Session& session, const Request& request);
	bool subscribe_table(Session& session, const Request& request);
	bool start_subscription(Session& session, const Request& request, const TableAnswer& found);
	bool subscribe_channel(Session& session, const Request& request);
	std::optional<bool> choose(Session& session, const Request& request, const TableAnswer& found,
	                           Subscription& subscription);
	void add_subscription(Session& session, Subscription&& subscription);
	void watch(const Session& session, const Subscription& subscription);
	void unwatch(const Session& session, const Subscription& subscription) noexcept;
	uint64_t rights_of(const Session& session, const Subscription& subscription) const;
	void note_readable(const std::string& role, const TableAnswer& found);
	std::shared_ptr<const std::string> keep_where(FilterId filter, const std::string& where);
	void reply(Session& session, std::string&& text);
	void queue_reply(Session& session, FramePtr frame);
	static bool backed_up(const Session& session) noexcept;
	static void pause_reading(Session& session) noexcept;
	static void resume_reading(Session& session) noexcept;
	void refuse(Session& session, Fault&& fault);
	bool has_allowance(Session& session) const noexcept;
	void forget_old_shapes();

	// hub_look.cpp
	struct Look {
		bool rights = false;  // who may see which rows may have changed
		bool table = false;   // ... on the table itself
	};
	struct Outcome {
		TableAnswer answer;
		Look look;
		bool columns = false;  // they, or which of them the role may read, are others than before
	};
	using Outcomes = std::map<std::pair<uint32_t, std::string_view>, Outcome>;
	using Renewed = std::unordered_map<std::string, FilterId>;  // filters had anew in one go, by whose they are
	void look_at_tables(std::chrono::steady_clock::time_point deadline);
	void act_on(Outcomes& outcomes);
	void hold_columns_against(const Outcomes& outcomes);
	void look_at_shape(const ShapePtr& shape, bool rights);
	void follow_columns(const Shape& former, const ShapePtr& shape);
	void look_at_channels();
	void look_at_filters(std::chrono::steady_clock::time_point deadline);
	void make_stale(std::vector<FilterId>&& filters);
	void make_stale(Session& session, Subscription& subscription);
	void renew_filters(std::chrono::steady_clock::time_point deadline);
	bool renew_filters(Session& session, Renewed& renewed);
	std::variant<FilterId, FilterFault> filter_anew(const Session& session, const Subscription& subscription,
	                                                Renewed& renewed);
	void end_stale(std::string_view code, std::string_view message);
	ShapePtr checked_shape(uint32_t relation) const;
	void for_each_subscription(const std::function<void(Session&, Subscription&)>& visit);
	void end_where(const std::function<bool(const Session&, const Subscription&)>& ends, const char* code,
	               std::string_view message);
	enum class Anew : uint8_t { columns, rows, unreadable, unjudged, too_fast };  // why what is held is void
	static const char* reason_for(Anew why);
	void start_anew(Session& session, Subscription& subscription, const ShapePtr& shape, Anew why);

	// hub_judge.cpp
	struct Incoming {
		enum class Kind : uint8_t { entry, moved, fence };
		Kind kind = Kind::entry;
		LogEntry entry;
		uint64_t number = 0;  // moved: place; fence: its own
		std::string position;
	};
	struct Progress {  // how far an entry has been judged
		bool begun = false;
		size_t offset = 0;
		uint64_t born = 0;
		std::vector<Match> matches;
		std::vector<FilterId> unreadable;
		int errors = 0;
	};
	struct Judgement {                             // a stretch of a log that was judged before some filter was there
		std::shared_ptr<TransactionLog> replayed;  // null: the live log
		uint64_t next, until;
		uint64_t born;
	};
	FilterId add_filter(FilterId filter);
	void release_filter(FilterId filter) noexcept;
	void release_unused() noexcept;
	uint64_t born(const Audience& audience) const noexcept;
	bool needs_judging(const LogEntry& entry) const;
	void take(Incoming&& incoming);
	void take_entry(LogEntry&& entry);
	void let_in(Incoming&& incoming);
	void admit(LogEntry&& entry);
	bool judge_entry(const LogEntry& entry, Progress& progress, std::chrono::steady_clock::time_point deadline);
	void judge_all(std::chrono::steady_clock::time_point deadline);
	bool judge_again(std::chrono::steady_clock::time_point deadline);
	bool judge_incoming(std::chrono::steady_clock::time_point deadline);
	void end_failed_filters();
	void start_anew_after(const std::vector<FilterId>& unreadable);
	void start_anew_at(const TransactionLog& log, uint64_t entry, Anew why, const std::vector<FilterId>* unreadable);
	void drop_incoming();
	void finish_judgement();
	void drop_judgement();
	uint64_t judged_until(const Waiting& stretch) const noexcept;
	bool waits_for_judge(Session& session);
	AudiencePtr make_audience(std::string&& key, const std::vector<Subscription>& subscriptions,
	                          const Audience::Catchup& catchup);

	// hub_snapshot.cpp
	// Rows that are being read for a subscription.
	struct Reading {
		Session* session = nullptr;
		std::string id;
		uint64_t from = 0;     // entry of the log from which on what the snapshot has not seen is sent after the rows
		std::string position;  // of the stream before that
		SeenPtr seen;
		ShapePtr told;
		bool held = false;  // `rows` are there, and may be the last ones
		std::string rows;
		bool sent = false;  // some rows
		bool done = false, fenced = false, paused = false;
		int attempts = 0;
	};
	void begin_reading(Session& session, Subscription& subscription, const ShapePtr& shape, int attempts);
	void start_reading(uint64_t number);
	void start_readings(std::chrono::steady_clock::time_point deadline);
	void drop_readings(Session& session, const std::string* id) noexcept;
	void read_again(Session& session, const std::string& id);
	void read_again_after(const std::vector<Reset>& resets);
	void finish_reading(uint64_t number);
	void send_rows(Reading& reading, std::string_view position);
	void resume_readings(Session& session) noexcept;
	uint64_t needed_by_readings() const noexcept;
	void drop_starved_readings(uint64_t first);
	// A reading whose condition could not be had.
	struct RefusedReading {
		uint64_t number;
		FilterFault fault;
		std::chrono::steady_clock::time_point at;  // when it is told
		bool again;                                // it may be had another time
	};
	void settle_refused_readings();

	// hub_replay.cpp
	std::string position_for(const Subscription& subscription) const;
	static std::string started(const Subscription& subscription, const ShapePtr& shape, std::string_view position,
	                           Resumed resumed);
	bool find_past(Session& session, const Request& request, Found& found);
	void start(Session& session, Subscription& subscription, const ShapePtr& shape, const std::string& since,
	           const Found& found);
	void start_over(Session& session, const std::string& id, const std::string& reason, const ShapePtr& told = nullptr);
	void resume_from_log(Session& session, Subscription& subscription, const ShapePtr& shape, const std::string& since,
	                     uint64_t from);
	void resume_by_replay(Session& session, const Subscription& subscription, const ShapePtr& shape,
	                      const std::string& since);
	void resume_failed(Session& session, Subscription& subscription, const ShapePtr& shape, const std::string& reason);
	AudiencePtr catchup_audience(const Session& session, const Subscription& subscription, uint64_t pass,
	                             const SeenPtr& seen);
	void add_stretch(Session& session, size_t place, const AudiencePtr& audience, const Audience::Measure& measure,
	                 uint64_t until);
	void insert_reply(Session& session, size_t place, std::string&& text);
	void close_ticket(Ticket& ticket) noexcept;
	std::vector<std::shared_ptr<Ticket>> open_tickets() const;
	void break_off(const std::shared_ptr<Ticket>& ticket, const std::string& reason, bool told);
	void log_replayed(LogEntry&& entry);
	size_t end_replay(const std::shared_ptr<Ticket>& ticket);
	ShapePtr replayed_shape(const Ticket& ticket) const;
	bool waits_for_past(Session& session);
	void finish_ticket(const std::shared_ptr<Ticket>& ticket, uint64_t place);
	void drop_tickets(Session& session) noexcept;
	void trim_replay();

	// hub_leaving.cpp
	void end_subscriptions(Session& session, const std::function<bool(const Subscription&)>& ends,
	                       std::string_view code, std::string_view message);
	using Farewells = std::map<std::string, std::vector<std::string>>;  // by id, the messages that tell it
	static bool lacks(const Session& session, const std::string& id) noexcept;
	bool lacks_shape(const Session& session, const Subscription& subscription) const;
	void make_void(Session& session, const Subscription& subscription, const std::string& reason,
	               const ShapePtr& shape = nullptr);
	void drop_catchups(Session& session, const Farewells& farewells);
	size_t leave_out(Session& session, size_t place, const std::set<std::string_view>& ids);

	// hub_audiences.cpp
	void close_stretch(Session& session);
	void changed_subscriptions(Session& session);
	void settle();
	void leave_audience(Session& session) noexcept;
	void forget_audience(const Audience& audience) noexcept;
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

	// hub_memory.cpp
	size_t cache_limit() const noexcept;
	bool lacks_memory_for(Session& session, const Request& request);
	bool lacks_memory_for(FilterId filter, Session& session, const Request& request);
	bool has_room_for(FilterId filter) const;
	size_t memory_of(const Session& session) const;
	std::vector<std::pair<size_t, Session*>> consumers() const;

	// hub_identity.cpp
	void authenticate(Session& session, const Request& request);

	// hub.cpp
	static LogEntry make_entry(Transaction&& transaction);
	void close_all(const std::vector<Session*>& sessions, uint16_t code, std::string_view reason, bool drain);
	LogEntry& append(LogEntry&& entry);
	void announce_shape(const ShapePtr& shape);
	void send_notices(const LogEntry& entry);

	HubLimits limits_;
	Catalog& catalog_;
	Past& past_;
	Evaluator& evaluator_;
	RowSource& rows_;
	Gate* gate_ = nullptr;
	std::function<int64_t()> clock_;
	NoticeSink notices_;
	HubCounters counters_;

	TransactionLog log_;
	uint64_t place_ = 0;
	std::string position_;
	std::unordered_map<uint32_t, Told> shapes_;
	size_t shapes_swept_ = 64;  // how many were left when old ones were forgotten

	// What subscriptions and audiences have; both hold references, for what waits for a client needs its filter too. By
	// id, which is small: each change that passes filters looks here once for each, so it is one look.
	std::vector<Filter> filters_;
	size_t live_filters_ = 0;  // of these, those with references
	uint64_t filters_born_ = 0;
	size_t filter_bytes_ = 0;  // of all of them
	size_t log_in_memory_ = SIZE_MAX;
	bool memory_is_low_ = false, held_ = false;
	// What nobody needs any more, perhaps since a network callback, where the evaluator must not be called. There is room
	// for all filters that could join.
	std::vector<FilterId> released_;
	std::vector<FilterFailure> failed_filters_;

	// Audiences of one subscription each that hear what others have had. They live as long as somebody needs them, so they
	// outlive their sessions' queues, which are below.
	std::unordered_map<std::string_view, std::weak_ptr<Audience>> catchups_;
	std::unordered_set<Audience*> replay_audiences_;  // those of the pass that is under way
	size_t cached_bytes_ = 0;

	std::unordered_map<const Session*, std::unique_ptr<Session>> sessions_;
	std::unordered_map<std::string_view, AudiencePtr> audiences_;  // by the audience's own key
	WatchedMap<uint32_t> tables_;
	WatchedMap<std::string> channels_;

	struct CachedBatch {
		std::weak_ptr<Audience> audience;
		uint64_t serial;
	};

	std::deque<Incoming> incoming_;  // in the order of the stream, the first perhaps judged in part
	size_t incoming_bytes_ = 0;
	Progress progress_;
	std::chrono::steady_clock::time_point judge_at_{};  // not before, for a lock
	std::deque<Judgement> judgements_;
	Progress again_;                           // of the first
	std::vector<Session*> waiting_for_judge_;  // may have gone meanwhile: looked up before use
	std::map<uint64_t, Reading> readings_;
	uint64_t last_reading_ = 0;
	std::deque<uint64_t> to_start_;  // readings whose condition has to be had first; some may be gone
	std::deque<RefusedReading> refused_readings_;
	// Tables that are to be looked at again for a role, and those that were locked when it was their turn.
	std::map<std::pair<uint32_t, std::string>, Look> looks_, locked_looks_;
	bool look_at_channels_ = false, look_at_filters_ = false, channels_unknown_ = false;
	// Who has subscriptions whose filter has to be had anew. While there are any, the stream waits.
	std::unordered_set<Session*> stale_;
	std::chrono::steady_clock::time_point stale_since_{}, renew_at_{};
	int stale_errors_ = 0;

	// Who has requests is in one of these, or stalled.
	std::deque<Session*> asking_;
	std::vector<Session*> asking_later_;  // asked about a table that DDL holds
	std::chrono::steady_clock::time_point ask_again_at_{};
	std::vector<Session*> regrouping_;
	size_t regrouping_work_ = 0;
	std::vector<Session*> starved_;
	std::deque<CachedBatch> cached_;  // batches that are kept in memory, oldest first; some may be gone already
	uint64_t last_batch_ = 0;
	bool sent_ = false;    // something, in this turn
	size_t rendered_ = 0;  // bytes, in this turn
	std::chrono::steady_clock::time_point look_at_spill_{};

	// The pass over the past that is under way, and all who wait for it or for another.
	std::map<uint64_t, std::shared_ptr<Ticket>> tickets_;
	uint64_t last_ticket_ = 0, pass_ = 0;
	std::shared_ptr<TransactionLog> replayed_;
	std::vector<std::weak_ptr<TransactionLog>> replay_logs_;  // this pass's and those that clients still read
	std::string replay_position_;
	std::unordered_map<uint32_t, ShapePtr> replay_shapes_;
	std::vector<std::shared_ptr<Ticket>> idle_tickets_;
	uint64_t lowest_live_place_ = 0;  // of the open tickets
	std::chrono::steady_clock::time_point full_since_{};
	std::chrono::steady_clock::time_point render_deadline_ = std::chrono::steady_clock::time_point::max();
};

}  // namespace plank::core
