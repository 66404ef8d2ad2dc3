// Encoding, decoding and the derived texts of shapes. Runs in every process. Must not call PostgreSQL.
#include "core/shape.hpp"

#include <algorithm>

#include "core/bytes.hpp"
#include "core/json.hpp"

namespace plank::core {

namespace {

// Beside the two bits of `numbers`, and below the column's number.
constexpr uint64_t kWithText = 4;
constexpr int kNumberAt = 3;

std::string encode_identity(const Shape& shape)
{
	std::string out;
	append_varint(out, shape.relation);
	append_counted(out, shape.table);
	append_varint(out, shape.columns.size());
	for (const Column& column : shape.columns) {
		append_counted(out, column.name);
		append_counted(out, column.type);
		append_varint(out, static_cast<uint64_t>(column.numbers) | (column.with_text ? kWithText : 0) |
		                       uint64_t{column.number} << kNumberAt);
	}
	append_varint(out, shape.key.size());
	for (uint32_t index : shape.key)
		append_varint(out, index);
	return out;
}

}  // namespace

std::string Shape::encode() const
{
	std::string out = encode_identity(*this);
	append_counted(out, notify);
	return out;
}

std::shared_ptr<const Shape> Shape::decode(std::string_view bytes)
{
	auto shape = std::make_shared<Shape>();
	Reader reader(bytes);
	const uint64_t relation = reader.varint();
	shape->relation = static_cast<uint32_t>(relation);
	shape->table = reader.counted();
	const uint64_t columns = reader.varint();
	// PostgreSQL has at most 1600 columns; a larger number is no shape, and must not reserve memory.
	if (!reader.ok() || relation > UINT32_MAX || columns > 2000) return nullptr;
	for (uint64_t i = 0; i < columns && reader.ok(); ++i) {
		Column column;
		column.name = reader.counted();
		column.type = reader.counted();
		const uint64_t kind = reader.varint();
		const uint64_t numbers = kind & (kWithText - 1), number = kind >> kNumberAt;
		if (numbers > 2 || number > UINT16_MAX) return nullptr;
		column.number = static_cast<uint16_t>(number);
		column.numbers = static_cast<Numbers>(numbers);
		column.with_text = (kind & kWithText) != 0;
		shape->columns.push_back(std::move(column));
	}
	const uint64_t keys = reader.varint();
	if (!reader.ok() || keys > columns) return nullptr;
	for (uint64_t i = 0; i < keys; ++i) {
		const uint64_t index = reader.varint();
		if (index >= columns) return nullptr;
		shape->key.push_back(static_cast<uint32_t>(index));
	}
	shape->notify = reader.counted();
	if (!reader.ok() || !reader.done()) return nullptr;
	shape->derive();
	return shape;
}

bool replaces_column(const Shape& former, const Shape& now)
{
	for (const Column& column : now.columns)
		for (const Column& other : former.columns)
			if (other.name == column.name && other.number != column.number && other.number && column.number)
				return true;
	return false;
}

std::vector<std::string> new_in_key(const Shape& former, const Shape& now)
{
	const auto same = [](const Column& a, const Column& b) {
		return a.number && b.number ? a.number == b.number : a.name == b.name;
	};
	std::vector<std::string> names;
	for (const uint32_t index : now.key) {
		const Column& column = now.columns[index];
		if (std::any_of(former.key.begin(), former.key.end(),
		                [&](uint32_t other) { return same(former.columns[other], column); }))
			continue;
		const auto known = std::find_if(former.columns.begin(), former.columns.end(),
		                                [&](const Column& other) { return same(other, column); });
		names.push_back(known == former.columns.end() ? column.name : known->name);
	}
	return names;
}

void Shape::derive()
{
	identity = encode_identity(*this);
	table_json.clear();
	append_json_string(table_json, table);
	member.clear();
	in_key.assign(columns.size(), false);
	has_numbers = false;
	texts.clear();
	columns_json = "[";
	for (const Column& column : columns) {
		if (column.with_text) texts.push_back(static_cast<uint32_t>(member.size()));
		std::string name;
		append_json_string(name, column.name);
		if (columns_json.size() > 1) columns_json += ',';
		columns_json.append("{\"name\":").append(name).append(",\"type\":");
		append_json_string(columns_json, column.type);
		columns_json += '}';
		member.push_back(name + ':');
		has_numbers |= column.numbers != Numbers::none;
	}
	columns_json += ']';
	key_names_json = key.empty() ? "null" : "[";
	for (uint32_t index : key) {
		in_key[index] = true;
		if (key_names_json.size() > 1) key_names_json += ',';
		append_json_string(key_names_json, columns[index].name);
	}
	if (!key.empty()) key_names_json += ']';
}

}  // namespace plank::core
