// Who clients are: verifies their tokens, keeps the keys, and asks the database whether a token's role may be used.
// Runs in the worker, outside network callbacks. Must never log a token, a claim or a key.
#pragma once

#include "core/identity.hpp"
#include "token/verifier.hpp"

#include <map>
#include <string>
#include <string_view>

#include "pg/roles.hpp"
#include "pg/small_file.hpp"

namespace plank::worker {

class Identities final : public core::Gate {
 public:
	// All workers read the same file: one of them is enough to tell of it.
	explicit Identities(bool tells_of_file) : tells_of_file_(tells_of_file) {}
	// Takes the settings and reads the key file again.
	void apply_settings();
	// Reads the key file again when it has changed.
	void look_at_key_file();
	// The role of clients without a token, in UTF-8, which is that of tokens that name none, too; empty: nobody's.
	void set_anonymous_role(const std::string& role);

	core::Admission admit(std::string_view token) override;

	// True once after something changed by which live clients are judged; a change of the catalog is told by note_catalog.
	bool must_judge_again() noexcept;
	void note_catalog() noexcept { judge_again_ = true; }
	// Why a client may be here no longer, or null. In a unit of work. Judge all before the loop goes on: verdicts on roles
	// are kept from one `begin_judging` to the next.
	void begin_judging() { known_roles_.clear(); }
	const char* judge(const core::Identity& identity);

 private:
	void read_keys(const std::string& path);
	void complain(const std::string& path, const std::string& detail);
	// Null when a token may have this role. plank.anonymous_role, which a token without a role gets, needs no grant.
	const char* judge_role(const std::string& role, bool from_token);
	void tell_role(const std::string& role, pg::RoleVerdict verdict);

	const bool tells_of_file_;
	token::Verifier verifier_;
	std::string key_file_;  // as last looked at
	pg::FileStamp stamp_;
	bool settled_ = false;  // the stamp would show a later write
	std::string trouble_;   // of the key file, as said last
	std::string warned_;    // the file that was said to be open to others
	std::string content_digest_;
	std::string authenticator_, anonymous_role_;
	bool judge_again_ = false;
	std::map<std::string, const char*> known_roles_;
	std::map<std::string, pg::RoleVerdict> told_roles_;
};

}  // namespace plank::worker
