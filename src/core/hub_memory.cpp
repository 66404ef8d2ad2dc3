// What the hub holds in memory for whom, what it gives back when memory is short, and who has to go. Runs in the worker,
// outside network callbacks. Must not call PostgreSQL itself.
//
// What the log and its copies may take has limits of its own (TransactionLog, HubLimits). This is about the rest: what
// each client takes with its subscriptions, its conditions, its questions and the answers that it does not read.
#include <algorithm>
#include <utility>

#include "core/hub.hpp"

namespace plank::core {

namespace {

constexpr uint16_t kTryAgainLater = 1013;
// Clients closed at once; more would make a turn too long.
constexpr size_t kMostShed = 100;
// A node of a hash table or list, with what malloc adds.
constexpr size_t kNode = 64;
// What a subscription's audience keeps for it besides its id, which stands there three times.
constexpr size_t kInAudience = 64;

size_t size_of(const Subscription& subscription) noexcept
{
	size_t bytes = sizeof subscription + subscription.channel.capacity() + 2 * subscription.id.size() + kInAudience;
	if (subscription.columns)
		for (const std::string& name : *subscription.columns)
			bytes += sizeof name + name.capacity();
	return bytes;
}

}  // namespace

// --- Letting go ----------------------------------------------------------------------------------------------------

// Where memory is wanted for clients the log keeps less history, and what somebody needs on disk. Some it always has.
bool Hub::set_spare_memory(int64_t spare)
{
	const size_t most = limits_.log.memory;
	const auto limit = static_cast<int64_t>(most);
	const int64_t room = static_cast<int64_t>(log_.memory() + cached_bytes_) + std::clamp(spare, -limit, limit);
	const auto wanted = static_cast<size_t>(std::clamp(room, limit / 8, limit));
	// Every change costs a look at all clients.
	const size_t former = std::min(log_in_memory_, most);
	const bool slight = std::max(wanted, former) - std::min(wanted, former) < most / 8;
	if (slight && wanted != most && wanted != most / 8) return false;
	log_in_memory_ = wanted;
	if (wanted == former) return false;
	log_.set_limits(log_limits());
	while (!cached_.empty() && cached_bytes_ > cache_limit())
		let_oldest_batch_go();
	return true;
}

TransactionLog::Limits Hub::log_limits() const
{
	TransactionLog::Limits limits = limits_.log;
	limits.in_memory = log_in_memory_;
	return limits;
}

size_t Hub::cache_limit() const noexcept { return log_limits().soft() / 4; }

// --- Refusing ------------------------------------------------------------------------------------------------------

// True when the request has been refused.
bool Hub::lacks_memory_for(Session& session, const Request& request)
{
	if (!memory_is_low_) return false;
	refuse(session, {request.id, code::kLimitReached, "the server is short of memory", "",
	                 "The limit is plank.max_memory. Try again later, or with fewer subscriptions."});
	return true;
}

// Conditions outlive no subscription, but compiled they take more than anything else that a client can ask for.
bool Hub::has_room_for(FilterId filter) const
{
	if (filter == kNoFilter || limits_.memory == 0) return true;
	if (filter < filters_.size() && filters_[filter].references > 0) return true;
	return filter_bytes_ + evaluator_.memory_of(filter) <= limits_.memory / 4;
}

// True when a condition that nobody else has is one too many; it has been given back then, and the request refused.
bool Hub::lacks_memory_for(FilterId filter, Session& session, const Request& request)
{
	if (has_room_for(filter)) return false;
	evaluator_.release(filter);
	refuse(session, {request.id, code::kLimitReached, "the conditions of all subscriptions take too much memory", "",
	                 "They may take a quarter of plank.max_memory. Equal conditions of one role are kept once."});
	return true;
}

// --- Shedding ------------------------------------------------------------------------------------------------------

// What would be free without the session, about. What several share counts in shares.
size_t Hub::memory_of(const Session& session) const
{
	size_t bytes = sizeof session + kNode + session.name.capacity() + session.link.memory();
	bytes += session.waiting.capacity() * sizeof(Waiting) + session.reply_bytes;
	bytes += session.request_bytes + session.requests.size() * (kNode + sizeof(Request));
	for (const Waiting& item : session.waiting) {
		if (item.audience && (item.audience->catches_up() || item.audience->members == 0))
			bytes +=
			    (sizeof(Audience) + 2 * item.audience->key().size()) / std::max<size_t>(1, item.audience.use_count());
		if (item.ticket) bytes += sizeof(Ticket) + kNode;
	}
	for (const uint64_t number : session.readings)
		if (const auto found = readings_.find(number); found != readings_.end())
			bytes += sizeof(Reading) + kNode + found->second.rows.capacity();
	const size_t sharers = session.audience ? std::max<size_t>(1, session.audience->members) : 1;
	for (const Subscription& subscription : session.subscriptions) {
		bytes += size_of(subscription) - kInAudience + kInAudience / sharers;
		if (subscription.filter == kNoFilter) continue;
		const Filter& filter = filters_[subscription.filter];
		bytes += filter.bytes / std::max<size_t>(1, filter.references);
	}
	return bytes;
}

// All that are not on their way out, with what they take. The log is there for those who wait, and theirs in the
// proportion of what waits.
std::vector<std::pair<size_t, Session*>> Hub::consumers() const
{
	std::vector<std::pair<size_t, Session*>> all;
	all.reserve(sessions_.size());
	double wait_in_all = 1;
	for (const auto& [key, session] : sessions_) {
		if (session->closing) continue;
		all.emplace_back(waiting(*session) - session->reply_bytes, session.get());
		wait_in_all += static_cast<double>(all.back().first);
	}
	const double log = static_cast<double>(log_.memory()) / wait_in_all;
	for (auto& [bytes, session] : all)
		bytes = memory_of(*session) + static_cast<size_t>(log * static_cast<double>(bytes));
	return all;
}

size_t Hub::shed(size_t bytes)
{
	std::vector<std::pair<size_t, Session*>> all = consumers();
	const size_t most = std::min(kMostShed, all.size());
	std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(most), all.end(),
	                  [](const auto& a, const auto& b) { return a.first > b.first; });
	std::vector<Session*> largest;
	for (size_t freed = 0; freed < bytes && largest.size() < most;) {
		freed += all[largest.size()].first;
		largest.push_back(all[largest.size()].second);
	}
	counters_.shed += largest.size();
	close_all(largest, kTryAgainLater, "the server is short of memory", false);
	return largest.size();
}

}  // namespace plank::core
