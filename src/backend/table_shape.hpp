// A described table as the shape that its rows are sent with. Runs in every process that reads rows.
#pragma once

#include "core/shape.hpp"

#include <string>

#include "pg/table.hpp"

namespace plank::backend {

// Nothing derived yet.
inline core::Shape shape_of(const pg::TableDescription& description, const std::string& notify)
{
	core::Shape shape;
	shape.relation = description.relation;
	shape.table = description.name;
	for (const pg::ColumnDescription& column : description.columns)
		shape.columns.push_back({column.name, column.type, static_cast<core::Numbers>(column.numbers), column.with_text,
		                         static_cast<uint16_t>(column.number)});
	shape.key = description.key;
	shape.notify = notify;
	return shape;
}

}  // namespace plank::backend
