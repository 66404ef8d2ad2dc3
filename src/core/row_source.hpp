// Reading the rows that exist already, for subscriptions with `snapshot`. The hub asks for it and is told what is read:
//   snapshot_begun    what the snapshot has seen, and the table's shape in it; before any row
//   snapshot_rows     some rows
//   snapshot_done     there are no more
//   snapshot_failed   instead of all that follows
//   fence_passed      the stream has delivered all that had committed when the fence was asked for
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string>
#include <vector>

#include "core/subscription.hpp"

namespace plank::core {

struct RowsWanted {
	uint32_t relation = 0;
	ColumnNames columns;  // chosen from the table as the snapshot finds it
	bool numbers_as_text = false;
	std::string condition;     // SQL, names qualified; empty: every row
	std::string role, claims;  // who reads; see Identity
};

class RowSource {
 public:
	// `number`: the hub's own. Called outside network callbacks, and never answered from within.
	virtual void start(uint64_t number, const RowsWanted& wanted) = 0;
	virtual void cancel(uint64_t number) noexcept = 0;
	// The client takes no more for the moment, or does again. May come from a network callback.
	virtual void pause(uint64_t number, bool paused) noexcept = 0;
	virtual void fence(uint64_t number) = 0;

 protected:
	~RowSource() = default;
};

}  // namespace plank::core
