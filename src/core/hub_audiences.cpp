// The hub's sending side: audiences, who is idle, and what the next frame is. Runs in the worker, partly inside network
// callbacks. Must not call PostgreSQL.
#include <algorithm>
#include <utility>

#include "core/hub.hpp"

namespace plank::core {

namespace {

// Frames that other sessions of an audience may need soon: so many of all audiences, and of one. Their bytes are limited to
// a quarter of the log's memory.
constexpr size_t kCachedBatches = 4096;
constexpr size_t kBatchesOfOne = 32;
constexpr size_t kJoinedReplies = 64 * 1024;

}  // namespace

// --- Membership ----------------------------------------------------------------------------------------------------

void Hub::make_idle(Session& session)
{
	if (!session.audience || session.place_in_idle != Session::kNotIdle) return;
	session.place_in_idle = session.audience->idle.size();
	session.audience->idle.push_back(&session);
}

void Hub::leave_idle(Session& session) noexcept
{
	if (session.place_in_idle == Session::kNotIdle) return;
	std::vector<Session*>& idle = session.audience->idle;
	idle[session.place_in_idle] = idle.back();
	idle[session.place_in_idle]->place_in_idle = session.place_in_idle;
	idle.pop_back();
	session.place_in_idle = Session::kNotIdle;
}

void Hub::watch(const Session& session, const Subscription& subscription)
{
	Watched& watched = subscription.relation ? tables_[subscription.relation] : channels_[subscription.channel];
	++watched.roles[session.role].subscriptions;
	++counters_.subscriptions;
}

void Hub::unwatch(const Session& session, const Subscription& subscription) noexcept
{
	--counters_.subscriptions;
	release_filter(subscription.filter);
	const auto leave = [&](auto& map, const auto& key) {
		const auto found = map.find(key);
		const auto role = found->second.roles.find(session.role);
		if (--role->second.subscriptions == 0) found->second.roles.erase(role);
		if (found->second.roles.empty() && found->second.audiences.empty()) map.erase(found);
	};
	if (subscription.relation)
		leave(tables_, subscription.relation);
	else
		leave(channels_, subscription.channel);
}

// The audience's registrations go with its last session; a stretch in some queue may keep the object a little longer.
void Hub::drop_audience(Audience& audience) noexcept
{
	const auto leave = [&](auto& map, const auto& key) {
		const auto found = map.find(key);
		found->second.audiences.erase(&audience);
		found->second.every_row.erase(&audience);
		if (found->second.roles.empty() && found->second.audiences.empty()) map.erase(found);
	};
	for (const uint32_t relation : audience.relations())
		leave(tables_, relation);
	audience.for_each_filter([&](uint32_t, FilterId filter) {
		if (filter != kNoFilter) filters_[filter].audiences.erase(&audience);
	});
	for (const std::string& channel : audience.channels())
		leave(channels_, channel);
	for (const Batch& batch : audience.batches)
		if (batch.frame) cached_bytes_ -= batch.frame->size();
	audience.batches.clear();
	audiences_.erase(audience.key());
}

void Hub::leave_audience(Session& session) noexcept
{
	if (!session.audience) return;
	leave_idle(session);
	const AudiencePtr audience = std::move(session.audience);
	session.audience = nullptr;
	if (--audience->members == 0) drop_audience(*audience);
}

void Hub::join_audience(Session& session)
{
	if (std::all_of(session.subscriptions.begin(), session.subscriptions.end(),
	                [](const Subscription& subscription) { return subscription.reading; }))
		return;
	std::string key = audience_key(session.identity->key, session.subscriptions);
	const auto found = audiences_.find(key);
	AudiencePtr audience = found == audiences_.end() ? nullptr : found->second;
	if (!audience) {
		audience = make_audience(std::move(key), session.subscriptions, {});
		for (const uint32_t relation : audience->relations())
			tables_[relation].audiences.insert(audience.get());
		audience->for_each_filter([&](uint32_t relation, FilterId filter) {
			if (filter == kNoFilter)
				tables_[relation].every_row.insert(audience.get());
			else
				filters_[filter].audiences.insert(audience.get());
		});
		for (const std::string& channel : audience->channels())
			channels_[channel].audiences.insert(audience.get());
		audiences_.emplace(audience->key(), audience);
	}
	++audience->members;
	session.audience = std::move(audience);
	make_idle(session);
}

// Every audience holds references to its filters: what waits for a client may need them when the subscription has ended.
AudiencePtr Hub::make_audience(std::string&& key, const std::vector<Subscription>& subscriptions,
                               const Audience::Catchup& catchup)
{
	AudiencePtr audience(new Audience(std::move(key), subscriptions, catchup), [this](Audience* gone) {
		forget_audience(*gone);
		delete gone;
	});
	audience->for_each_filter([&](uint32_t, FilterId filter) {
		if (filter != kNoFilter) ++filters_[filter].references;
	});
	return audience;
}

// The audience's memory goes: nobody is left to be sent anything of it.
void Hub::forget_audience(const Audience& audience) noexcept
{
	for (const Batch& batch : audience.batches)
		if (batch.frame) cached_bytes_ -= batch.frame->size();
	audience.for_each_filter([&](uint32_t, FilterId filter) { release_filter(filter); });
	const auto found = catchups_.find(audience.key());
	if (found != catchups_.end() && found->second.expired()) catchups_.erase(found);
	replay_audiences_.erase(const_cast<Audience*>(&audience));
}

// What the session has been promised up to now is delivered as its old audience sees it; what comes later, as the new one.
void Hub::close_stretch(Session& session)
{
	if (session.waiting.empty()) return;
	Waiting& last = session.waiting.back();
	if (!last.in_live_log() || last.until != Waiting::kOpen) return;
	last.until = log_.end();
	last.bytes_to = last.audience->bytes;
	// It has been promised all there is; what comes next starts a stretch of its own.
	make_idle(session);
}

void Hub::changed_subscriptions(Session& session)
{
	close_stretch(session);
	if (session.regroup) return;
	regrouping_work_ += session.subscriptions.size() + 1;
	session.regroup = true;
	regrouping_.push_back(&session);
}

// Must come before anything is logged: who has subscribed is to get it, who has unsubscribed is not.
void Hub::settle()
{
	for (Session* session : regrouping_) {
		session->regroup = false;
		// Joined before the old one is left, so that an audience whose only session comes back to it is not made again.
		const AudiencePtr old = session->audience;
		leave_idle(*session);
		session->audience = nullptr;
		if (!session->closing) join_audience(*session);
		if (old && --old->members == 0) drop_audience(*old);
	}
	regrouping_.clear();
	regrouping_work_ = 0;
}

// --- Waking --------------------------------------------------------------------------------------------------------

void Hub::wake(const LogEntry& entry)
{
	const auto wake_all = [&](const std::unordered_set<Audience*>& list) {
		for (Audience* audience : list)
			wake(*audience, entry);
	};
	const auto wake_table = [&](uint32_t relation) {
		const auto found = tables_.find(relation);
		if (found != tables_.end()) wake_all(found->second.audiences);
	};
	for (const Touched& touched : entry.tables) {
		const auto found = tables_.find(touched.relation);
		if (found == tables_.end()) continue;
		// Nobody whose filter passes none of the rows costs the change anything.
		wake_all(touched.ops & op_bit(Op::truncate) ? found->second.audiences : found->second.every_row);
	}
	for (size_t i = 0; i < entry.matches.size(); ++i) {
		const FilterId filter = entry.matches[i].filter;
		if ((i > 0 && filter == entry.matches[i - 1].filter) || filter >= filters_.size()) continue;
		filters_[filter].audiences.for_each([&](Audience* audience) { wake(*audience, entry); });
	}
	for (const std::string& channel : entry.channels) {
		const auto found = channels_.find(channel);
		if (found != channels_.end()) wake_all(found->second.audiences);
	}
	for (const Reset& reset : entry.resets) {
		if (reset.relation != kAllTables) {
			wake_table(reset.relation);
			continue;
		}
		for (const auto& [key, audience] : audiences_)
			wake(*audience, entry);
	}
	if (entry.new_shape) wake_table(entry.new_shape->relation);
}

void Hub::wake(Audience& audience, const LogEntry& entry)
{
	if (audience.last_woken == entry.number) return;
	audience.last_woken = entry.number;
	if (!audience.watches(entry)) return;
	audience.hear(entry.number);
	const uint64_t before = audience.bytes;
	audience.bytes += entry.body().size();
	for (Session* session : audience.idle) {
		Waiting item;
		item.audience = session->audience;
		item.at = {entry.number, 0};
		item.bytes_at = before;
		session->waiting.push_back(std::move(item));
		session->place_in_idle = Session::kNotIdle;
		session->link.request_write();
	}
	audience.idle.clear();
}

// --- Sending -------------------------------------------------------------------------------------------------------

void Hub::begin_turn(std::chrono::steady_clock::time_point deadline)
{
	render_deadline_ = deadline;
	sent_ = false;
	rendered_ = 0;
	std::vector<Session*> starved;
	starved.swap(starved_);
	for (Session* session : starved) {
		session->starved = false;
		session->link.request_write();
	}
}

// Takes what has been sent off the queue; a client that lagged may ask again.
void Hub::pop_waiting(Session& session, size_t count)
{
	session.waiting.erase(session.waiting.begin(), session.waiting.begin() + static_cast<ptrdiff_t>(count));
	if (session.waiting.empty() && session.waiting.capacity() > 8) session.waiting.shrink_to_fit();
	resume_readings(session);
	if (session.reply_bytes >= kRepliesResume || session.waiting.size() >= kWaitingResume) return;
	if (session.stalled) {
		session.stalled = false;
		asking_.push_back(&session);
	}
	resume_reading(session);
}

// Several replies in a row leave in one frame.
FramePtr Hub::join_replies(Session& session)
{
	size_t count = 0, bytes = 0;
	while (count < session.waiting.size() && session.waiting[count].reply && bytes < kJoinedReplies)
		bytes += session.waiting[count++].reply->size();
	FramePtr frame = session.waiting.front().reply;
	if (count > 1) {
		std::string buffer;
		buffer.reserve(Frame::kHeadroom + bytes + count + 1);
		buffer.append(Frame::kHeadroom, '\0');
		for (size_t i = 0; i < count; ++i) {
			buffer += i ? ',' : '[';
			buffer += session.waiting[i].reply->text();
		}
		buffer += ']';
		frame = Frame::adopt(std::move(buffer));
	}
	session.reply_bytes -= bytes;
	pop_waiting(session, count);
	return frame;
}

FramePtr Hub::next_frame(Session& session)
{
	// To a client that is being closed, nothing to send means that all was sent.
	if (session.starved && !session.closing) return nullptr;
	while (!session.waiting.empty()) {
		// Sending costs about 8 µs a client, so replies and frames that are ready count too. At least one goes in each
		// turn, or reading alone could use all turns up.
		const bool over = sent_ && (has_rendered_much() || std::chrono::steady_clock::now() >= render_deadline_);
		if (!session.closing && (held_ || over)) {
			session.starved = true;
			starved_.push_back(&session);
			return nullptr;
		}
		sent_ = true;
		if (session.waiting.front().reply) return join_replies(session);
		if (waits_for_past(session) || waits_for_judge(session)) return nullptr;
		if (FramePtr frame = render_next(session)) return frame;
	}
	return nullptr;
}

// A frame that another session of the audience was sent from the same place on, if it is still in memory.
const Batch* Hub::find_batch(const Audience& audience, Cursor at, uint64_t until, FramePtr& frame) noexcept
{
	for (auto batch = audience.batches.rbegin(); batch != audience.batches.rend(); ++batch) {
		if (batch->from != at) continue;
		// One that ends within an entry must not reach into what a closed stretch does not hold.
		if (batch->to.entry > until || (batch->to.entry == until && batch->to.offset > 0)) continue;
		frame = batch->frame ? batch->frame : batch->let_go.lock();
		if (frame) return &*batch;
	}
	return nullptr;
}

// The next batch of the stretch at the front; null when the rest of it holds nothing for the session.
FramePtr Hub::render_next(Session& session)
{
	Waiting& stretch = session.waiting.front();
	const TransactionLog& log = stretch.ticket ? *stretch.ticket->log : log_;
	const uint64_t until = judged_until(stretch);
	FramePtr frame;
	const auto advance = [&](const Batch& batch) {
		stretch.at = batch.to;
		stretch.bytes_at += batch.entries_bytes;
	};
	if (const Batch* batch = find_batch(*stretch.audience, stretch.at, until, frame)) {
		advance(*batch);
	} else {
		Batch made = stretch.audience->render(log, stretch.at, until);
		frame = made.frame;
		if (frame) rendered_ += frame->size();
		advance(made);
		if (frame) keep_batch(stretch.audience, std::move(made));
	}
	// A batch may have been made when the log was shorter. A stretch always stands at something that concerns it, so that
	// its client is cut for nothing else.
	stretch.at = stretch.audience->skip(log, stretch.at, until);
	if (stretch.at == Cursor{std::min(stretch.until, log.end()), 0} &&
	    !(stretch.ticket && stretch.until == Waiting::kOpen)) {
		// Its audience may go with it, and what is left of it with that.
		const AudiencePtr audience = stretch.audience;
		if (stretch.until == Waiting::kOpen) make_idle(session);
		pop_waiting(session, 1);
	}
	return frame;
}

void Hub::keep_batch(const AudiencePtr& audience, Batch&& batch)
{
	// With one session there is nobody to share with; with none the audience is no longer registered.
	if (audience->catches_up() ? audience.use_count() < 2 : audience->members < 2) return;
	batch.serial = ++last_batch_;
	cached_bytes_ += batch.frame->size();
	cached_.push_back({audience, batch.serial});
	audience->batches.push_back(std::move(batch));
	if (audience->batches.size() > kBatchesOfOne) {
		const Batch& oldest = audience->batches.front();
		if (oldest.frame) cached_bytes_ -= oldest.frame->size();
		audience->batches.erase(audience->batches.begin());
	}
	// The newest stays however large it is: all other sessions of the audience are about to need it.
	while (cached_.size() > 1 && (cached_.size() > kCachedBatches || cached_bytes_ > cache_limit()))
		let_oldest_batch_go();
}

void Hub::let_oldest_batch_go() noexcept
{
	const CachedBatch oldest = std::move(cached_.front());
	cached_.pop_front();
	const AudiencePtr audience = oldest.audience.lock();
	if (!audience) return;
	for (Batch& batch : audience->batches) {
		if (batch.serial != oldest.serial) continue;
		cached_bytes_ -= batch.frame->size();
		batch.let_go = std::exchange(batch.frame, nullptr);
		return;
	}
}

size_t Hub::waiting(const Session& session) const noexcept
{
	size_t bytes = session.reply_bytes;
	for (const Waiting& item : session.waiting)
		if (item.audience)
			bytes += (item.until == Waiting::kOpen ? item.audience->bytes : item.bytes_to) - item.bytes_at;
	return bytes;
}

}  // namespace plank::core
