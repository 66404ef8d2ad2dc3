// Addresses of clients and of proxies: networks that are trusted, who a client behind them is, and how often one may come.
// Pure: runs in the worker, knows no socket.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/allowance.hpp"

namespace plank::net {

// An IPv6 address, an IPv4 address in IPv6's form, or the machine's own Unix-domain socket.
struct HostAddress {
	std::array<uint8_t, 16> bytes{};
	bool unix_socket = false;

	static HostAddress of(const sockaddr_storage& from) noexcept;
	// With or without a port, or brackets, as proxies write it.
	static std::optional<HostAddress> parse(std::string_view text);
	bool is_ipv4() const noexcept;
	// This machine itself.
	bool is_local() const noexcept;
	std::string text() const;  // empty for a Unix-domain socket
};

class Networks {
 public:
	// A comma-separated list of addresses, networks and "unix"; what cannot be read is left out and put into `bad`.
	static Networks parse(std::string_view list, std::vector<std::string>& bad);
	bool contains(const HostAddress& address) const noexcept;
	bool empty() const noexcept { return networks_.empty() && !unix_socket_; }

 private:
	struct Network {
		HostAddress address;
		unsigned bits;
	};
	std::vector<Network> networks_;
	bool unix_socket_ = false;
};

// Who the client is: the last address of X-Forwarded-For that is no trusted proxy's, if the peer is one. What stands before
// it may be anybody's invention.
HostAddress client_behind(const Networks& trusted, const HostAddress& peer, std::string_view forwarded_for);

// How often addresses may come; an IPv6 network of 64 bits, which is what one customer has, counts as one.
class ConnectionRate {
 public:
	static constexpr size_t kMostAddresses = 65536;
	// `rate`: a second; 0: no limit. `now`: milliseconds, monotonic. Never refuses this machine itself.
	[[nodiscard]] bool allows(const HostAddress& address, int64_t now, int rate);
	size_t remembered() const noexcept { return allowances_.size(); }

 private:
	std::map<std::array<uint8_t, 16>, core::Allowance> allowances_;
};

}  // namespace plank::net
