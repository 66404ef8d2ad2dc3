// A value's JSON as capture printed it becomes what a client asked for: bigint and numeric as they are, or as strings.
// Runs in every process. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <string_view>

#include "core/shape.hpp"

namespace plank::core {

constexpr char kNumberMark = '\x01';  // around bigint and numeric inside nested values

// Hands the pieces of `value` (never empty) to `append` in order. Owns nothing, so `append` may leave by longjmp.
template <typename Append>
void append_value_pieces(std::string_view value, Numbers numbers, bool as_text, Append&& append)
{
	if (numbers == Numbers::none || (numbers == Numbers::scalar && (!as_text || value.front() == '"'))) {
		append(value);
	} else if (numbers == Numbers::scalar) {
		append(std::string_view("\""));
		append(value);
		append(std::string_view("\""));
	} else {
		size_t from = 0;
		for (size_t at; (at = value.find(kNumberMark, from)) != std::string_view::npos; from = at + 1) {
			append(value.substr(from, at - from));
			if (as_text) append(std::string_view("\""));
		}
		append(value.substr(from));
	}
}

}  // namespace plank::core
