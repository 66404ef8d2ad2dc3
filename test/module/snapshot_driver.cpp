// A pool of processes that read snapshots inside an ordinary session, driven by SQL functions. Runs in ordinary sessions
// of test databases. The pool lives as long as the session, so that processes are used again.
#include "worker/snapshots.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "pg/encoding.hpp"
#include "pg/guard.hpp"
#include "pg/process.hpp"
#include "sql_values.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/xid8.h"

PGDLLEXPORT Datum plank_test_read_snapshot(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_read_snapshots(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_give_up_snapshots(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_cancel_at_commit(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_snapshot_limit(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_read_snapshot);
PG_FUNCTION_INFO_V1(plank_test_read_snapshots);
PG_FUNCTION_INFO_V1(plank_test_give_up_snapshots);
PG_FUNCTION_INFO_V1(plank_test_cancel_at_commit);
PG_FUNCTION_INFO_V1(plank_test_snapshot_limit);
}

namespace {

using namespace plank;
using plank_test::text_argument;

worker::SnapshotPool& pool()
{
	static auto* const the_pool = new worker::SnapshotPool;
	return *the_pool;
}

// What one request has brought.
struct Outcome {
	std::optional<core::SnapshotHeader> header;
	std::string rows;
	uint64_t count = 0, batches = 0, largest = 0;
	bool over = false;
	std::optional<core::SnapshotFailure> failure;
};

class Collector final : public core::SnapshotHandler {
 public:
	Collector(uint64_t first, size_t count, bool keep) : outcomes(count), first_(first), keep_(keep) {}
	void snapshot_began(uint64_t id, core::SnapshotHeader&& header) override { of(id).header = std::move(header); }
	void snapshot_rows(uint64_t id, std::string_view rows, uint64_t count) override
	{
		Outcome& to = of(id);
		to.count += count;
		++to.batches;
		to.largest = std::max<uint64_t>(to.largest, rows.size());
		if (!keep_) return;
		if (!to.rows.empty()) to.rows += ',';
		to.rows += rows;
	}
	void snapshot_done(uint64_t id) override { end(id); }
	void snapshot_failed(uint64_t id, const core::SnapshotFailure& failure) override
	{
		of(id).failure = failure;
		end(id);
	}

	std::vector<Outcome> outcomes;
	std::vector<uint64_t> order;  // in which requests ended
	bool more = false;            // the pool has more to say at once

 private:
	Outcome& of(uint64_t id)
	{
		if (id - first_ >= outcomes.size() || outcomes[id - first_].over)
			pg::raise(ERRCODE_INTERNAL_ERROR, "an answer to nobody");
		return outcomes[id - first_];
	}
	void end(uint64_t id)
	{
		of(id).over = true;
		order.push_back(id);
	}
	const uint64_t first_;
	const bool keep_;
};

// Requests that the statement has begun end with it.
struct Cancelling {
	std::vector<uint64_t> ids;
	~Cancelling()
	{
		for (const uint64_t id : ids)
			pool().cancel(id);
	}
};

// Waits first: what has been started or cancelled has set the latch. `patience`: how long the pool may go on, none for one
// message of each process.
void turn(Collector& collector, std::chrono::milliseconds patience = std::chrono::milliseconds(20))
{
	pg::call([&] {
		if (!collector.more)
			WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 500, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	});
	collector.more = pool().poll(collector, worker::SnapshotPool::Clock::now() + patience);
}

// Knows of which table each request is, and counts the answers.
class Judge final : public core::SnapshotHandler {
 public:
	void snapshot_began(uint64_t id, core::SnapshotHeader&& header) override
	{
		check(id);
		if (header.shape->relation != relation) pg::raise(ERRCODE_INTERNAL_ERROR, "the answer to another request");
		++begun;
	}
	void snapshot_rows(uint64_t id, std::string_view, uint64_t) override { check(id); }
	void snapshot_done(uint64_t id) override { end(id); }
	void snapshot_failed(uint64_t id, const core::SnapshotFailure& failure) override
	{
		end(id);
		pg::raise(ERRCODE_INTERNAL_ERROR, failure.message.c_str());
	}

	uint64_t request = 0;  // whose answers are wanted
	Oid relation = InvalidOid;
	bool over = true;
	int64_t begun = 0;

 private:
	void check(uint64_t id) const
	{
		if (id != request || over) pg::raise(ERRCODE_INTERNAL_ERROR, "an answer to nobody");
	}
	void end(uint64_t id)
	{
		check(id);
		over = true;
	}
};

// Until somebody else lets it go.
void wait_for_advisory_lock(int64_t key)
{
	pg::call([&] {
		DirectFunctionCall1(pg_advisory_lock_int8, Int64GetDatum(key));
		DirectFunctionCall1(pg_advisory_unlock_int8, Int64GetDatum(key));
	});
}

// Sorted; none: all of the table's.
core::ColumnNames names_argument(FunctionCallInfo fcinfo, int number)
{
	Datum* values = nullptr;
	int count = 0;
	pg::call([&] {
		bool* nulls = nullptr;
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	});
	std::vector<std::string> names;
	for (int i = 0; i < count; ++i)
		names.push_back(pg::to_utf8(pg::call([&] { return TextDatumGetCString(values[i]); })));
	if (names.empty()) return nullptr;
	std::sort(names.begin(), names.end());
	return std::make_shared<const std::vector<std::string>>(std::move(names));
}

std::vector<Oid> oids_argument(FunctionCallInfo fcinfo, int number)
{
	Datum* values = nullptr;
	int count = 0;
	pg::call([&] {
		bool* nulls = nullptr;
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), OIDOID, 4, true, TYPALIGN_INT, &values, &nulls, &count);
	});
	std::vector<Oid> oids;
	for (int i = 0; i < count; ++i)
		oids.push_back(DatumGetObjectId(values[i]));
	return oids;
}

Datum text_or_null(const std::string& text, bool& null)
{
	null = text.empty();
	return null ? Datum{} : PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
}

// The row that read_snapshot returns. May ereport.
Datum row_of(FunctionCallInfo fcinfo, const Outcome& outcome)
{
	TupleDesc row = nullptr;
	if (get_call_result_type(fcinfo, nullptr, &row) != TYPEFUNC_COMPOSITE) elog(ERROR, "no row wanted");
	Datum values[13] = {};
	bool nulls[13] = {true, true, true, true, true, true, false, false, false, true, true, true, true};
	if (outcome.header) {
		const core::Visibility& visibility = outcome.header->visibility;
		values[0] = UInt64GetDatum(visibility.xmin);
		values[1] = UInt64GetDatum(visibility.xmax);
		auto* const ids = static_cast<Datum*>(palloc(sizeof(Datum) * (visibility.in_progress.size() + 1)));
		for (size_t i = 0; i < visibility.in_progress.size(); ++i)
			ids[i] = UInt64GetDatum(visibility.in_progress[i]);
		values[2] = PointerGetDatum(construct_array(ids, static_cast<int>(visibility.in_progress.size()), XID8OID, 8,
		                                            FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		nulls[0] = nulls[1] = nulls[2] = false;
		values[3] = text_or_null(outcome.header->shape->columns_json, nulls[3]);
		values[4] = text_or_null(outcome.header->shape->key_names_json, nulls[4]);
	}
	values[5] = text_or_null(outcome.rows, nulls[5]);
	values[6] = UInt64GetDatum(outcome.count);
	values[7] = UInt64GetDatum(outcome.batches);
	values[8] = UInt64GetDatum(outcome.largest);
	if (outcome.failure) {
		values[9] = text_or_null(outcome.failure->code, nulls[9]);
		values[10] = text_or_null(outcome.failure->message, nulls[10]);
		values[11] = text_or_null(outcome.failure->detail, nulls[11]);
		values[12] = BoolGetDatum(outcome.failure->retry);
		nulls[12] = false;
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls));
}

// (relation, columns, condition, numbers_as_text, role, keep, pause_for, cancel_for, claims)
Datum read_snapshot(PG_FUNCTION_ARGS)
{
	core::SnapshotRequest request;
	request.relation = PG_GETARG_OID(0);
	request.columns = names_argument(fcinfo, 1);
	request.condition = text_argument(fcinfo, 2);
	request.numbers_as_text = PG_GETARG_BOOL(3);
	request.role = text_argument(fcinfo, 4);
	request.claims = text_argument(fcinfo, 8);
	const int64_t pause_for = PG_GETARG_INT64(6), cancel_for = PG_GETARG_INT64(7);

	Cancelling running;
	const uint64_t id = pool().start(std::move(request));
	running.ids.push_back(id);
	Collector collector(id, 1, PG_GETARG_BOOL(5));
	Outcome& outcome = collector.outcomes.front();
	bool paused = false;
	if (cancel_for) {
		// With `pause_for` too in the midst of the rows, of which the reader has begun to send more than it can.
		do
			turn(collector);
		while (pause_for && outcome.batches == 0);
		if (pause_for) pool().take_more(id, false);
		wait_for_advisory_lock(cancel_for);
		pool().cancel(id);
		while (pool().running() > 0)
			turn(collector);
		if (outcome.over || outcome.failure) pg::raise(ERRCODE_INTERNAL_ERROR, "a cancelled request was answered");
		outcome.over = true;
	}
	while (!outcome.over) {
		turn(collector);
		if (!pause_for || paused || outcome.batches == 0) continue;
		paused = true;
		pool().take_more(id, false);
		const uint64_t had = outcome.count;
		wait_for_advisory_lock(pause_for);
		for (int i = 0; i < 100; ++i)
			(void)pool().poll(collector, worker::SnapshotPool::Clock::now());
		if (outcome.count != had) pg::raise(ERRCODE_INTERNAL_ERROR, "rows came in spite of the pause");
		pool().take_more(id, true);
	}
	return pg::call([&] { return row_of(fcinfo, outcome); });
}

bool cancels_at_commit = false;

// As a signal does that comes then.
void cancel_when_committed(XactEvent event, void*)
{
	if (event != XACT_EVENT_COMMIT || !std::exchange(cancels_at_commit, false)) return;
	InterruptPending = true;
	QueryCancelPending = true;
}

// (relations, role): all at once; says in which order they ended, by their places in the list, and the rows of each. A
// process has its next request before the pool looks at what else it has sent.
Datum read_snapshots(PG_FUNCTION_ARGS)
{
	Cancelling running;
	for (const Oid relation : oids_argument(fcinfo, 0)) {
		core::SnapshotRequest request;
		request.relation = relation;
		request.role = text_argument(fcinfo, 1);
		running.ids.push_back(pool().start(std::move(request)));
	}
	Collector collector(running.ids.front(), running.ids.size(), false);
	size_t most = 0;
	while (collector.order.size() < running.ids.size()) {
		turn(collector, {});
		most = std::max(most, pool().running());
	}
	std::string text = "at most " + std::to_string(most) + " at a time:";
	for (const uint64_t id : collector.order) {
		const Outcome& outcome = collector.outcomes[id - running.ids.front()];
		text += ' ' + std::to_string(id - running.ids.front() + 1) + '=' +
		        (outcome.failure ? outcome.failure->code : std::to_string(outcome.count));
	}
	return pg::call([&] { return PointerGetDatum(cstring_to_text(text.c_str())); });
}

// (relations, rounds): one request after another, every other one given up at some time, and the next begun at once.
// One message a turn is heard, so that whatever may come between two messages does.
Datum give_up_snapshots(PG_FUNCTION_ARGS)
{
	const std::vector<Oid> relations = oids_argument(fcinfo, 0);
	Judge judge;
	Cancelling running;
	for (int32 round = 0; round < PG_GETARG_INT32(1); ++round) {
		core::SnapshotRequest request;
		judge.relation = request.relation = relations[static_cast<size_t>(round) % relations.size()];
		request.role = "web";
		judge.request = pool().start(std::move(request));
		judge.over = false;
		running.ids = {judge.request};
		const auto given_up = worker::SnapshotPool::Clock::now() + std::chrono::microseconds(random() % 2000);
		while (!judge.over) {
			if (round % 2 == 0 && worker::SnapshotPool::Clock::now() >= given_up) {
				pool().cancel(judge.request);
				break;
			}
			(void)pool().poll(judge, {});
			pg::call([] {
				pg_usleep(10);
				CHECK_FOR_INTERRUPTS();
			});
		}
		judge.over = true;
	}
	return Int64GetDatum(judge.begun);
}

}  // namespace

Datum plank_test_read_snapshot(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return read_snapshot(fcinfo); });
}

Datum plank_test_read_snapshots(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return read_snapshots(fcinfo); });
}

Datum plank_test_give_up_snapshots(PG_FUNCTION_ARGS)
{
	return pg::entry([&] { return give_up_snapshots(fcinfo); });
}

Datum plank_test_cancel_at_commit(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	if (!registered) RegisterXactCallback(cancel_when_committed, nullptr);
	registered = cancels_at_commit = true;
	PG_RETURN_BOOL(false);
}

Datum plank_test_snapshot_limit(PG_FUNCTION_ARGS)
{
	pool().set_limit(PG_GETARG_INT32(0));
	pool().set_patience(std::chrono::milliseconds(PG_GETARG_INT32(1)));
	PG_RETURN_VOID();
}
