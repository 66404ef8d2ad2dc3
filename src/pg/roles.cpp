// Privileges through PostgreSQL's own functions. Runs in the worker, in a unit of work.
#include "pg/roles.hpp"

#include <cstring>

#include "pg/guard.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/catalog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "utils/acl.h"
#include "utils/rls.h"
#include "utils/syscache.h"
}

namespace plank::pg {

RoleVerdict judge_role(const char* name, Oid& role)
{
	return call([&] {
		role = InvalidOid;
		const HeapTuple tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(name));
		if (!HeapTupleIsValid(tuple)) return RoleVerdict::absent;
		const auto* form = reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple));
		RoleVerdict verdict = RoleVerdict::usable;
		if (form->rolsuper)
			verdict = RoleVerdict::superuser;
		else if (form->rolbypassrls)
			verdict = RoleVerdict::bypasses_row_security;
		else if (IsReservedName(NameStr(form->rolname)))
			verdict = RoleVerdict::predefined;
		else
			role = form->oid;
		ReleaseSysCache(tuple);
		return verdict;
	});
}

RoleVerdict judge_token_role(const char* name, const char* authenticator)
{
	if (strlen(name) >= NAMEDATALEN) return RoleVerdict::absent;
	Oid role = InvalidOid;
	const RoleVerdict verdict = judge_role(name, role);
	if (verdict != RoleVerdict::usable || *authenticator == '\0') return verdict;
	return call([&] {
		const Oid gate = get_role_oid(authenticator, true);
		if (!OidIsValid(gate)) return RoleVerdict::no_authenticator;
#if PG_VERSION_NUM >= 160000
		return member_can_set_role(gate, role) ? RoleVerdict::usable : RoleVerdict::not_granted;
#else
		return is_member_of_role(gate, role) ? RoleVerdict::usable : RoleVerdict::not_granted;
#endif
	});
}

bool may_use_schema(Oid schema, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return call([&] { return object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK; });
#else
	return call([&] { return pg_namespace_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK; });
#endif
}

bool may_select_table(Oid table, Oid role)
{
	return call([&] { return pg_class_aclcheck(table, role, ACL_SELECT) == ACLCHECK_OK; });
}

bool may_select_something(Oid table, Oid role)
{
	return call([&] {
		return pg_class_aclcheck(table, role, ACL_SELECT) == ACLCHECK_OK ||
		       pg_attribute_aclcheck_all(table, role, ACL_SELECT, ACLMASK_ANY) == ACLCHECK_OK;
	});
}

bool may_select_column(Oid table, AttrNumber column, Oid role)
{
	return call([&] { return pg_attribute_aclcheck(table, column, role, ACL_SELECT) == ACLCHECK_OK; });
}

bool has_row_security(Oid table, Oid role)
{
	return call([&] { return check_enable_rls(table, role, true) == RLS_ENABLED; });
}

bool is_member(Oid member, Oid role)
{
	return call([&] { return has_privs_of_role(member, role); });
}

}  // namespace plank::pg
