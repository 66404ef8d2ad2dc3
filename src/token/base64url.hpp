// Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), strictly. Pure. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "token/ must not see PostgreSQL"
#endif

#include <optional>
#include <string>
#include <string_view>

namespace plank::token {

// Nothing for text that is not exactly what encoding some bytes gives: two texts never mean the same bytes, so a token
// has one spelling.
[[nodiscard]] std::optional<std::string> decode_base64url(std::string_view text);
[[nodiscard]] std::string encode_base64url(std::string_view bytes);

}  // namespace plank::token
