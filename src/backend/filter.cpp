// Parses and prints filters of tracked tables. Runs in ordinary sessions.
#include "backend/filter.hpp"

#include "pg/compat.hpp"

namespace plank::backend {

namespace {

// A lone `*`, which the parser expands in a list of results only and takes for granted elsewhere.
bool is_star(const Node* expression)
{
	return IsA(expression, ColumnRef) && IsA(llast(reinterpret_cast<const ColumnRef*>(expression)->fields), A_Star);
}

// The condition in the parse tree of an expression. The grammar takes whatever may follow SELECT, so everything but
// one expression is refused here.
Node* only_expression(const char* text)
{
	const List* const statements = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	Node* const statement = list_length(statements) == 1 ? linitial_node(RawStmt, statements)->stmt : nullptr;
	if (statement && IsA(statement, SelectStmt)) {
		const auto* const select = reinterpret_cast<SelectStmt*>(statement);
		const bool plain = !select->distinctClause && !select->intoClause && !select->fromClause &&
		                   !select->whereClause && !select->groupClause && !select->havingClause &&
		                   !select->windowClause && !select->valuesLists && !select->sortClause &&
		                   !select->limitOffset && !select->limitCount && !select->lockingClause &&
		                   !select->withClause && select->op == SETOP_NONE;
		if (plain && list_length(select->targetList) == 1) {
			const auto* const target = linitial_node(ResTarget, select->targetList);
			if (!target->name && !target->indirection && !is_star(target->val)) return target->val;
		}
	}
	ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("filter must be one condition"), errdetail("It is: %s", text),
	                errhint("Write what would stand in WHERE, for example: price < 10 AND status = 'open'.")));
	pg_unreachable();
}

// Positions in errors are places in the filter, not in the statement that called plank.track.
void show_the_filter(void* text)
{
	const int position = geterrposition();
	if (position > 0) {
		errposition(0);
		internalerrposition(position);
		internalerrquery(static_cast<const char*>(text));
	} else {
		errcontext("filter \"%s\"", static_cast<const char*>(text));
	}
}

// A filter as plank.track writes it into WHEN stands in `(filter) IS TRUE`.
Node* first_tested(Node* when)
{
	if (IsA(when, BooleanTest)) {
		const auto* const test = reinterpret_cast<BooleanTest*>(when);
		return test->booltesttype == IS_TRUE ? reinterpret_cast<Node*>(test->arg) : nullptr;
	}
	if (IsA(when, BoolExpr)) {
		const auto* const both = reinterpret_cast<BoolExpr*>(when);
		if (both->boolop == AND_EXPR) return first_tested(static_cast<Node*>(linitial(both->args)));
	}
	return nullptr;
}

}  // namespace

Node* parse_filter(Relation relation, const char* text)
{
	ErrorContextCallback context;
	context.callback = show_the_filter;
	context.arg = const_cast<char*>(text);
	context.previous = error_context_stack;
	error_context_stack = &context;

	Node* const expression = only_expression(text);
	ParseState* const state = make_parsestate(nullptr);
	ParseNamespaceItem* const item =
	    addRangeTableEntryForRelation(state, relation, AccessShareLock, nullptr, false, false);
	addNSItemToQuery(state, item, false, true, true);
	Node* const filter = transformWhereClause(state, expression, EXPR_KIND_TRIGGER_WHEN, "filter");
	assign_expr_collations(state, filter);

	ListCell* cell;
	foreach (cell, pull_var_clause(filter, 0)) {
		const AttrNumber column = lfirst_node(Var, cell)->varattno;
		if (column < 0)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("filter must not use system columns")));
		if (column > 0 && pg::is_virtual(*TupleDescAttr(RelationGetDescr(relation), column - 1)))
			ereport(ERROR,
			        (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("filter must not use virtual generated columns"),
			         errhint("Write the expression that the column is generated from.")));
	}
	if (contain_mutable_functions(filter))
		ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION), errmsg("functions in a filter must be immutable"),
		                errdetail("A row must pass or fail by its own values, at any time and for everybody.")));
	free_parsestate(state);
	error_context_stack = context.previous;
	return filter;
}

char* print_filter(Node* filter, Oid relation, const char* row)
{
	return deparse_expression(filter, deparse_context_for(row ? row : get_rel_name(relation), relation), row != nullptr,
	                          false);
}

Node* filter_of_when(const char* when)
{
	Node* const filter = first_tested(static_cast<Node*>(stringToNode(when)));
	if (!filter) return nullptr;
	ChangeVarNodes(filter, PRS2_OLD_VARNO, 1, 0);
	ChangeVarNodes(filter, PRS2_NEW_VARNO, 1, 0);
	return filter;
}

}  // namespace plank::backend
