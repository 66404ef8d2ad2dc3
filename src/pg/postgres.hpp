// The one place that brings PostgreSQL's headers into C++. Include it after the standard library and before other
// Plank headers; everything outside core/ and net/ may use it.
#pragma once

// PostgreSQL 15 defines this as nothing, and -fvisibility=hidden would hide even the magic block.
#if !defined(_WIN32) && !defined(PGDLLEXPORT)
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
}

// PostgreSQL redefines these for its own use; the standard library's spellings must keep working in C++.
#undef _
#undef printf
#undef fprintf
#undef sprintf
#undef snprintf
#undef vprintf
#undef vfprintf
#undef vsprintf
#undef vsnprintf
#undef strerror
#undef strerror_r
