// What a client could see of its tables when it was at a position: that travels in positions, for who comes back after
// GRANT, REVOKE or ALTER POLICY holds rows that changes cannot mend. Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/subscription.hpp"

namespace plank::core {

// Subscription::rights of what row security (see Evaluator::rights) and the columns that its role may read (null: all)
// come to. `identity`: Identity::key, for row security means another thing to others.
uint64_t make_rights(uint64_t row_security, const ColumnNames& readable, std::string_view identity);

// What stands behind a position that holds for these subscriptions; nothing when they see all of their tables.
using TableRights = std::vector<std::pair<uint32_t, uint64_t>>;  // Subscription::relation and rights, which are not 0
std::string rights_suffix(TableRights all);
std::string rights_suffix(const Subscription& subscription);
// Whether a position's rights are those that the subscription has now.
bool has_rights(std::string_view position, const Subscription& subscription);
// The position without them.
std::string_view without_rights(std::string_view position);

}  // namespace plank::core
