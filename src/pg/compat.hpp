// Differences between PostgreSQL 15 and the versions after it, each under the newest version's name.
#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "catalog/pg_class.h"
#include "utils/acl.h"
}

#if PG_VERSION_NUM < 160000
inline bool object_ownercheck(Oid class_id, Oid object, Oid role)
{
	Assert(class_id == RelationRelationId);
	(void)class_id;
	return pg_class_ownercheck(object, role);
}
#endif
