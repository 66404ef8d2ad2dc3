// Reading capture triggers' arguments. Pure; must not allocate or throw.
#include "core/capture_arguments.hpp"

#include <array>
#include <cstring>

namespace plank::core {

namespace {

constexpr std::array<const char*, kCaptureModes> kModeNames = {"insert", "update", "enter",
                                                               "leave",  "delete", "truncate"};

// Takes the text up to and with the next NUL byte.
std::optional<std::string_view> take_argument(std::string_view& rest) noexcept
{
	const size_t end = rest.find('\0');
	if (end == std::string_view::npos) return std::nullopt;
	const std::string_view argument = rest.substr(0, end);
	rest.remove_prefix(end + 1);
	return argument;
}

bool needs_quotes(char c) noexcept
{
	return c == '{' || c == '}' || c == ',' || c == '"' || c == '\\' || c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

std::optional<CaptureMode> capture_mode(std::string_view name) noexcept
{
	for (size_t i = 0; i < kModeNames.size(); ++i)
		if (name == kModeNames[i]) return static_cast<CaptureMode>(i);
	return std::nullopt;
}

const char* name_of(CaptureMode mode) noexcept { return kModeNames[static_cast<size_t>(mode)]; }

std::optional<Identifier> NameList::stop(State state) noexcept
{
	state_ = state;
	rest_ = {};
	return std::nullopt;
}

std::optional<Identifier> NameList::next() noexcept
{
	if (state_ == State::done || state_ == State::malformed) return std::nullopt;
	if (state_ == State::start) {
		if (rest_ == "{}") return stop(State::done);
		if (rest_.empty() || rest_.front() != '{') return stop(State::malformed);
		rest_.remove_prefix(1);
		state_ = State::between;
	} else if (rest_ == "}") {
		return stop(State::done);
	} else {
		if (rest_.empty() || rest_.front() != ',') return stop(State::malformed);
		rest_.remove_prefix(1);
	}

	Identifier name{};
	const bool quoted = !rest_.empty() && rest_.front() == '"';
	size_t i = quoted ? 1 : 0;
	for (;; ++i) {
		if (i >= rest_.size()) return stop(State::malformed);
		char c = rest_[i];
		if (quoted ? c == '"' : c == ',' || c == '}') break;
		if (quoted && c == '\\') {
			if (++i >= rest_.size()) return stop(State::malformed);
			c = rest_[i];
		} else if (!quoted && needs_quotes(c)) {
			return stop(State::malformed);
		}
		if (c == '\0' || name.length + 1 >= Identifier::kSize) return stop(State::malformed);
		name.text[name.length++] = c;
	}
	if (name.length == 0) return stop(State::malformed);
	rest_.remove_prefix(quoted ? i + 1 : i);
	return name;
}

bool is_name_list(std::string_view literal) noexcept
{
	NameList names(literal);
	while (names.next()) {}
	return names.ended_well();
}

bool contains(std::string_view literal, std::string_view name) noexcept
{
	NameList names(literal);
	while (const auto entry = names.next())
		if (entry->view() == name) return true;
	return false;
}

std::optional<CaptureArguments> read_capture_arguments(std::string_view mode, std::string_view columns,
                                                       std::string_view notify) noexcept
{
	const auto known = capture_mode(mode);
	if (!known || (!columns.empty() && !is_name_list(columns))) return std::nullopt;
	if (!notify.empty() && !is_channel_name(notify)) return std::nullopt;
	return CaptureArguments{*known, columns, notify};
}

std::optional<CaptureArguments> read_capture_arguments(std::string_view tgargs) noexcept
{
	const auto mode = take_argument(tgargs);
	const auto columns = mode ? take_argument(tgargs) : std::nullopt;
	const auto notify = columns ? take_argument(tgargs) : std::nullopt;
	if (!notify || !tgargs.empty()) return std::nullopt;
	return read_capture_arguments(*mode, *columns, *notify);
}

bool is_channel_name(std::string_view name) noexcept
{
	return !name.empty() && name.size() < Identifier::kSize && !name.starts_with(kReservedChannelPrefix);
}

}  // namespace plank::core
