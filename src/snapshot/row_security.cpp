// Policies in the query for a table's rows. Runs in the process that reads.
#include "core/snapshot.hpp"

#include "snapshot/row_security.hpp"

#include "pg/unit_of_work.hpp"

namespace plank::snapshot {

namespace {

List*& barriers_of(Query* query) { return linitial_node(RangeTblEntry, query->rtable)->securityQuals; }

bool is_session_user(Oid function, void*) { return function == F_SESSION_USER; }

// What clients of the live stream do not have, so that what follows the snapshot would not fit it.
// `depth`: of queries inside the policy.
bool refuse_unfit(Node* node, int* depth)
{
	if (!node) return false;
	if (IsA(node, Var)) {
		const auto* const var = reinterpret_cast<Var*>(node);
		if (var->varno == 1 && static_cast<int>(var->varlevelsup) == *depth && var->varattno < 0)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			                errmsg("the table's row security uses system columns, which changes do not have")));
		return false;
	}
	if ((IsA(node, SQLValueFunction) && reinterpret_cast<SQLValueFunction*>(node)->op == SVFOP_SESSION_USER) ||
	    check_functions_in_node(node, is_session_user, nullptr))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		                errmsg("the table's row security uses session_user, which clients do not have"),
		                errhint("Use current_user: it is the client's role.")));
	const bool inside = IsA(node, Query);
	*depth += inside;
	(void)pg::walk_queries(node, refuse_unfit, depth);
	*depth -= inside;
	return false;
}

bool is_foreign(Oid function, void*) { return function >= FirstNormalObjectId; }

bool calls_foreign(Node* node, void* nothing)
{
	if (!node) return false;
	return check_functions_in_node(node, is_foreign, nullptr) || pg::walk_queries(node, calls_foreign, nothing);
}

// Whether an error of the policies may quote a row, this table's or another's. PostgreSQL's own functions do so only
// where they are given one and are not leakproof. Looked at as it is run: functions inlined, constants folded.
bool may_tell_values(List* policies)
{
	ListCell* cell;
	foreach (cell, policies) {
		Node* const policy = eval_const_expressions(nullptr, static_cast<Node*>(lfirst(cell)));
		if (contain_leaked_vars(policy) || calls_foreign(policy, nullptr)) return true;
	}
	return false;
}

// A client that tries again and again must not fill the log: the same failure of the same table is told once in a while.
bool was_told(Oid relation, int sqlstate)
{
	static Oid last_relation = InvalidOid;
	static int last_sqlstate = 0;
	static TimestampTz last_at = 0;
	constexpr int kSilence = 60 * 1000;
	const TimestampTz now = GetCurrentTimestamp();
	if (relation == last_relation && sqlstate == last_sqlstate && !TimestampDifferenceExceeds(last_at, now, kSilence))
		return true;
	last_relation = relation;
	last_sqlstate = sqlstate;
	last_at = now;
	return false;
}

}  // namespace

RowSecurity::RowSecurity(Relation relation) : relation_(relation)
{
	const char* const name = pg::call([&] {
		applies_ = check_enable_rls(RelationGetRelid(relation), InvalidOid, true) == RLS_ENABLED;
		return GetUserNameFromId(GetUserId(), false);
	});
	role_ = name;
	covers_ = applies_;
}

Query* RowSecurity::rewrite(Query* query)
{
	const int own = list_length(barriers_of(query));
	Query* const rewritten = pg::call([&] {
		// Functions that policies call find what they would in a session of the database. Nothing else is parsed any more.
		if (applies_)
			(void)set_config_option("search_path", GetConfigOptionResetString("search_path"), PGC_USERSET,
			                        PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
		return linitial_node(Query, pg_rewrite_query(query));
	});
	if (!applies_) return rewritten;
	// The rewriter has put the policies in front of what the query had.
	List* const policies = pg::call([&] {
		List* const all = barriers_of(rewritten);
		return list_truncate(list_copy(all), list_length(all) - own);
	});
	covers_ = false;
	pg::call([&] {
		int depth = 0;
		(void)refuse_unfit(reinterpret_cast<Node*>(policies), &depth);
	});
	covers_ = true;
	covers_ = pg::call([&] { return may_tell_values(policies); });
	return rewritten;
}

void RowSecurity::cover(pg::Error& error) const
{
	const int sqlstate = error.sqlstate();
	// Without privileges for the table itself nothing has come this far: what is lacking is the policy's.
	if (!applies_ || (!covers_ && sqlstate != ERRCODE_INSUFFICIENT_PRIVILEGE)) return;
	const ErrorData* const data = error.data();
	if (!was_told(RelationGetRelid(relation_), sqlstate)) {
		const std::string message = "row security of table \"" + std::string(RelationGetRelationName(relation_)) +
		                            "\" failed for role \"" + role_ + "\"";
		std::string detail = std::string(unpack_sql_state(sqlstate)) + ": " + error.what();
		for (const char* const more : {data->detail, data->context})
			if (more) detail += std::string("\n") + more;
		pg::log_line(LOG, message.c_str(), detail.c_str());
	}
	error.release();
	pg::raise(sqlstate, core::kRowSecurityFailed);
}

}  // namespace plank::snapshot
