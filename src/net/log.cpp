// See log.hpp.
#include "net/log.hpp"

#include <libwebsockets.h>
#include <uv.h>

#include <algorithm>
#include <string>

namespace plank::net {

namespace {

constexpr unsigned kBurst = 20;
constexpr uint64_t kRefillMs = 10000;

// libwebsockets' log function has no argument of its own: the one server of this process.
Log* current = nullptr;

}  // namespace

Log::~Log()
{
	if (current != this) return;
	current = nullptr;
	lws_set_log_level(0, nullptr);
}

void Log::take_over_libwebsockets() noexcept
{
	current = this;
	lws_set_log_level(LLL_ERR | LLL_WARN, from_libwebsockets);
}

void Log::limited(char level, std::string_view text, std::string_view detail) noexcept
{
	const uint64_t now = uv_hrtime() / 1000000;
	const uint64_t refill = (now - refilled_at_) / kRefillMs;
	if (refill > 0) {
		allowance_ = static_cast<unsigned>(std::min<uint64_t>(kBurst, allowance_ + refill));
		refilled_at_ = now;
	}
	if (allowance_ == 0) {
		left_out_++;
		return;
	}
	allowance_--;
	try {
		std::string line(text);
		line += detail;
		std::replace_if(
		    line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
		if (left_out_ > 0) line += " (" + std::to_string(left_out_) + " such lines left out)";
		left_out_ = 0;
		handler_.log(level, line);
	} catch (const std::exception&) {
		handler_.log(level, "out of memory while writing a log line");
	}
}

void Log::from_libwebsockets(int level, const char* text) noexcept
{
	if (!current || !text) return;
	std::string_view line(text);
	while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
		line.remove_suffix(1);
	// Its own time stamp and level: "[2026/11/22 14:05:00:1234] E: ".
	if (const size_t end = line.find("] "); line.starts_with('[') && end != std::string_view::npos) {
		line.remove_prefix(end + 2);
		if (line.size() > 3 && line[1] == ':') line.remove_prefix(3);
	}
	current->limited(level & LLL_ERR ? 'E' : 'W', "libwebsockets: ", line);
}

}  // namespace plank::net
