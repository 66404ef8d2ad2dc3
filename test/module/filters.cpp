// SQL functions over the worker's evaluator of filters, run in an ordinary session. Runs in test databases.
#include "worker/filter_evaluator.hpp"

#include <algorithm>

#include "filter_rows.hpp"
#include "pg/encoding.hpp"
#include "sql_values.hpp"

extern "C" {
#include "funcapi.h"
PGDLLEXPORT Datum plank_test_filter_fault(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_filter_verdicts(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_round_trip(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_filter_sharing(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_filter_benchmark(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_texts(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_texts);
PGDLLEXPORT Datum plank_test_filter_after(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_filter_after);
PG_FUNCTION_INFO_V1(plank_test_filter_fault);
PG_FUNCTION_INFO_V1(plank_test_filter_verdicts);
PG_FUNCTION_INFO_V1(plank_test_round_trip);
PG_FUNCTION_INFO_V1(plank_test_filter_sharing);
PG_FUNCTION_INFO_V1(plank_test_filter_benchmark);
}

namespace pg = plank::pg;
namespace core = plank::core;
using plank::worker::FilterEvaluator;
using plank_test::execute, plank_test::name_argument, plank_test::text_argument, plank_test::text_result,
    plank_test::texts_argument;
using plank_test::TestChange;

namespace {

std::string printed(const core::FilterFault& fault)
{
	std::string text = fault.code;
	if (fault.sqlstate != fault.code) text += " (" + fault.sqlstate + ')';
	text += ": " + fault.message;
	if (fault.position > 0) text += " at " + std::to_string(fault.position);
	if (!fault.detail.empty()) text += "\n  " + fault.detail;
	if (!fault.hint.empty()) text += "\n  " + fault.hint;
	return text;
}

class TupleSink {
 public:
	explicit TupleSink(FunctionCallInfo fcinfo)
	{
		pg::call([&] { InitMaterializedSRF(fcinfo, 0); });
		info_ = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
	}
	void put(Datum* values, bool* nulls)
	{
		pg::call([&] { tuplestore_putvalues(info_->setResult, info_->setDesc, values, nulls); });
	}

 private:
	ReturnSetInfo* info_;
};

core::FilterId must_add(FilterEvaluator& evaluator, const std::string& role, const core::Shape& shape,
                        const std::string& where)
{
	const auto added = evaluator.add_filter(*core::anonymous_identity(role), shape, where);
	if (const auto* fault = std::get_if<core::FilterFault>(&added))
		pg::raise(ERRCODE_RAISE_EXCEPTION, (where + " -> " + printed(*fault)).c_str());
	return std::get<core::FilterId>(added);
}

// filter, op, row, before, after, failure: one row for each verdict and failure.
Datum filter_verdicts(FunctionCallInfo fcinfo)
{
	TupleSink sink(fcinfo);
	const Oid relation = PG_GETARG_OID(0);
	const std::vector<std::string> wheres = texts_argument(fcinfo, 1);
	const std::string role = name_argument(fcinfo, 2);
	const core::ShapePtr shape = plank_test::shape_of(relation);
	FilterEvaluator evaluator;
	std::vector<std::vector<int>> numbers;  // of the conditions, by filter
	for (size_t i = 0; i < wheres.size(); ++i) {
		const core::FilterId id = must_add(evaluator, role, *shape, wheres[i]);
		if (numbers.size() <= id) numbers.resize(id + 1);
		numbers[id].push_back(static_cast<int>(i) + 1);
	}
	core::Verdicts verdicts;
	const std::vector<TestChange> changes = plank_test::changes_of(relation, *shape);
	execute(text_argument(fcinfo, 4));
	const auto put = [&](core::FilterId filter, const TestChange& change, bool before, bool after,
	                     const core::FilterFault* fault) {
		for (const int number : numbers[filter]) {
			Datum values[] = {Int32GetDatum(number),     CharGetDatum(static_cast<char>(change.tag)),
			                  Int32GetDatum(change.row), BoolGetDatum(before),
			                  BoolGetDatum(after),       fault ? text_result(printed(*fault)) : 0};
			bool nulls[] = {false, false, false, false, false, fault == nullptr};
			sink.put(values, nulls);
		}
	};
	for (const TestChange& change : changes) {
		if (!PG_GETARG_BOOL(3)) evaluator.begin_turn();
		evaluator.begin_batch();
		evaluator.evaluate(*shape, plank_test::record_of(change, shape), verdicts);
		evaluator.end_batch();
		for (const core::Verdict& verdict : verdicts.passed)
			put(verdict.filter, change, verdict.before, verdict.after, nullptr);
		for (const core::FilterFailure& failure : verdicts.failed)
			put(failure.filter, change, false, false, &failure.fault);
	}
	return 0;
}

// How the inserts of the table's rows, written before and after a statement that changes it, are judged by filters made
// before it: at once, and after another look at the table. One line for each condition.
Datum filter_after(FunctionCallInfo fcinfo)
{
	const Oid relation = PG_GETARG_OID(0);
	const std::string role = pg::to_utf8(pg::call([] { return GetUserNameFromId(GetUserId(), false); }));
	const std::vector<std::string> wheres = texts_argument(fcinfo, 1);
	FilterEvaluator evaluator;
	const core::ShapePtr former = plank_test::shape_of(relation);
	std::vector<core::FilterId> ids;
	std::vector<std::string> lines(wheres);
	for (const std::string& where : wheres)
		ids.push_back(must_add(evaluator, role, *former, where));
	const std::vector<TestChange> written = plank_test::changes_of(relation, *former);
	execute(text_argument(fcinfo, 2));
	const core::ShapePtr shape = plank_test::shape_of(relation);

	const auto place_of = [&](core::FilterId id) {
		return static_cast<size_t>(std::find(ids.begin(), ids.end(), id) - ids.begin());
	};
	const auto judge = [&](const std::vector<TestChange>& changes, const core::ShapePtr& with) {
		for (std::string& line : lines)
			line += " |";
		core::Verdicts verdicts;
		evaluator.begin_batch();
		for (const TestChange& change : changes) {
			if (change.tag != core::Tag::insert) continue;
			evaluator.evaluate(*with, plank_test::record_of(change, with), verdicts);
			for (const core::Verdict& verdict : verdicts.passed)
				lines[place_of(verdict.filter)] += ' ' + std::to_string(change.row);
			for (const core::FilterFailure& failure : verdicts.failed)
				lines[place_of(failure.filter)] += ' ' + printed(failure.fault);
			for (const core::FilterId filter : verdicts.unreadable)
				lines[place_of(filter)] += " unreadable";
		}
		evaluator.end_batch();
	};
	judge(written, former);
	core::LookedAgain looked;
	evaluator.look_again(*shape);
	while (evaluator.look_further(std::chrono::steady_clock::time_point::max(), looked))
		;
	for (const core::FilterFailure& failure : looked.failed)
		lines[place_of(failure.filter)] += " | " + printed(failure.fault);
	judge(plank_test::changes_of(relation, *shape), shape);
	judge(written, former);
	for (const core::FilterId id : ids)
		evaluator.release(id);
	std::string all;
	for (const std::string& line : lines)
		all += line + '\n';
	return text_result(all + std::to_string(evaluator.filters()) + " left");
}

// Null when the value that the worker rebuilds has the same bytes, else both as text.
Datum round_trip(FunctionCallInfo fcinfo)
{
	const Oid type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	StringInfoData json, text;
	const bool with_text = pg::call([&] { return pg::text_need(type) != pg::TextNeed::never; });
	{
		const plank::backend::OutputSettings settings;
		pg::call([&] {
			initStringInfo(&json);
			initStringInfo(&text);
			append_value(&json, plank::backend::resolve_value_output(type, CurrentMemoryContext), PG_GETARG_DATUM(0));
			if (with_text)
				append_value(&text, plank::backend::resolve_text_output(type, CurrentMemoryContext),
				             PG_GETARG_DATUM(0));
		});
	}
	const core::ColumnImage image = {{json.data, static_cast<size_t>(json.len)},
	                                 {text.data, static_cast<size_t>(text.len)}};
	plank::worker::FilterUnit unit;
	const MemoryContext caller = CurrentMemoryContext;
	unit.open({}, caller);
	const char* difference = pg::call([&]() -> const char* {
		auto* const input = static_cast<plank::worker::ColumnInput*>(palloc0(sizeof(plank::worker::ColumnInput)));
		plank::worker::resolve_input(input, type, CurrentMemoryContext);
		Datum read = read_value(input, image);
		Datum given = PG_GETARG_DATUM(0);
		int16 length;
		bool by_value;
		get_typlenbyval(type, &length, &by_value);
		if (length == -1) {
			given = PointerGetDatum(PG_DETOAST_DATUM_COPY(given));
			read = PointerGetDatum(PG_DETOAST_DATUM_COPY(read));
		}
		if (datum_image_eq(given, read, by_value, length)) return nullptr;
		Oid output;
		bool is_varlena;
		getTypeOutputInfo(type, &output, &is_varlena);
		return psprintf("given %s, read %s", OidOutputFunctionCall(output, given), OidOutputFunctionCall(output, read));
	});
	unit.close();
	MemoryContextSwitchTo(caller);
	if (!difference) PG_RETURN_NULL();
	return pg::call([&] { return CStringGetTextDatum(difference); });
}

// How many filters the conditions become, and how many are left when all are released.
Datum filter_sharing(FunctionCallInfo fcinfo)
{
	const core::ShapePtr shape = plank_test::shape_of(PG_GETARG_OID(0));
	const std::string role = name_argument(fcinfo, 2);
	FilterEvaluator evaluator;
	std::vector<core::FilterId> ids;
	for (const std::string& where : texts_argument(fcinfo, 1))
		ids.push_back(must_add(evaluator, role, *shape, where));
	const size_t filters = evaluator.filters();
	for (const core::FilterId id : ids)
		evaluator.release(id);
	return text_result(std::to_string(filters) + " filters, then " + std::to_string(evaluator.filters()));
}

// Adds `count` filters made from `where` with %s as 1, 2, ..., then judges the table's changes `rounds` times.
Datum filter_benchmark(FunctionCallInfo fcinfo)
{
	const core::ShapePtr shape = plank_test::shape_of(PG_GETARG_OID(0));
	const std::string pattern = text_argument(fcinfo, 1);
	const int count = PG_GETARG_INT32(2), rounds = PG_GETARG_INT32(3);
	const std::string role = pg::to_utf8(pg::call([] { return GetUserNameFromId(GetUserId(), false); }));
	FilterEvaluator evaluator;
	const double adding = plank_test::cpu_seconds();
	for (int i = 1; i <= count; ++i)
		(void)must_add(evaluator, role, *shape, plank_test::with_number(pattern, i));
	const double added = plank_test::cpu_seconds();
	return text_result(std::to_string(count) +
	                   " filters: " + plank_test::judging_speed(evaluator, PG_GETARG_OID(0), shape, rounds) +
	                   plank_test::adding_speed(evaluator, count, added - adding));
}

}  // namespace

Datum plank_test_filter_fault(PG_FUNCTION_ARGS)
{
	return pg::entry([&]() -> Datum {
		const core::ShapePtr shape = plank_test::shape_of(PG_GETARG_OID(0), text_argument(fcinfo, 3));
		FilterEvaluator evaluator;
		const auto added =
		    evaluator.add_filter(*core::anonymous_identity(name_argument(fcinfo, 2)), *shape, text_argument(fcinfo, 1));
		if (const auto* fault = std::get_if<core::FilterFault>(&added)) return text_result(printed(*fault));
		PG_RETURN_NULL();
	});
}

Datum plank_test_filter_verdicts(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return filter_verdicts(fcinfo); });
}

Datum plank_test_round_trip(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return round_trip(fcinfo); });
}

Datum plank_test_filter_sharing(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return filter_sharing(fcinfo); });
}

Datum plank_test_filter_benchmark(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return filter_benchmark(fcinfo); });
}

Datum plank_test_texts(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		const core::ShapePtr shape = plank_test::shape_of(PG_GETARG_OID(0));
		std::string names;
		for (const uint32_t column : shape->texts)
			names += (names.empty() ? "" : " ") + shape->columns[column].name;
		return text_result(names.empty() ? "none" : names);
	});
}

Datum plank_test_filter_after(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return filter_after(fcinfo); });
}
