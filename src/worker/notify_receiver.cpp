// The receiving end of `plank.transport = 'notify'`: listens, puts transactions together and hands them to the hub.
// Runs in the worker, outside network callbacks.
#include "core/json.hpp"
#include "core/parts.hpp"
#include "core/xid_past.hpp"

#include "worker/receiver.hpp"

#include <charconv>
#include <stdexcept>

#include "pg/encoding.hpp"
#include "pg/guard.hpp"
#include "pg/notifications.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

// plank.notify_limit can be 1 GB at the most, and shapes come on top.
constexpr uint64_t kLargestTransaction = uint64_t{2} << 30;
constexpr char kFence = 'F';  // what begins no part of a transaction
// Whoever notifies wakes the worker.
constexpr long kNoHurry = 1000;

uint64_t random_number()
{
	uint64_t number = 0;
	if (!pg_strong_random(&number, sizeof number)) throw std::runtime_error("no random bytes to be had");
	return number;
}

std::string hex(uint64_t number)
{
	char text[17];
	const int length = snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(number));
	return std::string(text, static_cast<size_t>(length));
}

class NotifyReceiver final : public Receiver {
 public:
	explicit NotifyReceiver(pg::DatabaseSlot& database)
	    : past_(hex(pg::shared_state()->epoch), hex(random_number())), database_(database), parts_(kLargestTransaction)
	{}

	core::Past& past() noexcept override { return past_; }
	void attach(core::Hub& hub) noexcept override { hub_ = &hub; }
	void set_limits(const core::TransactionLog::Limits&) override {}

	void listen(const std::vector<std::string>& channels) override
	{
		// Anew, not by difference: what is listened to now is not known after a unit that failed. Both happen at once, at
		// commit.
		pg::unlisten_all();
		pg::listen(database_.channel);
		for (const std::string& channel : channels)
			pg::listen(channel.c_str());
	}
	void unlisten() override { pg::unlisten_all(); }

	// What was lost before concerns no subscriber, but nobody can resume over it.
	void begin() override
	{
		seen_lost_ = database_.lost.load();
		if (hub_->position().empty())
			hub_->begin_stream(0, past_.first_position());
		else
			hub_->reset_all("the worker was not listening");
	}
	bool ready() const noexcept override { return !hub_->position().empty(); }

	// The queue is read to its end: PostgreSQL stops nowhere else.
	void receive(Clock::time_point) override
	{
		const uint64_t lost = database_.lost.load();
		// A loss is reported after everything that was committed before it: the queue is read to its end first.
		try {
			pg::receive_notifications(take, this, lost != seen_lost_);
		} catch (...) {
			// What was being read may be passed over by the next reading.
			failed_ = true;
			throw;
		}
		if (lost != seen_lost_) {
			seen_lost_ = lost;
			hub_->reset_all("changes could not go through the notification queue");
		}
		if (failed_) {
			failed_ = false;
			pg::log_line(WARNING,
			             "a transaction could not be read from the notification queue; all subscribers are reset");
			hub_->reset_all("a transaction could not be read");
		}
	}
	// A mark in the queue: whatever was visible before it was sent stands before it.
	void fence(uint64_t number, uint64_t) override
	{
		const std::string mark = fence_mark_ + std::to_string(number);
		pg::unit_of_work("plank: marking the queue", [&] { pg::notify(database_.channel, mark.c_str()); });
	}
	long patience() const override { return kNoHurry; }
	bool is_past() const noexcept override { return false; }
	ReceiverCounters counters() override { return {}; }

 private:
	static void take(void* context, const char* channel, const char* payload) noexcept
	{
		auto& receiver = *static_cast<NotifyReceiver*>(context);
		try {
			receiver.take(channel, payload);
		} catch (pg::Error& error) {
			error.release();
			receiver.failed_ = true;
		} catch (...) {
			receiver.failed_ = true;
		}
	}

	void take(const char* channel, std::string_view payload)
	{
		if (strcmp(channel, database_.channel) != 0) return deliver_plain_notify(*hub_, channel, payload);
		if (payload.starts_with(kFence)) {
			// Other workers' marks are nobody's business.
			uint64_t number = 0;
			if (payload.starts_with(fence_mark_)) payload.remove_prefix(fence_mark_.size());
			const auto [end, error] = std::from_chars(payload.data(), payload.data() + payload.size(), number);
			if (error == std::errc() && end == payload.data() + payload.size()) hub_->fence_passed(number);
			return;
		}
		switch (parts_.add(payload)) {
			case core::PartAssembler::Result::incomplete:
				return;
			case core::PartAssembler::Result::fault:
				failed_ = true;
				return;
			case core::PartAssembler::Result::complete:
				break;
		}
		core::PartAssembler::Whole whole = parts_.take();
		core::Transaction transaction;
		transaction.xid = transaction.place = whole.xid;
		transaction.committed_at = whole.committed_at;
		transaction.position = past_.position_of(whole.xid);
		if (!core::read_body(std::move(whole.body), transaction, shapes_)) {
			failed_ = true;
			return;
		}
		hub_->deliver(std::move(transaction));
		// One reading of the queue may bring more than memory holds.
		hub_->trim();
	}

	core::Hub* hub_ = nullptr;
	const std::string fence_mark_ = std::string(1, kFence) + hex(random_number()) + ':';
	core::XidPast past_;
	pg::DatabaseSlot& database_;
	core::PartAssembler parts_;
	core::ShapeCache shapes_;
	uint64_t seen_lost_ = 0;
	bool failed_ = false;
};

}  // namespace

std::unique_ptr<Receiver> make_notify_receiver(pg::DatabaseSlot& database)
{
	return std::make_unique<NotifyReceiver>(database);
}

void deliver_plain_notify(core::Hub& hub, const char* channel, std::string_view payload)
{
	// PostgreSQL lets a SQL_ASCII database send anything.
	std::string text = pg::to_utf8(payload.data());
	if (!core::is_utf8(text)) core::replace_invalid_utf8(text);
	hub.deliver_notify(pg::to_utf8(channel), text);
}

}  // namespace plank::worker
