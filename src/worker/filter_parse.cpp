// Parses filters with PostgreSQL's own parser. Runs in the worker, in a FilterUnit, inside pg::call.
//
// The parser itself runs code: it turns a quoted literal into a value of the type it finds for it, and a type of somebody's
// own may have a CHECK inside. So every literal becomes a parameter of unknown type first, which the parser treats as it
// treats a literal, but for asking a hook when it has found the type; the hook looks at the type before the value is made.
#include "worker/filter_parse.hpp"

#include <cstring>

#include "pg/compat.hpp"
#include "worker/filter_safety.hpp"

namespace plank::worker {

namespace {

struct Context {
	const FilterSource* source;
	ParseState* state;
	List* literals;  // A_Const*, by the numbers of the parameters that stand for them
};

int position_of(const Context& context, int location)
{
	return location < 0 ? 0 : pg_mbstrlen_with_len(context.source->text, location) + 1;
}

[[noreturn]] void refuse_syntax(const char* message)
{
	ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("%s", message),
	                errhint("Write what would stand in WHERE, for example: price < 10 and status = 'open'.")));
	pg_unreachable();
}

// The grammar takes whatever may follow SELECT, so everything but one expression is refused here.
Node* only_expression(const char* text)
{
	const List* const statements = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	Node* const statement = list_length(statements) == 1 ? linitial_node(RawStmt, statements)->stmt : nullptr;
	if (!statement || !IsA(statement, SelectStmt)) refuse_syntax("a filter must be one condition");
	const auto* const select = reinterpret_cast<SelectStmt*>(statement);
	const bool plain = !select->distinctClause && !select->intoClause && !select->fromClause && !select->whereClause &&
	                   !select->groupClause && !select->havingClause && !select->windowClause && !select->valuesLists &&
	                   !select->sortClause && !select->limitOffset && !select->limitCount && !select->lockingClause &&
	                   !select->withClause && select->op == SETOP_NONE;
	if (!plain || list_length(select->targetList) != 1) refuse_syntax("a filter must be one condition");
	const auto* const target = linitial_node(ResTarget, select->targetList);
	if (target->name || target->indirection) refuse_syntax("a filter must be one condition");
	return target->val;
}

bool prepare_raw(Node* node, Context* context)
{
	if (!node) return false;
	const auto refuse = [&](const char* what, int location) {
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a filter must not use %s", what),
		                errposition(position_of(*context, location))));
	};
	switch (nodeTag(node)) {
		case T_SubLink:
			refuse("a subquery", reinterpret_cast<SubLink*>(node)->location);
			break;
		case T_ParamRef:
			refuse("parameters", reinterpret_cast<ParamRef*>(node)->location);
			break;
		case T_TypeName:
			// Its modifiers are no values.
			return false;
		case T_A_Const: {
			const auto* const constant = reinterpret_cast<A_Const*>(node);
			if (constant->isnull || nodeTag(&constant->val) != T_String) return false;
			context->literals = lappend(context->literals, copyObjectImpl(constant));
			static_assert(sizeof(ParamRef) <= sizeof(A_Const));
			const int location = constant->location;
			auto* const parameter = reinterpret_cast<ParamRef*>(node);
			parameter->type = T_ParamRef;
			parameter->number = list_length(context->literals);
			parameter->location = location;
			return false;
		}
		default:
			break;
	}
	return pg::walk_raw_expression(node, prepare_raw, context);
}

Context& context_of(ParseState* state) { return *static_cast<Context*>(state->p_ref_hook_state); }

Node* make_parameter(ParseState*, ParamRef* reference)
{
	auto* const parameter = makeNode(Param);
	parameter->paramkind = PARAM_EXTERN;
	parameter->paramid = reference->number;
	parameter->paramtype = UNKNOWNOID;
	parameter->paramtypmod = -1;
	parameter->paramcollid = InvalidOid;
	parameter->location = reference->location;
	return reinterpret_cast<Node*>(parameter);
}

Const* literal_of(ParseState* state, const Param* parameter)
{
	const auto* const literal = list_nth_node(A_Const, context_of(state).literals, parameter->paramid - 1);
	Const* const constant = make_const(state, const_cast<A_Const*>(literal));
	constant->location = parameter->location;
	return constant;
}

Node* make_literal(ParseState* state, Param* parameter, Oid type, int32 typmod, int location)
{
	if (parameter->paramtype != UNKNOWNOID) return nullptr;
	Const* const constant = literal_of(state, parameter);
	ParseCallbackState where;
	setup_parser_errposition_callback(&where, state, parameter->location);
	check_literal(DatumGetCString(constant->constvalue), type);
	cancel_parser_errposition_callback(&where);
	return coerce_type(state, reinterpret_cast<Node*>(constant), UNKNOWNOID, type, typmod, COERCION_IMPLICIT,
	                   COERCE_IMPLICIT_CAST, location);
}

// A literal whose type nobody asked for stays what the parser makes of it.
Node* restore_literals(Node* node, ParseState* state)
{
	if (node && IsA(node, Param)) return reinterpret_cast<Node*>(literal_of(state, reinterpret_cast<Param*>(node)));
	return node ? pg::mutate_expression(node, restore_literals, state) : nullptr;
}

