// Opening and closing the surroundings of filters. Runs in the worker.
#include "worker/filter_unit.hpp"

#include <cstring>
#include <utility>

#include "pg/expression.hpp"
#include "pg/guard.hpp"
#include "pg/unit_of_work.hpp"
#include "pg/wal_history.hpp"

namespace plank::worker {

namespace {

// What a condition's text and a value's text mean must not depend on who set what, so these are protocol rule 8's.
constexpr struct {
	const char* name;
	const char* value;
} kSettings[] = {
    {"search_path", "pg_catalog"},
    {"DateStyle", "ISO, MDY"},
    {"IntervalStyle", "postgres"},
    {"TimeZone", "UTC"},
    {"lc_monetary", "C"},
    // What is locked is asked for again, between turns.
    {"lock_timeout", "20"},
    {"extra_float_digits", "1"},
    {"bytea_output", "hex"},
    {"array_nulls", "on"},
    {"standard_conforming_strings", "on"},
    {"backslash_quote", "safe_encoding"},
    {"escape_string_warning", "off"},
    {"transform_null_equals", "off"},
    {"quote_all_identifiers", "off"},
    {"row_security", "on"},
};

constexpr const char* kClaims = "request.jwt.claims";
constexpr const char* kCallers = "plank: answering clients";

void set(const char* name, const char* value)
{
	(void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void pin_settings()
{
	for (const auto& setting : kSettings) {
		const char* const now = GetConfigOption(setting.name, false, false);
		if (!now || strcmp(now, setting.value) != 0) set(setting.name, setting.value);
	}
}

}  // namespace

void FilterUnit::open(const FilterLimits& limits, MemoryContext scratch)
{
	scratch_ = scratch;
	whole_ = needs_whole_unit();
	own_ = whole_ || !IsTransactionState();
	GetUserIdAndSecContext(&former_user_, &former_context_);
	session_ = former_session_ = GetSessionUserId();
	was_superuser_ = GetSessionUserIsSuperuser();
	former_role_ = GetCurrentRoleId();
	open_ = true;
	try {
		if (pg::in_unit() && whole_) {
			pg::commit_unit();
			interrupted_ = true;
		}
		former_memory_ = CurrentMemoryContext;
		begin();
		pg::call([&] { filter_timer::start(limits, scratch); });
	} catch (...) {
		roll_back();
		throw;
	}
}

// Replay on a standby may want what is held here. Where PostgreSQL is in a subtransaction at that moment it ends the
// process, so there what runs has a unit to itself, and the caller's ends before and begins anew behind.
bool FilterUnit::needs_whole_unit() { return (pg::in_unit() || !IsTransactionState()) && pg::in_recovery(); }

void FilterUnit::begin()
{
	// A conflict that came too late for the unit before.
	if (whole_) pg::check_interrupts();
	if (own_) pg::begin_unit("plank: evaluating filters");
	former_owner_ = CurrentResourceOwner;
	user_ = InvalidOid;
	pg::call([&] {
		nest_level_ = NewGUCNestLevel();
		pin_settings();
		become(former_user_);
		enter();
		MemoryContextSwitchTo(scratch_);
	});
}

// Into a subtransaction, but for a standby. Whatever a policy calls writes nothing. May ereport.
void FilterUnit::enter()
{
	if (!whole_) {
		BeginInternalSubTransaction(nullptr);
		inside_ = true;
	}
	XactReadOnly = true;
	user_ = former_user_;
	for_nobody_ = true;
}

void FilterUnit::speak_for(const char* claims)
{
	if (for_nobody_) {
		for_nobody_ = false;
		claims_.clear();
		set("search_path", GetConfigOptionResetString("search_path"));
	}
	if (session_ != user_) {
		// PostgreSQL has it changed only where nothing is restricted.
		SetUserIdAndSecContext(user_, 0);
		session_ = user_;
		SetSessionAuthorization(user_, false);
		restrict_to(user_);
	}
	if (claims_ == claims) return;
	claims_.clear();
	set(kClaims, claims);
	claims_ = claims;
}

// The session is whose it was.
void FilterUnit::end_speaking() noexcept
{
	if (session_ == former_session_) return;
	session_ = former_session_;
	SetUserIdAndSecContext(former_user_, 0);
	try {
		pg::call([&] {
			SetSessionAuthorization(former_session_, was_superuser_);
			if (OidIsValid(former_role_)) SetCurrentRoleId(former_role_, superuser_arg(former_role_));
		});
	} catch (pg::Error& error) {
		// Only the setting that shows it has failed.
		error.release();
	}
	restrict_to(former_user_);
}

void FilterUnit::restrict_to(Oid role) noexcept
{
	user_ = role;
	SetUserIdAndSecContext(role, former_context_ | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

void FilterUnit::speak_for_nobody()
{
	if (for_nobody_) return;
	set("search_path", "pg_catalog");
	set(kClaims, "");
	for_nobody_ = true;
}

void FilterUnit::become(Oid role) noexcept
{
	if (user_ != role) restrict_to(role);
}

void FilterUnit::renew()
{
	try {
		filter_timer::run(nullptr);
		if (whole_) {
			abort();
			return begin();
		}
		pg::call([&] {
			inside_ = false;
			RollbackAndReleaseCurrentSubTransaction();
			end_speaking();
			enter();
			MemoryContextSwitchTo(scratch_);
		});
	} catch (...) {
		roll_back();
		throw;
	}
}

void FilterUnit::close()
{
	if (!open_) return;
	filter_timer::stop();
	try {
		pg::call([&] {
			end_speaking();
			// Nothing of what ran is to stay, such as notifications that a policy's functions have sent.
			if (inside_) RollbackAndReleaseCurrentSubTransaction();
			inside_ = false;
			restore();
			// A session's locks that functions have taken stay with it otherwise.
			if (own_) LockReleaseAll(USER_LOCKMETHOD, true);
		});
		// Nothing of it can stay on a standby; this may be none any more.
		if (whole_ && !pg::in_recovery())
			pg::abort_unit();
		else if (own_)
			pg::commit_unit();
	} catch (...) {
		roll_back();
		throw;
	}
	open_ = false;
	MemoryContextSwitchTo(former_memory_);
	if (std::exchange(interrupted_, false)) pg::begin_unit(kCallers);
}

// May ereport.
void FilterUnit::restore()
{
	CurrentResourceOwner = former_owner_;
	MemoryContextSwitchTo(former_memory_);
	SetUserIdAndSecContext(former_user_, former_context_);
	if (nest_level_ > 0) AtEOXact_GUC(true, nest_level_);
	nest_level_ = 0;
}

// The unit, with settings and the user.
void FilterUnit::abort() noexcept
{
	nest_level_ = 0;
	pg::abort_unit();
	end_speaking();
	SetUserIdAndSecContext(former_user_, former_context_);
}

void FilterUnit::roll_back() noexcept
{
	if (!open_) return;
	open_ = false;
	filter_timer::stop();
	if (own_) {
		abort();
		if (std::exchange(interrupted_, false)) {
			try {
				pg::begin_unit(kCallers);
			} catch (pg::Error& error) {
				// The caller's next question does it.
				error.release();
				pg::abort_unit();
			}
		}
		return;
	}
	try {
		pg::call([&] {
			if (inside_) RollbackAndReleaseCurrentSubTransaction();
			inside_ = false;
			end_speaking();
			restore();
		});
	} catch (pg::Error& error) {
		error.release();
		end_speaking();
		SetUserIdAndSecContext(former_user_, former_context_);
		MemoryContextSwitchTo(former_memory_);
	}
}

FilterUnit::~FilterUnit() { roll_back(); }

}  // namespace plank::worker
