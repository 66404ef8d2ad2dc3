// Who a client is: the role whose privileges it has, and the claims of its token. Runs in the worker. Must not call
// PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/bytes.hpp"
#include "core/json.hpp"

namespace plank::core {

struct Identity {
	static constexpr int64_t kNever = INT64_MAX;

	std::string role;  // never empty
	// What request.jwt.claims is for row security: the token's, as JSON text; without a token {"role":…}, as PostgREST has
	// it.
	std::string claims;
	// Equal for two clients exactly when role and claims are, but for what renewal changes (exp, iat, nbf, jti). Nothing is
	// shared between clients whose keys differ.
	std::string key;
	// Microseconds since 2000-01-01 UTC: the token's exp, and when a connection that lives on it ends.
	int64_t expires_at = kNever, ends_at = kNever;
	std::shared_ptr<const void> token;  // what the gate made it from; null without a token
};
using IdentityPtr = std::shared_ptr<const Identity>;

// The identity of clients that bring no token.
inline IdentityPtr anonymous_identity(const std::string& role)
{
	auto identity = std::make_shared<Identity>();
	identity->role = role;
	identity->claims = "{\"role\":";
	append_json_string(identity->claims, role);
	identity->claims += '}';
	append_counted(identity->key, role);
	return identity;
}

// Who a token makes of a client, or why it makes nobody.
struct Admission {
	IdentityPtr identity;       // null: refused
	std::string message, hint;  // when refused; they tell the client, and quote nothing of the token
};

// Judges tokens. The worker asks OpenSSL and PostgreSQL; tests have a list.
class Gate {
 public:
	// From the worker's loop, never inside a network callback.
	virtual Admission admit(std::string_view token) = 0;

 protected:
	~Gate() = default;
};

}  // namespace plank::core
