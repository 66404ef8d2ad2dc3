// Becoming a client and becoming nobody again. Runs in the process that reads.
#include "snapshot/client_guise.hpp"

#include "pg/guard.hpp"

namespace plank::snapshot {

namespace {

constexpr const char* kClaims = "request.jwt.claims";
int known_placeholders = 0;

}  // namespace

ClientGuise::ClientGuise(Oid role, const std::string& claims)
{
	level_ = GetCurrentTransactionNestLevel();
	GetUserIdAndSecContext(&user_, &context_);
	session_user_ = GetSessionUserId();
	was_superuser_ = GetSessionUserIsSuperuser();
	try {
		pg::call([&] {
			if (RecoveryInProgress())
				settings_ = NewGUCNestLevel();
			else
				BeginInternalSubTransaction(nullptr);
			(void)set_config_option(kClaims, claims.c_str(), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
			                        false);
			SetSessionAuthorization(role, false);
			SetUserIdAndSecContext(role, context_ | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
		});
	} catch (...) {
		leave();
		throw;
	}
}

void ClientGuise::leave() noexcept
{
	// An error may have left others' subtransactions open in ours.
	try {
		pg::call([&] {
			while (GetCurrentTransactionNestLevel() > level_)
				RollbackAndReleaseCurrentSubTransaction();
			if (settings_ > 0) AtEOXact_GUC(false, settings_);
		});
	} catch (pg::Error& error) {
		error.release();
	}
	// The session's user may be changed where nothing is restricted.
	SetUserIdAndSecContext(user_, 0);
	try {
		pg::call([&] { SetSessionAuthorization(session_user_, was_superuser_); });
	} catch (pg::Error& error) {
		// Only the setting that shows it has failed, and that goes with the transaction.
		error.release();
	}
	SetUserIdAndSecContext(user_, context_);
}

void prepare_guises()
{
	SetConfigOption(kClaims, "", PGC_SUSET, PGC_S_OVERRIDE);
	known_placeholders = pg::count_placeholders();
}

bool forget_client()
{
	LockReleaseAll(USER_LOCKMETHOD, true);
	DropAllPreparedStatements();
	// Made for one role and its claims: a function that is immutable by name only is folded into them.
	ResetPlanCache();
	// A setting that somebody has thought up can be emptied, but it goes on existing.
	const int placeholders = pg::count_placeholders();
	if (placeholders > known_placeholders) return false;
	// Fewer, when a library has defined its own in the meantime.
	known_placeholders = placeholders;
	return true;
}

}  // namespace plank::snapshot
