// Tokens: the RFCs' examples are verified, and every way to forge or stretch one is refused.
#include <gtest/gtest.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "tokens.hpp"

namespace plank::token {
namespace {

constexpr const char* kHeader = R"({"alg":"HS256"})";

std::string payload_of(const char* jwk, std::string_view token)
{
	const KeySet keys = KeySet::parse(jwk);
	const auto checked = check_signature(token, keys);
	if (const auto* refused = std::get_if<Refused>(&checked)) return std::string("refused: ") + refused->reason;
	return std::get<Signed>(checked).payload;
}

// Why a token is refused at kNow; "" when it is not.
std::string refusal(Verifier& verifier, std::string_view token, int64_t now = kNow)
{
	const Verdict verdict = verifier.verify(token, now);
	const auto* refused = std::get_if<Refused>(&verdict);
	return refused ? refused->reason : "";
}

struct WithSecret : testing::Test {
	WithSecret() { verifier.set_keys(KeySet::parse(kSecret)); }
	std::string judged(std::string_view claims, std::string_view header = kHeader)
	{
		return refusal(verifier, token_of(verifier.keys(), header, claims));
	}
	Verifier verifier;
};

TEST(RfcVectors, AreVerified)
{
	EXPECT_EQ(payload_of(kRfcSecretJwk, kRfcHs256), kRfcClaims);
	EXPECT_EQ(payload_of(kRfcRsaJwk, kRfcRs256), kRfcClaims);
	EXPECT_EQ(payload_of(kRfcP256Jwk, kRfcEs256), kRfcClaims);
	EXPECT_EQ(payload_of(kRfcP521Jwk, kRfcEs512), "Payload");
	EXPECT_EQ(payload_of(kRfcEd25519Jwk, kRfcEdDsa), "Example of Ed25519 signing");
}

TEST(RfcVectors, ChangedByOneLetterAreRefused)
{
	const struct {
		const char *jwk, *token;
	} vectors[] = {{kRfcSecretJwk, kRfcHs256},
	               {kRfcRsaJwk, kRfcRs256},
	               {kRfcP256Jwk, kRfcEs256},
	               {kRfcP521Jwk, kRfcEs512},
	               {kRfcEd25519Jwk, kRfcEdDsa}};
	for (const auto& [jwk, token] : vectors) {
		const KeySet keys = KeySet::parse(jwk);
		for (size_t at = 0; token[at]; ++at) {
			std::string changed = token;
			changed[at] = changed[at] == 'A' ? 'B' : 'A';
			EXPECT_TRUE(std::holds_alternative<Refused>(check_signature(changed, keys))) << changed << " at " << at;
		}
	}
}

TEST(RfcVectors, AreRefusedWithAnotherKey)
{
	for (const char* jwk : {kRfcSecretJwk, kRfcRsaJwk, kRfcP256Jwk, kRfcP521Jwk, kRfcEd25519Jwk})
		for (const char* token : {kRfcHs256, kRfcRs256, kRfcEs256, kRfcEs512, kRfcEdDsa, kRfcUnsecured}) {
			const std::string payload = payload_of(jwk, token);
			const bool own = (jwk == kRfcSecretJwk && token == kRfcHs256) ||
			                 (jwk == kRfcRsaJwk && token == kRfcRs256) || (jwk == kRfcP256Jwk && token == kRfcEs256) ||
			                 (jwk == kRfcP521Jwk && token == kRfcEs512) ||
			                 (jwk == kRfcEd25519Jwk && token == kRfcEdDsa);
			EXPECT_EQ(payload.starts_with("refused"), !own) << jwk << ' ' << token;
		}
}

TEST(RfcVectors, TheExampleOfJwtIsValidUntilItsExp)
{
	Verifier verifier;
	verifier.set_keys(KeySet::parse(kRfcSecretJwk));
	EXPECT_EQ(refusal(verifier, kRfcHs256, kRfcTime - 1), "");
	EXPECT_EQ(refusal(verifier, kRfcHs256, kRfcTime + kClockSkew - 1), "");
	EXPECT_EQ(refusal(verifier, kRfcHs256, kRfcTime + kClockSkew), "the token has expired");
	EXPECT_EQ(refusal(verifier, kRfcUnsecured, kRfcTime - 1), "the token's algorithm is not supported");
}

TEST_F(WithSecret, AGoodTokenGivesRoleClaimsAndExpiry)
{
	const std::string claims = R"({"role":"web","sub":"7","exp":1700000600})";
	const Verdict verdict = verifier.verify(token_of(verifier.keys(), kHeader, claims), kNow);
	const TokenPtr token = std::get<TokenPtr>(verdict);
	EXPECT_EQ(token->claims.role, "web");
	EXPECT_EQ(token->claims.text, claims);
	EXPECT_EQ(token->claims.expires_at, 1700000600);
	EXPECT_TRUE(verifier.keys().contains(token->key));
}

TEST_F(WithSecret, TheAlgorithmIsTheKeysNotTheTokens)
{
	const std::string claims = R"({"exp":1700000600})";
	for (const char* alg : {"none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"})
		EXPECT_NE(judged(claims, std::string(R"({"alg":")") + alg + "\"}"), "") << alg;
	for (const char* header : {R"({})", R"({"alg":null})", R"({"alg":["HS256"]})", R"({"alg":"HS256","alg":"none"})",
	                           R"({"alg":"none","alg":"HS256"})", R"([])", "", "HS256"})
		EXPECT_NE(judged(claims, header), "") << header;
	EXPECT_EQ(judged(claims), "");
}

// Who has the public key must not be able to sign with its text: there is no secret in the set at all.
TEST(Forgery, AnRsaPublicKeyIsNoSecret)
{
	const KeySet rsa = KeySet::parse(kRfcRsaJwk);
	for (const std::string& secret :
	     {std::string(kRfcRsaJwk), std::string("-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG")}) {
		const Key forged(*algorithm_named("HS256"), "", secret);
		EXPECT_TRUE(std::holds_alternative<Refused>(check_signature(mint(forged, R"({"exp":1700000600})"), rsa)));
	}
	EXPECT_THROW(KeySet::parse("-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n"), BadKeys);
	EXPECT_THROW(KeySet::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIbn9ZoOskNOGlyjG1Kl me@example.com"), BadKeys);
	const std::string pem = encode_base64url("-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAA");
	EXPECT_THROW(KeySet::parse(R"({"kty":"oct","k":")" + pem + "\"}"), BadKeys);
}

TEST_F(WithSecret, PartsMustBeThreeAndStrictBase64url)
{
	const std::string good = token_of(verifier.keys(), kHeader, R"({"exp":1700000600})");
	EXPECT_EQ(refusal(verifier, good), "");
	const size_t last = good.rfind('.');
	for (const std::string& bad :
	     {std::string(), std::string("."), std::string(".."), std::string("..."), good + ".", "." + good, good + "=",
	      good + " ", good + "\n", " " + good, good.substr(0, last), good.substr(0, last + 1), good + ".e30.e30",
	      good.substr(0, good.find('.')), std::string(20000, 'a')})
		EXPECT_NE(refusal(verifier, bad), "") << bad.substr(0, 300);
	// 32 bytes end in a letter of which two bits say nothing: they must be zero.
	std::string other = good;
	const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	other.back() = letters[letters.find(other.back()) + 1];
	EXPECT_EQ(refusal(verifier, other), "the token is not signed");
}

TEST_F(WithSecret, ExtensionsThatAreCriticalAreRefused)
{
	const std::string claims = R"({"exp":1700000600})";
	for (const char* header : {R"({"alg":"HS256","crit":["exp"]})", R"({"alg":"HS256","crit":[]})",
	                           R"({"alg":"HS256","crit":null})", R"({"alg":"HS256","b64":false})"})
		EXPECT_EQ(judged(claims, header), "the token uses an extension that is not supported") << header;
	EXPECT_EQ(judged(claims, R"({"alg":"HS256","typ":"at+jwt","jku":"http://evil.example/keys","unknown":{}})"), "");
}

TEST_F(WithSecret, ExpMustBeATimeInSeconds)
{
	EXPECT_EQ(judged("{}"), "the token has no \"exp\"");
	for (const char* exp :
	     {R"("1700000600")", "null", "true", "[]", "{}", "-1", "1700000600000", "1e300", "9223372036854775807"})
		EXPECT_EQ(judged(std::string(R"({"exp":)") + exp + "}"), "the token's \"exp\" is not a time in seconds") << exp;
	EXPECT_NE(judged(R"({"exp":99999999999999999999})"), "");
	EXPECT_NE(judged(R"({"exp":NaN})"), "");
	// A NumericDate may have a fraction, which ends no later than its whole second.
	EXPECT_EQ(judged(R"({"exp":1700000600.5})"), "");
	EXPECT_EQ(judged(R"({"exp":1.7000006e9})"), "");
	EXPECT_EQ(judged(R"({"exp":1699999970.9})"), "the token has expired");
	EXPECT_EQ(judged(R"({"exp":1699999971})"), "");
	EXPECT_EQ(judged(R"({"exp":1699999970})"), "the token has expired");
	EXPECT_EQ(judged(R"({"exp":0})"), "the token has expired");
}

TEST_F(WithSecret, NbfAndIatHaveTheSameSkew)
{
	EXPECT_EQ(judged(R"({"exp":1700000600,"nbf":1700000030})"), "");
	EXPECT_EQ(judged(R"({"exp":1700000600,"nbf":1700000031})"), "the token is not valid yet");
	EXPECT_EQ(judged(R"({"exp":1700000600,"nbf":"1"})"), "the token's \"nbf\" is not a time in seconds");
	EXPECT_EQ(judged(R"({"exp":1700000600,"iat":1700000030})"), "");
	EXPECT_EQ(judged(R"({"exp":1700000600,"iat":1700000031})"), "the token was issued in the future");
	EXPECT_EQ(judged(R"({"exp":1700000600,"iat":[]})"), "the token's \"iat\" is not a time in seconds");
}

TEST_F(WithSecret, ClaimsWithDuplicatesOrThatAreNoObjectAreRefused)
{
	for (const char* claims : {R"({"exp":1700000600,"exp":1700000600})", R"({"role":"a","exp":1700000600,"role":"b"})",
	                           R"({"exp":1700000600,"x":{"y":1,"y":2}})", "[]", "7", "null", "", R"({"exp":1700000600)",
	                           "\xff", R"({"exp":1700000600,"x":"\ud800"})", R"({"exp":1700000600} {})"})
		EXPECT_EQ(judged(claims), "the token's claims are not a JSON object, or have a member twice") << claims;
}

TEST_F(WithSecret, TheAudienceMustBeNamedWhenOneIsSet)
{
	EXPECT_EQ(judged(R"({"exp":1700000600,"aud":"other"})"), "");
	EXPECT_EQ(judged(R"({"exp":1700000600,"aud":7})"), "");
	verifier.set_rules({"plank", "role"});
	EXPECT_EQ(judged(R"({"exp":1700000600,"aud":"plank"})"), "");
	EXPECT_EQ(judged(R"({"exp":1700000600,"aud":["other","plank"]})"), "");
	for (const char* aud :
	     {R"("other")", R"("plank2")", R"("")", "[]", R"(["other"])", "7", "null", R"({"plank":1})", R"([["plank"]])"})
		EXPECT_EQ(judged(std::string(R"({"exp":1700000600,"aud":)") + aud + "}"), "the token is for another audience")
		    << aud;
	EXPECT_EQ(judged(R"({"exp":1700000600})"), "the token is for another audience");
}

TEST_F(WithSecret, TheRoleIsInTheClaimThatTheRulesName)
{
	for (const char* role : {"7", "[]", "{}", "true", R"("")", R"(["web"])"})
		EXPECT_EQ(judged(std::string(R"({"exp":1700000600,"role":)") + role + "}"), "the token's role is not a name")
		    << role;
	verifier.set_rules({"", "https://example.com/role"});
	const std::string token =
	    token_of(verifier.keys(), kHeader, R"({"exp":1700000600,"role":"web","https://example.com/role":"team"})");
	EXPECT_EQ(std::get<TokenPtr>(verifier.verify(token, kNow))->claims.role, "team");
	const std::string without = token_of(verifier.keys(), kHeader, R"({"exp":1700000600,"role":"web"})");
	EXPECT_EQ(std::get<TokenPtr>(verifier.verify(without, kNow))->claims.role, "");
}

TEST(Identity, LeavesOutWhatChangesAtEachRenewalAndNothingElse)
{
	const auto identity = [](std::string_view claims) {
		return std::get<Claims>(read_claims(claims, {}, kNow)).identity;
	};
	const std::string one = identity(R"({"sub":"7","exp":1700000600,"iat":1,"nbf":2,"jti":"x","role":"web"})");
	EXPECT_EQ(one, R"({"role":"web","sub":"7"})");
	EXPECT_EQ(identity(" {\n\"role\" : \"web\",\t\"exp\":1700009999, \"sub\":\r\n\"7\" , \"jti\" : {\"a\":[1,2]} }\n"),
	          one);
	EXPECT_NE(identity(R"({"sub":"8","exp":1700000600,"role":"web"})"), one);
	EXPECT_NE(identity(R"({"sub":7,"exp":1700000600,"role":"web"})"), one);
	EXPECT_EQ(identity(R"({"exp":1700000600})"), "{}");
	// White space within strings is kept, brackets and quotes in them are nothing special.
	EXPECT_EQ(identity(R"({"exp":1700000600,"a":"x , ]}{\" y\\","b":[ 1 , {"c" : "d e"} ]})"),
	          R"({"a":"x , ]}{\" y\\","b":[1,{"c":"d e"}]})");
	// Equal as doubles, and different for PostgreSQL's numeric.
	EXPECT_NE(identity(R"({"exp":1700000600,"n":0.1})"), identity(R"({"exp":1700000600,"n":0.10000000000000000001})"));
	// A nested exp is somebody's data.
	EXPECT_NE(identity(R"({"exp":1700000600,"a":{"exp":1}})"), identity(R"({"exp":1700000600,"a":{"exp":2}})"));
}

TEST(Verifier, RemembersAndForgets)
{
	Verifier verifier;
	EXPECT_EQ(refusal(verifier, kRfcHs256), "this server accepts no tokens");
	verifier.set_keys(KeySet::parse(kSecret));
	const std::string token = token_of(verifier.keys(), kHeader, R"({"exp":1700000600})");
	const TokenPtr first = std::get<TokenPtr>(verifier.verify(token, kNow));
	EXPECT_EQ(std::get<TokenPtr>(verifier.verify(token, kNow)), first);
	EXPECT_EQ(verifier.remembered(), 1u);
	// Nothing is believed because it was believed before.
	EXPECT_EQ(refusal(verifier, token, 1700000630), "the token has expired");
	verifier.set_rules({"plank", "role"});
	EXPECT_EQ(refusal(verifier, token), "the token is for another audience");
	verifier.set_rules({});
	EXPECT_EQ(refusal(verifier, token), "");
	verifier.set_keys(KeySet::parse("another-secret-with-more-than-32-bytes"));
	EXPECT_EQ(refusal(verifier, token), "the token's signature is wrong");
	EXPECT_EQ(verifier.remembered(), 0u);
}

TEST(Verifier, RemembersNoMoreThanItMay)
{
	Verifier verifier;
	verifier.set_keys(KeySet::parse(kSecret));
	for (size_t i = 0; i < Verifier::kMostRemembered + 100; ++i)
		EXPECT_EQ(refusal(verifier,
		                  token_of(verifier.keys(), kHeader, "{\"exp\":1700000600,\"sub\":" + std::to_string(i) + "}")),
		          "");
	EXPECT_EQ(verifier.remembered(), Verifier::kMostRemembered);
	const std::string padding(11000, 'x');
	for (size_t i = 0; i < 1000; ++i)
		EXPECT_EQ(refusal(verifier,
		                  token_of(verifier.keys(), kHeader,
		                           "{\"exp\":1700000600,\"p\":\"" + padding + "\",\"sub\":" + std::to_string(i) + "}")),
		          "");
	EXPECT_LT(verifier.remembered(), 500u);
}

TEST(Verifier, JudgesLiveTokensByTodaysKeysAndRules)
{
	Verifier verifier;
	verifier.set_keys(KeySet::parse(kSecret));
	const TokenPtr token = std::get<TokenPtr>(
	    verifier.verify(token_of(verifier.keys(), kHeader, R"({"exp":1700000600,"role":"web","aud":"a"})"), kNow));
	EXPECT_EQ(verifier.still_valid(*token, kNow), nullptr);
	EXPECT_STREQ(verifier.still_valid(*token, 1700000630), "the token has expired");
	verifier.set_rules({"b", "role"});
	EXPECT_STREQ(verifier.still_valid(*token, kNow), "the token is for another audience");
	verifier.set_rules({"", "sub"});
	EXPECT_STREQ(verifier.still_valid(*token, kNow), "the token's role is another now");
	verifier.set_rules({"a", "role"});
	EXPECT_EQ(verifier.still_valid(*token, kNow), nullptr);
	// The same secret in another form is the same key.
	verifier.set_keys(KeySet::parse(R"({"keys":[{"kty":"oct","kid":"k","k":")" + encode_base64url(kSecret) + "\"}]}"));
	EXPECT_EQ(verifier.still_valid(*token, kNow), nullptr);
	verifier.set_keys(KeySet::parse(kRfcRsaJwk));
	EXPECT_STREQ(verifier.still_valid(*token, kNow), "the key of the token is no longer valid");
}

