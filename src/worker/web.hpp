// The worker's face to the network: HTTP paths, who may upgrade, and each connection's session in the hub.
// Runs in the worker, inside network callbacks. Must not call PostgreSQL.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/hub.hpp"
#include "net/server.hpp"

namespace plank::worker {

// What a page's origin must be, from plank.allowed_origins.
class Origins {
 public:
	void set(std::string_view list);
	bool allows(const net::HttpRequest& request) const;

 private:
	std::vector<std::string> list_;
	bool all_ = false;
};

class Web final : public net::Handler {
 public:
	explicit Web(core::Hub& hub) : hub_(hub) {}

	Origins origins;
	core::IdentityPtr anonymous;         // clients without a token; null: nobody
	std::string database;                // for /health
	std::string not_ready = "starting";  // why clients are refused; empty: they are let in
	bool memory_is_low = false;          // they are refused for now
	uint64_t refused = 0;

	net::HttpResponse on_request(const net::HttpRequest& request) override;
	net::UpgradeAnswer on_upgrade(const net::HttpRequest& request) override;
	void on_open(net::Connection& connection) override;
	void on_message(net::Connection& connection, std::string_view text) override;
	net::FramePtr next_frame(net::Connection& connection) override;
	size_t waiting(const net::Connection& connection) noexcept override;
	void on_close(net::Connection& connection) noexcept override;
	void log(char level, std::string_view line) noexcept override;

	// Lines logged since the last call; PostgreSQL's log must not be written inside a network callback.
	struct Line {
		char level;
		std::string text;
	};
	std::vector<Line> take_lines();

	// For plank.clients.
	static const net::Connection& connection_of(const core::Session& session) noexcept;

 private:
	core::Hub& hub_;
	std::optional<std::string> token_;  // of the upgrade under way
	std::vector<Line> lines_;
};

}  // namespace plank::worker
