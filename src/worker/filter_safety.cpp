// Decides what filters may use. Runs in the worker, inside pg::call. The real lock is the language: only superusers can
// make functions in C or internal; belonging to an extension alone could be had with ALTER EXTENSION ADD. PostgreSQL's
// own one-line SQL functions (lpad(text, integer)) are folded into the C functions that they call.
#include "worker/filter_safety.hpp"

#include <cctype>
#include <cstring>
#include <initializer_list>

#include "pg/compat.hpp"
#include "pg/value_text.hpp"

namespace plank::worker {

namespace {

bool is_official(Oid class_id, Oid object, Oid schema)
{
	if (schema == PG_CATALOG_NAMESPACE && object < FirstNormalObjectId) return true;
	return OidIsValid(getExtensionOfObject(class_id, object));
}

// Whether it is given XML, or makes it: libxml2 can be kept busy for ever, and does not look whether it has been
// cancelled. The functions of the extension xml2 take theirs as text.
bool is_of_xml(Oid function, const FormData_pg_proc& form)
{
	const auto is_xml = [](Oid type) { return type == XMLOID || type == XMLARRAYOID; };
	if (is_xml(form.prorettype)) return true;
	for (int i = 0; i < form.pronargs; ++i)
		if (is_xml(form.proargtypes.values[i])) return true;
	if (function < FirstNormalObjectId) return false;
	const Oid xml2 = get_extension_oid("xml2", true);
	return OidIsValid(xml2) && getExtensionOfObject(ProcedureRelationId, function) == xml2;
}

// PostgreSQL has them immutable, but they look at a relation, whoever may, and wait for its lock.
bool reads_catalog(Oid function) { return function == F_SATISFIES_HASH_PARTITION || function == F_PG_PARTITION_ROOT; }

// Null when the function is fine, else what is wrong with it.
const char* fault_of_function(Oid function)
{
	const HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple)) return "does not exist any more";
	const auto* const form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
	const char* fault = nullptr;
	if (form->provolatile != PROVOLATILE_IMMUTABLE)
		fault = "is not immutable";
	else if (form->prolang != INTERNALlanguageId && form->prolang != ClanguageId &&
	         !(form->prolang == SQLlanguageId && function < FirstNormalObjectId))
		fault = "is not written in C";
	else if (form->prosecdef || !heap_attisnull(tuple, Anum_pg_proc_proconfig, nullptr))
		fault = "has settings of its own";
	else if (!is_official(ProcedureRelationId, function, form->pronamespace))
		fault = "belongs neither to PostgreSQL nor to an extension";
	else if (is_of_xml(function, *form))
		fault = "is about XML";
	else if (reads_catalog(function))
		fault = "looks at tables";
	ReleaseSysCache(tuple);
	return fault;
}

// As large as it is told, without looking up in between.
bool builds_array(Oid function)
{
	return function == F_ARRAY_FILL_ANYELEMENT__INT4 || function == F_ARRAY_FILL_ANYELEMENT__INT4__INT4;
}

// The condition that is being checked, for positions in it.
const char* source = "";

uint64_t changes_heard = 0;

int position_of(int location) { return location < 0 ? 0 : pg_mbstrlen_with_len(source, location) + 1; }

constexpr const char* kHint =
    "A filter may use immutable functions and operators that came with PostgreSQL or an extension and are written in "
    "C.";

// `node`: what calls it.
bool refuse_bad_function(Oid function, void* node)
{
	const char* const fault = fault_of_function(function);
	if (!fault) return false;
	ereport(ERROR,
	        (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
	         errmsg("function %s must not be used in a filter", format_procedure(function)), errdetail("It %s.", fault),
	         errhint("%s", kHint), errposition(position_of(exprLocation(static_cast<Node*>(node))))));
	pg_unreachable();
}

void refuse_bad_operator(Oid op, const Node* node)
{
	if (!OidIsValid(op) || is_trusted_operator(op)) return;
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
	                errmsg("operator %s must not be used in a filter", format_operator(op)), errhint("%s", kHint),
	                errposition(position_of(exprLocation(node)))));
}

