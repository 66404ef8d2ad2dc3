// What a token says (RFC 7519), judged: times, audience, role; and what of it makes one client another.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "token/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace plank::token {

inline constexpr int64_t kClockSkew = 30;  // seconds
// The year 9999; beyond it lie milliseconds that were taken for seconds.
inline constexpr int64_t kLatestTime = 253402300799;

// From plank.jwt_audience and plank.jwt_role_claim.
struct Rules {
	std::string audience;  // empty: any
	std::string role_claim = "role";
	bool operator==(const Rules&) const = default;
};

struct Claims {
	std::string role;  // empty: the token names none
	std::string text;  // the JSON object as it was signed
	// The members but exp, iat, nbf and jti, ordered by name: equal texts are equal claims. Taken from `text` byte by byte,
	// because numbers that are one to a JSON library may be two to PostgreSQL.
	std::string identity;
	int64_t expires_at = 0;  // seconds since 1970
};

// Why a token is refused; a constant text for the client, which never quotes the token.
struct Refused {
	const char* reason;
};

// `now`: seconds since 1970.
[[nodiscard]] std::variant<Claims, Refused> read_claims(std::string_view text, const Rules& rules, int64_t now);

// The claims of a token to be made: an object's text with `iat` and `exp`, which it must not have yet.
[[nodiscard]] std::variant<std::string, Refused> with_times(std::string_view text, int64_t issued_at,
                                                            int64_t expires_at);

// Whether the time for which a token is valid is over, skew included.
[[nodiscard]] constexpr bool is_over(int64_t expires_at, int64_t now) noexcept
{
	return now >= expires_at + kClockSkew;
}

}  // namespace plank::token
