// One thing that a session watches. Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/evaluator.hpp"
#include "core/record.hpp"

namespace plank::core {

// Names of columns, sorted. Null: all.
using ColumnNames = std::shared_ptr<const std::vector<std::string>>;

struct Subscription {
	std::string id;
	uint32_t relation = 0;  // 0: a channel
	std::string channel;
	OpSet events = kAllOps;
	bool numbers_as_text = false;
	bool snapshot = false;        // rows are sent first, and again after every reset
	bool reading = false;         // ... and that is going on: what is live is not for it yet
	bool chosen = false;          // its client named the columns; otherwise they are those that its role may read
	bool stale = false;           // its filter has to be had anew, see hub_look.cpp
	FilterId filter = kNoFilter;  // the subscription holds a reference
	ColumnNames columns;
	std::shared_ptr<const std::string> where;  // null: none
	// What its client may see of the table, as a number that is another one when that is; 0: all of it.
	uint64_t rights = 0;
	int64_t since = 0;  // microseconds since 2000-01-01 UTC
};

// Which columns of the shape a list of names asks for, the key's always among them.
std::vector<bool> choose_columns(const Shape& shape, const ColumnNames& names);
// The shape's columns that were asked for, as in Shape::columns_json.
std::string chosen_columns_json(const Shape& shape, const ColumnNames& names);

}  // namespace plank::core
