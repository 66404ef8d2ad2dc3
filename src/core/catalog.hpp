// What the hub must know of the database, answered by whoever can look it up. The worker asks PostgreSQL; tests have a map.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/name.hpp"
#include "core/shape.hpp"
#include "core/subscription.hpp"

namespace plank::core {

enum class Access : uint8_t {
	granted,
	absent,      // missing, untracked or unreadable: one answer for all three
	key_hidden,  // the role may read some columns, but not all of the key
	busy,        // locked by DDL at the moment: ask again
	failed,      // the look-up failed; `message` says how
};

struct TableAnswer {
	Access access = Access::absent;
	ShapePtr shape;                            // when granted
	std::string message;                       // when failed
	std::vector<std::string> uncaptured = {};  // columns that the role may read but that plank.track leaves out
	ColumnNames readable = {};                 // those of the shape that the role may read; null: all
	bool row_security = false;                 // row security applies to the role here

	// When granted: whether a client of the role may name the column.
	bool has_column(const std::string& name) const
	{
		if (readable) return std::binary_search(readable->begin(), readable->end(), name);
		return std::any_of(shape->columns.begin(), shape->columns.end(),
		                   [&](const Column& column) { return column.name == name; });
	}
};

struct ReadableTable {
	ShapePtr shape;
	ColumnNames columns;  // as TableAnswer::readable
};

// What others have changed in the catalog. Names, columns and tracking are looked at after any change; the rest of it
// costs more.
struct CatalogChange {
	// Roles, schemas or functions; or so much that nobody counted. It may concern what anybody sees of any table.
	bool everything = true;
	// Otherwise: the tables that have changed, or what may be done with them and who may do it; rising.
	std::vector<uint32_t> relations = {};

	// Row security of any table may look at any other one.
	bool rights() const noexcept { return everything || !relations.empty(); }
	bool concerns(uint32_t relation) const noexcept
	{
		return everything || std::binary_search(relations.begin(), relations.end(), relation);
	}
};

class Catalog {
 public:
	virtual TableAnswer find_table(const std::string& role, const QualifiedName& name) = 0;
	// The same table again, by its OID: its name, columns and privileges may have changed.
	virtual TableAnswer look_again(const std::string& role, uint32_t relation) = 0;
	// All tracked tables that `role` may read.
	virtual std::vector<ReadableTable> readable_tables(const std::string& role) = 0;
	// Throws when it cannot be found out.
	virtual bool may_hear(const std::string& role, const std::string& channel) = 0;

 protected:
	~Catalog() = default;
};

}  // namespace plank::core
