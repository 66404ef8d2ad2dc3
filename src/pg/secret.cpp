// Reading plank.secret straight from the heap: no rule, view or policy has a say in it. Runs in sessions and in the worker.
#include "pg/secret.hpp"

#include "pg/guard.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

namespace plank::pg {

namespace {

constexpr char kPrefix[] = "plank:";
constexpr int kPrefixLength = sizeof kPrefix - 1;
constexpr int kSecretLength = 32;

char known[kPrefixLength + kSecretLength + 1];
Oid known_table = InvalidOid;  // InvalidOid: nothing is known

void table_changed(Datum, Oid relation)
{
	if (!OidIsValid(relation) || relation == known_table) known_table = InvalidOid;
}

// Everything below may ereport.

Oid secret_table()
{
	const Oid extension = get_extension_oid("plank", true);
	if (!OidIsValid(extension)) return InvalidOid;
	const Oid schema = get_namespace_oid("plank", true);
	const Oid table = OidIsValid(schema) ? get_relname_relid("secret", schema) : InvalidOid;
	return OidIsValid(table) && getExtensionOfObject(RelationRelationId, table) == extension ? table : InvalidOid;
}

bool is_secret(const char* text)
{
	return strlen(text) == kSecretLength && strspn(text, "0123456789abcdef") == kSecretLength;
}

// The first row is the secret, whatever replication may have put behind it.
void read_secret(Relation table)
{
	const AttrNumber column = get_attnum(RelationGetRelid(table), "secret");
	const char* secret = nullptr;
	if (table->rd_rel->relkind == RELKIND_RELATION && column > 0) {
		const SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
		const HeapTuple tuple = systable_getnext(scan);
		bool null = true;
		const Datum datum = HeapTupleIsValid(tuple) ? heap_getattr(tuple, column, RelationGetDescr(table), &null) : 0;
		if (!null) secret = TextDatumGetCString(datum);
		systable_endscan(scan);
	}
	if (!secret || !is_secret(secret))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("plank.secret does not hold this database's secret"),
		                errhint("Drop and create the extension \"plank\" again, and track the tables again.")));
	memcpy(known, kPrefix, kPrefixLength);
	memcpy(known + kPrefixLength, secret, kSecretLength);
	known_table = RelationGetRelid(table);
}

void look()
{
	static bool watching = false;
	if (!watching) CacheRegisterRelcacheCallback(table_changed, 0);
	watching = true;
	const Oid oid = secret_table();
	const Relation table = OidIsValid(oid) ? try_table_open(oid, AccessShareLock) : nullptr;
	if (!table) return;
	read_secret(table);
	table_close(table, AccessShareLock);
}

}  // namespace

const char* message_prefix()
{
	if (!OidIsValid(known_table)) call(look);
	return OidIsValid(known_table) ? known : nullptr;
}

}  // namespace plank::pg