[[noreturn]] void refuse(const char* what, int location)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a filter must not use %s", what),
	                errposition(position_of(location))));
	pg_unreachable();
}

void refuse_bad_type(Oid type)
{
	if (is_safe_to_read(type)) return;
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
	                errmsg("type %s must not be used in a filter", format_type_be(type)),
	                errdetail("Its values cannot be read without running code that is not PostgreSQL's or an "
	                          "extension's.")));
}

// Whether the checks of the domain, and of those it is made from, run trusted code only.
bool has_trusted_constraints(Oid domain);

void refuse_bad_domain(const CoerceToDomain* cast)
{
	if (!has_trusted_constraints(cast->resulttype)) refuse("this domain", cast->location);
}

bool check_domain_cast(Node* node, void* context)
{
	if (!node) return false;
	if (IsA(node, CoerceToDomain)) refuse_bad_domain(reinterpret_cast<CoerceToDomain*>(node));
	return pg::walk_expression(node, check_domain_cast, context);
}

bool check_node(Node* node, void* context);

bool check_operators(Node* node)
{
	switch (nodeTag(node)) {
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			refuse_bad_operator(reinterpret_cast<OpExpr*>(node)->opno, node);
			break;
		case T_ScalarArrayOpExpr:
			refuse_bad_operator(reinterpret_cast<ScalarArrayOpExpr*>(node)->opno, node);
			break;
		case T_RowCompareExpr: {
			ListCell* cell;
			foreach (cell, reinterpret_cast<RowCompareExpr*>(node)->opnos)
				refuse_bad_operator(lfirst_oid(cell), node);
			break;
		}
		default:
			break;
	}
	return check_functions_in_node(node, refuse_bad_function, node);
}

bool check_node(Node* node, void* context)
{
	if (!node) return false;
	switch (nodeTag(node)) {
		case T_Var: {
			const auto* const var = reinterpret_cast<Var*>(node);
			if (var->varattno == 0) refuse("the whole row", var->location);
			if (var->varattno < 0) refuse("system columns", var->location);
			return false;
		}
		case T_Const:
			return false;
		case T_FuncExpr:
			if (reinterpret_cast<FuncExpr*>(node)->funcretset)
				refuse("functions that return sets", reinterpret_cast<FuncExpr*>(node)->location);
			if (builds_array(reinterpret_cast<FuncExpr*>(node)->funcid))
				refuse("array_fill", reinterpret_cast<FuncExpr*>(node)->location);
			refuse_bad_type(exprType(node));
			break;
		case T_CoerceToDomain:
			refuse_bad_domain(reinterpret_cast<CoerceToDomain*>(node));
			break;
		case T_CoerceViaIO:
		case T_RowExpr:
		case T_ArrayExpr:
			refuse_bad_type(exprType(node));
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_FieldSelect:
		case T_RelabelType:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_RowCompareExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_SubscriptingRef:
		case T_NamedArgExpr:
		case T_CoerceToDomainValue:
		case T_List:
			break;
		case T_SQLValueFunction:
			refuse("the time, the user or the session", reinterpret_cast<SQLValueFunction*>(node)->location);
		case T_XmlExpr:
			refuse("XML expressions", reinterpret_cast<XmlExpr*>(node)->location);
		default:
			refuse("this kind of expression", exprLocation(node));
	}
	(void)check_operators(node);
	return pg::walk_expression(node, check_node, context);
}

// Whether a CHECK uses anything that is not trusted.
bool is_bad_check(Node* node, void* context)
{
	if (!node) return false;
	if (IsA(node, CoerceToDomain) || IsA(node, SQLValueFunction) || IsA(node, Query)) return true;
	const auto is_bad = [](Oid function, void*) { return fault_of_function(function) != nullptr; };
	return check_functions_in_node(node, is_bad, nullptr) || pg::walk_expression(node, is_bad_check, context);
}

