// SQL functions over Plank's value printing, for tests and benchmarks. Runs in ordinary sessions of test databases.
#include <ctime>

#include "pg/postgres.hpp"

extern "C" {
#include "access/htup_details.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
}

#include "backend/json_output.hpp"
#include "pg/guard.hpp"

using plank::backend::append_json_string;
using plank::backend::append_value;
using plank::backend::Numbers;
using plank::backend::numbers_of;
using plank::backend::OutputSettings;
using plank::backend::resolve_value_output;
using plank::backend::ValueOutput;

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT Datum plank_test_value_json(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_busy(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_numbers(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_benchmark(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_value_json);
PG_FUNCTION_INFO_V1(plank_test_busy);
PG_FUNCTION_INFO_V1(plank_test_numbers);
PG_FUNCTION_INFO_V1(plank_test_benchmark);
}

namespace {

const ValueOutput* output_of_argument(FunctionCallInfo fcinfo)
{
	FmgrInfo* const function = fcinfo->flinfo;
	if (!function->fn_extra)
		function->fn_extra = resolve_value_output(get_fn_expr_argtype(function, 0), function->fn_mcxt);
	return static_cast<const ValueOutput*>(function->fn_extra);
}

// A table's rows, read once, as the two printers take them.
struct Rows {
	TupleDesc descriptor;
	int count;
	HeapTuple* tuples;
	Datum* records;
};

struct Columns {
	int count;
	const ValueOutput** outputs;
	const char** keys;
	int* key_lengths;
};

Rows read_rows(Oid relation)
{
	SPI_connect();
	const char* const query = psprintf("TABLE %s", DatumGetCString(DirectFunctionCall1(regclassout, relation)));
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT) elog(ERROR, "could not read the table");
	Rows rows = {};
	rows.count = static_cast<int>(SPI_processed);
	rows.descriptor = BlessTupleDesc(SPI_tuptable->tupdesc);
	rows.tuples = SPI_tuptable->vals;
	rows.records = static_cast<Datum*>(palloc(sizeof(Datum) * Max(rows.count, 1)));
	for (int i = 0; i < rows.count; i++)
		rows.records[i] = heap_copy_tuple_as_datum(rows.tuples[i], rows.descriptor);
	return rows;
}

Columns resolve_columns(TupleDesc descriptor)
{
	Columns columns = {};
	columns.count = descriptor->natts;
	columns.outputs = static_cast<const ValueOutput**>(palloc(sizeof(ValueOutput*) * columns.count));
	columns.keys = static_cast<const char**>(palloc(sizeof(char*) * columns.count));
	columns.key_lengths = static_cast<int*>(palloc(sizeof(int) * columns.count));
	for (int i = 0; i < columns.count; i++) {
		const FormData_pg_attribute* const attribute = TupleDescAttr(descriptor, i);
		columns.outputs[i] = resolve_value_output(attribute->atttypid, CurrentMemoryContext);
		StringInfoData key;
		initStringInfo(&key);
		appendStringInfoChar(&key, i == 0 ? '{' : ',');
		append_json_string(&key, NameStr(attribute->attname), strlen(NameStr(attribute->attname)));
		appendStringInfoChar(&key, ':');
		columns.keys[i] = key.data;
		columns.key_lengths[i] = key.len;
	}
	return columns;
}

void print_row(StringInfo out, const Columns& columns, const Rows& rows, int row, Datum* values, bool* nulls)
{
	heap_deform_tuple(rows.tuples[row], rows.descriptor, values, nulls);
	for (int i = 0; i < columns.count; i++) {
		appendBinaryStringInfo(out, columns.keys[i], columns.key_lengths[i]);
		if (nulls[i])
			appendBinaryStringInfo(out, "null", 4);
		else
			append_value(out, columns.outputs[i], values[i]);
	}
	appendStringInfoChar(out, '}');
}

double nanoseconds_per_row(Oid relation, int rounds, bool use_plank)
{
	const Rows rows = read_rows(relation);
	const Columns columns = resolve_columns(rows.descriptor);
	auto* const values = static_cast<Datum*>(palloc(sizeof(Datum) * columns.count));
	auto* const nulls = static_cast<bool*>(palloc(sizeof(bool) * columns.count));
	StringInfoData out;
	initStringInfo(&out);

	MemoryContext const scratch = AllocSetContextCreate(CurrentMemoryContext, "benchmark", ALLOCSET_DEFAULT_SIZES);
	MemoryContext const caller = MemoryContextSwitchTo(scratch);
	timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int round = 0; round < rounds; round++) {
		for (int row = 0; row < rows.count; row++) {
			resetStringInfo(&out);
			if (use_plank)
				print_row(&out, columns, rows, row, values, nulls);
			else
				(void)DirectFunctionCall1(row_to_json, rows.records[row]);
			MemoryContextReset(scratch);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	MemoryContextSwitchTo(caller);
	SPI_finish();
	const double elapsed = 1e9 * (end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec);
	return elapsed / rounds / Max(rows.count, 1);
}

}  // namespace

Datum plank_test_value_json(PG_FUNCTION_ARGS)
{
	return plank::pg::entry([&] {
		const ValueOutput* const output = plank::pg::call([&] { return output_of_argument(fcinfo); });
		const OutputSettings settings;
		return plank::pg::call([&] {
			StringInfoData out;
			initStringInfo(&out);
			append_value(&out, output, PG_GETARG_DATUM(0));
			return PointerGetDatum(cstring_to_text_with_len(out.data, out.len));
		});
	});
}

Datum plank_test_busy(PG_FUNCTION_ARGS)
{
	const TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PG_GETARG_INT32(0));
	while (GetCurrentTimestamp() < end) {}
	PG_RETURN_INT32(PG_GETARG_INT32(0));
}

Datum plank_test_numbers(PG_FUNCTION_ARGS)
{
	return plank::pg::entry([&] {
		return plank::pg::call([&] {
			const char* name = "none";
			switch (numbers_of(output_of_argument(fcinfo))) {
				case Numbers::none:
					break;
				case Numbers::scalar:
					name = "scalar";
					break;
				case Numbers::nested:
					name = "nested";
					break;
			}
			return PointerGetDatum(cstring_to_text(name));
		});
	});
}

Datum plank_test_benchmark(PG_FUNCTION_ARGS)
{
	return plank::pg::entry([&] {
		const OutputSettings settings;
		return plank::pg::call([&] {
			return Float8GetDatum(nanoseconds_per_row(PG_GETARG_OID(0), PG_GETARG_INT32(1), PG_GETARG_BOOL(2)));
		});
	});
}
