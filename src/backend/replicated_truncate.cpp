// Finds partitions that got a new file in this transaction. Runs in logical replication's workers.
#include "backend/replicated_truncate.hpp"

#include "core/capture_arguments.hpp"
#include "core/record.hpp"

#include "backend/statement.hpp"
#include "backend/tracking.hpp"
#include "backend/transaction_buffer.hpp"
#include "pg/catalog.hpp"
#include "pg/compat.hpp"
#include "pg/guard.hpp"

namespace plank::backend {

namespace {

// Relations whose entry in the relation cache was thrown away since the transaction began, by us or by others. A
// callback of invalidation must not fail, so there is a place for so many; should they not do, all partitions are
// looked at.
constexpr int kMostNoted = 256;
Oid noted[kMostNoted];
int count = 0;
bool too_many = false;

void note(Datum, Oid relation)
{
	if (!IsLogicalWorker() || !IsTransactionState() || !OidIsValid(relation)) return;
	for (int i = count; i > 0; --i)
		if (noted[i - 1] == relation) return;
	if (count == kMostNoted)
		too_many = true;
	else
		noted[count++] = relation;
}

// Everything from here on may ereport.

bool is_ours(Oid relation)
{
	LOCKTAG tag;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	return LockHeldByMe(&tag, AccessExclusiveLock, false);
}

bool has_new_file(Oid relation)
{
	if (!is_ours(relation)) return false;
	const Relation opened = RelationIdGetRelation(relation);
	if (!RelationIsValid(opened)) return false;
	const bool has = opened->rd_firstRelfilelocatorSubid != InvalidSubTransactionId;
	RelationClose(opened);
	return has;
}

List* candidates()
{
	List* relations = NIL;
	for (int i = 0; i < count; ++i)
		relations = lappend_oid(relations, noted[i]);
	if (!too_many) return relations;
	ListCell* cell;
	foreach (cell, tracked_tables())
		relations = list_concat_unique_oid(relations, find_all_inheritors(lfirst_oid(cell), NoLock, nullptr));
	return relations;
}

// A table that was emptied as a whole says so by its own trigger, if that fires.
List* emptied_roots()
{
	List* roots = NIL;
	ListCell* cell;
	foreach (cell, candidates()) {
		const Oid relation = lfirst_oid(cell);
		if (!has_new_file(relation)) continue;
		const Oid root = tracked_root(relation);
		if (!OidIsValid(root)) continue;
		const Oid emptied = root_emptied_with(is_ours(root) ? root : relation);
		if (OidIsValid(emptied)) roots = list_append_unique_oid(roots, emptied);
	}
	return roots;
}

}  // namespace

void watch_replicated_truncates() { CacheRegisterRelcacheCallback(note, static_cast<Datum>(0)); }

void add_replicated_truncates()
{
	if (count == 0) return;
	const List* const roots = pg::call([] { return emptied_roots(); });
	const ListCell* cell;
	foreach (cell, roots)
		add_reset(lfirst_oid(cell), "a partition was truncated");
}

void forget_replicated_truncates() noexcept
{
	count = 0;
	too_many = false;
}

}  // namespace plank::backend
