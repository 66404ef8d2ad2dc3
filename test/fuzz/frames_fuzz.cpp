// The WebSocket decoder gives the same messages, pings and faults however its input is cut, and never more than it may.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "net/decoder.cpp"
#include "net/utf8.cpp"

using namespace plank::net;

namespace {

constexpr size_t kMost = 4096;

struct Trace final : Decoder::Sink {
	std::string text;
	bool closed = false;
	bool take_message(std::string_view bytes, bool binary) override
	{
		if (bytes.size() > kMost || (!binary && !is_utf8(bytes))) abort();
		text.append(binary ? "b" : "t").append(bytes) += '\n';
		return true;
	}
	bool take_ping(std::string_view payload) override
	{
		if (payload.size() > 125) abort();
		text.append("p").append(payload) += '\n';
		return true;
	}
	bool take_pong() override
	{
		text += "o\n";
		return true;
	}
	bool take_close(uint16_t code) override
	{
		text += 'c' + std::to_string(code) + '\n';
		closed = true;
		return false;
	}
};

std::string trace_of(std::string bytes, size_t piece)
{
	Decoder decoder;
	Trace trace;
	for (size_t at = 0; at < bytes.size(); at += piece) {
		const size_t length = std::min(piece, bytes.size() - at);
		if (const auto fault = decoder.feed(bytes.data() + at, length, {kMost, true}, trace))
			return trace.text + 'f' + std::to_string(static_cast<int>(fault->code));
		// After a close frame nothing counts.
		if (trace.closed) break;
	}
	return trace.text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	if (size < 2) return 0;
	const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
	if (trace_of(bytes, bytes.size()) != trace_of(bytes, size_t{1} + data[0] % 7)) abort();
	return 0;
}
