// Snapshots as text. Runs in the worker. Must not call PostgreSQL.
#include "core/seen.hpp"

#include <algorithm>
#include <charconv>

namespace plank::core {

namespace {

constexpr char kSeparator = '~';  // in no stream's position

void append_number(std::string& out, uint64_t number)
{
	char text[24];
	const auto [end, error] = std::to_chars(text, text + sizeof text, number, 36);
	out.append(text, error == std::errc() ? end : text);
}

}  // namespace

bool Seen::has(uint64_t xid) const noexcept
{
	if (xid < xmin) return true;
	return xid < xmax && !std::binary_search(running.begin(), running.end(), xid);
}

// Numbers in base 36, each the distance from the one before.
std::string Seen::suffix() const
{
	std::string out(1, kSeparator);
	append_number(out, xmin);
	out += '.';
	append_number(out, xmax - xmin);
	uint64_t last = xmin;
	for (const uint64_t xid : running) {
		out += '.';
		append_number(out, xid - last);
		last = xid;
	}
	return out;
}

std::optional<SplitPosition> split_position(std::string_view position)
{
	const size_t at = position.find(kSeparator);
	SplitPosition split{position.substr(0, at), nullptr};
	if (at == std::string_view::npos) return split;
	std::vector<uint64_t> numbers;
	const char* from = position.data() + at + 1;
	const char* const end = position.data() + position.size();
	while (true) {
		uint64_t number = 0;
		const auto [next, error] = std::from_chars(from, end, number, 36);
		if (error != std::errc() || number > UINT64_MAX / 4) return std::nullopt;
		numbers.push_back(number);
		if (next == end) break;
		if (*next != '.') return std::nullopt;
		from = next + 1;
	}
	if (numbers.size() < 2) return std::nullopt;
	auto seen = std::make_shared<Seen>();
	seen->xmin = numbers[0];
	seen->xmax = numbers[0] + numbers[1];
	uint64_t last = seen->xmin;
	for (size_t i = 2; i < numbers.size(); ++i) {
		last += numbers[i];
		if (last >= seen->xmax || (i > 2 && numbers[i] == 0)) return std::nullopt;
		seen->running.push_back(last);
	}
	split.seen = std::move(seen);
	return split;
}

}  // namespace plank::core