[[noreturn]] void refuse_column(const Context& context, const ColumnRef* reference, const char* name)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("column \"%s\" does not exist", name),
	                errposition(position_of(context, reference->location))));
	pg_unreachable();
}

// Looks at every column before the parser does: one that the role may not read must be as if it were not there, in any
// error that the parser could raise about it.
Node* check_column(ParseState* state, ColumnRef* reference)
{
	const Context& context = context_of(state);
	const Relation relation = context.source->relation;
	const List* const fields = reference->fields;
	const Node* const last = static_cast<Node*>(llast(fields));
	if (!IsA(last, String))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a filter must not use the whole row"),
		                errposition(position_of(context, reference->location))));
	const char* const name = strVal(last);
	const char* const qualifier = list_length(fields) > 1 ? strVal(list_nth(fields, list_length(fields) - 2)) : nullptr;
	const char* const schema = list_length(fields) > 2 ? strVal(list_nth(fields, list_length(fields) - 3)) : nullptr;
	if ((qualifier && strcmp(qualifier, RelationGetRelationName(relation)) != 0) ||
	    (schema && strcmp(schema, get_namespace_name(RelationGetNamespace(relation))) != 0)) {
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("column %s.%s does not exist", qualifier, name),
		                errhint("A filter has the columns of its table and no others."),
		                errposition(position_of(context, reference->location))));
	}
	const HeapTuple tuple = SearchSysCacheAttName(RelationGetRelid(relation), name);
	const AttrNumber number =
	    HeapTupleIsValid(tuple) ? reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple))->attnum : 0;
	if (HeapTupleIsValid(tuple)) ReleaseSysCache(tuple);
	if (number == 0) refuse_column(context, reference, name);
	if (number < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a filter must not use system columns"),
		                errposition(position_of(context, reference->location))));
	const Oid role = context.source->role, table = RelationGetRelid(relation);
	if (pg_class_aclcheck(table, role, ACL_SELECT) != ACLCHECK_OK &&
	    pg_attribute_aclcheck(table, number, role, ACL_SELECT) != ACLCHECK_OK)
		refuse_column(context, reference, name);
	if (!context.source->captured[number - 1])
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("column \"%s\" is not sent by the server", name),
		                pg::is_virtual(*TupleDescAttr(RelationGetDescr(relation), number - 1))
		                    ? errhint("Write the expression that the column is generated from.")
		                    : errhint("Add it to the columns that plank.track was given."),
		                errposition(position_of(context, reference->location))));
	const Oid type = TupleDescAttr(RelationGetDescr(relation), number - 1)->atttypid;
	if (!is_safe_to_read(type))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		                errmsg("columns of type %s cannot be used in a filter", format_type_be(type)),
		                errposition(position_of(context, reference->location))));
	return nullptr;
}

// pg_catalog and where extensions live, as far as the role may look there. Never pg_temp.
int push_search_path(Oid role)
{
	List* schemas = NIL;
	const Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
	const SysScanDesc scan = systable_beginscan(extensions, InvalidOid, false, nullptr, 0, nullptr);
	while (const HeapTuple tuple = systable_getnext(scan)) {
		const Oid schema = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple))->extnamespace;
		if (schema != PG_CATALOG_NAMESPACE &&
		    object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK)
			schemas = list_append_unique_oid(schemas, schema);
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return pg::push_search_path(schemas);
}

bool add_constant_size(Node* node, Size* size)
{
	if (!node) return false;
	if (IsA(node, Const)) {
		const auto* const constant = reinterpret_cast<Const*>(node);
		if (!constant->constisnull && !constant->constbyval)
			*size += datumGetSize(constant->constvalue, false, constant->constlen);
	}
	return pg::walk_expression(node, add_constant_size, size);
}

}  // namespace

Node* parse_condition(const FilterSource& source)
{
	Node* const raw = only_expression(source.text);
	Context context = {&source, nullptr, NIL};
	(void)prepare_raw(raw, &context);

	const int path = push_search_path(source.role);
	ParseState* const state = make_parsestate(nullptr);
	state->p_sourcetext = source.text;
	state->p_ref_hook_state = &context;
	state->p_pre_columnref_hook = check_column;
	state->p_paramref_hook = make_parameter;
	state->p_coerce_param_hook = make_literal;
	context.state = state;
	ParseNamespaceItem* const item =
	    addRangeTableEntryForRelation(state, source.relation, AccessShareLock, nullptr, false, true);
	addNSItemToQuery(state, item, false, true, true);
	Node* const condition = restore_literals(transformWhereClause(state, raw, EXPR_KIND_WHERE, "WHERE"), state);
	assign_expr_collations(state, condition);
	check_condition(condition, source.text);
	pg::pop_search_path(path);

	Node* const folded = reinterpret_cast<Node*>(expression_planner(reinterpret_cast<Expr*>(condition)));
	Size size = 0;
	(void)add_constant_size(folded, &size);
	if (size > source.most_constants)
		ereport(ERROR,
		        (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		         errmsg("the constants of a filter must not take more than %zu kB", source.most_constants / 1024)));
	free_parsestate(state);
	return folded;
}

}  // namespace plank::worker
