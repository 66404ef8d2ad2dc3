// The server's log lines, rationed: a peer must not be able to fill the log.
// Runs in the worker. Must not throw.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string_view>

#include "net/server.hpp"

namespace plank::net {

class Log {
 public:
	explicit Log(Handler& handler) noexcept : handler_(handler) {}
	~Log();

	// For what the owner causes, or what is told once per change of state.
	void line(char level, std::string_view text) const noexcept { handler_.log(level, text); }
	// For what peers can cause: a burst, then one line in ten seconds, with the number of those left out.
	void limited(char level, std::string_view text, std::string_view detail) noexcept;
	// Sends libwebsockets' own errors and warnings here, rationed; its lesser lines are dropped.
	void take_over_libwebsockets() noexcept;

 private:
	static void from_libwebsockets(int level, const char* text) noexcept;

	Handler& handler_;
	uint64_t refilled_at_ = 0;
	unsigned allowance_ = 20;
	uint64_t left_out_ = 0;
};

}  // namespace plank::net
