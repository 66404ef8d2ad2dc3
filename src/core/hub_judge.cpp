// The hub's filters: which subscriptions see which change. A transaction is judged once, before it goes into the log, in
// slices of a turn; all that comes behind it waits. What somebody catches up on is judged again, because his filter was not
// there at the time. Runs in the worker, outside network callbacks but for what is said. Must not call PostgreSQL itself.
#include <algorithm>
#include <set>
#include <utility>

#include "core/hub.hpp"

namespace plank::core {

namespace {

constexpr int kLookAtClock = 16;       // changes between two looks
constexpr int kMostErrors = 10;        // of the database, with one transaction
constexpr uint64_t kLookAhead = 4096;  // entries
constexpr auto kAskAgain = std::chrono::milliseconds(50);

bool by_filter(const Match& a, const Match& b) { return a.filter < b.filter; }

bool holds(const std::vector<FilterId>& rising, FilterId filter)
{
	return std::binary_search(rising.begin(), rising.end(), filter);
}

}  // namespace

// --- References ----------------------------------------------------------------------------------------------------

// The hub keeps one reference of the evaluator's for all of its own.
FilterId Hub::add_filter(FilterId filter)
{
	if (filter == kNoFilter) return filter;
	release_unused();
	if (filter >= filters_.size()) filters_.resize(filter + size_t{1});
	released_.reserve(filters_.size());
	Filter& known = filters_[filter];
	if (known.references++ == 0) {
		known.born = ++filters_born_;
		++live_filters_;
		known.bytes = evaluator_.memory_of(filter);
		filter_bytes_ += known.bytes;
	} else {
		evaluator_.release(filter);
	}
	return filter;
}

void Hub::release_filter(FilterId filter) noexcept
{
	if (filter == kNoFilter) return;
	if (--filters_[filter].references > 0) return;
	filter_bytes_ -= filters_[filter].bytes;
	filters_[filter] = Filter{};
	--live_filters_;
	released_.push_back(filter);
}

void Hub::release_unused() noexcept
{
	for (const FilterId filter : released_)
		evaluator_.release(filter);
	released_.clear();
}

uint64_t Hub::born(const Audience& audience) const noexcept
{
	uint64_t newest = 0;
	audience.for_each_filter([&](uint32_t, FilterId filter) {
		if (filter != kNoFilter) newest = std::max(newest, filters_[filter].born);
	});
	return newest;
}

// --- What comes in -------------------------------------------------------------------------------------------------

bool Hub::needs_judging(const LogEntry& entry) const
{
	if (live_filters_ == 0) return false;
	constexpr OpSet kRows = kAllOps & static_cast<OpSet>(~op_bit(Op::truncate));
	return std::any_of(entry.tables.begin(), entry.tables.end(), [&](const Touched& touched) {
		return (touched.ops & kRows) && evaluator_.has_filters(touched.relation);
	});
}

void Hub::take(Incoming&& incoming)
{
	const bool waits = !incoming_.empty() || !stale_.empty();
	if (!waits && (incoming.kind != Incoming::Kind::entry || !needs_judging(incoming.entry)))
		return let_in(std::move(incoming));
	incoming_bytes_ += sizeof incoming + incoming.entry.body().memory();
	incoming_.push_back(std::move(incoming));
	if (incoming_.size() > 1 && incoming_bytes_ > limits_.log.memory) drop_incoming();
}

void Hub::take_entry(LogEntry&& entry)
{
	Incoming incoming;
	incoming.entry = std::move(entry);
	take(std::move(incoming));
}

void Hub::let_in(Incoming&& incoming)
{
	switch (incoming.kind) {
		case Incoming::Kind::entry:
			return admit(std::move(incoming.entry));
		case Incoming::Kind::moved:
			place_ = incoming.number;
			position_ = std::move(incoming.position);
			return;
		case Incoming::Kind::fence:
			if (const auto found = readings_.find(incoming.number); found != readings_.end()) {
				found->second.fenced = true;
				finish_reading(incoming.number);
			}
	}
}

// More has come than memory may hold, from a transport that cannot wait: it goes into the log as it is. Who has no filter
// gets all of it. Who has one begins anew behind it; should it be needed to catch up on, it is judged then.
void Hub::drop_incoming()
{
	end_stale(code::kLimitReached, reason_for(Anew::too_fast));
	std::deque<Incoming> all;
	all.swap(incoming_);
	incoming_bytes_ = 0;
	progress_ = {};
	std::set<uint32_t> relations;
	for (const Incoming& incoming : all)
		if (incoming.kind == Incoming::Kind::entry && needs_judging(incoming.entry))
			for (const Touched& touched : incoming.entry.tables)
				relations.insert(touched.relation);
	for (Incoming& incoming : all)
		let_in(std::move(incoming));
	for_each_subscription([&](Session& session, Subscription& subscription) {
		if (subscription.filter != kNoFilter && relations.contains(subscription.relation))
			start_anew(session, subscription, checked_shape(subscription.relation), Anew::too_fast);
	});
}

// Judges one entry's changes from where it stopped; true when it is done.
bool Hub::judge_entry(const LogEntry& entry, Progress& progress, std::chrono::steady_clock::time_point deadline)
{
	if (!std::exchange(progress.begun, true)) progress.born = filters_born_;
	RecordReader reader(entry.body(), progress.offset);
	Record record;
	Verdicts verdicts;
	int until_look = kLookAtClock;
	while (reader.next(record)) {
		const size_t at = std::exchange(progress.offset, reader.offset());
		if (!record.is_change() || record.op == Op::truncate) continue;
		const Shape& shape = *entry.transaction.shapes[record.shape];
		if (!evaluator_.has_filters(shape.relation)) continue;
		progress.offset = at;
		evaluator_.evaluate(shape, record, verdicts);
		failed_filters_.insert(failed_filters_.end(), verdicts.failed.begin(), verdicts.failed.end());
		if (verdicts.locked) {
			judge_at_ = std::chrono::steady_clock::now() + kAskAgain;
			// Requests need not wait for it.
			if (progress.matches.empty() && progress.unreadable.empty()) progress = {};
			return false;
		}
		progress.offset = reader.offset();
		for (const Verdict& verdict : verdicts.passed) {
			progress.matches.push_back({verdict.filter, verdict.before, verdict.after, at});
			// Of very many filters few are in the cache, and this one's audiences are woken soon.
			__builtin_prefetch(filters_.data() + verdict.filter);
		}
		progress.unreadable.insert(progress.unreadable.end(), verdicts.unreadable.begin(), verdicts.unreadable.end());
		if (--until_look > 0) continue;
		if (std::chrono::steady_clock::now() >= deadline) return false;
		until_look = kLookAtClock;
	}
	std::stable_sort(progress.matches.begin(), progress.matches.end(), by_filter);
	std::vector<FilterId>& unreadable = progress.unreadable;
	std::sort(unreadable.begin(), unreadable.end());
	unreadable.erase(std::unique(unreadable.begin(), unreadable.end()), unreadable.end());
	return true;
}

bool Hub::judge_incoming(std::chrono::steady_clock::time_point deadline)
{
	while (!incoming_.empty()) {
		Incoming& first = incoming_.front();
		if (first.kind == Incoming::Kind::entry && needs_judging(first.entry)) {
			if (!judge_entry(first.entry, progress_, deadline)) return false;
			first.entry.matches = std::move(progress_.matches);
			first.entry.unreadable = progress_.unreadable;
			first.entry.judged = progress_.born;
		}
		const std::vector<FilterId> unreadable = std::move(progress_.unreadable);
		progress_ = {};
		Incoming incoming = std::move(first);
		incoming_bytes_ -= sizeof incoming + incoming.entry.body().memory();
		incoming_.pop_front();
		let_in(std::move(incoming));
		if (!unreadable.empty()) start_anew_after(unreadable);
		if (std::chrono::steady_clock::now() >= deadline) return incoming_.empty();
	}
	return true;
}

bool Hub::waits_for_lock() const noexcept
{
	return judge_at_ != std::chrono::steady_clock::time_point{} && std::chrono::steady_clock::now() < judge_at_;
}

bool Hub::has_to_judge() const noexcept
{
	if (!stale_.empty()) return false;
	return !to_start_.empty() || ((!incoming_.empty() || !judgements_.empty()) && !waits_for_lock());
}

bool Hub::judge(std::chrono::steady_clock::time_point deadline)
{
	release_unused();
	if (!has_to_judge()) return false;
	if (!waits_for_lock()) judge_all(deadline);
	end_failed_filters();
	settle();
	// Not before the batch is over, for it uses the database too.
	start_readings(deadline);
	return has_to_judge();
}

void Hub::judge_all(std::chrono::steady_clock::time_point deadline)
{
	evaluator_.begin_turn();
	bool live = !incoming_.empty();
	try {
		evaluator_.begin_batch();
		// Who catches up waits for who is live, but gets some of each turn.
		const auto now = std::chrono::steady_clock::now();
		judge_incoming(judgements_.empty() ? deadline : now + (deadline - now) / 4 * 3);
		live = false;
		if (!waits_for_lock()) judge_again(deadline);
		evaluator_.end_batch();
	} catch (...) {
		evaluator_.abort_batch();
		// Tried again in the next turn, but not for ever.
		if (live) {
			if (++progress_.errors > kMostErrors) drop_incoming();
		} else if (!judgements_.empty() && ++again_.errors > kMostErrors) {
			drop_judgement();
		}
		throw;
	}
}

// --- What is judged again ------------------------------------------------------------------------------------------

// Up to where a stretch can be rendered: what is caught up on may have to be judged first.
uint64_t Hub::judged_until(const Waiting& stretch) const noexcept
{
	const TransactionLog& log = stretch.ticket ? *stretch.ticket->log : log_;
	const uint64_t until = std::min(stretch.until, log.end());
	if (!stretch.audience->catches_up() || !stretch.audience->has_filters()) return until;
	const uint64_t born_at = born(*stretch.audience);
	const uint64_t last = std::min(until, stretch.at.entry + kLookAhead);
	uint64_t entry = stretch.at.entry;
	const auto is_unreadable = [&](const LogEntry& one) {
		bool is = false;
		// What has begun goes on to its end.
		if (!one.unreadable.empty() && (entry != stretch.at.entry || stretch.at.offset == 0))
			stretch.audience->for_each_filter([&](uint32_t, FilterId filter) { is |= holds(one.unreadable, filter); });
		return is;
	};
	for (; entry < last; ++entry) {
		const LogEntry& one = log.at(entry);
		if (!one.tables.empty() && (one.judged < born_at || is_unreadable(one))) break;
	}
	return entry;
}

// True when nothing at the front can be rendered before it is judged, which is asked for. From network callbacks.
bool Hub::waits_for_judge(Session& session)
{
	const Waiting& front = session.waiting.front();
	const uint64_t entry = front.at.entry;
	const TransactionLog& log = front.ticket ? *front.ticket->log : log_;
	const uint64_t until = std::min(front.until, log.end());
	if (entry == until || judged_until(front) > entry) return false;
	const std::shared_ptr<TransactionLog> replayed = front.ticket ? front.ticket->log : nullptr;
	const uint64_t born_at = born(*front.audience);
	const bool asked = std::any_of(judgements_.begin(), judgements_.end(), [&](const Judgement& other) {
		return other.replayed == replayed && other.next <= entry && other.until > entry && other.born >= born_at;
	});
	if (!asked) judgements_.push_back({replayed, entry, std::min(until, entry + kLookAhead), born_at});
	waiting_for_judge_.push_back(&session);
	return true;
}

bool Hub::judge_again(std::chrono::steady_clock::time_point deadline)
{
	while (!judgements_.empty()) {
		Judgement& first = judgements_.front();
		TransactionLog& log = first.replayed ? *first.replayed : log_;
		first.until = std::min(first.until, log.end());
		if (first.next < log.first()) again_ = {};
		first.next = std::max(first.next, log.first());
		for (; first.next < first.until; ++first.next, again_ = {}) {
			const LogEntry& entry = log.at(first.next);
			if (entry.tables.empty()) continue;
			if (entry.judged < first.born) {
				if (!judge_entry(entry, again_, deadline)) return false;
				log.set_matches(first.next, std::move(again_.matches), std::move(again_.unreadable), again_.born);
			}
			if (!entry.unreadable.empty()) start_anew_at(log, first.next, Anew::unreadable, &entry.unreadable);
		}
		finish_judgement();
		if (std::chrono::steady_clock::now() >= deadline) return judgements_.empty();
	}
	return true;
}

void Hub::finish_judgement()
{
	again_ = {};
	judgements_.pop_front();
	for (Session* session : std::exchange(waiting_for_judge_, {}))
		if (sessions_.contains(session)) session->link.request_write();
}

// It cannot be had: whoever has come to it does without.
void Hub::drop_judgement()
{
	const Judgement& first = judgements_.front();
	const std::shared_ptr<TransactionLog> replayed = first.replayed;
	const uint64_t next = first.next;
	finish_judgement();
	start_anew_at(replayed ? *replayed : log_, next, Anew::unjudged, nullptr);
}

// --- Who cannot be told --------------------------------------------------------------------------------------------

// The entry is in the log now, and holds too little for those who have the filters.
void Hub::start_anew_after(const std::vector<FilterId>& unreadable)
{
	for_each_subscription([&](Session& session, Subscription& subscription) {
		if (!holds(unreadable, subscription.filter)) return;
		start_anew(session, subscription, checked_shape(subscription.relation), Anew::unreadable);
	});
}

// Those who catch up and have come to the entry, by one of the filters when some are given.
void Hub::start_anew_at(const TransactionLog& log, uint64_t entry, Anew why, const std::vector<FilterId>* unreadable)
{
	std::vector<std::pair<Session*, std::string>> concerned;
	for (const auto& [key, session] : sessions_) {
		if (session->closing || session->waiting.empty()) continue;
		const Waiting& front = session->waiting.front();
		if (!front.audience || !front.audience->catches_up() || front.cut || front.at.entry != entry) continue;
		if (&(front.ticket ? *front.ticket->log : log_) != &log) continue;
		bool its = false;
		front.audience->for_each_filter(
		    [&](uint32_t, FilterId filter) { its |= unreadable ? holds(*unreadable, filter) : filter != kNoFilter; });
		if (its) concerned.emplace_back(session.get(), front.audience->catchup_id());
	}
	for (const auto& [session, id] : concerned)
		for (Subscription& subscription : session->subscriptions)
			if (subscription.id == id) start_anew(*session, subscription, checked_shape(subscription.relation), why);
}

// --- Filters that fail ---------------------------------------------------------------------------------------------

void Hub::end_failed_filters()
{
	if (failed_filters_.empty()) return;
	for (const FilterFailure& failure : std::exchange(failed_filters_, {})) {
		++counters_.errors;
		end_where(
		    [&](const Session&, const Subscription& subscription) { return subscription.filter == failure.filter; },
		    failure.fault.sqlstate.c_str(), failure.fault.message);
	}
}

}  // namespace plank::core
