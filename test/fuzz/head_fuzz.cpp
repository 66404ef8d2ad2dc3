// An HTTP head is parsed or refused; what is parsed points into the head and holds no line feed.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "net/request.cpp"

using namespace plank::net;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	std::string text(reinterpret_cast<const char*>(data), size);
	if (find_head_end(text, 0) == 0) text += "\r\n\r\n";
	const size_t end = find_head_end(text, 0);
	if (end == 0) return 0;
	text.resize(end);
	RequestHead head;
	if (const auto fault = parse_head(text, head)) {
		if (fault->status < 400 || fault->status > 599) abort();
		return 0;
	}
	for (const std::string_view part : {head.method, head.path, head.query, head.host, head.origin, head.authorization,
	                                    std::string_view(head.forwarded_for)})
		if (part.find('\n') != std::string_view::npos || part.find('\r') != std::string_view::npos) abort();
	(void)is_websocket_key(head.websocket_key);
	(void)etag_matches(head.if_none_match, "\"x\"");
	return 0;
}
