// The session's cache of tracked tables. Runs in ordinary sessions. Invalidation only marks entries: they are rebuilt
// by the next trigger, where errors may be raised.
#include "backend/table_cache.hpp"

#include <string>

#include "backend/table_shape.hpp"
#include "pg/guard.hpp"
#include "pg/session.hpp"
#include "pg/table.hpp"

namespace plank::backend {

namespace {

HTAB* triggers = nullptr;
HTAB* tables = nullptr;

struct TableKey {
	Oid leaf, root;
};
struct TableEntry {
	TableKey key;
	CapturedTable table;
};

// relation: InvalidOid means every table.
void forget_relation(Datum, Oid relation)
{
	HASH_SEQ_STATUS scan;
	hash_seq_init(&scan, tables);
	while (auto* entry = static_cast<TableEntry*>(hash_seq_search(&scan)))
		if (!OidIsValid(relation) || entry->key.leaf == relation || entry->key.root == relation)
			entry->table.valid = false;
}

// A type, schema or cast changed: names and outputs may have.
void forget_all(Datum, int, uint32) { forget_relation(static_cast<Datum>(0), InvalidOid); }

// May ereport; owns nothing.
void prepare_cache()
{
	if (tables) return;
	HASHCTL control = {};
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(CapturedTrigger);
	control.hcxt = CacheMemoryContext;
	triggers = hash_create("plank triggers", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	control.keysize = sizeof(TableKey);
	control.entrysize = sizeof(TableEntry);
	HTAB* const made = hash_create("plank tables", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(forget_relation, static_cast<Datum>(0));
	CacheRegisterSyscacheCallback(TYPEOID, forget_all, static_cast<Datum>(0));
	CacheRegisterSyscacheCallback(NAMESPACEOID, forget_all, static_cast<Datum>(0));
	// A cast to json is how a type may be printed.
	CacheRegisterSyscacheCallback(CASTSOURCETARGET, forget_all, static_cast<Datum>(0));
	tables = made;
}

// The tracked table of a trigger: a clone on a partition leads up to the trigger that was made by hand. May ereport.
Oid root_of(Relation relation, const Trigger& trigger)
{
	if (!trigger.tgisclone) return RelationGetRelid(relation);
	const Relation catalog = table_open(TriggerRelationId, AccessShareLock);
	Oid next = trigger.tgoid;
	Oid root = RelationGetRelid(relation);
	while (OidIsValid(next)) {
		ScanKeyData key;
		ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(next));
		const SysScanDesc scan = systable_beginscan(catalog, TriggerOidIndexId, true, nullptr, 1, &key);
		const HeapTuple tuple = systable_getnext(scan);
		next = InvalidOid;
		if (HeapTupleIsValid(tuple)) {
			const auto* form = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
			root = form->tgrelid;
			next = form->tgparentid;
		}
		systable_endscan(scan);
	}
	table_close(catalog, AccessShareLock);
	return root;
}

core::Tag tag_of(const Trigger& trigger)
{
	const char* mode = trigger.tgnargs > 0 ? trigger.tgargs[0] : "";
	if (strcmp(mode, "enter") == 0) return core::Tag::entered;
	if (strcmp(mode, "leave") == 0) return core::Tag::left;
	// The event itself says the rest; a forged argument cannot make it say something else.
	return core::Tag::truncate;
}

// The tracked table, for a look at it. A writer of a partition holds that partition's lock and not the tracked table's:
// waiting for it while DDL has it and waits for the partition would be a deadlock that Plank brought in. So its lock is
// taken when it is free; when it is not, what the partition's lock protects (columns, types, triggers) still stands.
class OpenRelation {
 public:
	explicit OpenRelation(Oid oid)
	    : relation_(pg::call([&] {
		      (void)ConditionalLockRelationOid(oid, AccessShareLock);
		      const Relation relation = RelationIdGetRelation(oid);
		      if (!RelationIsValid(relation))
			      ereport(ERROR,
			              (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("tracked table with OID %u does not exist", oid)));
		      return relation;
	      }))
	{}
	~OpenRelation() { RelationClose(relation_); }
	OpenRelation(const OpenRelation&) = delete;
	OpenRelation& operator=(const OpenRelation&) = delete;
	Relation get() const noexcept { return relation_; }

 private:
	Relation relation_;
};

// Works a table out: everything of it lives in one memory context, dropped when the next one replaces it.
void work_out(CapturedTable& table, Relation leaf, const Trigger& trigger, Oid root_oid)
{
	const OpenRelation root(root_oid);
	pg::Tracking tracking = pg::read_tracking(root.get(), trigger.tgfoid);
	// Columns that must not leave the server are named in the arguments; a clone repeats its parent's.
	if (!tracking.tracked && trigger.tgnargs > 1) tracking.columns = trigger.tgargs[1];
	const pg::TableDescription description = pg::describe_table(root.get(), tracking.columns.c_str());
	const std::string shape = shape_of(description, tracking.notify).encode();

	pg::call([&] {
		// Short-lived until nothing can fail any more.
		const MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "plank table", ALLOCSET_SMALL_SIZES);
		auto* columns = static_cast<CapturedColumn*>(
		    MemoryContextAllocZero(memory, sizeof(CapturedColumn) * (description.columns.size() + 1)));
		AttrNumber last = 0;
		int texts = 0;
		for (size_t i = 0; i < description.columns.size(); ++i) {
			AttrNumber number = description.columns[i].number;
			if (root_oid != RelationGetRelid(leaf)) {
				// By name, as partitions are matched; the name in the database's encoding is the root's own.
				number = get_attnum(RelationGetRelid(leaf), get_attname(root_oid, number, false));
				if (number <= 0)
					ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
					                errmsg("partition \"%s\" lacks a column of its tracked table",
					                       RelationGetRelationName(leaf))));
			}
			const Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(leaf), number - 1);
			columns[i].number = number;
			columns[i].length = attribute->attlen;
			columns[i].by_value = attribute->attbyval;
			columns[i].output = resolve_value_output(attribute->atttypid, memory);
			if (description.columns[i].with_text) {
				columns[i].text = resolve_text_output(attribute->atttypid, memory);
				++texts;
			}
			if (number > last) last = number;
		}
		auto* bytes = static_cast<char*>(MemoryContextAlloc(memory, shape.size() + 1));
		memcpy(bytes, shape.data(), shape.size());

