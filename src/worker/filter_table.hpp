// The filters of one table as it was at one time: compiled, found through indexes where they can be, and run against rows.
// Runs in the worker. Functions that say so may ereport: call them inside pg::call.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/evaluator.hpp"
#include "core/row.hpp"

#include "pg/expression.hpp"
#include "worker/filter_condition.hpp"
#include "worker/filter_index.hpp"
#include "worker/filter_input.hpp"
#include "worker/filter_timer.hpp"

namespace plank::worker {

// What filters share that differ in constants only: their compiled condition, without what an index answers.
struct SharedCondition {
	MemoryContext memory = nullptr;
	List* rest = NIL;  // NIL: true
	MemoryContext state_memory = nullptr;
	ExprState* state = nullptr;          // null: to be compiled
	ParamListInfo parameters = nullptr;  // filled with a filter's constants before each run
	std::vector<char> by_value;          // whether they are Datums alone
	std::vector<AttrNumber> columns;
	uint32_t users = 0;
	uint64_t read[2] = {};  // change for which all columns are there: after, before
};

class FilterTable;

// Equal for equal conditions of a role over a table.
using Signature = std::array<uint8_t, 32>;

struct Filter {
	uint32_t references = 0;
	FilterTable* table = nullptr;
	SharedCondition* shared = nullptr;
	const std::string* shared_name = nullptr;  // in the table
	Datum* constants = nullptr;                // for shared->parameters; in the table's memory
	FilterIndex* index = nullptr;              // null: it is looked at for every change
	std::vector<uint32_t> places;              // in the index
	uint32_t place = 0;                        // among those without index
	FilterCharge charge;
	Oid role = InvalidOid;
	bool never = false;   // no row passes
	bool failed = false;  // not evaluated any more
	uint8_t wanted = 0;   // images of a change to look at: kAfter, kBefore
	uint64_t change = 0;  // the change
	std::string where;
	Signature signature{};
};

constexpr uint8_t kAfter = 1, kBefore = 2;

// What all tables of the process run in; made once.
struct FilterExecution {
	ExprContext* context = nullptr;
	MemoryContext row = nullptr;  // as long as a change
};

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
	FilterTable(uint32_t relation, std::string identity, FilterExecution& execution);
	~FilterTable();
	FilterTable(const FilterTable&) = delete;
	FilterTable& operator=(const FilterTable&) = delete;

	uint32_t relation() const noexcept { return relation_; }
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
	void add(Filters& filters, uint32_t id, const Condition& condition);
	void remove(Filters& filters, uint32_t id) noexcept;

	// --- A change, step by step. First prepare; then find until it returns; then run each of the candidates.
	void prepare(const core::Shape& shape, const core::Row& row, core::Op op, uint64_t change);
	// May ereport: then skip_index, and find goes on with the next.
	void find(Filters& filters);
	void skip_index(std::vector<uint32_t>& failed);
	const std::vector<uint32_t>& candidates() const noexcept { return candidates_; }
	// May ereport: then mend, before anything else runs.
	core::Verdict run(Filter& filter);
	// Has what an error has left half-way compiled anew when it is needed.
	void mend(Filter& filter) noexcept;

 private:
	struct TableColumn {
		std::string name, type;  // as shapes have them; empty: not captured
		ColumnInput input;
		bool resolved = false;
		int in_shape = -1;      // place in the shape at hand; -1: missing, or of another type
		uint64_t read[2] = {};  // change for which the value is in the slot: after, before
	};

	void compile(Filter& filter, const Condition& condition);
	static void compile_state(SharedCondition& shared);
	void copy_constants(Filter& filter, const Condition& condition);
	void index(Filter& filter, uint32_t id, const FilterKey& key);
	void bind(const core::Shape& shape);
	void read_column(int which, AttrNumber number);
	bool passes(const Filter& filter, int which);
	bool same_in_both(const SharedCondition& shared) const noexcept;
	void want(Filters& filters, const std::vector<uint32_t>& ids, uint8_t images);
	void probe(Filters& filters, FilterIndex& index);

	const uint32_t relation_;
	const std::string identity_;
	FilterExecution& execution_;
	MemoryContext memory_ = nullptr;
	TupleDesc descriptor_ = nullptr;
	bool* captured_ = nullptr;
	std::vector<TableColumn> columns_;  // by attribute number - 1
	TupleTableSlot* slots_[2] = {};     // after, before
	size_t filters_ = 0;

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
};

}  // namespace plank::worker
