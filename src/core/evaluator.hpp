// Which rows a subscription sees, as the hub sees it: the table's row security for who asks, and the condition that the
// subscription puts on rows (`where`). Added as text, asked about changes, given back. The worker has PostgreSQL's own parser and executor behind it (worker/filter_evaluator.hpp); tests of the
// hub may have anything. Must not call PostgreSQL.
//
// Rules for the caller
// - One thread, and never inside a network callback.
// - add_filter stands alone, or inside a unit of work that somebody else has open; it leaves such a unit open and sound
//   whether it succeeds or not.
// - begin_batch, any number of evaluate, end_batch: nothing else may use the database between them. They open and end a
//   unit of work when none is open, and none at all when no change is of a table with filters. Make batches short (one
//   slice of a turn): they hold a snapshot.
// - What `evaluate` puts out is good until its next call.
// - Nothing throws for what a filter does. pg::Error or std::bad_alloc may come out when the server itself is in trouble
//   (shutdown, memory); the filters are as before. Whatever goes wrong in a batch, abort_batch is to end it.
// - Memory grows with the number of distinct filters, see `memory`; what one evaluation needs is given back after it.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/identity.hpp"
#include "core/record.hpp"

namespace plank::core {

// Small and used again after the last release.
using FilterId = uint32_t;
constexpr FilterId kNoFilter = UINT32_MAX;  // every row

// What a FilterFault's sqlstate is when DDL holds a table, or did on the primary: ask again soon.
constexpr const char* kLocked = "55P03";

struct FilterFault {
	std::string code;      // what the client is told: protocol.md rule 9 at subscribe time, else `sqlstate`
	std::string sqlstate;  // PostgreSQL's own
	std::string message, detail, hint;
	int position = 0;  // character in `where`, from 1; 0: none
};

// A filter that passes the row before the change, after it, or both. Filters that pass neither are not told of.
struct Verdict {
	FilterId filter = 0;
	bool before = false;  // false for an insert
	bool after = false;   // false for a delete
};

// A filter that could not be evaluated: it is evaluated no more, and the caller is to end its subscriptions. It keeps its
// id until it is released.
struct FilterFailure {
	FilterId filter = 0;
	FilterFault fault;
};

struct Verdicts {
	std::vector<Verdict> passed;  // in no order, each filter once
	std::vector<FilterFailure> failed;
	// Filters that could not be judged because the row was written when the table was another one (DDL): they stand, but
	// their subscribers must read the table again.
	std::vector<FilterId> unreadable;
	// A table that row security reads is locked: but for `failed` nothing of this counts, and the change is to be evaluated
	// again soon. It does not come for ever: the filters fail then.
	bool locked = false;
};

// What a look at filters after DDL, GRANT or REVOKE has found.
struct LookedAgain {
	std::vector<FilterFailure> failed;  // do not stand any more, as after a failure
	// The table's row security is another one for their role. They go on as they are; each of their subscribers is to
	// add_filter its condition anew, and to read the table again.
	std::vector<FilterId> changed;
};

class Evaluator {
 public:
	// Checks and compiles `where` (UTF-8; empty: every row) over the table's rows as `identity` may see them: row security
	// comes first, and `where` never meets a row that it hides. kNoFilter when every row is seen. What sees the same rows
	// by the same role - equal conditions by their parsed tree, and row security that comes to the same with what it reads
	// of the claims - has one id, and every success but kNoFilter counts one reference. `shape`: the table as the catalog
	// has it now.
	// kLocked: DDL holds the table, or one that its row security reads. What the server took longer for than one evaluation may last, or would
	// need too much memory for, is 53400.
	virtual std::variant<FilterId, FilterFault> add_filter(const Identity& identity, const Shape& shape,
	                                                       std::string_view where) = 0;
	// One more reference to a filter that has some.
	virtual void retain(FilterId filter) noexcept = 0;
	virtual void release(FilterId filter) noexcept = 0;
	// `where` as SQL over bare columns, with all other names qualified, so that it means the same to whoever reads the
	// table (empty: every row); or what went wrong. Row security is not in it: whoever reads as the identity has it from
	// PostgreSQL. Stands where add_filter may.
	virtual std::variant<std::string, FilterFault> condition(FilterId filter, const Shape& shape) = 0;

	// The table, its row security, or somebody's privileges or role may have changed: its filters are to be looked at
	// again, which look_further does. `shape`: the table as it is now. Ids stay.
	virtual void look_again(const Shape& shape) = 0;
	// Does it until `deadline`; true when there is more to do at once. What DDL holds is tried again when asked again.
	// Stands where add_filter may.
	virtual bool look_further(std::chrono::steady_clock::time_point deadline, LookedAgain& found) = 0;

	// What row security of the table there is for the filter's role, as a number; 0: none. The same in every worker of the
	// same data for as long as it is the same.
	virtual uint64_t rights(FilterId filter) const noexcept = 0;
	virtual bool has_filters(uint32_t relation) const noexcept = 0;
	virtual void begin_batch() = 0;
	// An insert, update or delete; not a truncate. `shape`: what the change was written with. Columns are found in it by
	// name; a filter whose column is missing or has another type there is `unreadable`: that is a change from before or
	// after DDL that look_again has seen or will see.
	virtual void evaluate(const Shape& shape, const Record& change, Verdicts& verdicts) = 0;
	virtual void end_batch() = 0;
	// Instead of end_batch, after an error of anybody's.
	virtual void abort_batch() noexcept = 0;
	// A new turn of the worker's loop: each filter may use its time again.
	virtual void begin_turn() noexcept = 0;

	virtual size_t filters() const noexcept = 0;
	virtual size_t memory() const noexcept = 0;  // bytes
	// Of one filter, with its share of what it has in common with others.
	virtual size_t memory_of(FilterId) const noexcept { return 0; }

 protected:
	~Evaluator() = default;
};

}  // namespace plank::core
