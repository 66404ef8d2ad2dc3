// PostgreSQL's headers for running a query without SPI: planner, executor, destinations of rows. Everything may ereport:
// call it inside pg::call.
#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/prepare.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
}

namespace plank::pg {

// A visitor of queries and of the expressions in them; see walk_expression in expression.hpp.
template <typename Context>
bool walk_queries(Node* node, bool (*visit)(Node*, Context*), Context* context)
{
	const auto walker = reinterpret_cast<bool (*)()>(reinterpret_cast<void*>(visit));
	if (IsA(node, Query)) return query_tree_walker(reinterpret_cast<Query*>(node), walker, context, 0);
	return expression_tree_walker(node, walker, context);
}

// Where a table's privileges stand in the query of which it is an entry.
#if PG_VERSION_NUM >= 160000
using Privileges = RTEPermissionInfo;
inline Privileges* privileges_of(ParseNamespaceItem* item, Query* query, ParseState* state)
{
	query->rteperminfos = state->p_rteperminfos;
	return item->p_perminfo;
}
inline void check_privileges(Query* query) { (void)ExecCheckPermissions(query->rtable, query->rteperminfos, true); }
#else
using Privileges = RangeTblEntry;
inline Privileges* privileges_of(ParseNamespaceItem* item, Query*, ParseState*) { return item->p_rte; }
inline void check_privileges(Query* query) { (void)ExecCheckRTPerms(query->rtable, true); }
#endif

// To the last row.
inline void run_whole(QueryDesc* query)
{
#if PG_VERSION_NUM >= 180000
	ExecutorRun(query, ForwardScanDirection, 0);
#else
	ExecutorRun(query, ForwardScanDirection, 0, true);
#endif
}

// Names of settings that nothing has defined, but which somebody has set.
inline int count_placeholders()
{
#if PG_VERSION_NUM >= 160000
	int count = 0;
	config_generic** const settings = get_guc_variables(&count);
#else
	config_generic** const settings = get_guc_variables();
	const int count = GetNumConfigOptions();
#endif
	int placeholders = 0;
	for (int i = 0; i < count; ++i)
		if (settings[i]->flags & GUC_CUSTOM_PLACEHOLDER) ++placeholders;
	return placeholders;
}

}  // namespace plank::pg
