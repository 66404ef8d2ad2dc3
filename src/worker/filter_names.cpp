// See filter_names.hpp.
#include "worker/filter_names.hpp"

#include "pg/compat.hpp"

namespace plank::worker {

namespace {

constexpr char kMark = '\1';  // behind a name: nobody has such names

void hide(String* name) { name->sval = psprintf("%s%c", name->sval, kMark); }

String* schema_in(const List* names)
{
	return list_length(names) > 1 ? list_nth_node(String, names, list_length(names) - 2) : nullptr;
}

bool may_use(Oid schema, Oid role)
{
	return object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK;
}

void hide_schema(const List* names, Oid role)
{
	String* const schema = schema_in(names);
	const Oid oid = schema ? get_namespace_oid(schema->sval, true) : InvalidOid;
	if (OidIsValid(oid) && !may_use(oid, role)) hide(schema);
}

// Without the errors of the parser's own search, which would come too early. A database's name, which can only be this
// one's, says nothing.
Oid type_named(const List* names)
{
	const char* const name = strVal(llast(names));
	const String* const schema = schema_in(names);
	if (!schema) return TypenameGetTypidExtended(name, false);
	const Oid oid = get_namespace_oid(schema->sval, true);
	if (!OidIsValid(oid)) return InvalidOid;
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name), ObjectIdGetDatum(oid));
}

bool is_row_of_hidden_table(Oid type, Oid role)
{
	if (!OidIsValid(type)) return false;
	type = getBaseType(type);
	if (const Oid element = get_element_type(type); OidIsValid(element)) type = getBaseType(element);
	const Oid table = get_typ_typrelid(type);
	return OidIsValid(table) && get_rel_relkind(table) != RELKIND_COMPOSITE_TYPE &&
	       pg_class_aclcheck(table, role, ACL_SELECT) != ACLCHECK_OK;
}

}  // namespace

void hide_names(Node* node, Oid role)
{
	switch (nodeTag(node)) {
		case T_TypeName: {
			const List* const names = reinterpret_cast<TypeName*>(node)->names;
			hide_schema(names, role);
			if (names && is_row_of_hidden_table(type_named(names), role)) hide(llast_node(String, names));
			break;
		}
		case T_FuncCall: {
			// A type's name is a function that casts, where no function has it.
			List* const names = reinterpret_cast<FuncCall*>(node)->funcname;
			hide_schema(names, role);
			if (list_length(names) <= 2 && is_row_of_hidden_table(type_named(names), role) &&
			    !FuncnameGetCandidates(names, -1, NIL, false, false, false, true))
				hide(llast_node(String, names));
			break;
		}
		case T_A_Expr:
			hide_schema(reinterpret_cast<A_Expr*>(node)->name, role);
			break;
		case T_CollateClause:
			hide_schema(reinterpret_cast<CollateClause*>(node)->collname, role);
			break;
		case T_SortBy:
			hide_schema(reinterpret_cast<SortBy*>(node)->useOp, role);
			break;
		default:
			break;
	}
}

std::string without_hiding(std::string text)
{
	std::erase(text, kMark);
	return text;
}

}  // namespace plank::worker
