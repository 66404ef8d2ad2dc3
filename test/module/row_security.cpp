// SQL functions over the worker's evaluator for tables with row security: what identities see of changes, and what a look
// at the table again finds. Runs in ordinary sessions of test databases.
#include "worker/filter_evaluator.hpp"

#include "filter_rows.hpp"
#include "sql_values.hpp"

extern "C" {
#include "funcapi.h"
PGDLLEXPORT Datum plank_test_policy_verdicts(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_policy_after(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_policy_benchmark(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_policy_memory(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_policy_verdicts);
PG_FUNCTION_INFO_V1(plank_test_policy_after);
PG_FUNCTION_INFO_V1(plank_test_policy_benchmark);
PG_FUNCTION_INFO_V1(plank_test_policy_memory);
}

namespace pg = plank::pg;
namespace core = plank::core;
using plank::worker::FilterEvaluator;
using plank_test::execute, plank_test::text_argument, plank_test::text_result, plank_test::texts_argument,
    plank_test::with_number;
using plank_test::TestChange;

namespace {

core::Identity identity_of(const std::string& role, const std::string& claims)
{
	core::Identity identity;
	identity.role = role;
	identity.claims = claims;
	return identity;
}

std::string printed(const core::FilterFault& fault)
{
	std::string text = fault.code;
	if (fault.sqlstate != fault.code) text += " (" + fault.sqlstate + ')';
	text += ": " + fault.message;
	if (!fault.detail.empty()) text += "; DETAIL: " + fault.detail;
	if (!fault.hint.empty()) text += "; HINT: " + fault.hint;
	return text;
}

// Who is asking and for what.
struct Watcher {
	core::Identity identity;
	std::string where;
	core::FilterId filter = core::kNoFilter;
	std::string fault;
};

std::vector<Watcher> watchers_of(FunctionCallInfo fcinfo, int first)
{
	const std::vector<std::string> roles = texts_argument(fcinfo, first), claims = texts_argument(fcinfo, first + 1),
	                               wheres = texts_argument(fcinfo, first + 2);
	std::vector<Watcher> watchers;
	for (size_t i = 0; i < roles.size(); ++i)
		watchers.push_back({identity_of(roles[i], claims.at(i)), wheres.at(i), core::kNoFilter, {}});
	return watchers;
}

void add(FilterEvaluator& evaluator, const core::Shape& shape, Watcher& watcher)
{
	const auto added = evaluator.add_filter(watcher.identity, shape, watcher.where);
	watcher.fault.clear();
	if (const auto* fault = std::get_if<core::FilterFault>(&added))
		watcher.fault = printed(*fault);
	else
		watcher.filter = std::get<core::FilterId>(added);
}

// What must be as before after every batch.
std::string surroundings()
{
	Oid user;
	int context;
	GetUserIdAndSecContext(&user, &context);
	const char* const claims = pg::call([] { return GetConfigOption("request.jwt.claims", true, false); });
	return std::string(user != GetOuterUserId() ? " as somebody else" : "") +
	       (context != 0 ? " in another security context" : "") + (XactReadOnly ? " read only" : "") +
	       (claims && *claims ? " with claims" : "");
}

// Calls `put(watcher, change, before, after, text)` for whatever comes out.
template <typename Put>
void judge(FilterEvaluator& evaluator, const core::ShapePtr& shape, const std::vector<TestChange>& changes,
           const std::vector<Watcher>& watchers, Put&& put)
{
	core::Verdicts verdicts;
	const auto tell = [&](core::FilterId filter, const TestChange& change, bool before, bool after,
	                      const std::string& said) {
		for (size_t i = 0; i < watchers.size(); ++i)
			if (watchers[i].filter == filter && watchers[i].fault.empty()) put(i, change, before, after, said);
	};
	// Batches of three changes, so that one meets what another has left.
	constexpr size_t kBatch = 3;
	for (size_t i = 0; i < changes.size(); ++i) {
		const TestChange& change = changes[i];
		if (i % kBatch == 0) {
			evaluator.begin_turn();
			evaluator.begin_batch();
		}
		evaluator.evaluate(*shape, plank_test::record_of(change, shape), verdicts);
		if (i % kBatch == kBatch - 1 || i == changes.size() - 1) {
			evaluator.end_batch();
			if (const std::string left = surroundings(); !left.empty())
				pg::raise(ERRCODE_RAISE_EXCEPTION, ("a batch left the session" + left).c_str());
		}
		for (const core::Verdict& verdict : verdicts.passed)
			tell(verdict.filter, change, verdict.before, verdict.after, {});
		for (const core::FilterFailure& failure : verdicts.failed)
			tell(failure.filter, change, false, false, printed(failure.fault));
		for (const core::FilterId filter : verdicts.unreadable)
			tell(filter, change, false, false, "unreadable");
		// Without a filter every row is seen.
		const bool before = change.tag != core::Tag::insert, after = change.tag != core::Tag::remove;
		tell(core::kNoFilter, change, before, after, {});
	}
}

Datum policy_verdicts(FunctionCallInfo fcinfo)
{
	pg::call([&] { InitMaterializedSRF(fcinfo, 0); });
	auto* const info = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
	const auto put = [&](int watcher, char op, int row, bool before, bool after, const std::string& failure) {
		Datum values[] = {Int32GetDatum(watcher), CharGetDatum(op),    Int32GetDatum(row),
		                  BoolGetDatum(before),   BoolGetDatum(after), failure.empty() ? 0 : text_result(failure)};
		bool nulls[] = {false, false, false, false, false, failure.empty()};
		pg::call([&] { tuplestore_putvalues(info->setResult, info->setDesc, values, nulls); });
	};
	const Oid relation = PG_GETARG_OID(0);
	const core::ShapePtr shape = plank_test::shape_of(relation, text_argument(fcinfo, 5));
	std::vector<Watcher> watchers = watchers_of(fcinfo, 1);
	FilterEvaluator evaluator;
	for (size_t i = 0; i < watchers.size(); ++i) {
		add(evaluator, *shape, watchers[i]);
		if (!watchers[i].fault.empty()) put(static_cast<int>(i) + 1, '-', 0, false, false, watchers[i].fault);
	}
	if (evaluator.filters() == 0 && !watchers.front().fault.empty()) return 0;
	const std::vector<TestChange> changes = plank_test::changes_of(relation, *shape);
	execute(text_argument(fcinfo, 4));
	judge(evaluator, shape, changes, watchers,
	      [&](size_t watcher, const TestChange& change, bool before, bool after, const std::string& failure) {
		      put(static_cast<int>(watcher) + 1, static_cast<char>(change.tag), change.row, before, after, failure);
	      });
	return 0;
}

// A line for each: the rows whose insert it sees, what a look after the statement says of it, the rows it sees then.
Datum policy_after(FunctionCallInfo fcinfo)
{
	const Oid relation = PG_GETARG_OID(0);
	core::ShapePtr shape = plank_test::shape_of(relation);
	std::vector<Watcher> watchers = watchers_of(fcinfo, 1);
	FilterEvaluator evaluator;
	std::vector<std::string> lines(watchers.size());
	for (size_t i = 0; i < watchers.size(); ++i) {
		add(evaluator, *shape, watchers[i]);
		lines[i] = watchers[i].identity.role + ' ' + watchers[i].where + (watchers[i].fault.empty() ? ":" : ": ") +
		           watchers[i].fault;
	}
	const auto judge_inserts = [&] {
		std::vector<TestChange> inserts;
		for (TestChange& change : plank_test::changes_of(relation, *shape))
			if (change.tag == core::Tag::insert) inserts.push_back(std::move(change));
		judge(evaluator, shape, inserts, watchers,
		      [&](size_t i, const TestChange& change, bool, bool, const std::string& failure) {
			      lines[i] += ' ' + (failure.empty() ? std::to_string(change.row) : failure);
		      });
	};
	judge_inserts();
	execute(text_argument(fcinfo, 4));
	pg::call([] { CommandCounterIncrement(); });
	shape = plank_test::shape_of(relation);
	core::LookedAgain found;
	evaluator.look_again(*shape);
	while (evaluator.look_further(std::chrono::steady_clock::time_point::max(), found)) {}
	for (std::string& line : lines)
		line += " |";
	for (size_t i = 0; i < watchers.size(); ++i) {
		Watcher& watcher = watchers[i];
		if (!watcher.fault.empty()) continue;
		for (const core::FilterFailure& failure : found.failed)
			if (failure.filter == watcher.filter) watcher.fault = printed(failure.fault);
		if (!watcher.fault.empty()) lines[i] += ' ' + watcher.fault;
	}
	for (const core::FilterId filter : found.changed)
		for (size_t i = 0; i < watchers.size(); ++i) {
			Watcher& watcher = watchers[i];
			if (watcher.filter != filter || !watcher.fault.empty()) continue;
			lines[i] += " changed";
			const core::FilterId former = watcher.filter;
			watcher.filter = core::kNoFilter - 1;
			add(evaluator, *shape, watcher);
			if (!watcher.fault.empty()) lines[i] += ' ' + watcher.fault;
			evaluator.release(former);
		}
	judge_inserts();
	std::string all;
	for (const std::string& line : lines)
		all += line + '\n';
	all.pop_back();
	return text_result(all);
}

// relation, role, claims, condition, count, rounds; %s in claims and condition becomes 1, 2, ...
Datum policy_benchmark(FunctionCallInfo fcinfo)
{
	const Oid relation = PG_GETARG_OID(0);
	const std::string role = text_argument(fcinfo, 1), claims = text_argument(fcinfo, 2),
	                  where = text_argument(fcinfo, 3);
	const int count = PG_GETARG_INT32(4), rounds = PG_GETARG_INT32(5);
	const core::ShapePtr shape = plank_test::shape_of(relation);
	FilterEvaluator evaluator;
	const double adding = plank_test::cpu_seconds();
	for (int i = 1; i <= count; ++i) {
		Watcher watcher = {identity_of(role, with_number(claims, i)), with_number(where, i), 0, {}};
		add(evaluator, *shape, watcher);
		if (!watcher.fault.empty()) pg::raise(ERRCODE_RAISE_EXCEPTION, watcher.fault.c_str());
	}
	const double added = plank_test::cpu_seconds();
	return text_result(std::to_string(count) + " identities, " + std::to_string(evaluator.filters()) +
	                   " filters: " + plank_test::judging_speed(evaluator, relation, shape, rounds) +
	                   plank_test::adding_speed(evaluator, count, added - adding));
}

// Whether filters that are added and released in turn leave memory behind, beside one that stays.
Datum policy_memory(FunctionCallInfo fcinfo)
{
	const core::ShapePtr shape = plank_test::shape_of(PG_GETARG_OID(0));
	const std::string role = text_argument(fcinfo, 1), claims = text_argument(fcinfo, 2),
	                  where = text_argument(fcinfo, 3);
	const int count = PG_GETARG_INT32(4);
	FilterEvaluator evaluator;
	Watcher stays = {identity_of(role, with_number(claims, 0)), with_number(where, 0), 0, {}};
	add(evaluator, *shape, stays);
	if (!stays.fault.empty()) pg::raise(ERRCODE_RAISE_EXCEPTION, stays.fault.c_str());
	size_t settled = 0, allocated = 0;
	for (int i = 1; i <= count; ++i) {
		Watcher watcher = {identity_of(role, with_number(claims, i)), with_number(where, i), 0, {}};
		add(evaluator, *shape, watcher);
		if (!watcher.fault.empty()) pg::raise(ERRCODE_RAISE_EXCEPTION, watcher.fault.c_str());
		evaluator.release(watcher.filter);
		if (i != count / 10) continue;
		settled = evaluator.memory();
		allocated = MemoryContextMemAllocated(TopMemoryContext, true);
	}
	const size_t more = MemoryContextMemAllocated(TopMemoryContext, true);
	std::string line;
	if (evaluator.memory() > settled + 4096)
		line += "evaluator: " + std::to_string(settled) + " bytes, then " + std::to_string(evaluator.memory()) + ' ';
	if (more > allocated + 65536)
		line += "process: " + std::to_string(allocated) + " bytes, then " + std::to_string(more);
	return text_result(line.empty() ? "stable" : line);
}

}  // namespace

Datum plank_test_policy_verdicts(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return policy_verdicts(fcinfo); });
}

Datum plank_test_policy_after(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return policy_after(fcinfo); });
}

Datum plank_test_policy_benchmark(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return policy_benchmark(fcinfo); });
}

Datum plank_test_policy_memory(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return policy_memory(fcinfo); });
}
