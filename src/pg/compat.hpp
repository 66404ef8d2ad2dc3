// Differences between PostgreSQL 15 and the versions after it, each under the newest version's name.
#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "executor/executor.h"
#include "replication/message.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#if PG_VERSION_NUM >= 170000
#include "common/file_utils.h"
#endif
}

#if PG_VERSION_NUM < 160000
inline bool object_ownercheck(Oid class_id, Oid object, Oid role)
{
	Assert(class_id == RelationRelationId);
	(void)class_id;
	return pg_class_ownercheck(object, role);
}

inline AclResult object_aclcheck(Oid class_id, Oid object, Oid role, AclMode mode)
{
	Assert(class_id == NamespaceRelationId);
	(void)class_id;
	return pg_namespace_aclcheck(object, role, mode);
}

inline List* stringToQualifiedNameList(const char* names, Node* soft_errors)
{
	Assert(!soft_errors);
	(void)soft_errors;
	return stringToQualifiedNameList(names);
}

#define rd_firstRelfilelocatorSubid rd_firstRelfilenodeSubid
#endif

#if PG_VERSION_NUM < 170000
inline bool LockHeldByMe(const LOCKTAG* tag, LOCKMODE mode, bool or_stronger)
{
	Assert(!or_stronger);
	(void)or_stronger;
	return LockHeldByMe(tag, mode);
}

inline XLogRecPtr LogLogicalMessage(const char* prefix, const char* message, size_t size, bool transactional,
                                    bool flush)
{
	Assert(!flush);
	(void)flush;
	return LogLogicalMessage(prefix, message, size, transactional);
}

inline WaitEventSet* CreateWaitEventSet(ResourceOwner owner, int events)
{
	Assert(!owner);
	(void)owner;
	return CreateWaitEventSet(TopMemoryContext, events);
}

#define MyProcNumber (MyProc->pgprocno)
#endif

#if PG_VERSION_NUM < 180000
// Each query descriptor is run once.
inline void ExecutorRun(QueryDesc* query, ScanDirection direction, uint64 count)
{
	ExecutorRun(query, direction, count, true);
}
#endif

namespace plank::pg {

// Computed when a row is read, so in no row that a trigger is given.
#if PG_VERSION_NUM >= 180000
inline bool is_virtual(const FormData_pg_attribute& column)
{
	return column.attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
}
#else
inline bool is_virtual(const FormData_pg_attribute&) { return false; }
#endif

// It ends the process, not the transaction, so neither the configuration nor a function that a policy calls may set it
// in ours. Call it once the process is connected. May ereport.
#if PG_VERSION_NUM >= 170000
inline void forbid_transaction_timeout()
{
	SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	find_option("transaction_timeout", false, false, ERROR)->context = PGC_SUSET;
}
#else
inline void forbid_transaction_timeout() {}
#endif

// A search path for what follows, until it is popped or the transaction fails: pg_catalog, then these. May ereport.
#if PG_VERSION_NUM >= 170000
inline int push_search_path(List* schemas)
{
	StringInfoData names;
	initStringInfo(&names);
	appendStringInfoString(&names, "pg_catalog");
	for (int i = 0; i < list_length(schemas); ++i)
		appendStringInfo(&names, ", %s", quote_identifier(get_namespace_name(list_nth_oid(schemas, i))));
	// Not named, it would be searched before all others.
	appendStringInfoString(&names, ", pg_temp");
	const int level = NewGUCNestLevel();
	(void)set_config_option("search_path", names.data, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}
inline void pop_search_path(int level) { AtEOXact_GUC(true, level); }
#else
inline int push_search_path(List* schemas)
{
	auto* const path = static_cast<OverrideSearchPath*>(palloc0(sizeof(OverrideSearchPath)));
	path->addCatalog = true;
	path->schemas = schemas;
	PushOverrideSearchPath(path);
	return 0;
}
inline void pop_search_path(int) { PopOverrideSearchPath(); }
#endif

}  // namespace plank::pg
