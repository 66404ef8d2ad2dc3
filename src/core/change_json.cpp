// Putting a change's columns together as JSON. Runs in the worker. Must not call PostgreSQL.
#include "core/change_json.hpp"

#include <array>

#include "core/value_json.hpp"

namespace plank::core {

namespace {

constexpr size_t kMaxColumns = 2048;

// The columns of the row being written, as views into the body. Scratch space of the one thread that renders.
struct Row {
	std::array<std::string_view, kMaxColumns> now;
	std::array<std::string_view, kMaxColumns> before;  // updates only
	std::array<bool, kMaxColumns> changed;
	bool any_changed = false;
};
Row row;

void append_value(std::string& out, std::string_view value, Numbers numbers, bool as_text)
{
	if (value.empty())
		out += "null";
	else
		append_value_pieces(value, numbers, as_text, [&](std::string_view piece) { out += piece; });
}

void read_columns(const Record& record, const Shape& shape)
{
	const size_t columns = shape.columns.size();
	Reader reader(record.image);
	for (size_t i = 0; i < columns; ++i)
		row.now[i] = reader.counted();
	if (record.op != Op::update) return;
	for (size_t i = 0; i < columns; ++i)
		row.changed[i] = false;
	for (uint64_t left = reader.varint(); left > 0; --left) {
		const uint64_t column = reader.varint();
		row.changed[column] = true;
		row.before[column] = reader.counted();
	}
}

std::string_view value_now(size_t column) { return row.now[column]; }
std::string_view value_before(size_t column) { return row.changed[column] ? row.before[column] : row.now[column]; }

template <typename Value, typename Has>
void append_object(std::string& out, const Shape& shape, const View& view, Value&& value, Has&& has)
{
	out += '{';
	bool first = true;
	for (size_t i = 0; i < shape.columns.size(); ++i) {
		if ((view.columns && !(*view.columns)[i]) || !has(i)) continue;
		if (!first) out += ',';
		first = false;
		out += shape.member[i];
		append_value(out, value(i), shape.columns[i].numbers, view.numbers_as_text);
	}
	out += '}';
}

constexpr auto kAll = [](size_t) { return true; };

template <typename Value>
void append_key(std::string& out, const Shape& shape, bool as_text, Value&& value)
{
	if (shape.key.empty()) {
		out += ",\"key\":null";
		return;
	}
	out += ",\"key\":{";
	bool first = true;
	for (const uint32_t i : shape.key) {
		if (!first) out += ',';
		first = false;
		out += shape.member[i];
		append_value(out, value(i), shape.columns[i].numbers, as_text);
	}
	out += '}';
}

}  // namespace

void append_change_members(std::string& out, const Record& record, const Shape& shape, const View& view)
{
	if (record.op == Op::truncate) return;
	read_columns(record, shape);
	const bool updated = record.op == Op::update;
	if (view.op == Op::remove && updated) {
		// The row that the subscription has seen, and loses, is the former one.
		append_key(out, shape, view.numbers_as_text, value_before);
		out += ",\"old\":";
		append_object(out, shape, view, value_before, kAll);
	} else {
		append_key(out, shape, view.numbers_as_text, value_now);
		out += view.op == Op::remove ? ",\"old\":" : ",\"new\":";
		append_object(out, shape, view, value_now, kAll);
	}
	if (view.op == Op::update) {
		// Without a key a client finds the row by its former values, so it gets all of them.
		const bool all = shape.key.empty();
		out += ",\"old\":";
		append_object(out, shape, view, value_before,
		              [&](size_t i) { return all || row.changed[i] || shape.in_key[i]; });
	}
	if (view.by_update) out += ",\"cause\":\"update\"";
}

bool shows_update(const Record& record, const Shape& shape, const std::vector<bool>& chosen)
{
	Reader reader(record.image);
	for (size_t i = 0; i < shape.columns.size(); ++i)
		reader.counted();
	for (uint64_t left = reader.varint(); left > 0; --left) {
		if (chosen[reader.varint()]) return true;
		reader.counted();
	}
	return false;
}

void append_key_member(std::string& out, const Record& record, const Shape& shape)
{
	if (record.op == Op::truncate) return;
	read_columns(record, shape);
	append_key(out, shape, false, value_now);
}

}  // namespace plank::core
