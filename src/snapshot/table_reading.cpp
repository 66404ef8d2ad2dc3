// Makes the query for a table's rows from trees: the condition has been parsed as one expression over the table's columns
// and nothing else, and what plank.track was told needs no privileges on the columns that it looks at. Row security comes
// from PostgreSQL's own rewriter, in front of both.
#include "core/capture_arguments.hpp"

#include "snapshot/table_reading.hpp"

#include <algorithm>

#include "backend/filter.hpp"
#include "backend/json_output.hpp"
#include "backend/table_shape.hpp"
#include "backend/tracking.hpp"
#include "pg/costly_calls.hpp"
#include "pg/encoding.hpp"
#include "pg/guard.hpp"
#include "pg/settings.hpp"
#include "snapshot/patience.hpp"
#include "snapshot/row_printer.hpp"
#include "snapshot/row_security.hpp"

namespace plank::snapshot {

namespace {

// One column as the query names it; plain, for what may ereport.
struct PlainColumn {
	AttrNumber number;
	Oid type;
};

// A partitioned table is its partitions; children that inherit from a table are not the tracked table.
bool is_read_whole(Relation relation) { return relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE; }

// The filter of plank.track, as its triggers have it; null when there is none.
Node* tracked_filter(Oid relation)
{
	ListCell* cell;
	foreach (cell, backend::capture_triggers(relation)) {
		const auto* const trigger = static_cast<backend::CaptureTrigger*>(lfirst(cell));
		if (OidIsValid(trigger->parent) || !trigger->when) continue;
		if (Node* const filter = backend::filter_of_when(trigger->when)) return filter;
	}
	return nullptr;
}

// The same as text, for those who look at what a process does.
char* describe_query(Relation relation, const PlainColumn* columns, size_t count, const char* condition)
{
	StringInfoData text;
	initStringInfo(&text);
	appendStringInfoString(&text, "SELECT ");
	for (size_t i = 0; i < count; ++i) {
		if (i > 0) appendStringInfoString(&text, ", ");
		const Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), columns[i].number - 1);
		appendStringInfoString(&text, quote_identifier(NameStr(attribute->attname)));
	}
	appendStringInfo(&text, " FROM %s%s", is_read_whole(relation) ? "" : "ONLY ",
	                 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
	                                            RelationGetRelationName(relation)));
	Node* const filter = tracked_filter(RelationGetRelid(relation));
	if (filter)
		appendStringInfo(&text, " WHERE (%s)", backend::print_filter(filter, RelationGetRelid(relation), nullptr));
	if (*condition) appendStringInfo(&text, " %s (%s)", filter ? "AND" : "WHERE", condition);
	return text.data;
}

Query* make_query(Relation relation, const PlainColumn* columns, size_t count, const char* condition)
{
	ParseState* const state = make_parsestate(nullptr);
	ParseNamespaceItem* const item =
	    addRangeTableEntryForRelation(state, relation, AccessShareLock, nullptr, is_read_whole(relation), true);
	RangeTblEntry* const entry = item->p_rte;

	Query* const query = makeNode(Query);
	pg::Privileges* const privileges = pg::privileges_of(item, query, state);
	privileges->requiredPerms = ACL_SELECT;
	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = state->p_rtable;
	for (size_t i = 0; i < count; ++i) {
		const Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), columns[i].number - 1);
		Var* const var =
		    makeVar(1, attribute->attnum, attribute->atttypid, attribute->atttypmod, attribute->attcollation, 0);
		query->targetList =
		    lappend(query->targetList, makeTargetEntry(reinterpret_cast<Expr*>(var), static_cast<AttrNumber>(i + 1),
		                                               pstrdup(NameStr(attribute->attname)), false));
		privileges->selectedCols =
		    bms_add_member(privileges->selectedCols, attribute->attnum - FirstLowInvalidHeapAttributeNumber);
	}

	// A barrier as row security has it: the client's condition must not see, by an error or its time, the rows that are
	// hidden from it.
	if (Node* const filter = tracked_filter(RelationGetRelid(relation))) entry->securityQuals = list_make1(filter);
	Node* where = nullptr;
	if (*condition) {
		where = backend::parse_filter(relation, condition);
		// Whoever asks for rows by a column must be allowed to read it.
		pull_varattnos(where, 1, &privileges->selectedCols);
	}
	RangeTblRef* const from = makeNode(RangeTblRef);
	from->rtindex = 1;
	query->jointree = makeFromExpr(list_make1(from), where);
	free_parsestate(state);
	return query;
}

