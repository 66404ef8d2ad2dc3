// Key files: what is read, what is passed over, and what is refused; kid chooses and never does anything else.
#include <gtest/gtest.h>

#include "tokens.hpp"

namespace plank::token {
namespace {

std::string refusal(const std::string& text)
{
	try {
		KeySet::parse(text);
	} catch (const BadKeys& bad) {
		return bad.what();
	}
	return "";
}

std::string secret_jwk(const std::string& more, const std::string& secret = kSecret)
{
	return R"({"kty":"oct","k":")" + encode_base64url(secret) + "\"" + more + "}";
}

TEST(PlainSecret, HasAtLeast32BytesAndOneAlgorithm)
{
	for (const char* text : {"", "\n", "  \r\n"})
		EXPECT_EQ(refusal(text), "it is empty");
	EXPECT_EQ(refusal(std::string(31, 'x')), "a secret has fewer than 32 bytes");
	EXPECT_EQ(refusal(std::string(31, 'x') + "\n"), "a secret has fewer than 32 bytes");
	const KeySet keys = KeySet::parse(std::string(32, 'x'));
	ASSERT_EQ(keys.keys().size(), 1u);
	EXPECT_EQ(keys.keys()[0].algorithm().name, "HS256");
	EXPECT_TRUE(keys.has_secret());
}

TEST(PlainSecret, LineFeedsAtItsEndAreTheEditors)
{
	const std::string bare(32, 'x');
	const KeySet keys = KeySet::parse(bare);
	EXPECT_TRUE(keys.contains(KeySet::parse(bare + "\n").keys()[0].fingerprint()));
	EXPECT_TRUE(keys.contains(KeySet::parse(bare + "\r\n").keys()[0].fingerprint()));
	EXPECT_FALSE(keys.contains(KeySet::parse(bare + " ").keys()[0].fingerprint()));
	EXPECT_EQ(KeySet::parse(std::string(32, '\0')).keys().size(), 1u);
}

TEST(Jwk, TheAlgorithmComesFromTheKey)
{
	const auto algorithm = [](const std::string& jwk) { return KeySet::parse(jwk).keys().at(0).algorithm().name; };
	EXPECT_EQ(algorithm(secret_jwk("")), "HS256");
	EXPECT_EQ(algorithm(secret_jwk(R"(,"alg":"HS512")", std::string(64, 's'))), "HS512");
	EXPECT_EQ(algorithm(kRfcRsaJwk), "RS256");
	const std::string rsa(kRfcRsaJwk);
	EXPECT_EQ(algorithm(rsa.substr(0, rsa.size() - 1) + R"(,"alg":"PS384"})"), "PS384");
	EXPECT_EQ(algorithm(kRfcP256Jwk), "ES256");
	EXPECT_EQ(algorithm(kRfcP521Jwk), "ES512");
	EXPECT_EQ(algorithm(kRfcEd25519Jwk), "EdDSA");
	EXPECT_EQ(refusal(secret_jwk(R"(,"alg":"RS256")")), "\"alg\" of a key does not fit its \"kty\"");
	EXPECT_EQ(refusal(rsa.substr(0, rsa.size() - 1) + R"(,"alg":"HS256"})"),
	          "\"alg\" of a key does not fit its \"kty\"");
	const std::string ec(kRfcP256Jwk);
	EXPECT_EQ(refusal(ec.substr(0, ec.size() - 1) + R"(,"alg":"ES512"})"), "\"alg\" of a key does not fit its \"crv\"");
}

TEST(Jwk, WeakOrBrokenKeysAreRefused)
{
	EXPECT_EQ(refusal(secret_jwk("", std::string(31, 's'))), "a secret for HS256 has fewer than 32 bytes");
	EXPECT_EQ(refusal(secret_jwk(R"(,"alg":"HS512")", std::string(63, 's'))),
	          "a secret for HS512 has fewer than 64 bytes");
	EXPECT_EQ(refusal(R"({"kty":"oct","k":""})"), "\"k\" of a key is missing or not base64url");
	EXPECT_EQ(refusal(R"({"kty":"oct"})"), "\"k\" of a key is missing or not base64url");
	EXPECT_EQ(refusal(R"({"kty":"oct","k":7})"), "\"k\" of a key is not a string");
	EXPECT_EQ(refusal(R"({"kty":"oct","k":"++++"})"), "\"k\" of a key is missing or not base64url");
	const std::string short_modulus = encode_base64url(std::string(128, '\xf1'));
	EXPECT_EQ(refusal(R"({"kty":"RSA","e":"AQAB","n":")" + short_modulus + "\"}"),
	          "an RSA key has not between 2048 and 8192 bits");
	EXPECT_NE(refusal(R"({"kty":"RSA","e":"AQAB","n":")" + encode_base64url(std::string(4096, '\xf1')) + "\"}"), "");
	const std::string modulus = encode_base64url(std::string(256, '\xf1'));
	for (const char* exponent : {"AQ", "Ag", "AA"})
		EXPECT_EQ(refusal(R"({"kty":"RSA","e":")" + std::string(exponent) + R"(","n":")" + modulus + "\"}"),
		          "an RSA key's exponent is not odd and above one");
	// Coordinates that are no point of the curve, or have another length.
	const std::string zeros = encode_base64url(std::string(32, '\0'));
	EXPECT_EQ(refusal(R"({"kty":"EC","crv":"P-256","x":")" + zeros + R"(","y":")" + zeros + "\"}"),
	          "a key is no valid EC key");
	EXPECT_EQ(refusal(R"({"kty":"EC","crv":"P-384","x":")" + zeros + R"(","y":")" + zeros + "\"}"),
	          "a coordinate of an EC key has not its curve's length");
	EXPECT_EQ(refusal(R"({"kty":"OKP","crv":"Ed25519","x":"AAAA"})"), "a key is no valid Ed25519 key");
}

