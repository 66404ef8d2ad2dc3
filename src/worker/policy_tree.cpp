// Reads row security from the catalog and decides what can be decided ahead. Runs in the worker, in a FilterUnit, inside
// pg::call. The policies are the table owner's: whatever they use may run, as the client's role, where it would run in a
// SELECT.
#include "worker/policy_tree.hpp"

#include <cstring>
#include <utility>

#include "pg/compat.hpp"
#include "pg/row_security.hpp"

namespace plank::worker {

namespace {

constexpr char kClaims[] = "request.jwt.claims";
// What PostgREST once had each claim in; here they are what the database has them be, mostly nothing.
constexpr char kClaim[] = "request.jwt.claim.";

bool refused = false;

// --- Subqueries that are none --------------------------------------------------------------------------------------

// (SELECT expression): written so that PostgreSQL runs it once for a query.
bool is_bare_select(const Query* query)
{
	return query->commandType == CMD_SELECT && query->rtable == NIL && query->jointree && !query->jointree->quals &&
	       query->cteList == NIL && query->groupClause == NIL && query->groupingSets == NIL && !query->havingQual &&
	       query->distinctClause == NIL && query->sortClause == NIL && !query->limitOffset && !query->limitCount &&
	       !query->setOperations && query->rowMarks == NIL && !query->hasAggs && !query->hasWindowFuncs &&
	       !query->hasTargetSRFs && !query->hasSubLinks && list_length(query->targetList) == 1;
}

Node* unwrap(Node* node, void* context)
{
	if (!node) return nullptr;
	if (IsA(node, SubLink)) {
		const auto* const link = reinterpret_cast<SubLink*>(node);
		if (link->subLinkType == EXPR_SUBLINK && IsA(link->subselect, Query) &&
		    is_bare_select(reinterpret_cast<Query*>(link->subselect))) {
			const auto* const query = reinterpret_cast<Query*>(link->subselect);
			Node* const inner = static_cast<Node*>(copyObjectImpl(linitial_node(TargetEntry, query->targetList)->expr));
			IncrementVarSublevelsUp(inner, -1, 1);
			return inner;
		}
	}
	return pg::mutate_expression(node, unwrap, context);
}

// --- The identity --------------------------------------------------------------------------------------------------

Node* text_constant(const char* text)
{
	return reinterpret_cast<Node*>(
	    makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1, PointerGetDatum(cstring_to_text(text)), false, false));
}

Node* name_constant(const char* name)
{
	const auto value = static_cast<Name>(palloc0(NAMEDATALEN));
	namestrcpy(value, name);
	return reinterpret_cast<Node*>(
	    makeConst(NAMEOID, -1, C_COLLATION_OID, NAMEDATALEN, NameGetDatum(value), false, false));
}

bool is_true(const Node* node)
{
	if (!IsA(node, Const)) return false;
	const auto* const constant = reinterpret_cast<const Const*>(node);
	return !constant->constisnull && DatumGetBool(constant->constvalue);
}

// What current_setting gives for a setting that only the identity decides; null: the call stays.
Node* setting_of_identity(const FuncExpr* call, const char* claims)
{
	if (call->funcid != F_CURRENT_SETTING_TEXT && call->funcid != F_CURRENT_SETTING_TEXT_BOOL) return nullptr;
	const auto* const name = reinterpret_cast<const Const*>(linitial(call->args));
	if (!IsA(name, Const) || name->constisnull) return nullptr;
	const char* const setting = TextDatumGetCString(name->constvalue);
	if (pg_strcasecmp(setting, kClaims) == 0) return text_constant(claims);
	// As auth.uid() has it in many databases, before it looks into the claims.
	if (pg_strncasecmp(setting, kClaim, sizeof kClaim - 1) != 0) return nullptr;
	const char* const value = GetConfigOption(setting, true, false);
	if (value) return text_constant(value);
	if (list_length(call->args) != 2 || !is_true(static_cast<Node*>(lsecond(call->args)))) return nullptr;
	return reinterpret_cast<Node*>(makeNullConst(TEXTOID, -1, DEFAULT_COLLATION_OID));
}

Node* put_identity(Node* node, PolicySource* source)
{
	if (!node) return nullptr;
	if (IsA(node, FuncExpr)) {
		Node* const setting = setting_of_identity(reinterpret_cast<FuncExpr*>(node), source->claims);
		if (setting) return setting;
	}
	if (IsA(node, SQLValueFunction)) {
		switch (reinterpret_cast<SQLValueFunction*>(node)->op) {
			case SVFOP_CURRENT_ROLE:
			case SVFOP_CURRENT_USER:
			case SVFOP_USER:
				return name_constant(source->role_name);
			default:
				break;
		}
	}
	return pg::mutate_expression(node, put_identity, source);
}

// --- What it uses --------------------------------------------------------------------------------------------------

struct Uses {
	const PolicySource* source;
	PolicyTree* tree;
	int depth;
};

[[noreturn]] void refuse(const char* what, const char* hint)
{
	refused = true;
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a row security policy of the table uses %s", what),
	                errhint("%s", hint)));
	pg_unreachable();
}

[[noreturn]] void refuse_column(const FormData_pg_attribute& column)
{
	if (pg::is_virtual(column))
		refuse("a virtual generated column", "Write the policy with the columns that it is generated from.");
	refuse("a column that is not tracked", "Add it to the columns that plank.track was given.");
}

void use_column(Uses* uses, int number)
{
	if (number < 0) refuse("a system column", "Changes carry the table's own columns: write the policy with these.");
	const TupleDesc columns = RelationGetDescr(uses->source->relation);
	const int last = number == 0 ? columns->natts : number;
	for (int i = number == 0 ? 1 : number; i <= last; ++i) {
		if (TupleDescAttr(columns, i - 1)->attisdropped) continue;
		if (!uses->source->captured[i - 1]) refuse_column(*TupleDescAttr(columns, i - 1));
		uses->tree->columns = bms_add_member(uses->tree->columns, i);
	}
}

