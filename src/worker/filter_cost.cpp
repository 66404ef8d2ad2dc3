// See filter_cost.hpp.
//
// Folding runs calls whose arguments are constants, without asking. So a call that must be looked at first gets its first
// argument wrapped, which keeps it from being folded until all of its arguments are known.
#include "worker/filter_cost.hpp"

#include "pg/costly_calls.hpp"

namespace plank::worker {

namespace {

// One inside the other, all of constants.
constexpr int kMostPasses = 16;

// Of calls; others have none.
List* arguments_of(Node* node)
{
	switch (nodeTag(node)) {
		case T_FuncExpr:
			return reinterpret_cast<FuncExpr*>(node)->args;
		case T_OpExpr:
			return reinterpret_cast<OpExpr*>(node)->args;
		case T_ScalarArrayOpExpr:
			return reinterpret_cast<ScalarArrayOpExpr*>(node)->args;
		default:
			return NIL;
	}
}

Oid function_of(Node* node)
{
	switch (nodeTag(node)) {
		case T_FuncExpr: {
			const Oid function = reinterpret_cast<FuncExpr*>(node)->funcid;
			// Functions in SQL that say nothing but the call of another.
			if (function == F_LPAD_TEXT_INT4) return F_LPAD_TEXT_INT4_TEXT;
			return function == F_RPAD_TEXT_INT4 ? F_RPAD_TEXT_INT4_TEXT : function;
		}
		case T_OpExpr:
			set_opfuncid(reinterpret_cast<OpExpr*>(node));
			return reinterpret_cast<OpExpr*>(node)->opfuncid;
		default:
			set_sa_opfuncid(reinterpret_cast<ScalarArrayOpExpr*>(node));
			return reinterpret_cast<ScalarArrayOpExpr*>(node)->opfuncid;
	}
}

const pg::CostlyCall* costly_of(Node* node)
{
	if (list_length(arguments_of(node)) < 2) return nullptr;
	FmgrInfo function;
	fmgr_info(function_of(node), &function);
	return pg::find_costly_call(function.fn_addr);
}

struct Folding {
	const char* text;
	bool any;     // call is wrapped, or has been unwrapped and may be folded
	double cost;  // of those that have been unwrapped: folding looks for no interrupts either
};

// The wrapper keeps the call's place: inlined, it has another.
Node* wrap(Node* node, Folding* folding)
{
	if (!node) return nullptr;
	node = pg::mutate_expression(node, wrap, folding);
	if (!costly_of(node)) return node;
	folding->any = true;
	const int location = exprLocation(node);
	auto* const wrapper = makeNode(PlaceHolderVar);
	wrapper->phid = location < 0 ? 0 : static_cast<Index>(pg_mbstrlen_with_len(folding->text, location) + 1);
	ListCell* const first = list_head(arguments_of(node));
	wrapper->phexpr = static_cast<Expr*>(lfirst(first));
	lfirst(first) = wrapper;
	return node;
}

Node* wrapped_in(Node* node) { return reinterpret_cast<Node*>(reinterpret_cast<PlaceHolderVar*>(node)->phexpr); }

NullableDatum value_of(const Node* node)
{
	const auto* const constant = reinterpret_cast<const Const*>(node);
	return {constant->constvalue, constant->constisnull};
}

Node* unwrap_known(Node* node, Folding* folding)
{
	if (!node) return nullptr;
	node = pg::mutate_expression(node, unwrap_known, folding);
	List* const arguments = arguments_of(node);
	if (arguments == NIL || !IsA(linitial(arguments), PlaceHolderVar)) return node;
	Node* const first = wrapped_in(static_cast<Node*>(linitial(arguments)));
	const Node* const second = static_cast<Node*>(lsecond(arguments));
	if (!IsA(second, Const)) return node;
	const pg::CostlyCall& costly = *costly_of(node);
	const auto position = static_cast<int>(linitial_node(PlaceHolderVar, arguments)->phid);
	// How much to build is known before what of.
	const bool known = IsA(first, Const);
	if (!known && costly.most > 0) return node;
	const double cost =
	    check_cost(costly, known ? value_of(first) : NullableDatum{0, false}, value_of(second), position);
	if (!known) return node;
	folding->cost += cost;
	if (folding->cost > 1)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		                errmsg("the constants of a filter take too long to make"), errposition(position)));
	linitial(arguments) = first;
	folding->any = true;
	return node;
}

Node* unwrap_all(Node* node, void* context)
{
	if (!node) return nullptr;
	if (IsA(node, PlaceHolderVar)) return unwrap_all(wrapped_in(node), context);
	return pg::mutate_expression(node, unwrap_all, context);
}

}  // namespace

Node* fold_condition(Node* condition, const char* text)
{
	Folding folding = {text, false, 0};
	Node* node = wrap(condition, &folding);
	if (!folding.any) return reinterpret_cast<Node*>(expression_planner(reinterpret_cast<Expr*>(condition)));
	for (int pass = 0; folding.any; ++pass) {
		if (pass == kMostPasses)
			ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			                errmsg("too many calls inside each other's arguments in a filter")));
		node = reinterpret_cast<Node*>(expression_planner(reinterpret_cast<Expr*>(node)));
		folding.any = false;
		node = unwrap_known(node, &folding);
	}
	return unwrap_all(node, nullptr);
}

}  // namespace plank::worker
