// Looking transaction ids up in the log. Runs in the worker. Must not call PostgreSQL.
#include "core/xid_past.hpp"

#include <charconv>

namespace plank::core {

namespace {

constexpr size_t kLongestPosition = 128;

bool plain(std::string_view text) noexcept
{
	return !text.empty() && text.size() <= kLongestPosition &&
	       text.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz") == std::string_view::npos;
}

}  // namespace

Found XidPast::find(std::string_view position, const TransactionLog& log)
{
	const size_t first = position.find('-');
	if (first == std::string_view::npos) return {};
	const std::string_view epoch = position.substr(0, first);
	std::string_view number = position.substr(first + 1), worker;
	const size_t second = number.find('-');
	if (second != std::string_view::npos) {
		worker = number.substr(second + 1);
		number = number.substr(0, second);
		if (!plain(worker)) return {};
	}
	uint64_t xid = 0;
	const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), xid);
	if (!plain(epoch) || error != std::errc() || end != number.data() + number.size()) return {};
	if ((xid == 0) != (second != std::string_view::npos)) return {};

	if (epoch != epoch_) return {Found::Kind::lost, 0, "the position is of another start of the server"};
	if (xid == 0) {
		if (worker == worker_ && log.first() == 1) return {Found::Kind::in_log, 1, ""};
	} else if (const std::optional<uint64_t> after = log.after_transaction(xid)) {
		return {Found::Kind::in_log, *after, ""};
	}
	return {Found::Kind::lost, 0, "what came after the position is no longer in memory"};
}

}  // namespace plank::core
