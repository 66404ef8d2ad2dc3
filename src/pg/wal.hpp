// PostgreSQL's headers for writing into WAL: what a session's end of `plank.transport = 'wal'` needs. Everything may
// ereport: call it inside pg::call.
#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "replication/message.h"
}
