// Plank's utility hook a second time, with a transaction buffer that prints resets instead of sending them: what the hook
// finds out must not depend on who else watches the same statement. Runs in ordinary sessions of test databases.
#include "core/record.hpp"

#include "backend/track.hpp"
#include "backend/transaction_buffer.hpp"
#include "backend/utility_hook.hpp"
#include "pg/catalog.hpp"
#include "pg/guard.hpp"

extern "C" {
PGDLLEXPORT Datum plank_test_show_resets(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_show_resets);
}

static bool showing = false;

namespace plank::backend {

void add_reset(Oid root, const char* reason)
{
	if (!showing) return;
	pg::call([&] { ereport(INFO, (errmsg("reset %s: %s", get_rel_name(root), reason))); });
}

void note_catalog_change() noexcept {}

void note_commit_prepared() noexcept {}

// plank.track works in the other library: its DDL shows here like anybody's.
bool tracking_is_changing() noexcept { return false; }

}  // namespace plank::backend

Datum plank_test_show_resets(PG_FUNCTION_ARGS)
{
	static bool installed = false;
	showing = PG_GETARG_BOOL(0);
	if (!installed) plank::backend::install_utility_hook();
	installed = true;
	PG_RETURN_VOID();
}