// From the catalog and not from the type cache: that folds the checks when it loads them, and folding runs them.
bool has_trusted_constraints(Oid domain)
{
	check_stack_depth();
	bool trusted = true;
	const Relation catalog = table_open(ConstraintRelationId, AccessShareLock);
	for (Oid type = domain; trusted && get_typtype(type) == TYPTYPE_DOMAIN;) {
		ScanKeyData key;
		ScanKeyInit(&key, Anum_pg_constraint_contypid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(type));
		const SysScanDesc scan = systable_beginscan(catalog, ConstraintTypidIndexId, true, nullptr, 1, &key);
		while (const HeapTuple tuple = systable_getnext(scan)) {
			if (reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple))->contype != CONSTRAINT_CHECK) continue;
			bool is_null = false;
			const Datum check = heap_getattr(tuple, Anum_pg_constraint_conbin, RelationGetDescr(catalog), &is_null);
			if (is_null || is_bad_check(static_cast<Node*>(stringToNode(TextDatumGetCString(check))), nullptr))
				trusted = false;
		}
		systable_endscan(scan);
		const HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
		if (!HeapTupleIsValid(tuple)) break;
		type = reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple))->typbasetype;
		ReleaseSysCache(tuple);
	}
	table_close(catalog, AccessShareLock);
	return trusted;
}

// Whether the type is, or holds, one for which `is` is true. It is asked of a domain and of the type behind it, and told
// whether that stands inside another type.
bool holds(Oid declared, bool (*is)(Oid type, bool inside), bool inside = false)
{
	check_stack_depth();
	if (is(declared, inside)) return true;
	const Oid type = getBaseType(declared);
	if (type != declared && is(type, inside)) return true;
	if (const Oid element = get_element_type(type); OidIsValid(element)) return holds(element, is, true);
	if (const Oid range = get_multirange_range(type); OidIsValid(range)) return holds(range, is, true);
	if (const Oid subtype = get_range_subtype(type); OidIsValid(subtype)) return holds(subtype, is, true);
	const Oid row = get_typ_typrelid(type);
	if (!OidIsValid(row)) return false;
	const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(row));
	if (!HeapTupleIsValid(tuple)) return false;
	const int columns = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	for (int i = 1; i <= columns; ++i) {
		const Oid column = get_atttype(row, static_cast<AttrNumber>(i));
		if (OidIsValid(column) && holds(column, is, true)) return true;
	}
	return false;
}

bool is_time(Oid type, bool)
{
	return type == DATEOID || type == TIMEOID || type == TIMETZOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

// Of text search: what the role may use may be named.
bool is_name_of_configuration(Oid type) { return type == REGCONFIGOID || type == REGDICTIONARYOID; }

// One that the role may not use is one that is not there.
void refuse_hidden_schema(const char* name, Oid type)
{
	const List* const names = strchr(name, '.') ? stringToQualifiedNameList(name, nullptr) : NIL;
	if (list_length(names) < 2) return;
	const char* const schema = strVal(list_nth(names, list_length(names) - 2));
	const Oid oid = get_namespace_oid(schema, true);
	if (!OidIsValid(oid) || object_aclcheck(NamespaceRelationId, oid, GetUserId(), ACL_USAGE) == ACLCHECK_OK) return;
		// As PostgreSQL words it.
#if PG_VERSION_NUM >= 160000
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
	                errmsg("text search %s \"%s\" does not exist",
	                       type == REGCONFIGOID ? "configuration" : "dictionary", NameListToString(names))));
#else
	(void)type;
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA), errmsg("schema \"%s\" does not exist", schema)));
#endif
}

bool tells_names(Oid type, bool)
{
	return type == ACLITEMOID || (pg::prints_as_name(type) && !is_name_of_configuration(type));
}

bool is_a_number(const char* text)
{
	if (!*text) return false;
	for (; *text; ++text)
		if (*text < '0' || *text > '9') return false;
	return true;
}

// Whether one of the words by which the date types mean the present stands in `text`.
bool speaks_of_now(const char* text)
{
	static constexpr const char* kWords[] = {"now", "today", "tomorrow", "yesterday"};
	while (*text) {
		if (!isalpha(static_cast<unsigned char>(*text))) {
			++text;
			continue;
		}
		const char* const start = text;
		while (isalpha(static_cast<unsigned char>(*text)))
			++text;
		for (const char* word : kWords)
			if (strlen(word) == static_cast<size_t>(text - start) &&
			    pg_strncasecmp(start, word, static_cast<size_t>(text - start)) == 0)
				return true;
	}
	return false;
}

