// A change as the JSON members clients read. Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <string>
#include <vector>

#include "core/record.hpp"

namespace plank::core {

// How a subscription sees a change (protocol.md rule 4).
struct View {
	Op op = Op::insert;      // may be insert or remove of an update's record
	bool by_update = false;  // an insert or delete that an update caused
	bool numbers_as_text = false;
	const std::vector<bool>* columns = nullptr;  // which of the shape's; null: all. The key's are among them.

	// As it is for whoever sees every row.
	static View whole(const Record& record, bool numbers_as_text = false)
	{
		return {record.op, record.by_update, numbers_as_text, nullptr};
	}
};

// Appends `,"key":…` and, as the operation has them, `,"new":…`, `,"old":…` and `,"cause":"update"` (protocol.md rules 4
// to 6). `record` has been checked by check_records.
void append_change_members(std::string& out, const Record& record, const Shape& shape, const View& view);

// Whether an update changes any of the columns in `chosen`, of which the key's are some.
bool shows_update(const Record& record, const Shape& shape, const std::vector<bool>& chosen);

// Appends `,"key":…` alone.
void append_key_member(std::string& out, const Record& record, const Shape& shape);

}  // namespace plank::core
