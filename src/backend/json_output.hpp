// Values as JSON text, the way protocol.md rule 8 fixes it: what to_jsonb gives under DateStyle ISO, TimeZone UTC,
// IntervalStyle postgres, hex bytea, lc_monetary C and search_path pg_catalog, whatever the writer's own settings.
// Runs in ordinary sessions, inside the capture trigger. The functions that say so may ereport: call them inside
// pg::call. They own nothing with a destructor.
#pragma once

#include <cstdint>

#include "pg/postgres.hpp"

namespace plank::backend {

// Where a value's JSON holds numbers that JavaScript would round (bigint, numeric), for clients that ask for text.
enum class Numbers : uint8_t {
	none,    // nowhere
	scalar,  // the whole value is such a number (or null, or already a string such as "NaN")
	nested,  // somewhere inside (array, composite, domain over these): each is enclosed in two bytes 0x01
};

// How values of one type are printed: resolved once per column and relcache generation.
struct ValueOutput;

// Resolves `type` with everything below it. Allocates in `context`, which the caller drops when a type or relation
// changes. May ereport.
ValueOutput* resolve_value_output(Oid type, MemoryContext context);

// How values of `type` are printed as the text that stands beside their JSON (pg/value_text.hpp), for types that need
// one. Their output writes nothing for a value whose JSON says it all. May ereport.
ValueOutput* resolve_text_output(Oid type, MemoryContext context);

// Numbers of the values that this output prints.
Numbers numbers_of(const ValueOutput* output);

// Appends `value` (never null) as JSON text (or what stands beside it): UTF-8 whatever the database's encoding, without NUL bytes, and without raw
// control characters but for the marks of Numbers::nested and white space in verbatim json. Allocates scratch memory in
// CurrentMemoryContext, which the caller resets per row. May ereport, but only for what is beyond help (out of memory,
// corrupt data, cancel): a type's output function that fails gives null and a WARNING once a session instead. JSON that
// does not fit into `out` (1 GB) ereports ERRCODE_PROGRAM_LIMIT_EXCEEDED with nothing held but memory, so a caller that
// must not fail the writer may swallow that one.
void append_value(StringInfo out, const ValueOutput* output, Datum value);

// Appends `text` (in the database's encoding, `length` bytes) as a JSON string with its quotes, converted to UTF-8;
// bytes that are not valid text become U+FFFD. May ereport on out of memory.
void append_json_string(StringInfo out, const char* text, int length);

// Holds PostgreSQL's output settings at protocol rule 8's values while it lives; the writer's come back after it, on
// every path. Cheap: plain variables, no GUC machinery. Wrap it around pg::call, never inside.
class OutputSettings {
 public:
	OutputSettings() noexcept;
	~OutputSettings();
	OutputSettings(const OutputSettings&) = delete;
	OutputSettings& operator=(const OutputSettings&) = delete;

 private:
	int date_style_, date_order_, interval_style_, bytea_output_, extra_float_digits_;
	bool quote_all_identifiers_;
	void* time_zone_;
};

}  // namespace plank::backend
