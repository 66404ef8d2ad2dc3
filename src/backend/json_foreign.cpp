// Types without a printer of their own: enums, and everything that is printed by its output function or by a function
// that casts it to json. Runs in ordinary sessions, inside pg::call.
//
// PostgreSQL's own output functions are called directly. One of an extension or a user may fail, and must not take the
// writer's statement with it: it runs in a subtransaction, and gives null when it fails.
#include "pg/values.hpp"

#include "backend/json_value.hpp"
#include "backend/output_settings.hpp"
#include "pg/guard.hpp"
#include "pg/value_text.hpp"

namespace plank::backend {
namespace {

void append_cstring(StringInfo out, const char* text) { append_json_string(out, text, static_cast<int>(strlen(text))); }

// Sets search_path for what it prints, so that names come out qualified whatever the writer's search_path is. Returns
// the nesting level to give to `leave_pg_catalog`; after an error the end of the (sub)transaction does that.
int enter_pg_catalog()
{
	const int level = NewGUCNestLevel();
	(void)set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void leave_pg_catalog(int level) { AtEOXact_GUC(true, level); }

void print_by_function(StringInfo out, const ValueOutput* output, Datum value)
{
	append_cstring(out, OutputFunctionCall(function_of(output), value));
}

void print_in_pg_catalog(StringInfo out, const ValueOutput* output, Datum value)
{
	const int level = enter_pg_catalog();
	const char* const text = OutputFunctionCall(function_of(output), value);
	leave_pg_catalog(level);
	append_cstring(out, text);
}

void print_enum(StringInfo out, const ValueOutput*, Datum value)
{
	const HeapTuple tuple = SearchSysCache1(ENUMOID, value);
	if (!HeapTupleIsValid(tuple)) {
		append_raw(out, "null", 4);
		return;
	}
	NameData label = reinterpret_cast<Form_pg_enum>(GETSTRUCT(tuple))->enumlabel;
	ReleaseSysCache(tuple);
	append_cstring(out, NameStr(label));
}

// The text that a foreign function makes of `value`, as JSON.
void append_foreign(StringInfo out, const ValueOutput* base, Datum value)
{
	const auto* const output = static_cast<const FunctionOutput*>(base);
	const int level = enter_pg_catalog();
	FmgrInfo* const function = function_of(output);
	if (output->is_cast) {
		LOCAL_FCINFO(call, 1);
		InitFunctionCallInfoData(*call, function, 1, InvalidOid, nullptr, nullptr);
		call->args[0].value = value;
		call->args[0].isnull = false;
		const Datum json = FunctionCallInvoke(call);
		if (call->isnull) {
			append_raw(out, "null", 4);
		} else {
			// A json made by a function was never checked; to_jsonb parses it too.
			char* const unchecked = text_to_cstring(DatumGetTextPP(json));
			const Datum jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(unchecked));
			print_jsonb(out, output, jsonb);
		}
	} else {
		append_cstring(out, OutputFunctionCall(function, value));
	}
	leave_pg_catalog(level);
}

// What must reach the user even from inside a type's function.
bool ends_statement(const ErrorData* error)
{
	switch (error->sqlerrcode) {
		case ERRCODE_QUERY_CANCELED:
		case ERRCODE_ADMIN_SHUTDOWN:
		case ERRCODE_CRASH_SHUTDOWN:
			return true;
		default:
			return false;
	}
}

void warn_once(const FunctionOutput* output, const ErrorData* error)
{
	static bool has_warned = false;
	if (has_warned) return;
	has_warned = true;
	ereport(WARNING, (errcode(error->sqlerrcode),
	                  errmsg("plank sends null for values of type %s that its %s function fails on",
	                         format_type_be(output->type), output->is_cast ? "json cast" : "output"),
	                  errdetail("The function failed with: %s", error->message ? error->message : "unknown error"),
	                  errhint("Mend the function. This warning comes once in a session.")));
}

void print_guarded(StringInfo out, const ValueOutput* output, Datum value)
{
	if (!print_safely(append_foreign, out, output, value)) append_raw(out, "null", 4);
}

bool is_plain_internal_function(Oid function)
{
	const HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple)) return false;
	const auto* const form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
	const bool is_plain = form->prolang == INTERNALlanguageId && !form->prosecdef &&
	                      heap_attisnull(tuple, Anum_pg_proc_proconfig, nullptr);
	ReleaseSysCache(tuple);
	return is_plain;
}

// The explicit cast function to json that to_jsonb would call, for types that did not come with PostgreSQL.
Oid find_json_cast(Oid type)
{
	Oid function = InvalidOid;
	if (type < FirstNormalObjectId) return InvalidOid;
	if (find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function) != COERCION_PATH_FUNC) return InvalidOid;
	return function;
}

bool is_text_output(const FmgrInfo& function)
{
	return function.fn_addr == textout || function.fn_addr == varcharout || function.fn_addr == bpcharout;
}

bool prints_names_by_search_path(Oid type)
{
	return pg::prints_as_name(type) && type != REGROLEOID && type != REGNAMESPACEOID;
}

}  // namespace

bool print_safely(Printer print, StringInfo out, const ValueOutput* output, Datum value)
{
	const int start = out->len;
	const MemoryContext memory = CurrentMemoryContext;
	const ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(nullptr);
	MemoryContextSwitchTo(memory);
	ErrorData* error = nullptr;
	try {
		pg::call([&] {
			print(out, output, value);
			ReleaseCurrentSubTransaction();
		});
	} catch (const pg::Error& failure) {
		error = failure.data();
	}
	if (error) RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(memory);
	CurrentResourceOwner = owner;
	// A function with a SET clause has put the writer's settings back at its end.
	pin_output_settings();
	if (likely(!error)) return true;

	out->len = start;
	if (ends_statement(error)) ReThrowError(error);
	warn_once(static_cast<const FunctionOutput*>(output), error);
	FreeErrorData(error);
	return false;
}

// Whether the type's output function runs nothing but PostgreSQL's own code, and none that looks at search_path.
bool is_trusted_output(Oid declared)
{
	check_stack_depth();
	const Oid type = getBaseType(declared);
	if (const Oid element = get_element_type(type); OidIsValid(element)) return is_trusted_output(element);
	if (type < FirstNormalObjectId) return !prints_names_by_search_path(type);
	if (const Oid subtype = get_range_subtype(type); OidIsValid(subtype)) return is_trusted_output(subtype);
	if (const Oid range = get_multirange_range(type); OidIsValid(range)) return is_trusted_output(range);
	if (type_is_rowtype(type)) return false;

	Oid function;
	bool is_varlena;
	getTypeOutputInfo(type, &function, &is_varlena);
	return is_plain_internal_function(function);
}

ValueOutput* resolve_function(Oid type, MemoryContext context)
{
	FunctionOutput* const output = new_output<FunctionOutput>(context);
	output->numbers = Numbers::none;

	Oid function = find_json_cast(type);
	output->is_cast = OidIsValid(function);
	if (output->is_cast) {
		fmgr_info_cxt(function, &output->function, context);
		output->print = print_guarded;
		return output;
	}
	if (type_is_enum(type)) {
		output->print = print_enum;
		return output;
	}

	bool is_varlena;
	getTypeOutputInfo(type, &function, &is_varlena);
	fmgr_info_cxt(function, &output->function, context);
	if (is_text_output(output->function))
		output->print = print_text;  // citext and its like
	else if (prints_names_by_search_path(type))
		output->print = print_in_pg_catalog;
	else if (is_trusted_output(type))
		output->print = print_by_function;
	else
		output->print = print_guarded;
	return output;
}

}  // namespace plank::backend
