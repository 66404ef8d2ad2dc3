// Reading table names. Runs in the worker. Must not call PostgreSQL.
#include "core/name.hpp"

namespace plank::core {

namespace {

constexpr size_t kLongestName = 63;  // NAMEDATALEN - 1

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

// Like PostgreSQL: longer names are cut, never within a character.
void cut(std::string& name)
{
	if (name.size() <= kLongestName) return;
	size_t end = kLongestName;
	while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80)
		--end;
	name.resize(end);
}

class Scanner {
 public:
	explicit Scanner(std::string_view text) noexcept : text_(text) {}

	void skip_space() noexcept
	{
		while (at_ < text_.size() && is_space(text_[at_]))
			++at_;
	}
	bool done() const noexcept { return at_ == text_.size(); }
	bool take(char c) noexcept
	{
		if (done() || text_[at_] != c) return false;
		++at_;
		return true;
	}
	std::optional<std::string> part()
	{
		skip_space();
		std::string name;
		if (take('"')) {
			while (true) {
				if (done()) return std::nullopt;
				const char c = text_[at_++];
				if (c == '"' && !take('"')) break;
				name += c;
			}
		} else {
			while (!done() && text_[at_] != '.' && !is_space(text_[at_])) {
				const char c = text_[at_++];
				name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
			}
		}
		skip_space();
		if (name.empty()) return std::nullopt;
		cut(name);
		return name;
	}

 private:
	std::string_view text_;
	size_t at_ = 0;
};

}  // namespace

std::optional<QualifiedName> parse_table_name(std::string_view text)
{
	Scanner scanner(text);
	std::optional<std::string> first = scanner.part();
	if (!first) return std::nullopt;
	if (scanner.done()) return QualifiedName{"public", std::move(*first)};
	if (!scanner.take('.')) return std::nullopt;
	std::optional<std::string> second = scanner.part();
	if (!second || !scanner.done()) return std::nullopt;
	return QualifiedName{std::move(*first), std::move(*second)};
}

}  // namespace plank::core
