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

// Whether the time for which a token is valid is over, skew included.
[[nodiscard]] constexpr bool is_over(int64_t expires_at, int64_t now) noexcept
{
	return now >= expires_at + kClockSkew;
}

}  // namespace plank::token
