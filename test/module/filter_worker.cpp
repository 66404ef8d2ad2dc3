// The evaluator where it lives: in a background worker, outside any transaction. Runs in a worker of test databases.
#include "worker/filter_evaluator.hpp"

#include "filter_rows.hpp"
#include "pg/process.hpp"
#include "pg/unit_of_work.hpp"

extern "C" {
PGDLLEXPORT void plank_test_filter_worker_main(Datum argument);
PGDLLEXPORT Datum plank_test_run_filter_worker(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_run_filter_worker);
}

namespace pg = plank::pg;
namespace core = plank::core;

namespace {

struct Task {
	Oid database, user, relation;
};

void note(const std::string& line)
{
	pg::unit_of_work("noting", [&] {
		pg::call([&] {
			const Oid types[] = {TEXTOID};
			const Datum values[] = {CStringGetTextDatum(line.c_str())};
			SPI_connect();
			SPI_execute_with_args("INSERT INTO plank_test.noted (line) VALUES ($1)", 1, const_cast<Oid*>(types),
			                      const_cast<Datum*>(values), nullptr, false, 0);
			SPI_finish();
		});
	});
}

// What must be as before after every call.
std::string surroundings()
{
	Oid user;
	int context;
	GetUserIdAndSecContext(&user, &context);
	return std::string(IsTransactionState() || pg::in_unit() ? " in a transaction" : "") +
	       (context != 0 || user != GetSessionUserId() ? " as somebody else" : "") +
	       (CurrentMemoryContext != pg::turn_memory() ? " elsewhere" : "") +
	       (QueryCancelPending ? " with a cancel waiting" : "");
}

void serve(const Task& task)
{
	pg::call([&] { BackgroundWorkerInitializeConnectionByOid(task.database, task.user, 0); });
	pg::keep_errors_in(pg::turn_memory());
	MemoryContextSwitchTo(pg::turn_memory());
	core::ShapePtr shape;
	std::vector<plank_test::TestChange> changes;
	std::string role;
	pg::unit_of_work("preparing", [&] {
		shape = plank_test::shape_of(task.relation);
		changes = plank_test::changes_of(task.relation, *shape);
		role = pg::call([&] { return GetUserNameFromId(task.user, false); });
	});
	plank::worker::FilterEvaluator evaluator;
	using namespace std::string_view_literals;
	for (const std::string_view where :
	     {"id = 1"sv, "nosuch = 1"sv, "id ="sv, "repeat(repeat('a', 1000), 1000000) = name"sv, "id > 1"sv,
	      "10 / (id - 2) > 0"sv, "id = 1"sv, "name ~ '('"sv, "id = 1\0 x"sv}) {
		const auto added = evaluator.add_filter(*core::anonymous_identity(role), *shape, where);
		const auto* const fault = std::get_if<core::FilterFault>(&added);
		note(std::string(where.data()) + " -> " + (fault ? fault->code : "taken") + surroundings());
	}
	// Inside somebody else's unit, which must survive a bad filter.
	pg::unit_of_work("outside", [&] {
		const auto added = evaluator.add_filter(*core::anonymous_identity(role), *shape, "1 / 0 = id");
		pg::call([&] { (void)get_rel_name(task.relation); });
		const std::string in = pg::in_unit() && IsTransactionState() ? "still in its unit" : "its unit has gone";
		if (std::get_if<core::FilterFault>(&added)) changes.push_back({core::Tag::insert, 0, in});
	});
	note(changes.back().content + surroundings());
	changes.pop_back();
	core::Verdicts verdicts;
	for (int batch = 0; batch < 2; ++batch) {
		std::string line = "batch:";
		evaluator.begin_turn();
		evaluator.begin_batch();
		for (const plank_test::TestChange& change : changes) {
			if (change.tag != core::Tag::insert) continue;
			evaluator.evaluate(*shape, plank_test::record_of(change, shape), verdicts);
			line += ' ' + std::to_string(verdicts.passed.size()) + '/' + std::to_string(verdicts.failed.size());
		}
		evaluator.end_batch();
		note(line + surroundings());
	}
	const auto again = evaluator.add_filter(*core::anonymous_identity(role), *shape, "10 / (id - 2) > 0");
	note(std::to_string(evaluator.filters()) + " filters after one that failed was added again" + surroundings());
	(void)again;
}

}  // namespace

void plank_test_filter_worker_main(Datum)
{
	Task task;
	memcpy(&task, MyBgworkerEntry->bgw_extra, sizeof task);
	BackgroundWorkerUnblockSignals();
	pg::entry([&] { serve(task); });
	proc_exit(0);
}

Datum plank_test_run_filter_worker(PG_FUNCTION_ARGS)
{
	return pg::entry([&]() -> Datum {
		pg::call([&] {
			const Task task = {MyDatabaseId, GetUserId(), PG_GETARG_OID(0)};
			BackgroundWorker worker = {};
			worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
			worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
			worker.bgw_restart_time = BGW_NEVER_RESTART;
			strlcpy(worker.bgw_library_name, "plank_test", BGW_MAXLEN);
			strlcpy(worker.bgw_function_name, "plank_test_filter_worker_main", BGW_MAXLEN);
			strlcpy(worker.bgw_name, "plank filter test", BGW_MAXLEN);
			worker.bgw_notify_pid = MyProcPid;
			memcpy(worker.bgw_extra, &task, sizeof task);
			BackgroundWorkerHandle* handle = nullptr;
			if (!RegisterDynamicBackgroundWorker(&worker, &handle))
				ereport(ERROR, (errmsg("no background worker is free")));
			if (WaitForBackgroundWorkerShutdown(handle) != BGWH_STOPPED)
				ereport(ERROR, (errmsg("the background worker did not stop")));
		});
		PG_RETURN_VOID();
	});
}
