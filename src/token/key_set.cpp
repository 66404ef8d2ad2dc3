// Reading keys. Runs in the worker and in sessions. Must not call PostgreSQL.
#include "token/key_set.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "token/base64url.hpp"
#include "token/json.hpp"

namespace plank::token {

namespace {

using Number = std::unique_ptr<BIGNUM, Release<BN_free>>;
using ParameterBuilder = std::unique_ptr<OSSL_PARAM_BLD, Release<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, Release<OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Release<EVP_PKEY_CTX_free>>;

constexpr int kShortestModulus = 2048,
              kLongestModulus = 8192;   // bits; one longer would take milliseconds to verify with
constexpr size_t kLongestExponent = 8;  // bytes
constexpr size_t kLongestKid = 1024;
constexpr size_t kEd25519Bytes = 32;

// Bytes that nobody may find in memory later.
struct Secret {
	explicit Secret(std::string the_bytes) : bytes(std::move(the_bytes)) {}
	~Secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
	Secret(const Secret&) = delete;
	Secret& operator=(const Secret&) = delete;
	std::string bytes;
};

[[noreturn]] void fail(const std::string& why)
{
	ERR_clear_error();
	throw BadKeys(why);
}

std::string_view text_member(const json_t* jwk, const char* name)
{
	const json_t* value = json_object_get(jwk, name);
	if (value && !json_is_string(value)) fail(std::string("\"") + name + "\" of a key is not a string");
	return value ? string_of(value) : std::string_view();
}

std::string bytes_member(const json_t* jwk, const char* name)
{
	const std::string_view text = text_member(jwk, name);
	std::optional<std::string> bytes = decode_base64url(text);
	if (text.empty() || !bytes) fail(std::string("\"") + name + "\" of a key is missing or not base64url");
	return std::move(*bytes);
}

// A certificate or public key taken for a secret is known to everybody: who has the public key could sign with it.
void refuse_public_text(std::string_view secret)
{
	const size_t first = secret.find_first_not_of(" \t\r\n");
	if (first != std::string_view::npos &&
	    (secret.substr(first, 10) == "-----BEGIN" || secret.substr(first, 4) == "ssh-"))
		fail("it holds a PEM or SSH key, which is not read");
}

Key make_secret(const Algorithm& algorithm, std::string kid, std::string_view secret)
{
	refuse_public_text(secret);
	// RFC 7518 section 3.2.
	if (secret.size() < algorithm.digest_bytes)
		fail("a secret for " + std::string(algorithm.name) + " has fewer than " +
		     std::to_string(algorithm.digest_bytes) + " bytes");
	return Key(algorithm, std::move(kid), secret);
}

PublicKey make_public(const char* kind, const ParameterBuilder& builder)
{
	const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
	const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
	EVP_PKEY* made = nullptr;
	if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
	    EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1)
		fail(std::string("a key is no valid ") + kind + " key");
	PublicKey key(made);
	const KeyContext check(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
	if (!check || EVP_PKEY_public_check(check.get()) != 1) fail(std::string("a key is no valid ") + kind + " key");
	return key;
}

Key make_rsa(const Algorithm& algorithm, std::string kid, const json_t* jwk)
{
	const std::string modulus = bytes_member(jwk, "n"), exponent = bytes_member(jwk, "e");
	const auto number = [](const std::string& bytes) {
		return Number(
		    BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
	};
	if (modulus.size() > kLongestModulus / 8 + 1 || exponent.size() > kLongestExponent)
		fail("an RSA key is larger than 8192 bits, or its exponent larger than 64");
	const Number n = number(modulus), e = number(exponent);
	if (!n || !e || BN_num_bits(n.get()) < kShortestModulus || BN_num_bits(n.get()) > kLongestModulus)
		fail("an RSA key has not between 2048 and 8192 bits");
	if (!BN_is_odd(e.get()) || BN_is_one(e.get())) fail("an RSA key's exponent is not odd and above one");
	const ParameterBuilder builder(OSSL_PARAM_BLD_new());
	if (!builder || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
	    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1)
		throw std::bad_alloc();
	return Key(algorithm, std::move(kid), make_public("RSA", builder), modulus + '/' + exponent);
}

Key make_ec(const Algorithm& algorithm, std::string kid, const json_t* jwk)
{
	const std::string x = bytes_member(jwk, "x"), y = bytes_member(jwk, "y");
	// RFC 7518 section 6.2.1.2: exactly as long as the curve's field.
	if (x.size() != algorithm.coordinate_bytes || y.size() != algorithm.coordinate_bytes)
		fail("a coordinate of an EC key has not its curve's length");
	const std::string point = '\4' + x + y;  // uncompressed
	const ParameterBuilder builder(OSSL_PARAM_BLD_new());
	if (!builder ||
	    OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, algorithm.curve, 0) != 1 ||
	    OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1)
		throw std::bad_alloc();
	return Key(algorithm, std::move(kid), make_public("EC", builder), point);
}

Key make_ed25519(const Algorithm& algorithm, std::string kid, const json_t* jwk)
{
	const std::string x = bytes_member(jwk, "x");
	PublicKey key(x.size() == kEd25519Bytes
	                  ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
	                                                reinterpret_cast<const unsigned char*>(x.data()), x.size())
	                  : nullptr);
	if (!key) fail("a key is no valid Ed25519 key");
	return Key(algorithm, std::move(kid), std::move(key), x);
}

// Whether the key is there for verifying signatures at all.
bool is_for_signatures(const json_t* jwk)
{
	const std::string_view use = text_member(jwk, "use");
	if (!use.empty() && use != "sig") return false;
	const json_t* operations = json_object_get(jwk, "key_ops");
	if (!operations) return true;
	if (!json_is_array(operations)) fail("\"key_ops\" of a key is not a list");
	for (size_t i = 0; i < json_array_size(operations); ++i) {
		const json_t* operation = json_array_get(operations, i);
		if (json_is_string(operation) && (string_of(operation) == "verify" || string_of(operation) == "sign"))
			return true;
	}
	return false;
}

// The key's one algorithm, from the key alone: what `alg` says, else what its kind or curve is used with most. Null when
// it is for something that is not known here.
const Algorithm* algorithm_of(const json_t* jwk)
{
	const std::string_view kind = text_member(jwk, "kty"), alg = text_member(jwk, "alg");
	const Algorithm* named = alg.empty() ? nullptr : algorithm_named(alg);
	if (!alg.empty() && !named) return nullptr;
	const auto fits = [&](const Algorithm* own, auto... families) {
		if (!named) return own;
		if (((named->family == families) || ...)) return named;
		fail("\"alg\" of a key does not fit its \"kty\"");
	};
	if (kind == "oct") return fits(algorithm_named("HS256"), Family::hmac);
	if (kind == "RSA") return fits(algorithm_named("RS256"), Family::rsa, Family::rsa_pss);
	if (kind != "EC" && kind != "OKP") return nullptr;
	const Algorithm* own = algorithm_of_curve(text_member(jwk, "crv"));
	if (!own || (own->family == Family::eddsa) != (kind == "OKP")) return nullptr;
	if (named && named != own) fail("\"alg\" of a key does not fit its \"crv\"");
	return own;
}

// Nothing for a key that is for something else.
std::optional<Key> read_jwk(const json_t* jwk)
{
	if (!json_is_object(jwk)) fail("a member of \"keys\" is not an object");
	const Algorithm* algorithm = algorithm_of(jwk);
	if (!algorithm || !is_for_signatures(jwk)) return std::nullopt;
	std::string kid(text_member(jwk, "kid"));
	if (kid.size() > kLongestKid) fail("\"kid\" of a key is too long");
	switch (algorithm->family) {
		case Family::hmac: {
			const Secret secret(bytes_member(jwk, "k"));
			return make_secret(*algorithm, std::move(kid), secret.bytes);
		}
		case Family::rsa:
		case Family::rsa_pss:
			return make_rsa(*algorithm, std::move(kid), jwk);
		case Family::ecdsa:
			return make_ec(*algorithm, std::move(kid), jwk);
		case Family::eddsa:
			return make_ed25519(*algorithm, std::move(kid), jwk);
	}
	return std::nullopt;
}

}  // namespace

