// The receiving end of `plank.transport = 'notify'`: listens, puts transactions together and hands them to the hub.
// Runs in the worker, outside network callbacks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/hub.hpp"
#include "core/parts.hpp"
#include "core/xid_past.hpp"
#include "pg/shared_state.hpp"

namespace plank::worker {

class Receiver {
 public:
	Receiver(core::Hub& hub, core::XidPast& past, pg::DatabaseSlot& database);

	// Listens on the secret channel and on `channels` (in the database's encoding), and no longer on others. In a unit of
	// work; takes effect when it commits.
	void listen(const std::vector<std::string>& channels);
	void unlisten();
	// Hands over what has arrived, and tells the hub when something was lost.
	void receive();
	// Listening has begun. What was lost before concerns no subscriber, but nobody can resume over it.
	void begin();

 private:
	static void take(void* context, const char* channel, const char* payload) noexcept;
	void take(const char* channel, std::string_view payload);

	core::Hub& hub_;
	core::XidPast& past_;
	pg::DatabaseSlot& database_;
	core::PartAssembler parts_;
	core::ShapeCache shapes_;
	uint64_t seen_lost_ = 0;
	bool failed_ = false;
};

}  // namespace plank::worker
