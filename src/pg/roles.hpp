// Questions about roles and privileges. Runs in the worker, in a unit of work. Functions throw Error.
#pragma once

#include <string>
#include <vector>

#include "pg/postgres.hpp"

extern "C" {
#include "access/attnum.h"
}

namespace plank::pg {

enum class RoleVerdict { usable, absent, superuser, bypasses_row_security, predefined, not_granted, no_authenticator };

// Whether a client may have this role at all. `name` in the database's encoding; `role` is its OID when usable.
RoleVerdict judge_role(const char* name, Oid& role);
// The same for a role that a token names: `authenticator` must be able to SET ROLE to it, unless it is empty.
RoleVerdict judge_token_role(const char* name, const char* authenticator);

bool may_use_schema(Oid schema, Oid role);
// SELECT on the whole table, or on at least one column; the second is what a look at the columns must follow.
bool may_select_table(Oid table, Oid role);
bool may_select_something(Oid table, Oid role);
bool may_select_column(Oid table, AttrNumber column, Oid role);
// Whether row security applies to the role there: as PostgreSQL has it, not to the owner unless it is forced.
bool has_row_security(Oid table, Oid role);
bool is_member(Oid member, Oid role);

}  // namespace plank::pg
