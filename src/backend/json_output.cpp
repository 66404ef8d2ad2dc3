// Finds the printer of a type, once per column, and sends values to it. Runs in ordinary sessions, inside pg::call.
// Which types are numbers, arrays, objects or strings follows to_jsonb (protocol.md rule 8).
#include "backend/json_output.hpp"

#include "pg/values.hpp"

#include "backend/json_value.hpp"

namespace plank::backend {
namespace {

// Built-in types with a printer of their own. Where a number is beyond JavaScript's, `inside` is the printer that
// marks it.
struct BuiltIn {
	Oid type;
	Printer column;
	Printer inside;
	Numbers numbers;
};

constexpr BuiltIn kBuiltIns[] = {
    {BOOLOID, print_boolean, print_boolean, Numbers::none},
    {INT2OID, print_int2, print_int2, Numbers::none},
    {INT4OID, print_int4, print_int4, Numbers::none},
    {INT8OID, print_int8, print_marked_int8, Numbers::scalar},
    {FLOAT4OID, print_float4, print_float4, Numbers::none},
    {FLOAT8OID, print_float8, print_float8, Numbers::none},
    {NUMERICOID, print_numeric, print_marked_numeric, Numbers::scalar},
    {CASHOID, print_money, print_money, Numbers::none},
    {OIDOID, print_oid, print_oid, Numbers::none},
    {UUIDOID, print_uuid, print_uuid, Numbers::none},
    {BYTEAOID, print_bytea, print_bytea, Numbers::none},
    {DATEOID, print_date, print_date, Numbers::none},
    {TIMEOID, print_time, print_time, Numbers::none},
    {TIMESTAMPOID, print_timestamp, print_timestamp, Numbers::none},
    {TIMESTAMPTZOID, print_timestamptz, print_timestamptz, Numbers::none},
    {TEXTOID, print_text, print_text, Numbers::none},
    {VARCHAROID, print_text, print_text, Numbers::none},
    {BPCHAROID, print_text, print_text, Numbers::none},
    {NAMEOID, print_name, print_name, Numbers::none},
    {JSONOID, print_json, print_json, Numbers::none},
    {JSONBOID, print_jsonb, print_jsonb, Numbers::none},
};

ValueOutput* resolve_built_in(Oid type, Place place, MemoryContext context)
{
	for (const BuiltIn& built_in : kBuiltIns) {
		if (built_in.type != type) continue;
		ValueOutput* const output = new_output<ValueOutput>(context);
		output->print = place == Place::inside ? built_in.inside : built_in.column;
		output->numbers = built_in.numbers;
		return output;
	}
	return nullptr;
}

}  // namespace

ValueOutput* resolve_output(Oid declared, Place place, MemoryContext context)
{
	check_stack_depth();

	const Oid type = getBaseType(declared);
	ValueOutput* output = resolve_built_in(type, place, context);
	if (!output) {
		if (const Oid element = get_element_type(type); OidIsValid(element))
			output = resolve_array(element, context);
		else if (type_is_rowtype(type))
			output = resolve_composite(type, context);
		else
			output = resolve_function(type, context);
	}
	output->type = type;
	get_typlenbyvalalign(type, &output->length, &output->by_value, &output->align);
	return output;
}

ValueOutput* resolve_value_output(Oid type, MemoryContext context)
{
	return resolve_output(type, Place::column, context);
}

Numbers numbers_of(const ValueOutput* output) { return output->numbers; }

void append_value(StringInfo out, const ValueOutput* output, Datum value) { output->print(out, output, value); }

}  // namespace plank::backend
