// The shape of a tracked table's rows: name, columns, key. Every transaction carries the shapes of the tables it
// changed, so that a change is read with the columns it was written with, whatever DDL has happened since.
// Runs in every process. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace plank::core {

// Where a value holds numbers that JavaScript would round; the capture side's backend::Numbers.
enum class Numbers : uint8_t { none, scalar, nested };

struct Column {
	std::string name;  // UTF-8, exact
	std::string type;  // as format_type prints it
	Numbers numbers = Numbers::none;
	bool with_text = false;  // changes carry its values as text too: its JSON does not tell all of them apart
	uint16_t number = 0;     // the table's own, which no other column of it ever has, whatever the name; 0: unknown
};

struct Shape {
	uint32_t relation = 0;  // OID of the tracked table
	std::string table;      // its name in SQL identifier syntax, schema-qualified
	std::vector<Column> columns;
	std::vector<uint32_t> key;  // indexes into columns, in the key's own order; empty: no key
	std::string notify;         // public channel of track(notify => ...), or empty

	// Derived once, for rendering.
	std::string table_json;           // the name as a JSON string
	std::vector<std::string> member;  // `"name":` per column
	std::vector<bool> in_key;
	std::string key_names_json;  // ["id"] or null
	std::string columns_json;    // [{"name":"id","type":"bigint"}]
	bool has_numbers = false;
	std::vector<uint32_t> texts;  // indexes of the columns with_text, rising
	std::string identity;         // the encoded bytes without `notify`: equal shapes have equal identities

	void derive();
	std::string encode() const;
	// Null when the bytes are no shape.
	static std::shared_ptr<const Shape> decode(std::string_view bytes);
};
using ShapePtr = std::shared_ptr<const Shape>;

// Whether a column was dropped and another one has its name since: no change tells that its values are others.
bool replaces_column(const Shape& former, const Shape& now);
// The columns that have come into the key, by their former names.
std::vector<std::string> new_in_key(const Shape& former, const Shape& now);

}  // namespace plank::core
