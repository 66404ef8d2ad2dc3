// The database's secret, by which Plank's own messages in WAL are known: anybody may write logical messages. Runs in
// sessions and in the worker, inside a transaction.
#pragma once

#include "pg/postgres.hpp"

namespace plank::pg {

// What the prefix of every message of this database is: "plank:" and the secret's hex digits. Null while the extension, or
// a version of it that has a secret, is not installed. Cached until plank.secret changes as a table. Throws Error.
const char* message_prefix();

}  // namespace plank::pg