// May plan an index scan; never a parallel one, whose workers would wait with it for a slow client.
void execute(Query* rewritten, const char* text, DestReceiver* rows)
{
	PlannedStmt* const plan = pg_plan_query(rewritten, text, 0, nullptr);
	QueryDesc* const run = CreateQueryDesc(plan, text, GetActiveSnapshot(), InvalidSnapshot, rows, nullptr, nullptr, 0);
	ExecutorStart(run, 0);
	pg::guard_costs(run->planstate);
	pg::run_whole(run);
	ExecutorFinish(run);
	ExecutorEnd(run);
	FreeQueryDesc(run);
}

}  // namespace

TableReading::TableReading(Relation relation, const core::SnapshotRequest& request)
    : relation_(relation), request_(request)
{
	const pg::Tracking tracking = pg::read_tracking(relation, pg::capture_function());
	if (!tracking.tracked) {
		const std::string message = "table \"" + std::string(RelationGetRelationName(relation)) + "\" is not tracked";
		pg::raise(ERRCODE_UNDEFINED_TABLE, message.c_str(), nullptr, "Use plank.track() to track a table.");
	}
	description_ = pg::describe_table(relation, tracking.columns.c_str());
	auto shape = std::make_shared<core::Shape>(backend::shape_of(description_, tracking.notify));
	shape->derive();
	shape_ = std::move(shape);
}

std::vector<size_t> TableReading::find_columns() const
{
	// Not from the table as whoever asks knows it: DDL may have come in between.
	const std::vector<bool> chosen = core::choose_columns(*shape_, request_.columns);
	std::vector<size_t> columns;
	for (size_t i = 0; i < chosen.size(); ++i)
		if (chosen[i]) columns.push_back(i);
	return columns;
}

void TableReading::run(Answers& answers)
{
	const std::vector<size_t> columns = find_columns();
	const std::string condition = pg::from_utf8(request_.condition);
	std::vector<PlainColumn> plain;
	std::vector<std::string> members;
	for (const size_t column : columns) {
		plain.push_back({description_.columns[column].number, description_.columns[column].type_oid});
		members.push_back((members.empty() ? "" : ",") + shape_->member[column]);
	}
	const char* text = nullptr;
	Query* query = nullptr;
	DestReceiver* rows = nullptr;
	pg::call([&] {
		text = describe_query(relation_, plain.data(), plain.size(), condition.c_str());
		pgstat_report_activity(STATE_RUNNING, text);
		query = make_query(relation_, plain.data(), plain.size(), condition.c_str());
		pg::check_privileges(query);
		auto* const printed = static_cast<PrintedColumn*>(palloc0(sizeof(PrintedColumn) * (plain.size() + 1)));
		for (size_t i = 0; i < plain.size(); ++i)
			printed[i] = {members[i].data(), static_cast<int>(members[i].size()),
			              backend::resolve_value_output(plain[i].type, CurrentMemoryContext),
			              shape_->columns[columns[i]].numbers};
		rows = make_row_printer(answers, printed, static_cast<int>(plain.size()), request_.numbers_as_text);
	});
	RowSecurity security(relation_);
	const Patience patience(pg::Settings::snapshot_timeout);
	try {
		Query* const rewritten = security.rewrite(query);
		pg::call([&] { execute(rewritten, text, rows); });
	} catch (pg::Error& error) {
		const bool cancelled = error.sqlstate() == ERRCODE_QUERY_CANCELED;
		if (cancelled && Patience::has_run_out()) {
			error.release();
			pg::raise(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, core::kRowsTookTooLong);
		}
		// What has been cancelled is begun again, or nobody waits for it; then there is nobody to be told.
		if (!cancelled && !answers.is_unwanted()) security.cover(error);
		throw;
	}
}

}  // namespace plank::snapshot
