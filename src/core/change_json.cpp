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

template <typename Value>
void append_object(std::string& out, const Shape& shape, bool as_text, Value&& value)
{
	out += '{';
	bool first = true;
	for (size_t i = 0; i < shape.columns.size(); ++i) {
		std::string_view text;
		if (!value(i, text)) continue;
		if (!first) out += ',';
		first = false;
		out += shape.member[i];
		append_value(out, text, shape.columns[i].numbers, as_text);
	}
	out += '}';
}

void append_key(std::string& out, const Shape& shape, bool as_text)
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
		append_value(out, row.now[i], shape.columns[i].numbers, as_text);
	}
	out += '}';
}

}  // namespace

void append_change_members(std::string& out, const Record& record, const Shape& shape, bool numbers_as_text)
{
	if (record.op == Op::truncate) return;
	read_columns(record, shape);
	append_key(out, shape, numbers_as_text);
	const auto whole = [](size_t i, std::string_view& text) {
		text = row.now[i];
		return true;
	};
	out += record.op == Op::remove ? ",\"old\":" : ",\"new\":";
	append_object(out, shape, numbers_as_text, whole);
	if (record.op == Op::update) {
		// Without a key a client finds the row by its former values, so it gets all of them.
		const bool all = shape.key.empty();
		out += ",\"old\":";
		append_object(out, shape, numbers_as_text, [&](size_t i, std::string_view& text) {
			text = row.changed[i] ? row.before[i] : row.now[i];
			return all || row.changed[i] || shape.in_key[i];
		});
	}
	if (record.by_update) out += ",\"cause\":\"update\"";
}

void append_key_member(std::string& out, const Record& record, const Shape& shape)
{
	if (record.op == Op::truncate) return;
	read_columns(record, shape);
	append_key(out, shape, false);
}

}  // namespace plank::core
