// What subscribers must be told when changes do not tell what happened to a table: its rows are to be read again.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string>
#include <vector>

#include "core/shape.hpp"
#include "core/subscription.hpp"

namespace plank::core {

constexpr uint32_t kAllTables = 0;

// Something every subscriber of `relation` (or of all tables) must be told after the entry's changes.
struct Reset {
	uint32_t relation = kAllTables;
	std::string reason;
	bool lost = false;  // changes could not be delivered; otherwise none would have told what happened
	// Columns that came into the key: whoever has left one out does not know its rows' keys. Empty: it concerns everybody.
	std::vector<std::string> new_key = {};

	// Whoever has these columns, sorted; null for all.
	bool concerns(const std::vector<std::string>* columns) const noexcept;
	bool concerns(const Subscription& subscription) const noexcept;
};

bool concern(const std::vector<Reset>& resets, const Subscription& subscription) noexcept;

// What a table's other shape makes void.
std::vector<Reset> resets_between(const Shape& former, const Shape& now);

}  // namespace plank::core
