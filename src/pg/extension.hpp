// The extension as installed in this database, and where its temporary files go.
#pragma once

#include <string>

#include "pg/postgres.hpp"

namespace plank::pg {

// Version of the installed extension; empty when it is not installed. In a unit of work. Throws Error.
std::string extension_version();

// The default tablespace's folder of temporary files, made when it is missing. Never throws: what cannot be made is said
// by the first file that fails.
std::string temporary_directory();

}  // namespace plank::pg
