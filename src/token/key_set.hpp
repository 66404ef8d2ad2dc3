// The keys of plank.jwt_key_file: a plain secret, a JWK (RFC 7517) or a set of them.
// Runs in the worker and, for plank.sign, in sessions. Must not call PostgreSQL, and must not put a key into a message.
#pragma once
#ifdef POSTGRES_H
#error "token/ must not see PostgreSQL"
#endif

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "token/key.hpp"

namespace plank::token {

// Why a file's text holds no keys that can be used, in words that quote nothing of it.
class BadKeys : public std::runtime_error {
 public:
	using std::runtime_error::runtime_error;
};

class KeySet {
 public:
	static constexpr size_t kMostBytes = 1024 * 1024;
	// A token without a kid is tried with every key of its algorithm.
	static constexpr size_t kMostKeys = 64;
	static constexpr size_t kShortestSecret = 32;

	KeySet() = default;
	// Throws BadKeys.
	static KeySet parse(std::string_view text);

	bool empty() const noexcept { return keys_.empty(); }
	const std::vector<Key>& keys() const noexcept { return keys_; }
	// Members of a JWKS that were passed over, because what they are for is not known here (RFC 7517 section 5).
	size_t passed_over() const noexcept { return passed_over_; }
	bool has_secret() const noexcept;
	// Whether a key is there, by its fingerprint.
	bool contains(std::string_view fingerprint) const noexcept;
	// What tokens are minted with: the first symmetric key, HS256 before others; null when there is none.
	const Key* signing_key() const noexcept;

 private:
	std::vector<Key> keys_;
	size_t passed_over_ = 0;
};

}  // namespace plank::token
