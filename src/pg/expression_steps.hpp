// PostgreSQL's headers for what an expression is compiled to, and for the functions that it calls. Everything may ereport:
// call it inside pg::call.
#pragma once

#include "pg/expression.hpp"

extern "C" {
#include "access/detoast.h"
#include "executor/execExpr.h"
#include "nodes/pathnodes.h"
#include "utils/fmgrprotos.h"
}
