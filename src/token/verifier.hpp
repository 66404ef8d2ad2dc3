// From a compact JWS (RFC 7515) to claims that may be believed, and back for plank.sign.
// Runs in the worker, on one thread. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "token/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "token/claims.hpp"
#include "token/key_set.hpp"

namespace plank::token {

struct Token {
	Claims claims;
	std::string key;  // fingerprint of the key that signed it
};
using TokenPtr = std::shared_ptr<const Token>;
using Verdict = std::variant<TokenPtr, Refused>;

struct Signed {
	std::string payload;
	const Key* key;
};
// Checks the signature and nothing of what is signed. The payload is not looked at before.
[[nodiscard]] std::variant<Signed, Refused> check_signature(std::string_view token, const KeySet& keys);

// A token for claims that are JSON text already. The key must be symmetric.
[[nodiscard]] std::string mint(const Key& key, std::string_view claims);

// Verifies tokens and remembers those that were good, so that clients that come back cost a digest each.
class Verifier {
 public:
	static constexpr size_t kMostRemembered = 4096;
	static constexpr size_t kMostRememberedBytes = 8 * 1024 * 1024;

	// What was verified with other keys or by other rules is forgotten.
	void set_keys(KeySet keys);
	void set_rules(Rules rules);
	const KeySet& keys() const noexcept { return keys_; }
	const Rules& rules() const noexcept { return rules_; }

	// `now`: seconds since 1970.
	[[nodiscard]] Verdict verify(std::string_view token, int64_t now);
	// Whether a token that was verified before would be so again, by today's keys and rules; null when it would.
	[[nodiscard]] const char* still_valid(const Token& token, int64_t now) const;

	size_t remembered() const noexcept { return recent_.size(); }

 private:
	struct Remembered {
		std::string digest;
		TokenPtr token;
	};
	static size_t bytes_of(const Remembered& remembered) noexcept;
	void remember(std::string&& digest, const TokenPtr& token);
	void forget_oldest();
	void forget_all() noexcept;

	KeySet keys_;
	Rules rules_;
	std::list<Remembered> recent_;  // the latest first
	std::unordered_map<std::string_view, std::list<Remembered>::iterator> by_digest_;
	size_t bytes_ = 0;
};

}  // namespace plank::token
