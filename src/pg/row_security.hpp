// PostgreSQL's own reading of a table's policies. Everything may ereport: call it inside pg::call.
#pragma once

#include "pg/expression.hpp"

extern "C" {
#include "catalog/pg_collation.h"
#include "optimizer/prep.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "rewrite/rowsecurity.h"
#include "utils/rls.h"
}

namespace plank::pg {

struct RowSecurity {
	bool applies;
	List* conditions;  // to be joined by AND; columns are Vars of relation 1
};

// What the current user's SELECT on the table would be given.
inline RowSecurity row_security_of(Relation relation)
{
	auto* const query = makeNode(Query);
	query->commandType = CMD_SELECT;
	auto* const entry = makeNode(RangeTblEntry);
	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(relation);
	entry->relkind = relation->rd_rel->relkind;
	entry->rellockmode = AccessShareLock;
#if PG_VERSION_NUM >= 160000
	RTEPermissionInfo* const permissions = addRTEPermissionInfo(&query->rteperminfos, entry);
	permissions->requiredPerms = ACL_SELECT;
#else
	entry->requiredPerms = ACL_SELECT;
#endif
	query->rtable = list_make1(entry);
	RowSecurity security = {false, NIL};
	List* checks = NIL;
	bool has_subqueries = false;
	get_row_security_policies(query, entry, 1, &security.conditions, &checks, &security.applies, &has_subqueries);
	return security;
}

template <typename Context>
Query* mutate_query(Query* query, Node* (*change)(Node*, Context*), Context* context)
{
	return query_tree_mutator(query, reinterpret_cast<Node* (*)()>(reinterpret_cast<void*>(change)), context, 0);
}
template <typename Context>
bool walk_query(Query* query, bool (*visit)(Node*, Context*), Context* context)
{
	return query_tree_walker(query, reinterpret_cast<bool (*)()>(reinterpret_cast<void*>(visit)), context, 0);
}

}  // namespace plank::pg
