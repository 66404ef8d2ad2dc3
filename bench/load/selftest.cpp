// Proves that the load client sees what it must see: marks and frames cut at every byte, fragments, lengths of every
// form, control frames in between, and the errors. `make -C bench check` runs it; it needs no server.
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "scan.hpp"
#include "websocket.hpp"

using namespace plank::bench;

namespace {

int failures = 0;

void expect(bool truth, const char* what)
{
	if (!truth) {
		std::fprintf(stderr, "not so: %s\n", what);
		++failures;
	}
}

bool throws(const std::function<void()>& body)
{
	try {
		body();
	} catch (const std::runtime_error&) {
		return true;
	}
	return false;
}

std::string frame(unsigned char first, const std::string& payload, int length_bytes)
{
	std::string result(1, static_cast<char>(first));
	if (length_bytes == 0) {
		result += static_cast<char>(payload.size());
	} else {
		result += static_cast<char>(length_bytes == 2 ? 126 : 127);
		for (int shift = 8 * (length_bytes - 1); shift >= 0; shift -= 8)
			result += static_cast<char>(static_cast<uint64_t>(payload.size()) >> shift & 0xff);
	}
	return result + payload;
}

// What a connection would have seen: messages and control frames, in order.
struct Seen {
	std::vector<std::string> messages;
	std::vector<std::string> controls;
	std::vector<Mark> marks;
	std::string current;
	MarkScanner scanner;

	void payload(std::string_view piece)
	{
		current += piece;
		scanner.feed(piece, [&](Mark mark) { marks.push_back(mark); });
	}
	void message_end()
	{
		messages.push_back(current);
		current.clear();
	}
	void control(Opcode opcode, std::string_view body)
	{
		controls.push_back(std::to_string(static_cast<int>(opcode)) + std::string(body));
	}
};

Seen read(const std::string& stream, size_t piece)
{
	Seen seen;
	FrameParser parser;
	for (size_t at = 0; at < stream.size(); at += piece)
		parser.feed(std::string_view(stream).substr(at, piece), seen);
	return seen;
}

void frames_and_marks_survive_every_cut()
{
	const std::string first = R"([{"new":{"id":1,"mark":"^0:1^"}},{"new":{"mark":"^7:4294967295^"}}])";
	const std::string second(70000, 'x');
	const std::string stream = frame(0x81, first, 0) + frame(0x81, second + "^3:9^", 8) +
	                           frame(0x01, "{\"mark\":\"^1:", 0) + frame(0x89, "are you there", 0) +
	                           frame(0x00, "", 0) + frame(0x80, "2^\"}", 2) + frame(0x81, "", 0) + frame(0x88, "", 0);
	for (size_t piece : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{4096}, stream.size()}) {
		const Seen seen = read(stream, piece);
		expect(seen.messages.size() == 4, "four messages");
		expect(seen.messages.size() == 4 && seen.messages[0] == first && seen.messages[1] == second + "^3:9^" &&
		           seen.messages[2] == "{\"mark\":\"^1:2^\"}" && seen.messages[3].empty(),
		       "messages are whole");
		expect(seen.controls == std::vector<std::string>{"9are you there", "8"},
		       "control frames stand between fragments");
		expect(seen.marks.size() == 4, "four marks");
		expect(seen.marks.size() == 4 && seen.marks[0].writer == 0 && seen.marks[0].seq == 1 &&
		           seen.marks[1].writer == 7 && seen.marks[1].seq == 4294967295 && seen.marks[2].seq == 9 &&
		           seen.marks[3].writer == 1 && seen.marks[3].seq == 2,
		       "marks are read exactly");
		expect(!seen.scanner.open(), "no mark is left open");
	}
}

void what_a_server_must_not_send_is_an_error()
{
	for (const auto& [stream, what] : std::vector<std::pair<std::string, const char*>>{
	         {frame(0xc1, "x", 0), "a reserved bit"},
	         {frame(0x80, "x", 0), "a continuation of nothing"},
	         {frame(0x01, "x", 0) + frame(0x81, "y", 0), "a message inside a message"},
	         {frame(0x82, "x", 0), "a binary frame"},
	         {frame(0x09, "x", 0), "a fragmented ping"},
	         {frame(0x89, std::string(126, 'x'), 2), "a long ping"},
	         {masked_frame(Opcode::text, "x"), "a masked frame"},
	         {frame(0x81, "^0:x^", 0), "a mark without a number"},
	         {frame(0x81, "^0:1" + std::string(40, ' '), 0), "a mark without an end"}})
		for (size_t piece : {size_t{1}, stream.size()})
			expect(throws([&] { read(stream, piece); }), what);
}

void upgrade_answers_are_checked()
{
	const std::string good =
	    "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	expect(!throws([&] { check_upgrade(good); }), "the answer of RFC 6455 is accepted");
	expect(throws([&] { check_upgrade("HTTP/1.1 503 Service Unavailable\r\n\r\n"); }), "503 is an error");
	expect(throws([&] { check_upgrade("HTTP/1.1 101 Switching Protocols\r\n\r\n"); }), "an accept key is wanted");
	expect(throws([&] { check_upgrade("HTTP/1.1 101 x\r\nSec-WebSocket-Extensions: a\r\n" + good.substr(34)); }),
	       "an extension is an error");
}

void percentiles_are_exact_to_a_percent()
{
	Histogram times;
	for (int i = 1; i <= 100000; ++i)
		times.add(i * 1000LL);
	for (double p : {1.0, 50.0, 90.0, 99.0}) {
		const double ratio = static_cast<double>(times.percentile(p)) / (p * 1000 * 1000);
		expect(ratio > 0.99 && ratio < 1.001, "a percentile of an even spread");
	}
	expect(times.max() == 100'000'000 && times.percentile(100) == times.max(), "the maximum is exact");
}

}  // namespace

int main()
{
	frames_and_marks_survive_every_cut();
	what_a_server_must_not_send_is_an_error();
	upgrade_answers_are_checked();
	percentiles_are_exact_to_a_percent();
	std::puts(failures == 0 ? "load client: all as it should be" : "load client: FAILED");
	return failures == 0 ? 0 : 1;
}
