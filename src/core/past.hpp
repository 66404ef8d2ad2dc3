// The past, as the transport can prove it: what a client's position means, and the reading again of what has left memory.
// The hub asks (Past), and is told what the reading finds (Hub::replay_…, hub_replay.cpp). Runs in the worker, outside
// network callbacks. Must not call PostgreSQL.
//
//   subscribe with `since` ─▶ Past::find ─▶ in_log      the log has everything after it
//                                        ─▶ replay      Past::want(ticket); the hub's answer waits
//                                        ─▶ later       this worker, or the standby, has not come so far: asked again soon
//                                        ─▶ lost        reset
//                                        ─▶ malformed   an error
//   A pass over the past, shared by the tickets it serves, calls
//     replay_begun          before anything else of a pass
//     replay_verified       at the ticket's position: the client's stream and this one are the same up to here
//     replay_refused        they are not, or it cannot be known; also instead of a pass
//     replay                each transaction after the first verified ticket's position
//     replay_passed         after each place that was passed, and after replay_verified; false: no verified ticket needs more
//     replay_broken         it cannot go on
//     replay_ended          after everything else of a pass
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string>
#include <string_view>

#include "core/transaction_log.hpp"

namespace plank::core {

struct Found {
	enum class Kind : uint8_t { in_log, replay, later, lost, malformed };
	Kind kind = Kind::malformed;
	uint64_t entry = 0;  // in_log: the first one after the position
	std::string reason;  // lost: for the client
};

class Past {
 public:
	// `position` as a client sent it. Cheap: it may be asked by many clients at once.
	virtual Found find(std::string_view position, const TransactionLog& log) = 0;
	// Somebody waits for what came after `position`, which `find` said to replay.
	virtual void want(uint64_t ticket, std::string_view position) = 0;
	// Nobody does any more. Also called for tickets that have ended.
	virtual void forget(uint64_t ticket) noexcept = 0;

 protected:
	~Past() = default;
};

}  // namespace plank::core