		MemoryContextSetParent(memory, CacheMemoryContext);
		if (table.memory) MemoryContextDelete(table.memory);
		table.memory = memory;
		table.leaf = RelationGetRelid(leaf);
		table.root = root_oid;
		table.columns = static_cast<int>(description.columns.size());
		table.texts = texts;
		table.last_number = last;
		table.column = columns;
		table.shape = bytes;
		table.shape_length = static_cast<uint32_t>(shape.size());
		table.used_in = 0;
	});
}

}  // namespace

const CapturedTrigger& find_captured(Relation relation, const Trigger& trigger)
{
	if (!tables) pg::call(prepare_cache);
	bool found = false;
	auto* entry = static_cast<CapturedTrigger*>(hash_search(triggers, &trigger.tgoid, HASH_FIND, &found));
	if (found && entry->table->valid) return *entry;

	const Oid root = pg::call([&] { return root_of(relation, trigger); });
	TableKey key = {RelationGetRelid(relation), root};
	auto* table = pg::call([&] {
		bool known = false;
		auto* slot = static_cast<TableEntry*>(hash_search(tables, &key, HASH_ENTER, &known));
		if (!known) slot->table = CapturedTable{};
		return &slot->table;
	});
	if (!table->valid) {
		// Set first: an invalidation that arrives while the table is worked out must not be lost.
		table->valid = true;
		try {
			work_out(*table, relation, trigger, root);
		} catch (...) {
			table->valid = false;
			throw;
		}
	}
	entry = pg::call(
	    [&] { return static_cast<CapturedTrigger*>(hash_search(triggers, &trigger.tgoid, HASH_ENTER, &found)); });
	entry->tag = tag_of(trigger);
	entry->table = table;
	return *entry;
}

}  // namespace plank::backend
