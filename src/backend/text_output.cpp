// The text that stands beside a value's JSON where that does not tell all values of its type apart (pg/value_text.hpp).
// Runs in ordinary sessions, inside pg::call.
#include <algorithm>
#include <cmath>

#include "pg/value_text.hpp"
#include "pg/values.hpp"

#include "backend/json_value.hpp"

namespace plank::backend {
namespace {

void append_marked(StringInfo out, const char* text, size_t length)
{
	char* const to = reserve(out, length + 1);
	*to = pg::kTextMark;
	commit(out, put(to + 1, text, length));
}

void append_beyond_ascii(StringInfo out, const char* text, size_t length)
{
	if (std::any_of(text, text + length, [](char c) { return static_cast<signed char>(c) < 0; }))
		append_marked(out, text, length);
}

template <typename Float>
void append_negative_zero(StringInfo out, Float value)
{
	if (value == 0 && std::signbit(value)) append_marked(out, "-0", 2);
}

void print_float4_text(StringInfo out, const ValueOutput*, Datum value)
{
	append_negative_zero(out, DatumGetFloat4(value));
}

void print_float8_text(StringInfo out, const ValueOutput*, Datum value)
{
	append_negative_zero(out, DatumGetFloat8(value));
}

void print_byte(StringInfo out, const ValueOutput*, Datum value)
{
	const char byte = DatumGetChar(value);
	append_marked(out, &byte, byte == '\0' ? 0 : 1);
}

void print_bytes(StringInfo out, const ValueOutput*, Datum value)
{
	text* const bytes = DatumGetTextPP(value);
	append_marked(out, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
}

void print_number_of_name(StringInfo out, const ValueOutput*, Datum value)
{
	char digits[12];
	append_marked(out, digits, static_cast<size_t>(pg_ultoa_n(DatumGetObjectId(value), digits)));
}

void print_string_text(StringInfo out, const ValueOutput*, Datum value)
{
	text* const string = DatumGetTextPP(value);
	append_beyond_ascii(out, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

void print_function_text(StringInfo out, const ValueOutput* output, Datum value)
{
	const char* const text = OutputFunctionCall(function_of(output), value);
	append_marked(out, text, strlen(text));
}

// For types whose JSON holds the same text, as far as Unicode has its characters.
void print_same_text(StringInfo out, const ValueOutput* output, Datum value)
{
	const char* const text = OutputFunctionCall(function_of(output), value);
	append_beyond_ascii(out, text, strlen(text));
}

void set_option(const char* name, const char* value)
{
	(void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

// With the settings that only functions of types look at: see json_foreign.cpp.
void print_with_settings(StringInfo out, const ValueOutput* output, Datum value)
{
	const int level = NewGUCNestLevel();
	set_option("search_path", "pg_catalog");
	set_option("lc_monetary", "C");
	print_function_text(out, output, value);
	AtEOXact_GUC(true, level);
}

void print_guarded_text(StringInfo out, const ValueOutput* output, Datum value)
{
	(void)print_safely(print_with_settings, out, output, value);
}

Printer choose_printer(Oid type)
{
	switch (type) {
		case FLOAT4OID:
			return print_float4_text;
		case FLOAT8OID:
			return print_float8_text;
		case CHAROID:
			return print_byte;
		case XMLOID:
			return print_bytes;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case JSONOID:
			return print_string_text;
		default:
			break;
	}
	if (pg::prints_as_name(type)) return print_number_of_name;
	if (pg::text_need(type) == pg::TextNeed::sometimes) return print_same_text;
	if (!is_trusted_output(type)) return print_guarded_text;
	return pg::contains_money(type) ? print_with_settings : print_function_text;
}

}  // namespace

ValueOutput* resolve_text_output(Oid declared, MemoryContext context)
{
	const Oid type = getBaseType(declared);
	auto* const output = new_output<FunctionOutput>(context);
	output->type = type;
	output->print = choose_printer(type);
	Oid function = InvalidOid;
	bool is_varlena = false;
	getTypeOutputInfo(type, &function, &is_varlena);
	fmgr_info_cxt(function, &output->function, context);
	return output;
}

}  // namespace plank::backend
