// Decides by type whether JSON is enough to rebuild a value. Runs in sessions and in the worker, inside pg::call.
#include "pg/value_text.hpp"

#include "pg/values.hpp"

namespace plank::pg {

namespace {

bool has_text_output(Oid type)
{
	Oid function = InvalidOid;
	bool is_varlena = false;
	getTypeOutputInfo(type, &function, &is_varlena);
	FmgrInfo output;
	fmgr_info(function, &output);
	return output.fn_addr == textout || output.fn_addr == varcharout || output.fn_addr == bpcharout;
}

bool has_json_cast(Oid type)
{
	Oid function = InvalidOid;
	return find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function) == COERCION_PATH_FUNC;
}

// For types whose JSON holds the text itself: UTF-8 keeps all of it, other encodings may lose characters.
TextNeed text_in_json() { return GetDatabaseEncoding() == PG_UTF8 ? TextNeed::never : TextNeed::sometimes; }

}  // namespace

bool prints_as_name(Oid type)
{
	switch (type) {
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGOPERATOROID:
		case REGOPEROID:
		case REGPROCEDUREOID:
		case REGPROCOID:
		case REGROLEOID:
		case REGTYPEOID:
			return true;
		default:
			return false;
	}
}

TextNeed text_need(Oid declared)
{
	const Oid type = getBaseType(declared);
	switch (type) {
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case CASHOID:
		case OIDOID:
		case UUIDOID:
		case BYTEAOID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return TextNeed::never;
		case FLOAT4OID:
		case FLOAT8OID:
			return TextNeed::sometimes;  // JSON has no negative zero
		case CHAROID:
		case XMLOID:
			return TextNeed::always;
		default:
			break;
	}
	if (prints_as_name(type) || OidIsValid(get_element_type(type)) || type_is_rowtype(type)) return TextNeed::always;
	if (type < FirstNormalObjectId || type_is_enum(type)) return text_in_json();
	// A range prints its bounds as text whatever they are; anything else of an extension may have its own JSON.
	if (!has_json_cast(type) && has_text_output(type)) return text_in_json();
	return TextNeed::always;
}

bool contains_money(Oid declared)
{
	check_stack_depth();
	const Oid type = getBaseType(declared);
	if (type == CASHOID) return true;
	if (const Oid element = get_element_type(type); OidIsValid(element)) return contains_money(element);
	if (const Oid range = get_multirange_range(type); OidIsValid(range)) return contains_money(range);
	if (const Oid subtype = get_range_subtype(type); OidIsValid(subtype)) return contains_money(subtype);
	return false;
}

}  // namespace plank::pg
