// A subscription that waits for what is read again of the past (past.hpp). Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <memory>
#include <string>

#include "core/session.hpp"
#include "core/transaction_log.hpp"

namespace plank::core {

struct Ticket {
	//   waiting ──verified──▶ open ──passed, broken──▶ closed
	//      └──refused, unsubscribed, gone──▶ closed
	enum class State : uint8_t { waiting, open, closed };

	uint64_t number = 0;
	Session* session = nullptr;
	Subscription subscription;
	std::string since;
	State state = State::waiting;
	bool idle = false;  // its client has had all there is so far

	std::shared_ptr<TransactionLog> log;  // of the pass that serves it
	ShapePtr shape;                       // a table's, as it was when it subscribed

	// Where the live stream begins for it: the log's end when it subscribed.
	uint64_t live_entry = 0, live_place = 0;
	std::string live_position;
};

}  // namespace plank::core
