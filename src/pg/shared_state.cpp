// Reserving, making and finding the shared state. Runs in the postmaster at start, then in every process.
#include "pg/shared_state.hpp"

#include "pg/settings.hpp"

extern "C" {
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/varlena.h"
}

namespace plank::pg {

namespace {

SharedState* state = nullptr;
shmem_startup_hook_type previous_startup = nullptr;
shmem_request_hook_type previous_request = nullptr;

struct NamedPort {
	char name[NAMEDATALEN];
	int port;
};
NamedPort wanted[kMaxDatabases];
int wanted_count = 0;

Size state_size()
{
	const int workers = wanted_count * Settings::workers;
	return add_size(offsetof(SharedState, worker), mul_size(sizeof(WorkerSlot), static_cast<Size>(workers)));
}

void request()
{
	if (previous_request) previous_request();
	RequestAddinShmemSpace(state_size());
}

void fill_random(void* bytes, size_t length)
{
	if (!pg_strong_random(bytes, length))
		ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("plank could not get random bytes")));
}

void startup()
{
	if (previous_startup) previous_startup();
	bool found = false;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	state = static_cast<SharedState*>(ShmemInitStruct("plank", state_size(), &found));
	if (!found) {
		memset(static_cast<void*>(state), 0, state_size());
		state->databases = wanted_count;
		state->workers = wanted_count * Settings::workers;
		fill_random(&state->epoch, sizeof state->epoch);
		for (int i = 0; i < wanted_count; ++i) {
			DatabaseSlot& slot = state->database[i];
			strlcpy(slot.name, wanted[i].name, NAMEDATALEN);
			slot.port = wanted[i].port;
			uint8_t secret[16];
			fill_random(secret, sizeof secret);
			memcpy(slot.channel, "plank:", 6);
			hex_encode(reinterpret_cast<const char*>(secret), sizeof secret, slot.channel + 6);
			slot.channel[kChannelLength] = '\0';
		}
		for (int i = 0; i < state->workers; ++i) {
			state->worker[i].database = i / Settings::workers;
			state->worker[i].number = i % Settings::workers;
			state->worker[i].procno.store(-1);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

[[noreturn]] void refuse(const char* detail)
{
	ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
	                errmsg("invalid value for parameter \"plank.databases\": \"%s\"", Settings::databases),
	                errdetail("%s", detail),
	                errhint("Write database names with optional ports, such as \"app:8432, analytics:8433\".")));
	pg_unreachable();
}

// "name" or "name:port"; a name that itself holds a colon is written in double quotes.
void parse_databases()
{
	char* copy = pstrdup(Settings::databases);
	wanted_count = 0;
	char* at = copy;
	while (true) {
		while (isspace(static_cast<unsigned char>(*at)))
			++at;
		if (*at == '\0' && wanted_count == 0) break;
		if (wanted_count == kMaxDatabases) refuse("There are too many databases.");
		NamedPort& entry = wanted[wanted_count];
		size_t length = 0;
		const bool quoted = *at == '"';
		if (quoted) ++at;
		while (*at && (quoted ? !(*at == '"' && at[1] != '"') : *at != ':' && *at != ',')) {
			if (quoted && *at == '"') ++at;
			if (length + 1 >= NAMEDATALEN) refuse("A database's name is too long.");
			entry.name[length++] = *at++;
		}
		if (quoted && *at++ != '"') refuse("A double quote is not closed.");
		if (!quoted)
			while (length > 0 && isspace(static_cast<unsigned char>(entry.name[length - 1])))
				--length;
		if (length == 0) refuse("A database's name is empty.");
		entry.name[length] = '\0';
		while (isspace(static_cast<unsigned char>(*at)))
			++at;
		entry.port = 0;
		if (*at == ':') {
			char* end = nullptr;
			const long port = strtol(at + 1, &end, 10);
			if (end == at + 1 || port < 1 || port > 65535) refuse("A port is a number from 1 to 65535.");
			entry.port = static_cast<int>(port);
			at = end;
			while (isspace(static_cast<unsigned char>(*at)))
				++at;
		}
		for (int i = 0; i < wanted_count; ++i)
			if (strcmp(wanted[i].name, entry.name) == 0) refuse("A database is named twice.");
		++wanted_count;
		if (*at == '\0') break;
		if (*at != ',') refuse("Entries are separated by commas.");
		++at;
	}
	pfree(copy);
}

}  // namespace

SharedState* shared_state() noexcept { return state; }

DatabaseSlot* my_database_slot() noexcept
{
	static DatabaseSlot* mine = nullptr;
	if (mine) return mine;
	if (!state || !OidIsValid(MyDatabaseId)) return nullptr;
	for (int i = 0; i < state->databases; ++i)
		if (state->database[i].oid.load(std::memory_order_acquire) == MyDatabaseId) return mine = &state->database[i];
	return nullptr;
}

bool anybody_listens(const DatabaseSlot* slot) noexcept
{
	for (int i = 0; i < state->workers; ++i) {
		const WorkerSlot& worker = state->worker[i];
		if (&state->database[worker.database] == slot && worker.listening.load()) return true;
	}
	return false;
}

void wake_workers(const DatabaseSlot* slot) noexcept
{
	for (int i = 0; i < state->workers; ++i) {
		const WorkerSlot& worker = state->worker[i];
		if (&state->database[worker.database] != slot) continue;
		const int procno = worker.procno.load();
		// A stale number wakes some other process once, which is what latches are made to bear.
		if (procno >= 0) SetLatch(&ProcGlobal->allProcs[procno].procLatch);
	}
}

int wanted_databases() noexcept { return wanted_count; }

const char* wanted_database(int index) noexcept { return wanted[index].name; }

int port_of(int database) noexcept
{
	if (state->database[database].port) return state->database[database].port;
	int port = Settings::port;
	for (int i = 0; i < database; ++i)
		if (!state->database[i].port) ++port;
	return port;
}

void report_path(char* path, int slot, bool unfinished) noexcept
{
	snprintf(path, MAXPGPATH, "%s/plank_%d%s", PG_STAT_TMP_DIR, slot, unfinished ? ".part" : "");
}

void request_shared_state()
{
	parse_databases();
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

}  // namespace plank::pg
