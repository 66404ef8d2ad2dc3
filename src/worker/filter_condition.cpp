// Finds what an index can answer, and makes constants parameters. Runs in the worker, in a FilterUnit, inside pg::call.
#include "worker/filter_condition.hpp"

#include <algorithm>
#include <cstring>

#include "worker/filter_safety.hpp"

namespace plank::worker {

namespace {

// More constants than this in one condition are looked through, not indexed.
constexpr int kMostKeys = 10000;

// A column as it is, or under another type with the same bytes.
const Var* column_of(const Node* node)
{
	while (IsA(node, RelabelType))
		node = reinterpret_cast<const Node*>(reinterpret_cast<const RelabelType*>(node)->arg);
	return IsA(node, Var) ? reinterpret_cast<const Var*>(node) : nullptr;
}

const Const* constant_of(const Node* node)
{
	if (!IsA(node, Const)) return nullptr;
	const auto* const constant = reinterpret_cast<const Const*>(node);
	return constant->constisnull ? nullptr : constant;
}

// Whether equality by `op` is what a hash finds: then fills what belongs to the operator.
bool is_indexable(FilterKey* key, Oid op, const Node* column, Oid collation, Oid constant_type)
{
	if (!op_hashjoinable(op, exprType(column)) || !op_strict(op) || !is_trusted_operator(op)) return false;
	if (!get_op_hash_functions(op, &key->column_hash, &key->constant_hash)) return false;
	if (!is_trusted_function(key->column_hash) || !is_trusted_function(key->constant_hash)) return false;
	key->column = column_of(column)->varattno;
	key->op = op;
	key->collation = collation;
	key->constant_type = constant_type;
	get_typlenbyval(constant_type, &key->length, &key->by_value);
	return true;
}

FilterKey* key_of_equality(OpExpr* equality)
{
	if (list_length(equality->args) != 2) return nullptr;
	Node* left = static_cast<Node*>(linitial(equality->args));
	Node* right = static_cast<Node*>(lsecond(equality->args));
	Oid op = equality->opno;
	if (constant_of(left)) {
		op = get_commutator(op);
		if (!OidIsValid(op)) return nullptr;
		std::swap(left, right);
	}
	const Const* const constant = constant_of(right);
	if (!constant || !column_of(left)) return nullptr;
	auto* const key = static_cast<FilterKey*>(palloc0(sizeof(FilterKey)));
	if (!is_indexable(key, op, left, equality->inputcollid, constant->consttype)) return nullptr;
	key->values = static_cast<Datum*>(palloc(sizeof(Datum)));
	key->values[0] = constant->constvalue;
	key->count = 1;
	return key;
}

FilterKey* key_of_any(ScalarArrayOpExpr* any)
{
	if (!any->useOr) return nullptr;
	const Node* const column = static_cast<Node*>(linitial(any->args));
	const Const* const array = constant_of(static_cast<Node*>(lsecond(any->args)));
	if (!array || !column_of(column)) return nullptr;
	const Oid element = get_element_type(array->consttype);
	if (!OidIsValid(element)) return nullptr;
	auto* const key = static_cast<FilterKey*>(palloc0(sizeof(FilterKey)));
	if (!is_indexable(key, any->opno, column, any->inputcollid, element)) return nullptr;
	bool* nulls = nullptr;
	char align = 0;
	get_typlenbyvalalign(element, &key->length, &key->by_value, &align);
	deconstruct_array(DatumGetArrayTypeP(array->constvalue), element, key->length, key->by_value, align, &key->values,
	                  &nulls, &key->count);
	if (key->count > kMostKeys) return nullptr;
	// A null among them can make the condition null, never true.
	int kept = 0;
	for (int i = 0; i < key->count; ++i)
		if (!nulls[i]) key->values[kept++] = key->values[i];
	key->count = kept;
	return key;
}

FilterKey* key_of(Node* conjunct);

FilterKey* key_of_alternatives(BoolExpr* alternatives)
{
	FilterKey* all = nullptr;
	ListCell* cell;
	foreach (cell, alternatives->args) {
		const FilterKey* const key = key_of(static_cast<Node*>(lfirst(cell)));
		if (!key) return nullptr;
		if (!all) {
			all = static_cast<FilterKey*>(palloc(sizeof(FilterKey)));
			*all = *key;
			all->values = static_cast<Datum*>(palloc(sizeof(Datum) * kMostKeys));
			all->count = 0;
		}
		if (key->column != all->column || key->op != all->op || key->collation != all->collation ||
		    key->constant_type != all->constant_type || all->count + key->count > kMostKeys)
			return nullptr;
		std::copy_n(key->values, key->count, all->values + all->count);
		all->count += key->count;
	}
	return all;
}

FilterKey* key_of(Node* conjunct)
{
	check_stack_depth();
	if (IsA(conjunct, OpExpr)) return key_of_equality(reinterpret_cast<OpExpr*>(conjunct));
	if (IsA(conjunct, ScalarArrayOpExpr)) return key_of_any(reinterpret_cast<ScalarArrayOpExpr*>(conjunct));
	if (is_orclause(conjunct)) return key_of_alternatives(reinterpret_cast<BoolExpr*>(conjunct));
	return nullptr;
}

// The conjunct with the fewest constants becomes the key.
FilterKey* choose_key(List** conjuncts, bool whole)
{
	FilterKey* best = nullptr;
	Node* chosen = nullptr;
	ListCell* cell;
	foreach (cell, *conjuncts) {
		FilterKey* const key = key_of(static_cast<Node*>(lfirst(cell)));
		if (!key || (best && best->count <= key->count)) continue;
		best = key;
		chosen = static_cast<Node*>(lfirst(cell));
	}
	if (chosen && !whole) *conjuncts = list_delete_ptr(*conjuncts, chosen);
	return best;
}

Node* make_parameters(Node* node, List** constants)
{
	if (!node) return nullptr;
	if (IsA(node, Const)) {
		auto* const constant = reinterpret_cast<Const*>(node);
		if (constant->constisnull) return node;
		*constants = lappend(*constants, constant);
		auto* const parameter = makeNode(Param);
		parameter->paramkind = PARAM_EXTERN;
		parameter->paramid = list_length(*constants);
		parameter->paramtype = constant->consttype;
		parameter->paramtypmod = constant->consttypmod;
		parameter->paramcollid = constant->constcollid;
		parameter->location = -1;
		return reinterpret_cast<Node*>(parameter);
	}
	if (IsA(node, ScalarArrayOpExpr) && OidIsValid(reinterpret_cast<ScalarArrayOpExpr*>(node)->hashfuncid)) {
		// Its constants are put into a hash table when it first runs, so they stay.
		auto* const any = reinterpret_cast<ScalarArrayOpExpr*>(copyObjectImpl(node));
		linitial(any->args) = make_parameters(static_cast<Node*>(linitial(any->args)), constants);
		return reinterpret_cast<Node*>(any);
	}
	return pg::mutate_expression(node, make_parameters, constants);
}

bool add_columns(Node* node, Bitmapset** columns)
{
	if (!node) return false;
	if (IsA(node, Var)) *columns = bms_add_member(*columns, reinterpret_cast<Var*>(node)->varattno);
	return pg::walk_expression(node, add_columns, columns);
}

// The tree as text, without the places at which things stood in the source. Strings in it have their blanks escaped, so
// this takes nothing else.
char* identity_of(List* conjuncts)
{
	constexpr char kLocation[] = " :location ";
	char* const text = nodeToString(conjuncts);
	char* to = text;
	for (const char* from = text; *from;) {
		if (strncmp(from, kLocation, sizeof kLocation - 1) != 0) {
			*to++ = *from++;
			continue;
		}
		from += sizeof kLocation - 1;
		while (*from == '-' || (*from >= '0' && *from <= '9'))
			++from;
	}
	*to = '\0';
	return text;
}

}  // namespace

Condition* take_apart(Node* folded, bool whole)
{
	auto* const condition = static_cast<Condition*>(palloc0(sizeof(Condition)));
	List* conjuncts = make_ands_implicit(reinterpret_cast<Expr*>(folded));
	if (list_length(conjuncts) == 1 && IsA(linitial(conjuncts), Const)) {
		const auto* const only = linitial_node(Const, conjuncts);
		condition->never = only->constisnull || !DatumGetBool(only->constvalue);
		if (!condition->never) conjuncts = NIL;
	}
	if (condition->never) {
		condition->identity = pstrdup("never");
		return condition;
	}
	condition->key = choose_key(&conjuncts, whole);
	convert_saop_to_hashed_saop(reinterpret_cast<Node*>(conjuncts));
	(void)add_columns(reinterpret_cast<Node*>(conjuncts), &condition->columns);
	condition->rest =
	    reinterpret_cast<List*>(make_parameters(reinterpret_cast<Node*>(conjuncts), &condition->constants));
	condition->identity = identity_of(condition->rest);
	return condition;
}

}  // namespace plank::worker
