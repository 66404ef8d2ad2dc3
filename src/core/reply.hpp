// The server's messages that are no transactions, as JSON text (protocol.md section 4).
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <string>
#include <string_view>
#include <vector>

#include "core/catalog.hpp"
#include "core/request.hpp"
#include "core/shape.hpp"
#include "core/subscription.hpp"

namespace plank::core {

// One text for missing, untracked and unreadable tables: the answer must not tell which.
inline constexpr const char* kTableAbsent = "table does not exist, is not tracked or may not be read";
inline constexpr const char* kKeyHidden = "the role may not read the table's key";

std::string welcome_message(std::string_view session, std::string_view role);
// `expires_at`: microseconds since 2000-01-01 UTC.
std::string authenticated_message(std::string_view id, std::string_view role, int64_t expires_at);
// Whether a subscription goes on where an earlier one ended: said when that was asked for.
enum class Resumed : uint8_t { not_asked, no, yes };
std::string subscribed_message(std::string_view id, const Shape& shape, const ColumnNames& columns,
                               std::string_view position, Resumed resumed = Resumed::not_asked);
std::string channel_subscribed_message(std::string_view id, std::string_view channel, std::string_view position,
                                       Resumed resumed = Resumed::not_asked);
// `code` empty: at the client's own request.
std::string unsubscribed_message(std::string_view id, std::string_view code, std::string_view message);
std::string reset_message(std::string_view id, std::string_view reason, std::string_view position);
// `rows`: JSON objects with commas between them. `position` empty: there is more to come.
std::string rows_message(std::string_view id, std::string_view rows, std::string_view position);
std::string position_message(std::string_view position);
std::string tables_message(std::string_view id, const std::vector<ReadableTable>& tables);
std::string error_message(const Fault& fault);
std::string pong_message(std::string_view id);

}  // namespace plank::core
