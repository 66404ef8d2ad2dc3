// The capture trigger's entry point. Runs in the writer's session.
#pragma once

#include "pg/postgres.hpp"

extern "C" PGDLLEXPORT Datum plank_capture(PG_FUNCTION_ARGS);
