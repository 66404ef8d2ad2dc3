// The hub's sending side: audiences, who is idle, and what the next frame is. Runs in the worker, partly inside network
// callbacks. Must not call PostgreSQL.
#include <algorithm>

#include "core/hub.hpp"

namespace plank::core {

namespace {

// Frames that other sessions of an audience may need soon: so many of all audiences, and of one. Their bytes are limited to
// a quarter of the log's memory.
constexpr size_t kCachedBatches = 4096;
constexpr size_t kBatchesOfOne = 32;
constexpr size_t kJoinedReplies = 64 * 1024;
constexpr size_t kRepliesResume = 64 * 1024;

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

// The audience's registrations go with its last session; a stretch in some queue may keep the object a little longer.
void Hub::drop_audience(Audience& audience) noexcept
{
	const auto remove = [&](std::vector<AudiencePtr>& list) {
		std::erase_if(list, [&](const AudiencePtr& other) { return other.get() == &audience; });
		return list.empty();
	};
	for (const uint32_t relation : audience.relations()) {
		const auto found = tables_.find(relation);
		if (found != tables_.end() && remove(found->second.audiences)) tables_.erase(found);
	}
	for (const std::string& channel : audience.channels()) {
		const auto found = channels_.find(channel);
		if (found != channels_.end() && remove(found->second)) channels_.erase(found);
	}
	for (const Batch& batch : audience.batches)
		cached_bytes_ -= batch.frame->size();
	audience.batches.clear();
	audiences_.erase(std::string(audience.key()));
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
	if (session.subscriptions.empty()) return;
	const std::string key = audience_key(session.role, session.subscriptions);
	AudiencePtr& slot = audiences_[key];
	if (!slot) {
		slot = std::make_shared<Audience>(key, session.role, session.subscriptions);
		for (const uint32_t relation : slot->relations())
			tables_[relation].audiences.push_back(slot);
		for (const std::string& channel : slot->channels())
			channels_[channel].push_back(slot);
	}
	session.audience = slot;
	++slot->members;
	make_idle(session);
}

// What the session has been promised up to now is delivered as its old audience sees it; what comes later, as the new one.
void Hub::close_stretch(Session& session)
{
	if (session.waiting.empty()) return;
	Waiting& last = session.waiting.back();
	if (!last.audience || last.until != Waiting::kOpen) return;
	last.until = log_.end();
	last.bytes_to = last.audience->bytes;
	// It has been promised all there is; what comes next starts a stretch of its own.
	make_idle(session);
}

void Hub::changed_subscriptions(Session& session)
{
	close_stretch(session);
	if (session.regroup) return;
	session.regroup = true;
	regrouping_.push_back(&session);
}

void Hub::settle()
{
	for (Session* session : regrouping_) {
		session->regroup = false;
		// Something may have been logged since, for the old audience.
		close_stretch(*session);
		// Joined before the old one is left, so that a table both watch keeps its entry and its announced shape.
		const AudiencePtr old = session->audience;
		leave_idle(*session);
		session->audience = nullptr;
		join_audience(*session);
		if (old && --old->members == 0) drop_audience(*old);
	}
	regrouping_.clear();
}

// --- Waking --------------------------------------------------------------------------------------------------------

void Hub::wake(const LogEntry& entry)
{
	const auto wake_all = [&](const std::vector<AudiencePtr>& list) {
		for (const AudiencePtr& audience : list)
			wake(*audience, entry);
	};
	const auto wake_table = [&](uint32_t relation) {
		const auto found = tables_.find(relation);
		if (found != tables_.end()) wake_all(found->second.audiences);
	};
	for (const uint32_t relation : entry.relations)
		wake_table(relation);
	for (const std::string& channel : entry.channels) {
		const auto found = channels_.find(channel);
		if (found != channels_.end()) wake_all(found->second);
	}
	for (const Reset& reset : entry.resets) {
		if (reset.relation != kAllTables) {
			wake_table(reset.relation);
			continue;
		}
		for (const auto& [relation, table] : tables_)
			wake_all(table.audiences);
	}
	if (entry.new_shape) wake_table(entry.new_shape->relation);
}

void Hub::wake(Audience& audience, const LogEntry& entry)
{
	if (audience.last_woken == entry.number) return;
	audience.last_woken = entry.number;
	const uint64_t before = audience.bytes;
	audience.bytes += entry.body_size();
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
	std::vector<Session*> starved;
	starved.swap(starved_);
	for (Session* session : starved) {
		session->starved = false;
		session->link.request_write();
	}
}

void Hub::pop_waiting(Session& session) noexcept
{
	session.waiting.erase(session.waiting.begin());
	if (session.waiting.empty() && session.waiting.capacity() > 8) session.waiting.shrink_to_fit();
}

// Several replies in a row leave in one frame.
FramePtr Hub::join_replies(Session& session)
{
	size_t count = 0, bytes = 0;
	while (count < session.waiting.size() && session.waiting[count].reply && bytes < kJoinedReplies)
		bytes += session.waiting[count++].reply->size();
	FramePtr frame = session.waiting.front().reply;
	if (count > 1) {
		std::string buffer(Frame::kHeadroom, '\0');
		buffer.reserve(Frame::kHeadroom + bytes + count + 1);
		for (size_t i = 0; i < count; ++i) {
			buffer += i ? ',' : '[';
			buffer += session.waiting[i].reply->text();
		}
		buffer += ']';
		frame = Frame::adopt(std::move(buffer));
	}
	session.waiting.erase(session.waiting.begin(), session.waiting.begin() + static_cast<ptrdiff_t>(count));
	session.reply_bytes -= bytes;
	if (session.reading_paused && session.reply_bytes < kRepliesResume && session.requests.size() < kRequestsResume) {
		session.reading_paused = false;
		session.link.pause_reading(false);
	}
	return frame;
}

FramePtr Hub::next_frame(Session& session)
{
	if (session.starved) return nullptr;
	while (!session.waiting.empty()) {
		// Sending costs about 8 µs a client, so replies and frames that are ready count too.
		if (std::chrono::steady_clock::now() >= render_deadline_) {
			session.starved = true;
			starved_.push_back(&session);
			return nullptr;
		}
		if (session.waiting.front().reply) return join_replies(session);
		if (FramePtr frame = render_next(session)) return frame;
	}
	return nullptr;
}

// The next batch of the stretch at the front; null when the rest of it holds nothing for the session.
FramePtr Hub::render_next(Session& session)
{
	Waiting& stretch = session.waiting.front();
	Audience& audience = *stretch.audience;
	const uint64_t until = std::min(stretch.until, log_.end());
	FramePtr frame;
	const auto advance = [&](const Batch& batch) {
		frame = batch.frame;
		stretch.at = batch.to;
		stretch.bytes_at += batch.entries_bytes;
	};
	const auto usable = [&](const Batch& batch) { return batch.from == stretch.at && batch.to.entry <= until; };
	const auto found = std::find_if(audience.batches.rbegin(), audience.batches.rend(), usable);
	if (found != audience.batches.rend()) {
		advance(*found);
	} else {
		Batch batch = audience.render(log_, stretch.at, until, epoch_);
		advance(batch);
		if (frame) keep_batch(stretch.audience, std::move(batch));
	}
	if (stretch.at.entry >= until && stretch.at.offset == 0) {
		const bool open = stretch.until == Waiting::kOpen;
		pop_waiting(session);
		if (open) make_idle(session);
	}
	return frame;
}

void Hub::keep_batch(const AudiencePtr& audience, Batch&& batch)
{
	cached_bytes_ += batch.frame->size();
	audience->batches.push_back(std::move(batch));
	cached_.push_back(audience);
	if (audience->batches.size() > kBatchesOfOne) {
		cached_bytes_ -= audience->batches.front().frame->size();
		audience->batches.pop_front();
	}
	while (cached_.size() > kCachedBatches || cached_bytes_ > limits_.log.memory / 4)
		drop_oldest_batch();
}

// An audience may have dropped batches of its own accord; then a newer one of it goes, which costs a rendering at most.
void Hub::drop_oldest_batch() noexcept
{
	const AudiencePtr audience = cached_.front().lock();
	cached_.pop_front();
	if (!audience || audience->batches.empty()) return;
	cached_bytes_ -= audience->batches.front().frame->size();
	audience->batches.pop_front();
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
