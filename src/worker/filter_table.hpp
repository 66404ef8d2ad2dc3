// The filters of one table as it was at one time: compiled, found through indexes where they can be, and run against rows.
// Runs in the worker. Functions that say so may ereport: call them inside pg::call.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/evaluator.hpp"
#include "core/identity.hpp"
#include "core/row.hpp"

#include "pg/expression.hpp"
#include "pg/row_security.hpp"
#include "worker/filter_condition.hpp"
#include "worker/filter_index.hpp"
#include "worker/filter_input.hpp"
#include "worker/filter_timer.hpp"
#include "worker/filter_unit.hpp"
#include "worker/policy_plan.hpp"
#include "worker/policy_tree.hpp"

namespace plank::worker {

// What filters share that differ in constants only: their compiled condition, without what an index answers.
struct SharedCondition {
	MemoryContext memory = nullptr;
	List* rest = NIL;  // NIL: true
	MemoryContext state_memory = nullptr;
	ExprState* state = nullptr;          // null: to be compiled
	ParamListInfo parameters = nullptr;  // filled with a filter's constants before each run
	std::vector<char> by_value;          // whether they are Datums alone
	bool of_policy = false;              // may run anybody's code, as the role
	uint64_t compiled_at = 0;            // function_changes, of a policy
	std::vector<AttrNumber> columns;
	uint32_t users = 0;
	uint64_t read[2] = {};  // change for which all columns are there: after, before
};

class FilterTable;

// Equal for equal conditions of a role over a table.
using Signature = std::array<uint8_t, 32>;

struct SignatureHash {
	size_t operator()(const Signature& signature) const noexcept
	{
		size_t hash = 0;
		memcpy(&hash, signature.data(), sizeof hash);
		return hash;
	}
};

// A shared condition with constants of one's own, in the table's memory.
struct Conjuncts {
	SharedCondition* shared = nullptr;
	const std::string* shared_name = nullptr;  // in the table
	Datum* constants = nullptr;                // for shared->parameters
};

// What row security lets identities see that have a role and what it reads of the claims. It is whole: what is found
// through its key is looked at again.
struct Policy {
	uint32_t users = 0;  // filters
	Signature signature{};
	Signature definition{};  // what it was made from
	Oid role = InvalidOid;
	core::Identity identity;  // one of those that have it
	std::string claims;       // its, in the database's encoding
	Conjuncts conjuncts;
	std::unique_ptr<PolicyPlan> plan;  // instead of them, when there are subqueries
	std::vector<AttrNumber> columns;   // that it looks at
	FilterKey* key = nullptr;          // in the table's memory
	bool never = false;                // no row is seen
	bool reads_session = false;        // the claims must be set when it runs
	bool failed = false;
	FilterCharge charge;
	uint64_t judged[2] = {};  // change for which the verdict is there: after, before
	bool passed[2] = {};
};

// What is looked at for a change comes first, in one cache line.
struct alignas(64) Filter {
	uint64_t change = 0;     // the last one that it was wanted for
	uint8_t wanted = 0;      // images of it to look at: kAfter, kBefore
	bool failed = false;     // not evaluated any more
	bool never = false;      // no row passes
	bool by_policy = false;  // the index has the policy's key
	Oid role = InvalidOid;
	FilterCharge charge;
	Policy* policy = nullptr;  // comes first; null: there is no row security for the role
	Conjuncts conjuncts;

	uint32_t references = 0;
	uint32_t place = 0;            // among those without index
	FilterIndex* index = nullptr;  // null: it is looked at for every change
	// What it is removed from the index by, of each of its values; most have one.
	uint32_t values = 0, first_value = 0;
	std::unique_ptr<uint32_t[]> more_values;
	uint32_t& value(uint32_t i) noexcept { return i == 0 ? first_value : more_values[i - 1]; }
	FilterTable* table = nullptr;
	uint64_t unreadable = 0;  // a change that it could not be judged on
	std::string where;
	Signature signature{};
};

constexpr uint8_t kAfter = 1, kBefore = 2;

// What all tables of the process run in; made once.
struct FilterExecution {
	ExprContext* context = nullptr;
	MemoryContext row = nullptr;  // as long as a change
	FilterUnit* unit = nullptr;   // that is open while filters run
	Policy* running = nullptr;    // what an error comes from; null: the filter
	int policy_ms = 100;          // one evaluation of a policy
};

// Whether what has failed is that the row cannot be judged: it was written when the table was another one, or a type.
// What is wrong with a value must not be told, for the row has not been judged yet.
bool take_unreadable(int sqlstate) noexcept;

// Filters by their ids. They stay where they are, and are found with a shift and a mask: this is read for every filter
// that is looked at.
class Filters {
 public:
	Filter& operator[](size_t id) noexcept { return (*blocks_[id / kBlock])[id % kBlock]; }
	const Filter& operator[](size_t id) const noexcept { return (*blocks_[id / kBlock])[id % kBlock]; }
	size_t size() const noexcept { return size_; }
	void grow()
	{
		if (size_ % kBlock == 0) blocks_.push_back(std::make_unique<Block>());
		++size_;
	}

 private:
	static constexpr size_t kBlock = 64;
	using Block = std::array<Filter, kBlock>;
	std::vector<std::unique_ptr<Block>> blocks_;
	size_t size_ = 0;
};

class FilterTable {
 public:
	FilterTable(const core::Shape& shape, FilterExecution& execution);
	~FilterTable();
	FilterTable(const FilterTable&) = delete;
	FilterTable& operator=(const FilterTable&) = delete;