KeySet KeySet::parse(std::string_view text)
{
	if (text.size() > kMostBytes) fail("it is larger than a megabyte");
	KeySet set;
	const size_t first = text.find_first_not_of(" \t\r\n");
	if (first == std::string_view::npos) fail("it is empty");
	if (text[first] != '{') {
		// A text editor ends the file with a line feed that is not part of the secret.
		while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
			text.remove_suffix(1);
		if (text.size() < kShortestSecret) fail("a secret has fewer than 32 bytes");
		set.keys_.push_back(make_secret(*algorithm_named("HS256"), {}, text));
		return set;
	}
	const JsonPtr object = parse_object(text);
	if (!object) fail("it begins with { but is not a JSON object, or has a member twice");
	const json_t* keys = json_object_get(object.get(), "keys");
	if (!keys) {
		std::optional<Key> key = read_jwk(object.get());
		if (!key) fail("its key is of a kind, curve, algorithm or use that is not known");
		set.keys_.push_back(std::move(*key));
		return set;
	}
	if (!json_is_array(keys)) fail("\"keys\" is not a list");
	if (json_array_size(keys) > kMostKeys) fail("it holds more than 64 keys");
	for (size_t i = 0; i < json_array_size(keys); ++i) {
		if (std::optional<Key> key = read_jwk(json_array_get(keys, i)))
			set.keys_.push_back(std::move(*key));
		else
			++set.passed_over_;
	}
	if (set.empty()) fail("it holds no key of a kind, curve, algorithm and use that is known");
	return set;
}

bool KeySet::has_secret() const noexcept
{
	return std::any_of(keys_.begin(), keys_.end(), [](const Key& key) { return key.symmetric(); });
}

bool KeySet::contains(std::string_view fingerprint) const noexcept
{
	return std::any_of(keys_.begin(), keys_.end(), [&](const Key& key) { return key.fingerprint() == fingerprint; });
}

const Key* KeySet::signing_key() const noexcept
{
	const Key* found = nullptr;
	for (const Key& key : keys_) {
		if (key.algorithm().name == "HS256") return &key;
		if (key.symmetric() && !found) found = &key;
	}
	return found;
}

}  // namespace plank::token
