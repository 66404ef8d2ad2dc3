// A change's row, column by column, for whoever rebuilds typed values from it: JSON, and the text beside it where the
// shape has one. Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/record.hpp"

namespace plank::core {

struct ColumnImage {
	std::string_view json;  // empty: null
	std::string_view text;  // as pg/value_text.hpp says; empty for columns without
	bool is_null() const noexcept { return json.empty(); }
	bool operator==(const ColumnImage&) const = default;
};

// The images of one change, as views into its record. Made to be used again for the next one.
class Row {
 public:
	// Reads a change other than a truncate whose body read_body has accepted.
	void read(const Record& record, const Shape& shape);

	// The row after an insert or update, or before a delete.
	const ColumnImage& now(size_t column) const noexcept { return now_[column]; }
	// The row before an update; for a column that it left alone, the same as now.
	const ColumnImage& before(size_t column) const noexcept
	{
		return differs_[column] ? before_[column] : now_[column];
	}
	// Whether the update changed the column's value.
	bool differs(size_t column) const noexcept { return differs_[column]; }
	const std::vector<uint32_t>& differences() const noexcept { return differences_; }

 private:
	ColumnImage& former(size_t column);

	std::vector<ColumnImage> now_, before_;
	std::vector<char> differs_;
	std::vector<uint32_t> differences_;  // columns for which differs() is true
};

}  // namespace plank::core