bool is_time(Oid type)
{
	return type == DATEOID || type == TIMEOID || type == TIMETZOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID ||
	       type == INTERVALOID;
}

// Whether what it gives rests on its arguments, the row and the clock alone. Others of PostgreSQL's own run queries
// (query_to_xml), change settings, or ask for the role's rights.
bool reads_session(Oid function, void*)
{
	const HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple)) return true;
	const auto* const form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
	const bool own = form->prolang == INTERNALlanguageId && function < FirstNormalObjectId;
	bool of_times = is_time(form->prorettype) || form->prorettype == BOOLOID;
	for (int i = 0; i < form->pronargs; ++i)
		of_times &= is_time(form->proargtypes.values[i]);
	const bool immutable = form->provolatile == PROVOLATILE_IMMUTABLE;
	ReleaseSysCache(tuple);
	return !own || !(immutable || of_times);
}

bool asks_for_session_user(Oid function, void*) { return function == F_SESSION_USER; }

bool look_at(Node* node, Uses* uses)
{
	if (!node) return false;
	switch (nodeTag(node)) {
		case T_Var: {
			const auto* const var = reinterpret_cast<Var*>(node);
			if (var->varno == 1 && static_cast<int>(var->varlevelsup) == uses->depth) use_column(uses, var->varattno);
			return false;
		}
		case T_SQLValueFunction:
			if (reinterpret_cast<SQLValueFunction*>(node)->op == SVFOP_SESSION_USER)
				refuse("session_user", "The client's role is current_user.");
			return false;
		case T_CoerceToDomain:
			uses->tree->reads_session = true;
			break;
		case T_SubLink:
			uses->tree->has_subquery = uses->tree->reads_session = true;
			break;
		case T_Query: {
			++uses->depth;
			(void)pg::walk_query(reinterpret_cast<Query*>(node), look_at, uses);
			--uses->depth;
			return false;
		}
		default:
			break;
	}
	if (check_functions_in_node(node, asks_for_session_user, nullptr))
		refuse("session_user", "The client's role is current_user.");
	if (check_functions_in_node(node, reads_session, nullptr)) uses->tree->reads_session = true;
	return pg::walk_expression(node, look_at, uses);
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

// --- Definitions ---------------------------------------------------------------------------------------------------

bool add_function(Oid function, void* context)
{
	auto* const text = static_cast<StringInfo>(context);
	const HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple)) return false;
	if (function >= FirstNormalObjectId)
		appendStringInfo(text, " %u:%u.%u", function, HeapTupleHeaderGetRawXmin(tuple->t_data),
		                 ItemPointerGetOffsetNumberNoCheck(&tuple->t_self));
	ReleaseSysCache(tuple);
	return false;
}

bool add_functions(Node* node, StringInfo text)
{
	if (!node) return false;
	if (IsA(node, Query)) return pg::walk_query(reinterpret_cast<Query*>(node), add_functions, text);
	(void)check_functions_in_node(node, add_function, text);
	return pg::walk_expression(node, add_functions, text);
}

}  // namespace

bool take_policy_refusal() noexcept { return std::exchange(refused, false); }

uint64_t function_changes()
{
	static uint64_t changes = 0;
	static bool registered = false;
	if (!registered) {
		registered = true;
		CacheRegisterSyscacheCallback(
		    PROCOID, [](Datum, int, uint32) { ++changes; }, static_cast<Datum>(0));
	}
	return changes;
}

Node* policies_of(Relation relation)
{
	const Oid oid = RelationGetRelid(relation);
	if (check_enable_rls(oid, InvalidOid, true) != RLS_ENABLED) return nullptr;
	const pg::RowSecurity security = pg::row_security_of(relation);
	if (!security.applies) return nullptr;
	return reinterpret_cast<Node*>(make_ands_explicit(security.conditions));
}

char* definition_of(Node* policies)
{
	StringInfoData text;
	initStringInfo(&text);
	appendStringInfoString(&text, nodeToString(policies));
	(void)add_functions(policies, &text);
	// Functions in SQL that are replaced by what they say hide what they call.
	Node* const folded =
	    reinterpret_cast<Node*>(expression_planner(static_cast<Expr*>(copyObjectImpl(unwrap(policies, nullptr)))));
	(void)add_functions(folded, &text);
	appendStringInfoString(&text, nodeToString(folded));
	return text.data;
}

PolicyTree* tree_for(Node* policies, PolicySource source)
{
	auto* const tree = static_cast<PolicyTree*>(palloc0(sizeof(PolicyTree)));
	// The first folding brings what functions in SQL say into the open, such as auth.uid().
	Node* node = reinterpret_cast<Node*>(expression_planner(reinterpret_cast<Expr*>(unwrap(policies, nullptr))));
	node = put_identity(unwrap(node, nullptr), &source);
	node = reinterpret_cast<Node*>(expression_planner(reinterpret_cast<Expr*>(node)));
	// What is no condition over columns any more stands in canonical form, so that equality with a claim is found.
	node = reinterpret_cast<Node*>(canonicalize_qual(reinterpret_cast<Expr*>(node), false));
	Uses uses = {&source, tree, 0};
	(void)look_at(node, &uses);
	Size size = 0;
	(void)add_constant_size(node, &size);
	if (size > source.most_constants)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		                errmsg("what a row security policy takes from the claims is larger than %zu kB",
		                       source.most_constants / 1024)));
	tree->condition = node;
	return tree;
}

}  // namespace plank::worker
