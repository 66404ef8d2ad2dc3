// The signature algorithms of RFC 7518 and RFC 8037 that are known here. Pure. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "token/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace plank::token {

enum class Family : uint8_t { hmac, rsa, rsa_pss, ecdsa, eddsa };

struct Algorithm {
	std::string_view name;
	Family family;
	const char* digest;          // OpenSSL's name; null for EdDSA
	size_t digest_bytes;         // 0 for EdDSA
	const char* curve;           // OpenSSL's name of ECDSA's curve, else null
	std::string_view jwk_curve;  // as a JWK has it
	size_t coordinate_bytes;     // of ECDSA's curve
};

inline constexpr Algorithm kAlgorithms[] = {
    {"HS256", Family::hmac, "SHA256", 32, nullptr, "", 0},
    {"HS384", Family::hmac, "SHA384", 48, nullptr, "", 0},
    {"HS512", Family::hmac, "SHA512", 64, nullptr, "", 0},
    {"RS256", Family::rsa, "SHA256", 32, nullptr, "", 0},
    {"RS384", Family::rsa, "SHA384", 48, nullptr, "", 0},
    {"RS512", Family::rsa, "SHA512", 64, nullptr, "", 0},
    {"PS256", Family::rsa_pss, "SHA256", 32, nullptr, "", 0},
    {"PS384", Family::rsa_pss, "SHA384", 48, nullptr, "", 0},
    {"PS512", Family::rsa_pss, "SHA512", 64, nullptr, "", 0},
    {"ES256", Family::ecdsa, "SHA256", 32, "P-256", "P-256", 32},
    {"ES384", Family::ecdsa, "SHA384", 48, "P-384", "P-384", 48},
    {"ES512", Family::ecdsa, "SHA512", 64, "P-521", "P-521", 66},
    {"EdDSA", Family::eddsa, nullptr, 0, nullptr, "Ed25519", 0},
};

// Null for a name that is not known, "none" among them.
constexpr const Algorithm* algorithm_named(std::string_view name) noexcept
{
	for (const Algorithm& algorithm : kAlgorithms)
		if (algorithm.name == name) return &algorithm;
	return nullptr;
}

// The one algorithm of a JWK's curve, or null.
constexpr const Algorithm* algorithm_of_curve(std::string_view curve) noexcept
{
	for (const Algorithm& algorithm : kAlgorithms)
		if (!curve.empty() && algorithm.jwk_curve == curve) return &algorithm;
	return nullptr;
}

}  // namespace plank::token