TEST(Jwk, WhatIsNoKeyOrNoJsonIsRefused)
{
	for (const char* text :
	     {"{", "{}", R"({"kty":"oct","kty":"RSA"})", R"({"keys":{}})", R"({"keys":[]})", R"({"keys":[7]})",
	      R"({"kty":"oct","k":"AAAA","use":7})", "{\"kty\":\"oct\"} x", R"({"kty":"XYZ"})"})
		EXPECT_NE(refusal(text), "") << text;
	EXPECT_EQ(refusal(std::string(KeySet::kMostBytes + 1, 'x')), "it is larger than a megabyte");
	std::string many = R"({"keys":[)";
	for (int i = 0; i < 65; ++i)
		many += (i ? "," : "") + secret_jwk("");
	EXPECT_EQ(refusal(many + "]}"), "it holds more than 64 keys");
}

TEST(Jwks, KeysForOtherThingsArePassedOver)
{
	const std::string set = R"({"keys":[{"kty":"XYZ"},{"kty":"EC","crv":"secp256k1"},{"kty":"OKP","crv":"X25519"},)" +
	                        secret_jwk(R"(,"use":"enc")") + "," + secret_jwk(R"(,"key_ops":["encrypt"])") + "," +
	                        secret_jwk(R"(,"alg":"A128KW")") + "," +
	                        secret_jwk(R"(,"key_ops":["verify"],"use":"sig","kid":"good")") + "]}";
	const KeySet keys = KeySet::parse(set);
	ASSERT_EQ(keys.keys().size(), 1u);
	EXPECT_EQ(keys.keys()[0].kid(), "good");
	EXPECT_EQ(keys.passed_over(), 6u);
}

TEST(Kid, ChoosesTheKey)
{
	const KeySet keys = KeySet::parse(R"({"keys":[)" + secret_jwk(R"(,"kid":"a")") + "," +
	                                  secret_jwk(R"(,"kid":"b")", "another-secret-with-more-than-32-bytes") + "]}");
	const std::string claims = R"({"exp":1700000600})";
	const auto good = [&](const std::string& header) {
		return std::holds_alternative<Signed>(check_signature(token_of(keys, header, claims), keys));
	};
	EXPECT_TRUE(good(R"({"alg":"HS256","kid":"a"})"));
	EXPECT_TRUE(good(R"({"alg":"HS256"})"));
	// token_of signs with the first key.
	EXPECT_FALSE(good(R"({"alg":"HS256","kid":"b"})"));
	for (const char* kid :
	     {R"("")", R"("c")", R"("A")", R"("../../../../dev/null")", R"("/proc/sys/kernel/randomize_va_space")",
	      R"("x' UNION SELECT 'key")", "7", "null", "[]", R"({"a":1})"})
		EXPECT_FALSE(good(std::string(R"({"alg":"HS256","kid":)") + kid + "}")) << kid;
	// A key without a kid is tried for any.
	const KeySet plain = KeySet::parse(kSecret);
	EXPECT_TRUE(std::holds_alternative<Signed>(
	    check_signature(token_of(plain, R"({"alg":"HS256","kid":"any"})", claims), plain)));
}

TEST(Kid, FingerprintsTellKeysApartAndIgnoreIt)
{
	const auto fingerprint = [](const std::string& text) { return KeySet::parse(text).keys().at(0).fingerprint(); };
	EXPECT_EQ(fingerprint(secret_jwk(R"(,"kid":"a")")), fingerprint(kSecret));
	EXPECT_NE(fingerprint(secret_jwk("", std::string(64, 's'))),
	          fingerprint(secret_jwk(R"(,"alg":"HS512")", std::string(64, 's'))));
	EXPECT_NE(fingerprint(kRfcP256Jwk), fingerprint(kRfcEd25519Jwk));
}

TEST(Base64url, IsStrict)
{
	for (const std::string& bytes :
	     {std::string(), std::string("f"), std::string("fo"), std::string("foo"), std::string("\0\xff\xfe", 3)})
		EXPECT_EQ(decode_base64url(encode_base64url(bytes)), bytes);
	EXPECT_EQ(encode_base64url("\xfb\xff"), "-_8");
	for (const char* bad : {"A", "AAAAA", "AB", "AAB", "A=", "AA==", "A A", "AA\n", "+/AA", "\xc3\xa4"})
		EXPECT_EQ(decode_base64url(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace plank::token