// No RFC has vectors for these: made here with OpenSSL's own signing.
TEST(Algorithms, EveryRsaPssAndEcdsaVariantIsVerified)
{
	const auto sign = [](EVP_PKEY* key, const Algorithm& algorithm, const std::string& text) {
		EVP_MD_CTX* context = EVP_MD_CTX_new();
		EVP_PKEY_CTX* details = nullptr;
		EXPECT_EQ(EVP_DigestSignInit_ex(context, &details, algorithm.digest, nullptr, nullptr, key, nullptr), 1);
		if (algorithm.family == Family::rsa_pss) {
			EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING);
			EVP_PKEY_CTX_set_rsa_pss_saltlen(details, RSA_PSS_SALTLEN_DIGEST);
		}
		size_t length = 0;
		EVP_DigestSign(context, nullptr, &length, reinterpret_cast<const unsigned char*>(text.data()), text.size());
		std::string signature(length, '\0');
		EXPECT_EQ(EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &length,
		                         reinterpret_cast<const unsigned char*>(text.data()), text.size()),
		          1);
		signature.resize(length);
		EVP_MD_CTX_free(context);
		return signature;
	};
	const PublicKey rsa(EVP_RSA_gen(2048));
	for (const char* name : {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}) {
		const Algorithm& algorithm = *algorithm_named(name);
		EVP_PKEY_up_ref(rsa.get());
		const Key key(algorithm, "", PublicKey(rsa.get()), "material");
		const std::string signature = sign(rsa.get(), algorithm, "text");
		EXPECT_TRUE(key.verifies("text", signature)) << name;
		EXPECT_FALSE(key.verifies("texts", signature)) << name;
		for (const char* other : {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}) {
			if (other == std::string_view(name)) continue;
			EXPECT_FALSE(key.verifies("text", sign(rsa.get(), *algorithm_named(other), "text"))) << name << other;
		}
	}
	const PublicKey p384(EVP_EC_gen("P-384"));
	EVP_PKEY_up_ref(p384.get());
	const Key key(*algorithm_named("ES384"), "", PublicKey(p384.get()), "material");
	// DER is what OpenSSL gives, and not what a token may hold.
	EXPECT_FALSE(key.verifies("text", sign(p384.get(), key.algorithm(), "text")));
	EXPECT_FALSE(key.verifies("text", std::string(96, '\0')));
	EXPECT_FALSE(key.verifies("text", ""));
}

TEST(Algorithms, EveryHmacVariantIsMintedAndVerified)
{
	for (const char* name : {"HS256", "HS384", "HS512"}) {
		const KeySet keys = KeySet::parse(R"({"kty":"oct","alg":")" + std::string(name) + R"(","kid":"a\"b","k":")" +
		                                  encode_base64url(std::string(64, 'k')) + "\"}");
		const std::string token = mint(*keys.signing_key(), R"({"exp":1700000600})");
		EXPECT_EQ(std::get<Signed>(check_signature(token, keys)).payload, R"({"exp":1700000600})") << name;
	}
	EXPECT_EQ(KeySet::parse(kRfcRsaJwk).signing_key(), nullptr);
	EXPECT_THROW((void)mint(KeySet::parse(kRfcRsaJwk).keys().front(), "{}"), BadKeys);
}

}  // namespace
}  // namespace plank::token