// A domain whose checks are not trusted; reading a value inside another one runs them.
bool has_unsafe_domain(Oid type)
{
	return holds(type, [](Oid inner, bool inside) {
		return inside && get_typtype(inner) == TYPTYPE_DOMAIN && !has_trusted_constraints(inner);
	});
}

// A range's own functions: anybody may write them for a range of their own, and range_in calls them.
bool has_foreign_range(Oid type)
{
	return holds(type, [](Oid inner, bool) {
		if (get_typtype(inner) != TYPTYPE_RANGE) return false;
		const TypeCacheEntry* const range = lookup_type_cache(inner, TYPECACHE_RANGE_INFO);
		for (const Oid function :
		     {range->rng_canonical_finfo.fn_oid, range->rng_subdiff_finfo.fn_oid, range->rng_cmp_proc_finfo.fn_oid})
			if (OidIsValid(function) && fault_of_function(function)) return true;
		return false;
	});
}

// Types whose input function is not PostgreSQL's or an extension's, and PostgreSQL's own that take no input.
bool has_no_input(Oid type)
{
	return holds(type, [](Oid inner, bool) {
		switch (inner) {
			case GTSVECTOROID:
			case PG_BRIN_BLOOM_SUMMARYOID:
			case PG_BRIN_MINMAX_MULTI_SUMMARYOID:
			case PG_DEPENDENCIESOID:
			case PG_MCV_LISTOID:
			case PG_NDISTINCTOID:
			case PG_NODE_TREEOID:
				return true;
			default:
				break;
		}
		Oid input = InvalidOid, parameter = InvalidOid;
		getTypeInputInfo(inner, &input, &parameter);
		const HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(input));
		if (!HeapTupleIsValid(tuple)) return true;
		const Oid language = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->prolang;
		ReleaseSysCache(tuple);
		return language != INTERNALlanguageId && language != ClanguageId;
	});
}

}  // namespace

void check_domains(Node* condition)
{
	source = "";  // it may be gone
	(void)check_domain_cast(condition, nullptr);
}

uint64_t constraint_changes()
{
	static bool registered = false;
	if (!registered) {
		registered = true;
		for (const int cache : {CONSTROID, TYPEOID})
			CacheRegisterSyscacheCallback(
			    cache, [](Datum, int, uint32) { ++changes_heard; }, static_cast<Datum>(0));
	}
	return changes_heard;
}

bool is_trusted_function(Oid function) { return fault_of_function(function) == nullptr; }

bool is_trusted_operator(Oid op)
{
	const HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(op));
	if (!HeapTupleIsValid(tuple)) return false;
	const auto* const form = reinterpret_cast<Form_pg_operator>(GETSTRUCT(tuple));
	const Oid schema = form->oprnamespace, function = form->oprcode;
	ReleaseSysCache(tuple);
	return is_official(OperatorRelationId, op, schema) && is_trusted_function(function);
}

void check_condition(Node* condition, const char* text)
{
	source = text;
	(void)check_node(condition, nullptr);
	source = "";
}

bool is_safe_to_read(Oid type)
{
	if (get_typtype(type) == TYPTYPE_PSEUDO) return true;
	return !has_unsafe_domain(type) && !has_foreign_range(type) && !has_no_input(type);
}

void check_literal(const char* text, Oid type)
{
	refuse_bad_type(type);
	// A domain's own checks run when its literal is folded.
	if (get_typtype(type) == TYPTYPE_DOMAIN && !has_trusted_constraints(type)) refuse("this domain", -1);
	if (holds(type, is_time) && speaks_of_now(text)) refuse("a time that is not fixed", -1);
	if (holds(type, tells_names) && !is_a_number(text)) refuse("names of objects; write its OID", -1);
	if (is_name_of_configuration(type)) refuse_hidden_schema(text, type);
}

}  // namespace plank::worker
