// Receiving by LISTEN. Runs in the worker, outside network callbacks.
#include "core/json.hpp"

#include "worker/receiver.hpp"

#include <algorithm>

#include "pg/encoding.hpp"
#include "pg/guard.hpp"
#include "pg/notifications.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

// plank.notify_limit can be 1 GB at the most, and shapes come on top.
constexpr uint64_t kLargestTransaction = uint64_t{2} << 30;

}  // namespace

Receiver::Receiver(core::Hub& hub, core::XidPast& past, pg::DatabaseSlot& database)
    : hub_(hub), past_(past), database_(database), parts_(kLargestTransaction)
{}

void Receiver::begin()
{
	seen_lost_ = database_.lost.load();
	if (hub_.position().empty())
		hub_.begin_stream(0, past_.first_position());
	else
		hub_.reset_all("the worker was not listening");
}

void Receiver::listen(const std::vector<std::string>& channels)
{
	// Anew, not by difference: what is listened to now is not known after a unit that failed. Both happen at once, at
	// commit.
	pg::unlisten_all();
	pg::listen(database_.channel);
	for (const std::string& channel : channels)
		pg::listen(channel.c_str());
}

void Receiver::unlisten() { pg::unlisten_all(); }

void Receiver::receive()
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
		hub_.reset_all("changes could not go through the notification queue");
	}
	if (failed_) {
		failed_ = false;
		pg::log_line(WARNING, "a transaction could not be read from the notification queue; all subscribers are reset");
		hub_.reset_all("a transaction could not be read");
	}
}

void Receiver::take(void* context, const char* channel, const char* payload) noexcept
{
	auto& receiver = *static_cast<Receiver*>(context);
	try {
		receiver.take(channel, payload);
	} catch (pg::Error& error) {
		error.release();
		receiver.failed_ = true;
	} catch (...) {
		receiver.failed_ = true;
	}
}

void Receiver::take(const char* channel, std::string_view payload)
{
	if (strcmp(channel, database_.channel) != 0) {
		// PostgreSQL lets a SQL_ASCII database send anything.
		std::string text = pg::to_utf8(payload.data());
		if (!core::is_utf8(text)) core::replace_invalid_utf8(text);
		hub_.deliver_notify(pg::to_utf8(channel), text);
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
	hub_.deliver(std::move(transaction));
	// One reading of the queue may bring more than memory holds.
	hub_.trim();
}

}  // namespace plank::worker
