// What a filter may use: nothing that could run anybody's code but PostgreSQL's and extensions' own C functions, and
// nothing whose result could change. Runs in the worker, inside pg::call: everything may ereport.
#pragma once

#include "pg/expression.hpp"

namespace plank::worker {

// Refuses (0A000) every node, function, operator and type that a filter must not use, subscripting, folding and
// evaluation included. `condition` has been transformed but not folded: nothing of it has run. `text`: what it was parsed
// from.
void check_condition(Node* condition, const char* text);

// The part of check_condition that can change under a condition that was fine: domains get new CHECKs.
void check_domains(Node* condition);

// Grows whenever some domain's CHECKs may have changed, as far as the process has heard.
uint64_t constraint_changes();

// Whether values of the type can be read without running anybody's code: a domain's CHECK inside an array, range or
// composite is such code.
bool is_safe_to_read(Oid type);

// Refuses literals of a type that mean something else tomorrow ('now') or that would tell what exists (regclass).
void check_literal(const char* text, Oid type);

// Whether an operator or function is immutable, in C or internal, and PostgreSQL's or an extension's.
bool is_trusted_function(Oid function);
bool is_trusted_operator(Oid op);

}  // namespace plank::worker
