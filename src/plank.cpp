// _PG_init: what loading the library sets up, in the postmaster and in sessions that load it late.
#include "backend/replicated_truncate.hpp"
#include "backend/transaction_buffer.hpp"
#include "backend/utility_hook.hpp"
#include "pg/postgres.hpp"
#include "pg/settings.hpp"
#include "pg/shared_state.hpp"
#include "worker/breaker.hpp"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

extern "C" void _PG_init(void)
{
	if (IsBinaryUpgrade) return;
	plank::pg::define_settings();
	plank::backend::register_transaction_callbacks();
	plank::backend::install_utility_hook();
	plank::backend::watch_replicated_truncates();
	if (!process_shared_preload_libraries_in_progress) return;
	plank::pg::request_shared_state();
	plank::worker::register_workers();
}
