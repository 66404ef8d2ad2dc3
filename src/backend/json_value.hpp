// The inside of json_output.hpp, shared by its implementation files only: what a resolved output looks like, the
// printers of each phase, and the few primitives that all of them write with.
// Runs in ordinary sessions, inside pg::call: everything here may ereport and owns nothing with a destructor.
#pragma once

#include <climits>
#include <cstring>

#include "pg/values.hpp"

#include "backend/json_output.hpp"

namespace plank::backend {

using Printer = void (*)(StringInfo out, const ValueOutput* output, Datum value);

struct ValueOutput {
	Printer print;
	Oid type;  // the type itself: domains are stripped
	Numbers numbers;
	bool by_value;
	char align;
	int16 length;
};

// A bigint or numeric inside an array or composite stands between two of these.
constexpr char kNumberMark = '\x01';

// Whether a value stands alone in its column or inside an array or composite, where its numbers are marked.
enum class Place : uint8_t { column, inside };

ValueOutput* resolve_output(Oid type, Place place, MemoryContext context);

// An output of the given kind, zeroed, in `context`.
template <typename Output>
Output* new_output(MemoryContext context)
{
	return static_cast<Output*>(MemoryContextAllocZero(context, sizeof(Output)));
}

// json_scalar.cpp
void print_boolean(StringInfo out, const ValueOutput* output, Datum value);
void print_int2(StringInfo out, const ValueOutput* output, Datum value);
void print_int4(StringInfo out, const ValueOutput* output, Datum value);
void print_int8(StringInfo out, const ValueOutput* output, Datum value);
void print_marked_int8(StringInfo out, const ValueOutput* output, Datum value);
void print_float4(StringInfo out, const ValueOutput* output, Datum value);
void print_float8(StringInfo out, const ValueOutput* output, Datum value);
void print_numeric(StringInfo out, const ValueOutput* output, Datum value);
void print_marked_numeric(StringInfo out, const ValueOutput* output, Datum value);
void print_money(StringInfo out, const ValueOutput* output, Datum value);
void print_oid(StringInfo out, const ValueOutput* output, Datum value);
void print_uuid(StringInfo out, const ValueOutput* output, Datum value);
void print_bytea(StringInfo out, const ValueOutput* output, Datum value);

// json_datetime.cpp
void print_date(StringInfo out, const ValueOutput* output, Datum value);
void print_time(StringInfo out, const ValueOutput* output, Datum value);
void print_timestamp(StringInfo out, const ValueOutput* output, Datum value);
void print_timestamptz(StringInfo out, const ValueOutput* output, Datum value);

// json_text.cpp
void print_text(StringInfo out, const ValueOutput* output, Datum value);
void print_name(StringInfo out, const ValueOutput* output, Datum value);
void print_json(StringInfo out, const ValueOutput* output, Datum value);
void print_jsonb(StringInfo out, const ValueOutput* output, Datum value);

// json_nested.cpp
ValueOutput* resolve_array(Oid element, MemoryContext context);
ValueOutput* resolve_composite(Oid type, MemoryContext context);

// json_foreign.cpp: every type that has no printer of its own.
ValueOutput* resolve_function(Oid type, MemoryContext context);

// A value printed by a function of its type.
struct FunctionOutput : ValueOutput {
	FmgrInfo function;
	bool is_cast;  // to json, instead of an output function
};

// FmgrInfo keeps caches of the function called, so it changes while printing.
inline FmgrInfo* function_of(const ValueOutput* output)
{
	return &const_cast<FunctionOutput*>(static_cast<const FunctionOutput*>(output))->function;
}

// Whether the type's output function runs nothing but PostgreSQL's own code, and none that looks at search_path.
bool is_trusted_output(Oid type);

// Prints a FunctionOutput's value in a subtransaction. False when the function failed: then `out` is as it was, and the
// session has been warned once.
bool print_safely(Printer print, StringInfo out, const ValueOutput* output, Datum value);

// Room for `needed` more bytes and a terminator, at the end of what `out` holds. Beyond PostgreSQL's 1 GB for one
// string it ereports program_limit_exceeded and leaves `out` as it was.
inline char* reserve(StringInfo out, size_t needed)
{
	if (unlikely(needed >= static_cast<size_t>(out->maxlen - out->len)))
		enlargeStringInfo(out, needed < INT_MAX ? static_cast<int>(needed) : INT_MAX);
	return out->data + out->len;
}

// Ends what was written at `reserve`.
inline void commit(StringInfo out, const char* end)
{
	out->len = static_cast<int>(end - out->data);
	out->data[out->len] = '\0';
}

inline char* put(char* to, const char* text, size_t length)
{
	memcpy(to, text, length);
	return to + length;
}

inline void append_raw(StringInfo out, const char* text, size_t length)
{
	commit(out, put(reserve(out, length), text, length));
}

inline constexpr char kDigitPairs[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

// `value` is below 100.
inline char* put_two_digits(char* to, unsigned value) { return put(to, kDigitPairs + 2 * value, 2); }

}  // namespace plank::backend
