// See identity.hpp.
#include "worker/identity.hpp"

#include <openssl/crypto.h>
#include <utility>

#include "pg/encoding.hpp"
#include "pg/process.hpp"
#include "pg/settings.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

constexpr int64_t kMicroseconds = 1'000'000;
constexpr int64_t kPostgresEpoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * int64_t{SECS_PER_DAY};
// Roles whose refusal was logged; a token's maker could think up more.
constexpr size_t kToldRoles = 100;
constexpr const char* kRoleRefused = "the token's role may not be used";

int64_t unix_now() noexcept { return GetCurrentTimestamp() / kMicroseconds + kPostgresEpoch; }

const char* words_for(pg::RoleVerdict verdict)
{
	switch (verdict) {
		case pg::RoleVerdict::usable:
			return "";
		case pg::RoleVerdict::absent:
			return "it does not exist";
		case pg::RoleVerdict::superuser:
			return "it is a superuser";
		case pg::RoleVerdict::bypasses_row_security:
			return "it bypasses row security";
		case pg::RoleVerdict::predefined:
			return "its name is reserved";
		case pg::RoleVerdict::not_granted:
			return "it is not granted to plank.authenticator";
		case pg::RoleVerdict::no_authenticator:
			return "the role in plank.authenticator does not exist";
	}
	return "";
}

}  // namespace

void Identities::apply_settings()
{
	token::Rules rules{pg::to_utf8(pg::Settings::jwt_audience), pg::to_utf8(pg::Settings::jwt_role_claim)};
	if (rules != verifier_.rules()) {
		verifier_.set_rules(std::move(rules));
		judge_again_ = true;
	}
	if (authenticator_ != pg::Settings::authenticator) {
		authenticator_ = pg::Settings::authenticator;
		told_roles_.clear();
		judge_again_ = true;
	}
	settled_ = false;
	look_at_key_file();
}

void Identities::look_at_key_file()
{
	const std::string path = pg::Settings::jwt_key_file;
	const pg::FileStamp stamp = pg::stamp_of(path);
	if (settled_ && path == key_file_ && stamp == stamp_) return;
	key_file_ = path;
	stamp_ = stamp;
	// A file that was just written may be written again without a sign: it is read once more a little later.
	settled_ = stamp.settled();
	read_keys(path);
}

void Identities::read_keys(const std::string& path)
{
	if (path.empty()) {
		trouble_.clear();
		content_digest_.clear();
		if (verifier_.keys().empty()) return;
		verifier_.set_keys({});
		judge_again_ = true;
		return;
	}
	pg::SmallFile file = pg::read_small_file(path, token::KeySet::kMostBytes);
	// Whatever was written since the look may have been read in part: the next look reads it again.
	if (pg::stamp_of(path) != stamp_) settled_ = false;
	std::string trouble = file.error;
	std::string digest;
	if (trouble.empty()) digest = token::sha256(file.content);
	if (trouble.empty() && digest != content_digest_) {
		try {
			token::KeySet keys = token::KeySet::parse(file.content);
			const bool others = file.open_to_others && keys.has_secret();
			if (others && warned_ != path)
				pg::log_line(tells_of_file_ ? WARNING : DEBUG1,
				             ("key file \"" + path + "\" can be read by everybody on this machine").c_str(),
				             "It holds a secret with which tokens can be made.",
				             "Take the permission to read it from others: chmod o-r.");
			warned_ = others ? path : "";
			const bool first = verifier_.keys().empty();
			verifier_.set_keys(std::move(keys));
			content_digest_ = digest;
			judge_again_ = true;
			if (!first) pg::log_line(tells_of_file_ ? LOG : DEBUG1, "the keys for tokens have been read again");
		} catch (const token::BadKeys& bad) {
			trouble = bad.what();
		}
	}
	OPENSSL_cleanse(file.content.data(), file.content.size());
	// A file may be looked at while it is being written, which is worth no line.
	if (!trouble.empty() && !settled_) return;
	if (!trouble.empty() && trouble != trouble_) complain(path, trouble);
	trouble_ = trouble;
}

