// Which tracked tables have values of a type: its labels or fields show in their rows. Runs in ordinary sessions.
// May ereport: call it inside pg::call.
#pragma once

#include "pg/catalog.hpp"

namespace plank::backend {

// Tracked tables with a column whose values contain values of `type`, however deep. A List of OIDs.
List* tracked_tables_using(Oid type);

}  // namespace plank::backend
