// See address.hpp.
#include "net/address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace plank::net {

namespace {

constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

std::string_view trim(std::string_view text) noexcept
{
	const size_t first = text.find_first_not_of(" \t\"");
	return first == std::string_view::npos ? std::string_view{}
	                                       : text.substr(first, text.find_last_not_of(" \t\"") - first + 1);
}

std::optional<HostAddress> parse_bare(std::string_view text)
{
	if (text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
	const std::string copy(text);
	HostAddress address;
	if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) return address;
	std::copy(kMapped.begin(), kMapped.end(), address.bytes.begin());
	if (inet_pton(AF_INET, copy.c_str(), address.bytes.data() + kMapped.size()) == 1) return address;
	return std::nullopt;
}

bool same_bits(const std::array<uint8_t, 16>& a, const std::array<uint8_t, 16>& b, unsigned bits) noexcept
{
	const size_t whole = bits / 8;
	if (memcmp(a.data(), b.data(), whole) != 0) return false;
	const unsigned rest = bits % 8;
	return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

}  // namespace

HostAddress HostAddress::of(const sockaddr_storage& from) noexcept
{
	HostAddress address;
	if (from.ss_family == AF_INET6) {
		memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(from).sin6_addr, 16);
	} else if (from.ss_family == AF_INET) {
		std::copy(kMapped.begin(), kMapped.end(), address.bytes.begin());
		memcpy(address.bytes.data() + kMapped.size(), &reinterpret_cast<const sockaddr_in&>(from).sin_addr, 4);
	} else {
		address.unix_socket = true;
	}
	return address;
}

std::optional<HostAddress> HostAddress::parse(std::string_view text)
{
	text = trim(text);
	if (text.starts_with('[')) {
		const size_t end = text.find(']');
		return end == std::string_view::npos ? std::nullopt : parse_bare(text.substr(1, end - 1));
	}
	// One colon parts an IPv4 address from a port; more are an IPv6 address.
	const size_t colon = text.find(':');
	if (colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos)
		text = text.substr(0, colon);
	return parse_bare(text);
}

bool HostAddress::is_ipv4() const noexcept { return std::equal(kMapped.begin(), kMapped.end(), bytes.begin()); }

bool HostAddress::is_local() const noexcept
{
	constexpr std::array<uint8_t, 16> kLoopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	return unix_socket || bytes == kLoopback || (is_ipv4() && bytes[12] == 127);
}

std::string HostAddress::text() const
{
	char text[INET6_ADDRSTRLEN] = "";
	if (unix_socket) return text;
	if (is_ipv4())
		inet_ntop(AF_INET, bytes.data() + kMapped.size(), text, sizeof text);
	else
		inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
	return text;
}

Networks Networks::parse(std::string_view list, std::vector<std::string>& bad)
{
	Networks networks;
	while (!list.empty()) {
		const size_t comma = list.find(',');
		const std::string_view item = trim(list.substr(0, comma));
		list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
		if (item.empty()) continue;
		if (item == "unix") {
			networks.unix_socket_ = true;
			continue;
		}
		const size_t slash = item.find('/');
		const std::optional<HostAddress> address = parse_bare(item.substr(0, slash));
		const unsigned most = address && address->is_ipv4() ? 32 : 128;
		unsigned bits = most;
		bool good = address.has_value();
		if (slash != std::string_view::npos) {
			const std::string_view digits = item.substr(slash + 1);
			good = good && !digits.empty() && digits.size() <= 3 &&
			       digits.find_first_not_of("0123456789") == std::string_view::npos;
			if (good) bits = static_cast<unsigned>(std::stoul(std::string(digits)));
			good = good && bits <= most;
		}
		if (good)
			networks.networks_.push_back({*address, bits + 128 - most});
		else
			bad.emplace_back(item);
	}
	return networks;
}

bool Networks::contains(const HostAddress& address) const noexcept
{
	if (address.unix_socket) return unix_socket_;
	return std::any_of(networks_.begin(), networks_.end(), [&](const Network& network) {
		return same_bits(network.address.bytes, address.bytes, network.bits);
	});
}

HostAddress client_behind(const Networks& trusted, const HostAddress& peer, std::string_view forwarded_for)
{
	HostAddress client = peer;
	while (!forwarded_for.empty() && trusted.contains(client)) {
		const size_t comma = forwarded_for.rfind(',');
		const std::optional<HostAddress> before =
		    HostAddress::parse(comma == std::string_view::npos ? forwarded_for : forwarded_for.substr(comma + 1));
		if (!before) break;
		client = *before;
		forwarded_for = comma == std::string_view::npos ? std::string_view{} : forwarded_for.substr(0, comma);
	}
	return client;
}

bool ConnectionRate::allows(const HostAddress& address, int64_t now, int rate)
{
	if (rate <= 0 || address.is_local()) return true;
	std::array<uint8_t, 16> key = address.bytes;
	if (!address.is_ipv4()) std::fill(key.begin() + 8, key.end(), uint8_t{0});
	if (allowances_.size() >= kMostAddresses && !allowances_.contains(key)) {
		std::erase_if(allowances_, [&](const auto& entry) { return entry.second.rested(now); });
		// So many addresses at once are no single one's doing: they are all given a new start.
		if (allowances_.size() >= kMostAddresses) allowances_.clear();
	}
	return allowances_[key].take(now, rate);
}

}  // namespace plank::net
