// Watches DDL for what row triggers do not see. Runs in ordinary sessions.
#pragma once

namespace plank::backend {

// Chains ProcessUtility_hook and object_access_hook. From _PG_init.
void install_utility_hook();

}  // namespace plank::backend
