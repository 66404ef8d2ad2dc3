// What SQL tells of the workers: plank.wait_until_ready and the functions behind plank.stat, plank.clients and
// plank.subscriptions. Runs in ordinary sessions.
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "pg/guard.hpp"
#include "pg/session.hpp"
#include "pg/settings.hpp"
#include "pg/shared_state.hpp"

extern "C" {
// PostgreSQL 15 declares them without visibility.
PGDLLEXPORT Datum plank_wait_until_ready(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_stat(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_clients(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_subscriptions(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_wait_until_ready);
PG_FUNCTION_INFO_V1(plank_stat);
PG_FUNCTION_INFO_V1(plank_clients);
PG_FUNCTION_INFO_V1(plank_subscriptions);
}

namespace plank::backend {

namespace {

constexpr long kReportPatience = 5000;  // ms

const char* state_name(pg::WorkerState state)
{
	switch (state) {
		case pg::WorkerState::down:
			return "down";
		case pg::WorkerState::starting:
			return "starting";
		case pg::WorkerState::waiting_for_extension:
			return "waiting for CREATE EXTENSION";
		case pg::WorkerState::wrong_version:
			return "waiting for ALTER EXTENSION plank UPDATE";
		case pg::WorkerState::ready:
			return "ready";
		case pg::WorkerState::stopping:
			return "stopping";
	}
	return "unknown";
}

void require_preload()
{
	if (!pg::shared_state())
		pg::raise(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "plank is not loaded", nullptr,
		          "Add plank to shared_preload_libraries in postgresql.conf and restart the server.");
}

// Sleeps a little, or until something happens to this session. May ereport.
void nap(long milliseconds)
{
	WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

long left_until(TimestampTz end) { return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end); }

bool accepts_clients(const pg::WorkerSlot& worker)
{
	return worker.state.load() == static_cast<int>(pg::WorkerState::ready) && worker.port.load() != 0;
}

// True when this database has workers and all of them accept clients.
bool all_ready()
{
	const pg::SharedState& state = *pg::shared_state();
	const pg::DatabaseSlot* mine = pg::my_database_slot();
	if (!mine) return false;
	for (int i = 0; i < state.workers; ++i)
		if (&state.database[state.worker[i].database] == mine && !accepts_clients(state.worker[i])) return false;
	return true;
}

Datum wait_until_ready(FunctionCallInfo fcinfo)
{
	require_preload();
	if (PG_ARGISNULL(0)) return BoolGetDatum(all_ready());
	return pg::call([&] {
		const TimestampTz end = DatumGetTimestampTz(DirectFunctionCall2(
		    timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()), PG_GETARG_DATUM(0)));
		while (!all_ready() && left_until(end) > 0)
			nap(std::min<long>(left_until(end), 10));
		return BoolGetDatum(all_ready());
	});
}

// One result row being put together. Plain data.
struct Row {
	static constexpr int kMost = 48;
	Datum values[kMost];
	bool nulls[kMost];
	int count = 0;

	void add(Datum value, bool null = false)
	{
		values[count] = value;
		nulls[count++] = null;
	}
	void add_null() { add(static_cast<Datum>(0), true); }
	void add_number(uint64_t number) { add(Int64GetDatum(static_cast<int64>(number))); }
	void add_text(const char* text) { add(CStringGetTextDatum(text)); }
	void add_name(const char* text) { add(DirectFunctionCall1(namein, CStringGetDatum(text))); }
	void put(FunctionCallInfo fcinfo)
	{
		auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		count = 0;
	}
};

// May ereport.
Datum interval_of(int64_t microseconds)
{
	auto* interval = static_cast<Interval*>(palloc0(sizeof(Interval)));
	interval->time = microseconds;
	return IntervalPGetDatum(interval);
}

Datum stat(FunctionCallInfo fcinfo)
{
	require_preload();
	return pg::call([&] {
		InitMaterializedSRF(fcinfo, 0);
		const pg::SharedState& state = *pg::shared_state();
		for (int i = 0; i < state.workers; ++i) {
			const pg::WorkerSlot& worker = state.worker[i];
			const int pid = worker.pid.load();
			Row row;
			row.add_name(state.database[worker.database].name);
			row.add(Int32GetDatum(worker.number));
			row.add(Int32GetDatum(pid), pid == 0);
			row.add_text(state_name(static_cast<pg::WorkerState>(worker.state.load())));
			row.add(TimestampTzGetDatum(worker.started_at.load()), worker.started_at.load() == 0);
			const bool wal = pg::Settings::transport == static_cast<int>(pg::TransportKind::wal);
			row.add_text(wal ? "wal" : "notify");
			row.add(Int32GetDatum(worker.port.load()), worker.port.load() == 0);
			const pg::WorkerCounters& counters = worker.counters;
			for (const std::atomic<uint64_t>* counter :
			     {&counters.clients,           &counters.subscriptions,    &counters.transactions,
			      &counters.changes,           &counters.messages,         &counters.resets,
			      &counters.clients_accepted,  &counters.clients_refused,  &counters.clients_too_slow,
			      &counters.clients_timed_out, &counters.frames_sent,      &counters.bytes_sent,
			      &counters.bytes_received,    &counters.log_bytes,        &counters.spill_bytes,
			      &counters.notify_sent,       &counters.notify_skipped,   &counters.errors,
			      &counters.transaction_bytes, &counters.resets_ddl,       &counters.resets_lost,
			      &counters.resets_resume,     &counters.resumed_from_log, &counters.resumed_by_replay,
			      &counters.wal_read,          &counters.wal_skipped,      &counters.wal_replayed,
			      &counters.messages_forged})
				row.add_number(counter->load(std::memory_order_relaxed));
			// What only a reader of WAL has.
			const bool reads = wal && pid != 0;
			const uint64_t oldest = counters.oldest_position.load(std::memory_order_relaxed);
			row.add(Int64GetDatum(static_cast<int64>(counters.lag_bytes.load(std::memory_order_relaxed))), !reads);
			row.add(interval_of(static_cast<int64_t>(counters.lag_time.load(std::memory_order_relaxed))), !reads);
			row.add(LSNGetDatum(oldest), !reads || oldest == 0);
			row.add_number(counters.memory_bytes.load(std::memory_order_relaxed));
			row.add_number(counters.clients_shed.load(std::memory_order_relaxed));
			row.put(fcinfo);
		}
		return static_cast<Datum>(0);
	});
}

// Asks a worker for its report and waits until it is written; null when it does not answer. May ereport.
char* fetch_report(int slot)
{
	pg::SharedState& state = *pg::shared_state();
	pg::WorkerSlot& worker = state.worker[slot];
	if (worker.pid.load() == 0) return nullptr;
	const uint64_t asked = worker.report_asked.fetch_add(1) + 1;
	const TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kReportPatience);
	pg::wake_workers(&state.database[worker.database]);
	while (worker.report_done.load() < asked) {
		if (worker.pid.load() == 0 || left_until(end) <= 0) return nullptr;
		nap(2);
	}
	char path[MAXPGPATH];
	pg::report_path(path, slot, false);
	FILE* file = AllocateFile(path, "r");
	if (!file) ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
	StringInfoData text;
	initStringInfo(&text);
	char buffer[8192];
	size_t length;
	while ((length = fread(buffer, 1, sizeof buffer, file)) > 0)
		appendBinaryStringInfo(&text, buffer, static_cast<int>(length));
	FreeFile(file);
	return text.data;
}

// The next tab-separated field of a line, unescaped in place; moves `at` behind it.
char* next_field(char*& at)
{
	char* const field = at;
	char* out = at;
	for (; *at && *at != '\t'; ++at) {
		if (*at == '\\' && at[1]) {
			++at;
			*out++ = *at == 't' ? '\t' : *at == 'n' ? '\n' : *at == 'r' ? '\r' : *at;
		} else {
			*out++ = *at;
		}
	}
	if (*at) ++at;
	*out = '\0';
	return field;
}

// Clients choose ids in UTF-8; what the database's encoding cannot hold is shown with question marks.
Datum text_of(const char* utf8)
{
	const bool same = GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;
	if (same) return CStringGetTextDatum(utf8);
	char* plain = pstrdup(utf8);
	for (char* c = plain; *c; ++c)
		if (static_cast<unsigned char>(*c) >= 0x80) *c = '?';
	return CStringGetTextDatum(plain);
}

// The next `count` fields as text[].
Datum names_of(int count, char*& at)
{
	auto* names = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<Size>(count + 1)));
	for (int i = 0; i < count; ++i)
		names[i] = text_of(next_field(at));
	return PointerGetDatum(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum timestamp_of(const char* field)
{
	return TimestampTzGetDatum(static_cast<TimestampTz>(strtoll(field, nullptr, 10)));
}

void put_client(FunctionCallInfo fcinfo, Row& row, char* at, int pid)
{
	row.add(text_of(next_field(at)));
	row.add(Int32GetDatum(pid));
	const char* role = next_field(at);
	if (*role)
		row.add(DirectFunctionCall1(text_name, text_of(role)));
	else
		row.add_null();
	char* address = next_field(at);
	// A link-local address names its interface, which inet cannot hold.
	if (char* zone = strchr(address, '%')) *zone = '\0';
	if (*address)
		row.add(DirectFunctionCall1(inet_in, CStringGetDatum(address)));
	else
		row.add_null();
	row.add(timestamp_of(next_field(at)));
	row.add(Int32GetDatum(atoi(next_field(at))));
	for (int i = 0; i < 3; ++i)
		row.add_number(strtoull(next_field(at), nullptr, 10));
	row.put(fcinfo);
}

void put_subscription(FunctionCallInfo fcinfo, Row& row, char* at)
{
	row.add(text_of(next_field(at)));
	row.add(text_of(next_field(at)));
	const Oid relation = static_cast<Oid>(strtoul(next_field(at), nullptr, 10));
	row.add(ObjectIdGetDatum(relation), !OidIsValid(relation));
	const char* channel = next_field(at);
	if (OidIsValid(relation))
		row.add_null();
	else
		row.add(text_of(channel));
	const char* events = psprintf("{%s}", next_field(at));
	if (OidIsValid(relation))
		row.add(OidInputFunctionCall(F_ARRAY_IN, const_cast<char*>(events), TEXTOID, -1));
	else
		row.add_null();
	row.add_text(next_field(at));
	row.add(timestamp_of(next_field(at)));
	const bool conditional = *next_field(at);
	const char* condition = next_field(at);
	if (conditional)
		row.add(text_of(condition));
	else
		row.add_null();
	const bool snapshot = *next_field(at) == 't';
	const char* columns = next_field(at);
	if (*columns)
		row.add(names_of(atoi(columns), at));
	else
		row.add_null();
	row.add(BoolGetDatum(snapshot), !OidIsValid(relation));
	row.put(fcinfo);
}

// `kind`: 'c' for clients, 's' for subscriptions.
Datum report(FunctionCallInfo fcinfo, char kind)
{
	require_preload();
	return pg::call([&] {
		InitMaterializedSRF(fcinfo, 0);
		const pg::SharedState& state = *pg::shared_state();
		for (int i = 0; i < state.workers; ++i) {
			const pg::WorkerSlot& worker = state.worker[i];
			char* line = fetch_report(i);
			while (line && *line) {
				char* end = strchr(line, '\n');
				if (end) *end = '\0';
				if (*line == kind && line[1] == '\t') {
					Row row;
					row.add_name(state.database[worker.database].name);
					row.add(Int32GetDatum(worker.number));
					if (kind == 'c')
						put_client(fcinfo, row, line + 2, worker.pid.load());
					else
						put_subscription(fcinfo, row, line + 2);
				}
				line = end ? end + 1 : nullptr;
			}
		}
		return static_cast<Datum>(0);
	});
}

}  // namespace

}  // namespace plank::backend

extern "C" Datum plank_wait_until_ready(PG_FUNCTION_ARGS)
{
	return plank::pg::entry([&] { return plank::backend::wait_until_ready(fcinfo); });
}

extern "C" Datum plank_stat(PG_FUNCTION_ARGS)
{
	return plank::pg::entry([&] { return plank::backend::stat(fcinfo); });
}

extern "C" Datum plank_clients(PG_FUNCTION_ARGS)
{
	return plank::pg::entry([&] { return plank::backend::report(fcinfo, 'c'); });
}

extern "C" Datum plank_subscriptions(PG_FUNCTION_ARGS)
{
	return plank::pg::entry([&] { return plank::backend::report(fcinfo, 's'); });
}
