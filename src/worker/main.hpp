// The entry point that the postmaster starts. Runs in the worker.
#pragma once

#include "pg/postgres.hpp"

extern "C" PGDLLEXPORT void plank_worker_main(Datum argument);
