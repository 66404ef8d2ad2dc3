// Listening to what other sessions change in the catalog. Runs in the worker.
#include "pg/catalog_change.hpp"

#include <algorithm>

#include "pg/guard.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "utils/inval.h"
#include "utils/syscache.h"
}

namespace plank::pg {

namespace {

// More tables than that in half a second are as good as all.
constexpr int kMostRelations = 512;

bool something = true;
bool everything = true;
Oid relations[kMostRelations];
int count = 0;

// GRANT and REVOKE on a table or a column, its policies and its row security, all come as a change of the table. These
// three are called while PostgreSQL reads what others have told: they do nothing but note.
void note_relation(Datum, Oid relation)
{
	something = true;
	if (everything) return;
	if (!OidIsValid(relation) || count == kMostRelations)
		everything = true;
	else if (count == 0 || relations[count - 1] != relation)
		relations[count++] = relation;
}

void note_everything(Datum, int, uint32) { something = everything = true; }

void note_type(Datum, int, uint32) { something = true; }

// Whether anybody's rights can rest upon it. Tables that are gone have taken their privileges with them, and temporary
// ones come and go all the time. May ereport.
bool counts(Oid relation)
{
	if (relation < FirstNormalObjectId) return false;
	const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	if (!HeapTupleIsValid(tuple)) return false;
	const auto* form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
	const char kind = form->relkind;
	const bool rows = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE || kind == RELKIND_VIEW ||
	                  kind == RELKIND_MATVIEW || kind == RELKIND_FOREIGN_TABLE;
	const bool permanent = form->relpersistence != RELPERSISTENCE_TEMP;
	ReleaseSysCache(tuple);
	return rows && permanent;
}

}  // namespace

bool catalog_has_changed() noexcept
{
	static bool registered = false;
	if (!registered) {
		registered = true;
		CacheRegisterRelcacheCallback(note_relation, static_cast<Datum>(0));
		for (const int cache : {AUTHOID, AUTHMEMMEMROLE, NAMESPACEOID, PROCOID})
			CacheRegisterSyscacheCallback(cache, note_everything, static_cast<Datum>(0));
		CacheRegisterSyscacheCallback(TYPEOID, note_type, static_cast<Datum>(0));
	}
	return something;
}

CatalogChange take_catalog_change()
{
	CatalogChange change;
	change.everything = everything;
	const std::vector<Oid> noted(relations, relations + count);
	// Before the look, which may hear of more.
	something = everything = false;
	count = 0;
	if (change.everything) return change;
	try {
		for (const Oid relation : noted)
			if (call([&] { return counts(relation); })) change.relations.push_back(relation);
	} catch (...) {
		something = everything = true;
		throw;
	}
	std::sort(change.relations.begin(), change.relations.end());
	change.relations.erase(std::unique(change.relations.begin(), change.relations.end()), change.relations.end());
	return change;
}

}  // namespace plank::pg
