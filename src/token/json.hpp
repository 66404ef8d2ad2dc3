// jansson's values as C++ owns them, and how the JSON of tokens and keys is read. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "token/ must not see PostgreSQL"
#endif

#include <memory>
#include <string_view>

#include <jansson.h>

namespace plank::token {

struct JsonFree {
	void operator()(json_t* value) const noexcept { json_decref(value); }
};
using JsonPtr = std::unique_ptr<json_t, JsonFree>;

// An object without duplicate members, or null. Who reads the first of two and who reads the last would disagree about
// what was signed (RFC 7519 section 4, RFC 7515 section 4).
inline JsonPtr parse_object(std::string_view text)
{
	json_error_t error;
	JsonPtr value(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, &error));
	return json_is_object(value.get()) ? std::move(value) : nullptr;
}

inline std::string_view string_of(const json_t* value) noexcept
{
	return {json_string_value(value), json_string_length(value)};
}

}  // namespace plank::token
