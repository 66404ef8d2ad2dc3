// A policy with subqueries: planned as a query without tables over one row, whose columns are parameters. Runs in the
// worker, in a FilterUnit, as the client's role, inside pg::call: everything may ereport.
#pragma once

#include "pg/row_security.hpp"

namespace plank::worker {

class PolicyPlan {
 public:
	// `condition`: columns are Vars of relation 1. `row`: the table's columns.
	PolicyPlan() = default;
	~PolicyPlan();
	PolicyPlan(const PolicyPlan&) = delete;
	PolicyPlan& operator=(const PolicyPlan&) = delete;
	void open(Node* condition, TupleDesc row);

	// The slot's columns that the policy looks at must be there. `columns`: their numbers.
	bool run(const TupleTableSlot* slot, const AttrNumber* columns, size_t count);
	size_t memory() const noexcept { return memory_ ? MemoryContextMemAllocated(memory_, true) : 0; }

 private:
	void plan();
	void lock() const;

	MemoryContext memory_ = nullptr, plan_memory_ = nullptr;
	Query* query_ = nullptr;
	TupleDesc row_ = nullptr;
	bool whole_row_ = false;
	PlannedStmt* planned_ = nullptr;
	uint64 planned_at_ = 0;  // changes of the catalog that had been heard of
	ParamListInfo parameters_ = nullptr;
};

}  // namespace plank::worker
