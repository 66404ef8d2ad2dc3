// One client, as the hub sees it: who it is, what it watches, what waits for it.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/allowance.hpp"
#include "core/audience.hpp"
#include "core/frame.hpp"
#include "core/identity.hpp"
#include "core/request.hpp"

namespace plank::core {

// The session's way to its socket; the network layer's connection behind it.
class Link {
 public:
	virtual void request_write() noexcept = 0;
	virtual void pause_reading(bool paused) noexcept = 0;
	// Sends what waits if `drain`, then closes.
	virtual void close(uint16_t code, std::string_view reason, bool drain) noexcept = 0;
	// Bytes that the connection takes.
	virtual size_t memory() const noexcept { return 0; }

 protected:
	~Link() = default;
};

using AudiencePtr = std::shared_ptr<Audience>;
struct Ticket;

// One thing that waits for a client: a reply, or a stretch of a log as its audience sees it.
struct Waiting {
	static constexpr uint64_t kOpen = UINT64_MAX;

	FramePtr reply;                  // set: a reply
	AudiencePtr audience;            // set: a stretch of the log
	std::shared_ptr<Ticket> ticket;  // set: of what is read again of the past, when it comes; all behind it waits
	Cursor at;
	uint64_t until = kOpen;  // kOpen: it goes on as the log grows
	uint64_t bytes_at = 0;   // of Audience::bytes, how much the client has had
	uint64_t bytes_to = 0;   // ... and how much there is, once the stretch is closed
	bool cut = false;        // to the rest of a transaction: what followed it is left out

	bool in_live_log() const noexcept { return audience && !ticket; }
};

class Session {
 public:
	Session(Link& the_link, std::string the_name, IdentityPtr the_identity, int64_t the_time)
	    : link(the_link), name(std::move(the_name)), connected_at(the_time)
	{
		become(std::move(the_identity));
	}
	// Only while it has no subscriptions, or when the key stays the same.
	void become(IdentityPtr who)
	{
		identity = std::move(who);
		role = identity ? identity->role : std::string();
	}

	Link& link;
	const std::string name;
	const int64_t connected_at;
	IdentityPtr identity;  // null: not authenticated
	std::string role;      // its role, or empty
	Allowance allowance;   // of what costs more than a look

	std::vector<Subscription> subscriptions;
	AudiencePtr audience;
	size_t place_in_idle = kNotIdle;  // index into audience->idle
	bool regroup = false;             // subscriptions changed since the audience was chosen
	bool starved = false;             // has something to send, and the turn's time is over
	bool closing = false;
	bool reading_paused = false;
	bool stalled = false;  // its requests wait until it has taken the answers to former ones

	std::vector<Waiting> waiting;  // first is next; short, for most clients empty
	size_t reply_bytes = 0;
	// Asked and not yet answered. A list takes no memory while it is empty, unlike a deque.
	std::list<std::variant<Request, Fault>> requests;
	size_t request_bytes = 0;        // of those
	std::vector<uint64_t> readings;  // snapshots that are being read for it

	static constexpr size_t kNotIdle = SIZE_MAX;

	const Subscription* find(std::string_view id) const noexcept
	{
		for (const Subscription& subscription : subscriptions)
			if (subscription.id == id) return &subscription;
		return nullptr;
	}
};

}  // namespace plank::core
