// Changes of a table as the capture trigger would write them, made from the rows that it holds. Runs in ordinary sessions
// of test databases.
#pragma once

#include <string>
#include <vector>

#include "core/record.hpp"
#include "worker/filter_evaluator.hpp"

#include "backend/row_record.hpp"
#include "pg/session.hpp"

namespace plank_test {

// The shape of a table that is tracked with these columns (text of a name[]; empty: all). Throws pg::Error.
plank::core::ShapePtr shape_of(Oid relation, const std::string& columns = {});

struct TestChange {
	plank::core::Tag tag;
	int row;  // from 1, in the table's own order; an update's new row
	std::string content;
};

// For each row its insert, its delete, and an update to it from the row before it. Throws pg::Error.
std::vector<TestChange> changes_of(Oid relation, const plank::core::Shape& shape);

// The change as the worker reads it; its views are into `change`.
plank::core::Record record_of(const TestChange& change, const plank::core::ShapePtr& shape);

// Judges all changes of the table `rounds` times; says what a change costs. Throws pg::Error when a filter fails.
std::string judging_speed(plank::worker::FilterEvaluator& evaluator, Oid relation, const plank::core::ShapePtr& shape,
                          int rounds);
// What adding `count` that took so long costs.
std::string adding_speed(const plank::worker::FilterEvaluator& evaluator, int count, double seconds);

}  // namespace plank_test