void Identities::complain(const std::string& path, const std::string& detail)
{
	const char* kept = verifier_.keys().empty() ? "No token is accepted until it can be used."
	                                            : "The keys that were read before stay in force.";
	pg::log_line(
	    tells_of_file_ ? WARNING : DEBUG1, ("key file \"" + path + "\" cannot be used: " + detail).c_str(), kept,
	    "Put a secret of at least 32 bytes, a JWK or a JWKS into the file that plank.jwt_key_file names, and let "
	    "the server's user read it.");
}

void Identities::set_anonymous_role(const std::string& role)
{
	if (role == anonymous_role_) return;
	anonymous_role_ = role;
	judge_again_ = true;
}

core::Admission Identities::admit(std::string_view token)
{
	const token::Verdict verdict = verifier_.verify(token, unix_now());
	if (const auto* refused = std::get_if<token::Refused>(&verdict))
		return {nullptr, refused->reason,
		        verifier_.keys().empty() ? "The server's plank.jwt_key_file names the keys of tokens." : ""};
	const token::TokenPtr& good = std::get<token::TokenPtr>(verdict);
	const token::Claims& claims = good->claims;
	auto identity = std::make_shared<core::Identity>();
	identity->role = claims.role.empty() ? anonymous_role_ : claims.role;
	if (identity->role.empty())
		return {nullptr, "the token names no role", "The server's plank.jwt_role_claim says where."};
	if (!pg::in_unit()) pg::begin_unit("plank: answering clients");
	if (const char* why = judge_role(identity->role, !claims.role.empty())) return {nullptr, why, ""};
	identity->claims = claims.text;
	core::append_counted(identity->key, identity->role);
	identity->key += token::sha256(claims.identity);
	identity->expires_at = (claims.expires_at - kPostgresEpoch) * kMicroseconds;
	identity->ends_at = identity->expires_at + token::kClockSkew * kMicroseconds;
	identity->token = good;
	return {std::move(identity), "", ""};
}

bool Identities::must_judge_again() noexcept { return std::exchange(judge_again_, false); }

const char* Identities::judge(const core::Identity& identity)
{
	const auto* token = static_cast<const token::Token*>(identity.token.get());
	// Those without a token are judged with plank.anonymous_role.
	if (!token) return nullptr;
	if (const char* why = verifier_.still_valid(*token, unix_now())) return why;
	if (token->claims.role.empty()) return identity.role == anonymous_role_ ? nullptr : kRoleRefused;
	const auto known = known_roles_.find(identity.role);
	if (known != known_roles_.end()) return known->second;
	return known_roles_[identity.role] = judge_role(identity.role, true);
}

// One answer for all roles that may not be used: it must not tell which exist.
const char* Identities::judge_role(const std::string& role, bool from_token)
{
	pg::RoleVerdict verdict = pg::RoleVerdict::absent;
	try {
		verdict = pg::judge_token_role(pg::from_utf8(role).c_str(), from_token ? authenticator_.c_str() : "");
	} catch (pg::Error& error) {
		// A name that the database's encoding cannot hold is no role's name; anything else is not the client's fault.
		if (error.sqlstate() != ERRCODE_UNTRANSLATABLE_CHARACTER) throw;
		error.release();
		pg::abort_unit();
		pg::begin_unit("plank: answering clients");
	}
	tell_role(role, verdict);
	return verdict == pg::RoleVerdict::usable ? nullptr : kRoleRefused;
}

void Identities::tell_role(const std::string& role, pg::RoleVerdict verdict)
{
	const auto told = told_roles_.find(role);
	if (verdict == pg::RoleVerdict::usable) {
		if (told != told_roles_.end()) told_roles_.erase(told);
		return;
	}
	if (told != told_roles_.end() && told->second == verdict) return;
	if (told_roles_.size() >= kToldRoles) return;
	told_roles_[role] = verdict;
	pg::log_line(
	    LOG, ("tokens with the role \"" + role + "\" are refused: " + words_for(verdict)).c_str(), nullptr,
	    "Tokens may have an ordinary role, which must be granted to the one in plank.authenticator when that is "
	    "set.");
}

}  // namespace plank::worker
