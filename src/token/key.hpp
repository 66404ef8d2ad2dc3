// One key and the one algorithm it is for: a token can never choose another.
// Runs in the worker and, for plank.sign, in sessions. Must not call PostgreSQL; nothing here is ever logged.
#pragma once
#ifdef POSTGRES_H
#error "token/ must not see PostgreSQL"
#endif

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <openssl/evp.h>

#include "token/algorithm.hpp"

namespace plank::token {

template <auto Free>
struct Release {
	template <typename T>
	void operator()(T* object) const noexcept
	{
		Free(object);
	}
};
using PublicKey = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Release<EVP_MAC_CTX_free>>;

inline constexpr size_t kDigestBytes = 32;
// SHA-256; throws std::bad_alloc when OpenSSL cannot.
[[nodiscard]] std::string sha256(std::string_view bytes);

class Key {
 public:
	// A shared secret for one of the HMAC algorithms, at least as long as its digest. The caller cleans its own copy.
	Key(const Algorithm& algorithm, std::string kid, std::string_view secret);
	// A public key whose kind fits the algorithm. `material`: what tells it from others.
	Key(const Algorithm& algorithm, std::string kid, PublicKey key, std::string_view material);

	const Algorithm& algorithm() const noexcept { return *algorithm_; }
	const std::string& kid() const noexcept { return kid_; }
	bool symmetric() const noexcept { return algorithm_->family == Family::hmac; }
	// A digest of algorithm and key: tells whether a key of one file is still in the next. Not its kid.
	const std::string& fingerprint() const noexcept { return fingerprint_; }

	// Whether `signature` is this key's for `text`. Takes the same time for every wrong one of an HMAC.
	[[nodiscard]] bool verifies(std::string_view text, std::string_view signature) const noexcept;
	// The signature of a symmetric key; nothing when the key is not one.
	[[nodiscard]] std::optional<std::string> sign(std::string_view text) const;

 private:
	bool verifies_asymmetric(std::string_view text, std::string_view signature) const noexcept;

	const Algorithm* algorithm_;
	std::string kid_;
	std::string fingerprint_;
	MacContext mac_;  // made with the secret, copied for each use; OpenSSL cleans it when it frees it
	PublicKey key_;
};

}  // namespace plank::token
