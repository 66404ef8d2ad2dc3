// What others have changed in the catalog, as far as this process has heard: it hears at the beginning of every
// transaction. Runs in the worker.
#pragma once

#include <vector>

#include "pg/postgres.hpp"

namespace plank::pg {

struct CatalogChange {
	// Roles and their memberships, schemas or functions; or so much that nobody counted.
	bool everything = true;
	// Otherwise: the permanent tables and views that have changed, rising. Their privileges and row security count as theirs.
	std::vector<Oid> relations;
};

// True when something has changed since the last take_catalog_change, be it only a type or a temporary table.
bool catalog_has_changed() noexcept;

// What it was. In a transaction; throws Error, and then nothing is forgotten.
CatalogChange take_catalog_change();

}  // namespace plank::pg
