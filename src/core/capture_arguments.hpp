// The three text arguments of a capture trigger: mode, columns, notify. They are the record of what plank.track was
// told, and any table's owner can forge them, so reading them never fails: what is malformed is no capture trigger.
// Pure; used by ordinary sessions on data that the catalog owns. Must not allocate or throw.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL's headers: include this before pg/postgres.hpp"
#endif

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace plank::core {

// What a trigger captures. With a filter an UPDATE has three: one for rows that pass it before and after, one for rows
// that come to pass it, one for rows that cease to.
enum class CaptureMode : uint8_t { insert, update, enter, leave, remove, truncate };

inline constexpr int kCaptureModes = 6;

[[nodiscard]] std::optional<CaptureMode> capture_mode(std::string_view name) noexcept;
[[nodiscard]] const char* name_of(CaptureMode mode) noexcept;

// An identifier as PostgreSQL stores it: 1 to 63 bytes.
struct Identifier {
	static constexpr size_t kSize = 64;
	char text[kSize];
	size_t length;
	[[nodiscard]] std::string_view view() const noexcept { return {text, length}; }
};

// Walks names written as a name[] literal: {id,"My Column"}.
class NameList {
 public:
	explicit NameList(std::string_view literal) noexcept : rest_(literal) {}
	// The next name; nothing at the end or where the text stops being a list of names.
	[[nodiscard]] std::optional<Identifier> next() noexcept;
	// After the last `next`: the whole text was a list of names.
	[[nodiscard]] bool ended_well() const noexcept { return state_ == State::done; }

 private:
	enum class State : uint8_t { start, between, done, malformed };
	std::optional<Identifier> stop(State state) noexcept;
	std::string_view rest_;
	State state_ = State::start;
};

[[nodiscard]] bool is_name_list(std::string_view literal) noexcept;
[[nodiscard]] bool contains(std::string_view literal, std::string_view name) noexcept;

struct CaptureArguments {
	CaptureMode mode;
	std::string_view columns;  // a list of names; empty: every column
	std::string_view notify;   // a public channel; empty: none
};

// Checks the three arguments.
[[nodiscard]] std::optional<CaptureArguments> read_capture_arguments(std::string_view mode, std::string_view columns,
                                                                     std::string_view notify) noexcept;
// Reads pg_trigger.tgargs: each argument followed by a NUL byte.
[[nodiscard]] std::optional<CaptureArguments> read_capture_arguments(std::string_view tgargs) noexcept;

// Channels of applications: 1 to 63 bytes, as for NOTIFY. Names that begin with `plank:` are Plank's own.
inline constexpr std::string_view kReservedChannelPrefix = "plank:";
[[nodiscard]] bool is_channel_name(std::string_view name) noexcept;

}  // namespace plank::core
