// The hub's filters: which subscriptions see which change. A transaction is judged once, before it goes into the log, in
// slices of a turn; all that comes behind it waits. What somebody catches up on is judged again, because his filter was not
// there at the time. Runs in the worker, outside network callbacks but for what is said. Must not call PostgreSQL itself.
#include <algorithm>
#include <utility>

#include "core/hub.hpp"

namespace plank::core {

namespace {

constexpr int kLookAtClock = 16;       // changes between two looks
constexpr int kMostErrors = 10;        // of the database, with one transaction
constexpr uint64_t kLookAhead = 4096;  // entries

bool by_filter(const Match& a, const Match& b) { return a.filter < b.filter; }

}  // namespace

// --- References ----------------------------------------------------------------------------------------------------

// The hub keeps one reference of the evaluator's for all of its own.
FilterId Hub::add_filter(FilterId filter)
{
	if (filter == kNoFilter) return filter;
	release_unused();
	released_.reserve(filters_.size() + 1);
	Filter& known = filters_[filter];
	if (known.references++ == 0) {
		known.born = ++filters_born_;
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
	const auto found = filters_.find(filter);
	if (--found->second.references > 0) return;
	filter_bytes_ -= found->second.bytes;
	filters_.erase(found);
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
		if (filter != kNoFilter) newest = std::max(newest, filters_.at(filter).born);
	});
	return newest;
}

// --- What comes in -------------------------------------------------------------------------------------------------

bool Hub::needs_judging(const LogEntry& entry) const
{
	if (filters_.empty()) return false;
	constexpr OpSet kRows = kAllOps & static_cast<OpSet>(~op_bit(Op::truncate));
	return std::any_of(entry.tables.begin(), entry.tables.end(), [&](const Touched& touched) {
		return (touched.ops & kRows) && evaluator_.has_filters(touched.relation);
	});
}

void Hub::take(Incoming&& incoming)
{
	if (incoming_.empty() && (incoming.kind != Incoming::Kind::entry || !needs_judging(incoming.entry)))
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

// More has come than memory may hold, from a transport that cannot wait.
void Hub::drop_incoming()
{
	LogEntry reset;
	reset.resets.push_back(
	    {kAllTables, "changes came faster than the subscriptions' conditions could be judged", true});
	std::deque<Incoming> all;
	all.swap(incoming_);
	incoming_bytes_ = 0;
	progress_ = {};
	// Positions go on, for what was dropped is behind the reset.
	for (Incoming& incoming : all) {
		if (incoming.kind != Incoming::Kind::entry) {
			let_in(std::move(incoming));
		} else if (incoming.entry.is_transaction()) {
			place_ = incoming.entry.transaction.place;
			position_ = std::move(incoming.entry.transaction.position);
		}
	}
	log_.begin(place_);
	admit(std::move(reset));
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
		progress.offset = reader.offset();
		for (const Verdict& verdict : verdicts.passed)
			progress.matches.push_back({verdict.filter, verdict.before, verdict.after, at});
		failed_filters_.insert(failed_filters_.end(), verdicts.failed.begin(), verdicts.failed.end());
		if (--until_look > 0) continue;
		if (std::chrono::steady_clock::now() >= deadline) return false;
		until_look = kLookAtClock;
	}
	std::stable_sort(progress.matches.begin(), progress.matches.end(), by_filter);
	return true;
}

bool Hub::judge_incoming(std::chrono::steady_clock::time_point deadline)
{
	while (!incoming_.empty()) {
		Incoming& first = incoming_.front();
		if (first.kind == Incoming::Kind::entry && needs_judging(first.entry)) {
			if (!judge_entry(first.entry, progress_, deadline)) return false;
			first.entry.matches = std::move(progress_.matches);
			first.entry.judged = progress_.born;
		}
		progress_ = {};
		Incoming incoming = std::move(first);
		incoming_bytes_ -= sizeof incoming + incoming.entry.body().memory();
		incoming_.pop_front();
		let_in(std::move(incoming));
		if (std::chrono::steady_clock::now() >= deadline) return incoming_.empty();
	}
	return true;
}

bool Hub::judge(std::chrono::steady_clock::time_point deadline)
{
	release_unused();
	if (!has_to_judge()) return false;
	evaluator_.begin_turn();
	try {
		evaluator_.begin_batch();
		// Who catches up waits for who is live, but gets some of each turn.
		const auto now = std::chrono::steady_clock::now();
		judge_incoming(judgements_.empty() ? deadline : now + (deadline - now) / 4 * 3);
		judge_again(deadline);
		evaluator_.end_batch();
	} catch (...) {
		evaluator_.abort_batch();
		// Tried again in the next turn, but not for ever.
		if (++progress_.errors > kMostErrors && !incoming_.empty()) drop_incoming();
		if (++again_.errors > kMostErrors && !judgements_.empty()) {
			judgements_.pop_front();
			again_ = {};
		}
		throw;
	}
	end_failed_filters();
	settle();
	// Not before the batch is over, for it uses the database too.
	start_readings(deadline);
	return has_to_judge();
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
	while (entry < last && (log.at(entry).judged >= born_at || log.at(entry).tables.empty()))
		++entry;
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
			if (entry.judged >= first.born || entry.tables.empty()) continue;
			if (!judge_entry(entry, again_, deadline)) return false;
			log.set_matches(first.next, std::move(again_.matches), again_.born);
		}
		again_ = {};
		judgements_.pop_front();
		for (Session* session : std::exchange(waiting_for_judge_, {}))
			if (sessions_.contains(session)) session->link.request_write();
		if (std::chrono::steady_clock::now() >= deadline) return judgements_.empty();
	}
	return true;
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
