// Signatures, by OpenSSL. Runs in the worker and in sessions. Must not call PostgreSQL.
#include "token/key.hpp"

#include <new>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

namespace plank::token {

namespace {

using DigestContext = std::unique_ptr<EVP_MD_CTX, Release<EVP_MD_CTX_free>>;
using Mac = std::unique_ptr<EVP_MAC, Release<EVP_MAC_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Release<ECDSA_SIG_free>>;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string fingerprint_of(const Algorithm& algorithm, std::string_view material)
{
	std::string text(algorithm.name);
	text += ':';
	text += material;
	std::string digest = sha256(text);
	OPENSSL_cleanse(text.data(), text.size());
	return digest;
}

// RFC 7518 section 3.4 has R and S one behind the other, each as long as the curve's order; OpenSSL wants DER.
std::string der_of(std::string_view signature, size_t half)
{
	if (signature.size() != 2 * half) return {};
	const EcdsaSignature pair(ECDSA_SIG_new());
	BIGNUM* r = BN_bin2bn(bytes_of(signature), static_cast<int>(half), nullptr);
	BIGNUM* s = BN_bin2bn(bytes_of(signature) + half, static_cast<int>(half), nullptr);
	if (!pair || !r || !s || ECDSA_SIG_set0(pair.get(), r, s) != 1) {
		BN_free(r);
		BN_free(s);
		return {};
	}
	const int length = i2d_ECDSA_SIG(pair.get(), nullptr);
	if (length <= 0) return {};
	std::string der(static_cast<size_t>(length), '\0');
	auto* at = reinterpret_cast<unsigned char*>(der.data());
	i2d_ECDSA_SIG(pair.get(), &at);
	return der;
}

}  // namespace

std::string sha256(std::string_view bytes)
{
	// Looked up once: an implicit fetch costs more than the digest of a token.
	static const std::unique_ptr<EVP_MD, Release<EVP_MD_free>> kDigest(EVP_MD_fetch(nullptr, "SHA256", nullptr));
	std::string digest(kDigestBytes, '\0');
	if (!kDigest || EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
	                           kDigest.get(), nullptr) != 1)
		throw std::bad_alloc();
	return digest;
}

Key::Key(const Algorithm& algorithm, std::string kid, std::string_view secret)
    : algorithm_(&algorithm), kid_(std::move(kid)), fingerprint_(fingerprint_of(algorithm, secret))
{
	const Mac mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
	mac_.reset(mac ? EVP_MAC_CTX_new(mac.get()) : nullptr);
	const OSSL_PARAM parameters[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(algorithm.digest), 0),
	    OSSL_PARAM_construct_end()};
	if (!mac_ || EVP_MAC_init(mac_.get(), bytes_of(secret), secret.size(), parameters) != 1) throw std::bad_alloc();
}

Key::Key(const Algorithm& algorithm, std::string kid, PublicKey key, std::string_view material)
    : algorithm_(&algorithm),
      kid_(std::move(kid)),
      fingerprint_(fingerprint_of(algorithm, material)),
      key_(std::move(key))
{}

std::optional<std::string> Key::sign(std::string_view text) const
{
	if (!symmetric()) return std::nullopt;
	const MacContext mac(EVP_MAC_CTX_dup(mac_.get()));
	std::string signature(algorithm_->digest_bytes, '\0');
	size_t length = 0;
	if (!mac || EVP_MAC_update(mac.get(), bytes_of(text), text.size()) != 1 ||
	    EVP_MAC_final(mac.get(), reinterpret_cast<unsigned char*>(signature.data()), &length, signature.size()) != 1 ||
	    length != signature.size())
		throw std::bad_alloc();
	return signature;
}

bool Key::verifies(std::string_view text, std::string_view signature) const noexcept
{
	try {
		if (!symmetric()) return verifies_asymmetric(text, signature);
		const std::optional<std::string> right = sign(text);
		return right && signature.size() == right->size() &&
		       CRYPTO_memcmp(right->data(), signature.data(), right->size()) == 0;
	} catch (...) {
		return false;
	}
}

bool Key::verifies_asymmetric(std::string_view text, std::string_view signature) const noexcept
{
	std::string der;
	if (algorithm_->family == Family::ecdsa) {
		der = der_of(signature, algorithm_->coordinate_bytes);
		if (der.empty()) return false;
		signature = der;
	}
	const DigestContext context(EVP_MD_CTX_new());
	EVP_PKEY_CTX* details = nullptr;  // the context's own
	bool good = context && EVP_DigestVerifyInit_ex(context.get(), &details, algorithm_->digest, nullptr, nullptr,
	                                               key_.get(), nullptr) == 1;
	if (good && algorithm_->family == Family::rsa_pss)
		good = EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(details, RSA_PSS_SALTLEN_DIGEST) == 1;
	good = good &&
	       EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text), text.size()) == 1;
	// A wrong signature leaves an error behind, which must not be taken for somebody else's.
	ERR_clear_error();
	return good;
}

}  // namespace plank::token
