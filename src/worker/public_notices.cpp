// NOTIFY on public channels. Runs in the first worker of a database, outside network callbacks.
#include "worker/public_notices.hpp"

#include <set>

#include "pg/encoding.hpp"
#include "pg/notifications.hpp"
#include "pg/settings.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

constexpr size_t kMostAtOnce = 500;
constexpr int kQueueTooFull = 500;  // thousandths: beyond it other people's commits come first

}  // namespace

void PublicNotices::add(const std::string& channel, std::string&& payload)
{
	if (bytes_ > static_cast<size_t>(pg::Settings::notify_limit) * 1024) {
		++skipped_;
		return;
	}
	bytes_ += payload.size();
	waiting_.push_back({channel, std::move(payload)});
}

void PublicNotices::send(int usage)
{
	more_ = false;
	if (waiting_.empty()) return;
	if (usage >= kQueueTooFull) {
		if (!skipping_)
			pg::log_line(
			    WARNING, "the notification queue is more than half full; public notifications are skipped", nullptr,
			    "Some listening session does not read: see pg_notification_queue_usage() and idle transactions.");
		skipping_ = true;
		skipped_ += waiting_.size();
		waiting_.clear();
		bytes_ = 0;
		return;
	}
	skipping_ = false;
	size_t count = 0;
	pg::unit_of_work("plank: sending public notifications", [&] {
		// NOTIFY folds equal payloads of one transaction, and two equal changes are two: an equal one waits for the next.
		std::set<std::pair<std::string_view, std::string_view>> seen;
		for (const Notice& notice : waiting_) {
			if (count == kMostAtOnce || !seen.insert({notice.channel, notice.payload}).second) break;
			try {
				pg::notify(pg::from_utf8(notice.channel).c_str(), pg::from_utf8(notice.payload).c_str());
				++sent_;
			} catch (pg::Error& error) {
				// A payload that the database's encoding cannot hold, or a channel's name that is none.
				error.release();
				++skipped_;
			}
			++count;
		}
	});
	for (size_t i = 0; i < count; ++i) {
		bytes_ -= waiting_.front().payload.size();
		waiting_.pop_front();
	}
	more_ = !waiting_.empty();
}

}  // namespace plank::worker
