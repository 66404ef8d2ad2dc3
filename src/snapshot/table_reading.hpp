// The reading of one table: which columns, which rows, and the query for them. Runs in the process that reads, in a
// transaction that holds the table's lock.
#pragma once

#include "core/snapshot.hpp"

#include <string>
#include <vector>

#include "pg/execution.hpp"
#include "pg/table.hpp"
#include "snapshot/answers.hpp"

namespace plank::snapshot {

class TableReading {
 public:
	// `relation` must stay open and `request` where it is. Throws pg::Error.
	TableReading(Relation relation, const core::SnapshotRequest& request);

	const core::ShapePtr& shape() const noexcept { return shape_; }
	// Sends the rows that the active snapshot shows to the current user. Throws pg::Error.
	void run(Answers& answers);

 private:
	// Which columns of the shape were asked for.
	std::vector<size_t> find_columns() const;

	const Relation relation_;
	const core::SnapshotRequest& request_;
	pg::TableDescription description_;
	core::ShapePtr shape_;
};

}  // namespace plank::snapshot
