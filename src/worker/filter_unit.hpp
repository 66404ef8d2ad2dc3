// The surroundings in which filters are parsed and evaluated: a subtransaction that takes errors, settings that make the
// same text mean the same at any time, a role and its claims, nothing that writes, and the timer. Runs in the worker; in
// tests in ordinary sessions too. A worker on a standby does without the subtransaction.
#pragma once

#include <string>

#include "pg/expression.hpp"
#include "worker/filter_timer.hpp"

namespace plank::worker {

class FilterUnit {
 public:
	FilterUnit() = default;
	FilterUnit(const FilterUnit&) = delete;
	FilterUnit& operator=(const FilterUnit&) = delete;
	// Rolls back what is open.
	~FilterUnit();

	// Opens a unit of work when none is open, and in it a subtransaction. `scratch`: current memory of the work inside.
	// Throws pg::Error.
	void open(const FilterLimits& limits, MemoryContext scratch);
	// What follows runs as this role, until `renew` or `close`.
	void become(Oid role) noexcept;
	// What follows finds itself in a session of the role that it runs as, with these claims in request.jwt.claims and the
	// database's own search_path. May ereport.
	void speak_for(const char* claims);
	// What follows has names under pg_catalog only again, as from the beginning. May ereport.
	void speak_for_nobody();
	// After an error: rolls back what is open and opens it anew. Throws pg::Error.
	void renew();
	// Rolls the subtransaction back, and commits the unit of work if it is its own. A unit that was open before is so again.
	// Throws pg::Error.
	void close();
	// Rolls back what is open.
	void abandon() noexcept { roll_back(); }
	bool is_open() const noexcept { return open_; }

 private:
	static bool needs_whole_unit();
	void begin();
	void enter();
	void restore();
	void abort() noexcept;
	void roll_back() noexcept;
	void end_speaking() noexcept;
	void restrict_to(Oid role) noexcept;

	bool open_ = false;
	bool own_ = false;          // the unit of work
	bool whole_ = false;        // it has no subtransaction
	bool interrupted_ = false;  // a caller's unit is to begin anew
	bool inside_ = false;       // the subtransaction
	int nest_level_ = 0;        // of settings
	Oid former_user_ = InvalidOid;
	int former_context_ = 0;
	Oid former_session_ = InvalidOid, former_role_ = InvalidOid;
	bool was_superuser_ = false;
	Oid user_ = InvalidOid, session_ = InvalidOid;  // at the moment
	bool for_nobody_ = true;                        // claims and search_path are as from the beginning
	std::string claims_;                            // else those that are set
	MemoryContext former_memory_ = nullptr, scratch_ = nullptr;
	ResourceOwner former_owner_ = nullptr;
};

}  // namespace plank::worker
