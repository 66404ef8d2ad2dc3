// Differences between PostgreSQL 15 and the versions after it, each under the newest version's name.
#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "catalog/pg_class.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/rel.h"
}

#if PG_VERSION_NUM < 160000
inline bool object_ownercheck(Oid class_id, Oid object, Oid role)
{
	Assert(class_id == RelationRelationId);
	(void)class_id;
	return pg_class_ownercheck(object, role);
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
#endif
