// See verifier.hpp.
#include "token/verifier.hpp"

#include <optional>
#include <utility>

#include "core/json.hpp"
#include "token/base64url.hpp"
#include "token/json.hpp"

namespace plank::token {

namespace {

constexpr size_t kLongestToken = 16 * 1024;  // as long as a request's head may be
constexpr size_t kLongestHeader = 4 * 1024;

struct Header {
	const Algorithm* algorithm = nullptr;
	std::optional<std::string> kid;
};

std::variant<Header, Refused> read_header(std::string_view encoded)
{
	const std::optional<std::string> text = encoded.size() <= kLongestHeader ? decode_base64url(encoded) : std::nullopt;
	const JsonPtr object = text ? parse_object(*text) : nullptr;
	if (!object) return Refused{"the token's header is not a JSON object, or has a member twice"};
	// RFC 7515 section 4.1.11: who does not understand an extension that is critical must refuse. None is understood, and
	// without it "b64" may not stand there either (RFC 7797 section 6).
	if (json_object_get(object.get(), "crit") || json_object_get(object.get(), "b64"))
		return Refused{"the token uses an extension that is not supported"};
	Header header;
	const json_t* alg = json_object_get(object.get(), "alg");
	header.algorithm = json_is_string(alg) ? algorithm_named(string_of(alg)) : nullptr;
	if (!header.algorithm) return Refused{"the token's algorithm is not supported"};
	if (const json_t* kid = json_object_get(object.get(), "kid")) {
		if (!json_is_string(kid)) return Refused{"the token's \"kid\" is not a string"};
		header.kid = std::string(string_of(kid));
	}
	return header;
}

}  // namespace

// A kid only chooses among the keys at hand: it is compared and never used for anything else.
std::variant<Signed, Refused> check_signature(std::string_view token, const KeySet& keys)
{
	if (token.size() > kLongestToken) return Refused{"the token is too long"};
	const size_t first = token.find('.'), last = token.rfind('.');
	if (first == std::string_view::npos || first == last || token.find('.', first + 1) != last)
		return Refused{"the token has not three parts"};
	const std::variant<Header, Refused> read = read_header(token.substr(0, first));
	if (const auto* refused = std::get_if<Refused>(&read)) return *refused;
	const Header& header = std::get<Header>(read);
	const std::optional<std::string> signature = decode_base64url(token.substr(last + 1));
	if (!signature || signature->empty()) return Refused{"the token is not signed"};

	bool tried = false;
	for (const Key& key : keys.keys()) {
		if (&key.algorithm() != header.algorithm) continue;
		if (header.kid && !key.kid().empty() && key.kid() != *header.kid) continue;
		tried = true;
		if (!key.verifies(token.substr(0, last), *signature)) continue;
		std::optional<std::string> payload = decode_base64url(token.substr(first + 1, last - first - 1));
		if (!payload) return Refused{"the token is not base64url"};
		return Signed{std::move(*payload), &key};
	}
	return Refused{tried ? "the token's signature is wrong" : "no key fits the token"};
}

std::string mint(const Key& key, std::string_view claims)
{
	std::string header = "{\"alg\":\"" + std::string(key.algorithm().name) + "\",\"typ\":\"JWT\"";
	if (!key.kid().empty()) {
		header += ",\"kid\":";
		core::append_json_string(header, key.kid());
	}
	header += '}';
	std::string token = encode_base64url(header) + '.' + encode_base64url(claims);
	const std::optional<std::string> signature = key.sign(token);
	if (!signature) throw BadKeys("a token can be minted with a secret only");
	return token + '.' + encode_base64url(*signature);
}

void Verifier::set_keys(KeySet keys)
{
	forget_all();
	keys_ = std::move(keys);
}

void Verifier::set_rules(Rules rules)
{
	forget_all();
	rules_ = std::move(rules);
}

Verdict Verifier::verify(std::string_view token, int64_t now)
{
	if (keys_.empty()) return Refused{"this server accepts no tokens"};
	if (token.size() > kLongestToken) return Refused{"the token is too long"};
	std::string digest = sha256(token);
	if (const auto found = by_digest_.find(digest); found != by_digest_.end()) {
		TokenPtr known = found->second->token;
		recent_.splice(recent_.begin(), recent_, found->second);
		if (is_over(known->claims.expires_at, now)) return Refused{"the token has expired"};
		return known;
	}
	std::variant<Signed, Refused> checked = check_signature(token, keys_);
	if (const auto* refused = std::get_if<Refused>(&checked)) return *refused;
	const Signed& signed_text = std::get<Signed>(checked);
	std::variant<Claims, Refused> read = read_claims(signed_text.payload, rules_, now);
	if (const auto* refused = std::get_if<Refused>(&read)) return *refused;
	auto good = std::make_shared<Token>();
	good->claims = std::move(std::get<Claims>(read));
	good->key = signed_text.key->fingerprint();
	remember(std::move(digest), good);
	return TokenPtr(std::move(good));
}

const char* Verifier::still_valid(const Token& token, int64_t now) const
{
	if (is_over(token.claims.expires_at, now)) return "the token has expired";
	if (!keys_.contains(token.key)) return "the key of the token is no longer valid";
	const std::variant<Claims, Refused> read = read_claims(token.claims.text, rules_, now);
	if (const auto* refused = std::get_if<Refused>(&read)) return refused->reason;
	return std::get<Claims>(read).role == token.claims.role ? nullptr : "the token's role is another now";
}

size_t Verifier::bytes_of(const Remembered& remembered) noexcept
{
	const Claims& claims = remembered.token->claims;
	return 256 + remembered.digest.size() + claims.role.size() + claims.text.size() + claims.identity.size();
}

void Verifier::remember(std::string&& digest, const TokenPtr& token)
{
	recent_.push_front({std::move(digest), token});
	by_digest_.emplace(recent_.front().digest, recent_.begin());
	bytes_ += bytes_of(recent_.front());
	while (recent_.size() > kMostRemembered || bytes_ > kMostRememberedBytes)
		forget_oldest();
}

void Verifier::forget_oldest()
{
	bytes_ -= bytes_of(recent_.back());
	by_digest_.erase(recent_.back().digest);
	recent_.pop_back();
}

void Verifier::forget_all() noexcept
{
	by_digest_.clear();
	recent_.clear();
	bytes_ = 0;
}

}  // namespace plank::token
