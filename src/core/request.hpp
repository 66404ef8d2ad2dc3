// What clients ask, parsed and checked. Runs in the worker, inside network callbacks. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/record.hpp"

namespace plank::core {

enum class RequestType : uint8_t { subscribe, unsubscribe, auth, tables, ping };

struct Request {
	RequestType type = RequestType::ping;
	std::string id;     // empty when optional and absent
	std::string table;  // subscribe: one of table and channel
	std::string channel;
	std::string token;        // auth
	bool on_connect = false;  // auth: the token came with the connection, not in a message
	OpSet events = kAllOps;
	bool numbers_as_text = false;
	bool snapshot = false;
	bool some_columns = false;  // `columns`, sorted and each once
	std::vector<std::string> columns;
	std::string where;  // empty: none
	std::string since;  // a position; empty: none

	// Bytes that it takes while it waits.
	size_t size() const noexcept;
};

// What a client did wrong, or what the server cannot do for it.
struct Fault {
	std::string id;    // empty: null
	std::string code;  // SQLSTATE
	std::string message;
	std::string detail, hint;  // empty: null
};

// Reads one message of protocol.md section 4. `text` is valid UTF-8.
std::variant<Request, Fault> parse_request(std::string_view text);

namespace code {
inline constexpr const char* kProtocolViolation = "08P01";
inline constexpr const char* kNotSupported = "0A000";
inline constexpr const char* kInvalidParameter = "22023";
inline constexpr const char* kUndefinedColumn = "42703";
inline constexpr const char* kNotAuthenticated = "28000";
inline constexpr const char* kInsufficientPrivilege = "42501";
inline constexpr const char* kUndefinedTable = "42P01";
inline constexpr const char* kLimitReached = "53400";
inline constexpr const char* kInternalError = "XX000";
}  // namespace code

}  // namespace plank::core
