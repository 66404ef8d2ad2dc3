// See claims.hpp.
#include "token/claims.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "token/json.hpp"

namespace plank::token {

namespace {

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// One past the string that begins at `at`. The text has been read as JSON before.
size_t skip_string(std::string_view text, size_t at) noexcept
{
	for (++at; at < text.size() && text[at] != '"'; ++at)
		at += text[at] == '\\';
	return std::min(at + 1, text.size());
}

// Appends the text of one value without the white space between its tokens; returns where it ends.
size_t copy_value(std::string_view text, size_t at, std::string& out)
{
	int depth = 0;
	while (at < text.size()) {
		const char c = text[at];
		if (c == '"') {
			const size_t end = skip_string(text, at);
			out.append(text.substr(at, end - at));
			at = end;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		if (!is_space(c)) out += c;
		++at;
	}
	return at;
}

// The members of a JSON object that was read before, as they are written, but for those that change from one token of a
// client to the next.
std::string identity_of(std::string_view text)
{
	std::vector<std::pair<std::string_view, std::string>> members;
	size_t at = text.find('{') + 1;
	while (at < text.size()) {
		if (text[at] == '}') break;
		if (text[at] != '"') {
			++at;
			continue;
		}
		const size_t end = skip_string(text, at);
		const std::string_view name = text.substr(at, end - at);
		std::string value;
		at = copy_value(text, text.find(':', end) + 1, value);
		if (name == "\"exp\"" || name == "\"iat\"" || name == "\"nbf\"" || name == "\"jti\"") continue;
		members.emplace_back(name, std::move(value));
	}
	std::sort(members.begin(), members.end());
	std::string identity = "{";
	for (const auto& [name, value] : members) {
		if (identity.size() > 1) identity += ',';
		identity.append(name).append(":").append(value);
	}
	return identity += '}';
}

// A NumericDate (RFC 7519 section 2), which may have a fraction: its whole seconds. Nothing when it is something else.
std::optional<int64_t> time_of(const json_t* value) noexcept
{
	if (json_is_integer(value)) {
		const int64_t seconds = json_integer_value(value);
		if (seconds >= 0 && seconds <= kLatestTime) return seconds;
	} else if (json_is_real(value)) {
		const double seconds = std::floor(json_real_value(value));
		if (seconds >= 0 && seconds <= static_cast<double>(kLatestTime)) return static_cast<int64_t>(seconds);
	}
	return std::nullopt;
}

// Null when the times allow the token now.
const char* judge_times(const json_t* claims, int64_t now, int64_t& expires_at) noexcept
{
	const json_t* exp = json_object_get(claims, "exp");
	if (!exp) return "the token has no \"exp\"";
	const std::optional<int64_t> expiry = time_of(exp);
	if (!expiry) return "the token's \"exp\" is not a time in seconds";
	expires_at = *expiry;
	if (is_over(expires_at, now)) return "the token has expired";
	if (const json_t* nbf = json_object_get(claims, "nbf")) {
		const std::optional<int64_t> start = time_of(nbf);
		if (!start) return "the token's \"nbf\" is not a time in seconds";
		if (*start > now + kClockSkew) return "the token is not valid yet";
	}
	if (const json_t* iat = json_object_get(claims, "iat")) {
		const std::optional<int64_t> issued = time_of(iat);
		if (!issued) return "the token's \"iat\" is not a time in seconds";
		if (*issued > now + kClockSkew) return "the token was issued in the future";
	}
	return nullptr;
}

bool is_for(const json_t* aud, std::string_view audience) noexcept
{
	if (json_is_string(aud)) return string_of(aud) == audience;
	for (size_t i = 0; i < json_array_size(aud); ++i) {
		const json_t* each = json_array_get(aud, i);
		if (json_is_string(each) && string_of(each) == audience) return true;
	}
	return false;
}

}  // namespace

std::variant<Claims, Refused> read_claims(std::string_view text, const Rules& rules, int64_t now)
{
	const JsonPtr object = parse_object(text);
	if (!object) return Refused{"the token's claims are not a JSON object, or have a member twice"};
	Claims claims;
	if (const char* why = judge_times(object.get(), now, claims.expires_at)) return Refused{why};
	if (!rules.audience.empty() && !is_for(json_object_get(object.get(), "aud"), rules.audience))
		return Refused{"the token is for another audience"};
	if (const json_t* role = json_object_get(object.get(), rules.role_claim.c_str()); role && !json_is_null(role)) {
		if (!json_is_string(role) || json_string_length(role) == 0) return Refused{"the token's role is not a name"};
		claims.role = string_of(role);
	}
	claims.text = text;
	claims.identity = identity_of(text);
	return claims;
}

std::variant<std::string, Refused> with_times(std::string_view text, int64_t issued_at, int64_t expires_at)
{
	const JsonPtr object = parse_object(text);
	if (!object) return Refused{"claims must be a JSON object whose numbers can be read"};
	if (json_object_get(object.get(), "iat") || json_object_get(object.get(), "exp"))
		return Refused{"claims must not have \"iat\" or \"exp\", which ttl decides"};
	std::string timed = "{\"iat\": " + std::to_string(issued_at) + ", \"exp\": " + std::to_string(expires_at);
	if (json_object_size(object.get()) > 0) timed += ", ";
	return timed.append(text.substr(text.find('{') + 1));
}

}  // namespace plank::token
