// X-Forwarded-For and lists of proxies: whatever they hold, the client is an address that prints and reads as itself.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "net/address.cpp"

using namespace plank::net;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	const std::string_view text(reinterpret_cast<const char*>(data), size);
	const std::string_view list = text.substr(0, text.find('\n'));
	const std::string_view forwarded = text.substr(std::min(text.size(), list.size() + 1));
	std::vector<std::string> bad;
	Networks trusted = Networks::parse(list, bad);
	const HostAddress peer = *HostAddress::parse("10.0.0.1");
	const HostAddress client = client_behind(trusted, peer, forwarded);
	const auto again = HostAddress::parse(client.text());
	if (!again || again->bytes != client.bytes) abort();
	if (!trusted.contains(peer) && client.bytes != peer.bytes) abort();
	return 0;
}