	uint32_t relation() const noexcept { return relation_; }
	const std::string& name() const noexcept { return name_; }
	const std::string& identity() const noexcept { return identity_; }
	bool is_empty() const noexcept { return filters_ == 0; }
	size_t memory() const;
	// Of one of its filters, with a share of what it has in common with others.
	size_t memory_of(const Filter& filter) const noexcept;

	// Takes the table's columns over; before anything else. May ereport.
	void describe(Relation relation, const core::Shape& shape);
	// By attribute number - 1: whether changes carry the column.
	const bool* captured() const noexcept { return captured_; }

	// Compiles a filter, as whoever the process is at the moment. Throws pg::Error; then the filter is none of the
	// table's.
	void add(Filters& filters, uint32_t id, const Condition& condition, Policy* policy, const Signature& definition);
	void remove(Filters& filters, uint32_t id) noexcept;

	// The policy that a signature stands for, made if there is none. Throws pg::Error.
	Policy& policy_for(const Signature& signature, const PolicyTree& tree, const Condition* condition, Oid role,
	                   const core::Identity& identity);
	// Unless a filter has it.
	void drop_if_unused(Policy* policy) noexcept
	{
		if (policy && policy->users == 0) drop_policy(*policy);
	}

	// What the row security of a role's filters was made from.
	bool is_defined_as(Oid role, const Signature& definition) const noexcept;
	void define(Oid role, const Signature& definition) noexcept;
	bool has_role(Oid role) const noexcept { return definitions_.contains(role); }
	std::vector<Oid> roles() const;

	// --- A change, step by step. First prepare; then find until it returns; then run each of the candidates. Who is
	// certain sees the change and needs no run.
	void prepare(const core::Shape& shape, const core::Row& row, core::Op op, uint64_t change);
	// May ereport: then skip_index, and find goes on with the next.
	void find(Filters& filters);
	void skip_index(std::vector<uint32_t>& failed);
	const std::vector<uint32_t>& candidates() const noexcept { return candidates_; }
	const std::vector<core::Verdict>& certain() const noexcept { return certain_; }
	// May ereport: then mend, before anything else runs.
	core::Verdict run(Filter& filter);
	// Has what an error has left half-way compiled anew when it is needed.
	static void mend(const Conjuncts& conjuncts) noexcept;
	// Columns that a filter's own condition looks at.
	template <typename Visit>
	static void for_each_column(const Filter& filter, Visit&& visit)
	{
		if (filter.index && !filter.by_policy) visit(filter.index->column());
		if (filter.conjuncts.shared)
			for (const AttrNumber column : filter.conjuncts.shared->columns)
				visit(column);
	}

 private:
	struct TableColumn {
		std::string name, type;  // as shapes have them; empty: not captured
		ColumnInput input;
		bool resolved = false;
		int in_shape = -1;      // place in the shape at hand; -1: missing, or of another type
		uint64_t read[2] = {};  // change for which the value is in the slot: after, before
	};

	void join(Conjuncts& conjuncts, Oid role, const Condition& condition, bool of_policy);
	void leave(Conjuncts& conjuncts) noexcept;
	static void compile_state(SharedCondition& shared);
	FilterKey* copy_key(const FilterKey& key);
	void drop_policy(Policy& policy) noexcept;
	bool visible(Policy& policy, int which);
	bool judge(Policy& policy, int which);
	bool judge_by_plan(Policy& policy, int which);
	bool same_row_for(const Policy& policy) const noexcept;
	void index(Filter& filter, uint32_t id, const FilterKey& key);
	void bind(const core::Shape& shape);
	void read_column(int which, AttrNumber number);
	bool passes(const Conjuncts& conjuncts, int which);
	bool same_in_both(const std::vector<AttrNumber>& columns) const noexcept;
	void want(Filters& filters, std::span<const uint32_t> ids, uint8_t images);
	void probe(Filters& filters, FilterIndex& index);

	const uint32_t relation_;
	const std::string name_, identity_;
	FilterExecution& execution_;
	MemoryContext memory_ = nullptr;
	TupleDesc descriptor_ = nullptr;
	bool* captured_ = nullptr;
	std::vector<TableColumn> columns_;  // by attribute number - 1
	TupleTableSlot* slots_[2] = {};     // after, before
	size_t filters_ = 0;

	struct Definition {
		Signature signature{};
		uint32_t users = 0;
	};
	std::unordered_map<Oid, Definition> definitions_;  // by role
	std::unordered_map<Signature, std::unique_ptr<Policy>, SignatureHash> policies_;
	std::unordered_map<std::string, std::unique_ptr<SharedCondition>> shared_;
	std::vector<std::unique_ptr<FilterIndex>> indexes_;
	std::vector<uint32_t> unindexed_;

	// The change at hand.
	std::string bound_;  // identity of the shape that in_shape is for
	const core::Row* row_ = nullptr;
	core::Op op_ = core::Op::insert;
	uint8_t images_ = 0;  // that it has
	uint64_t change_ = 0;
	size_t next_index_ = 0;
	std::vector<uint32_t> candidates_;
	std::vector<core::Verdict> certain_;
	size_t certain_kept_ = 0;  // of the indexes that have been asked
};

}  // namespace plank::worker
