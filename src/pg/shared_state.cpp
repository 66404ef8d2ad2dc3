// Reserving, making and finding the shared state. Runs in the postmaster at start, then in every process.
#include "pg/shared_state.hpp"

#include "pg/compat.hpp"
#include "pg/settings.hpp"

extern "C" {
#include "access/transam.h"
#include "access/twophase.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
}

namespace plank::pg {

namespace {

SharedState* state = nullptr;
FirstMessage* first_messages = nullptr;  // one per session
PreparedMessage* prepared_messages = nullptr;
DatabaseSlot* mine = nullptr;  // this session's database's, once it is known
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

Size first_messages_size() { return mul_size(sizeof(FirstMessage), static_cast<Size>(MaxBackends)); }
// More than can be prepared: every session may be about to, and learns only then that there are too many.
int prepared_messages_count() { return max_prepared_xacts > 0 ? max_prepared_xacts + MaxBackends : 0; }
Size prepared_messages_size()
{
	return mul_size(sizeof(PreparedMessage), static_cast<Size>(prepared_messages_count()));
}

void request()
{
	if (previous_request) previous_request();
	RequestAddinShmemSpace(add_size(state_size(), add_size(first_messages_size(), prepared_messages_size())));
}

template <typename T>
T* make_zeroed(const char* name, Size size)
{
	bool found = false;
	auto* const memory = static_cast<T*>(ShmemInitStruct(name, size, &found));
	if (!found) memset(static_cast<void*>(memory), 0, size);
	return memory;
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
		state->made_at = GetCurrentTimestamp();
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
	first_messages = make_zeroed<FirstMessage>("plank first messages", first_messages_size());
	prepared_messages = make_zeroed<PreparedMessage>("plank prepared messages", prepared_messages_size());
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
	if (mine || !state || !OidIsValid(MyDatabaseId)) return mine;
	for (int i = 0; i < state->databases; ++i)
		if (state->database[i].oid.load(std::memory_order_acquire) == MyDatabaseId) return mine = &state->database[i];
	return nullptr;
}

DatabaseSlot* find_my_database_slot()
{
	static bool looked = false;
	if (looked || my_database_slot() || !state || !OidIsValid(MyDatabaseId)) return mine;
	// A database cannot be renamed while a session is in it.
	const char* const name = get_database_name(MyDatabaseId);
	for (int i = 0; name && i < state->databases; ++i)
		if (strcmp(state->database[i].name, name) == 0) mine = &state->database[i];
	looked = true;
	return mine;
}

void publish_first_message(uint64_t lsn) noexcept
{
	if (first_messages) first_messages[MyProcNumber].lsn.store(lsn);
}

void clear_first_message() noexcept
{
	if (first_messages) first_messages[MyProcNumber].lsn.store(0, std::memory_order_release);
}

namespace {

constexpr uint64_t kTaken = UINT64_MAX;  // no transaction's number: somebody is filling the entry in

// Whether the transaction of a full xid that this server has given out can still commit.
bool is_open(uint64_t xid)
{
	return TransactionIdIsInProgress(XidFromFullTransactionId(FullTransactionIdFromU64(xid)));
}

}  // namespace

void keep_first_message(uint64_t xid)
{
	if (!first_messages) return;
	const uint64_t lsn = first_messages[MyProcNumber].lsn.load();
	for (int i = 0; lsn != 0 && i < prepared_messages_count(); ++i) {
		PreparedMessage& entry = prepared_messages[i];
		uint64_t former = entry.xid.load();
		// Whoever finds an entry of a transaction that has ended may take it.
		if (former == kTaken || (former != 0 && is_open(former))) continue;
		if (!entry.xid.compare_exchange_strong(former, kTaken)) continue;
		entry.lsn.store(lsn);
		entry.xid.store(xid);
		return;
	}
}

uint64_t oldest_first_message()
{
	uint64_t oldest = 0;
	const auto consider = [&](uint64_t lsn) {
		if (lsn != 0 && (oldest == 0 || lsn < oldest)) oldest = lsn;
	};
	if (!first_messages) return 0;
	// A transaction that is being prepared is published twice for a while, so the sessions are looked at first.
	for (int i = 0; i < MaxBackends; ++i)
		consider(first_messages[i].lsn.load());
	for (int i = 0; i < prepared_messages_count(); ++i) {
		PreparedMessage& entry = prepared_messages[i];
		const uint64_t lsn = entry.lsn.load();
		uint64_t xid = entry.xid.load();
		if (xid == 0 || xid == kTaken) continue;
		if (is_open(xid))
			consider(lsn);
		else
			entry.xid.compare_exchange_strong(xid, 0);
	}
	return oldest;
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

void wake_for_unflushed(DatabaseSlot* slot) noexcept
{
	if (!slot->unflushed.load() && !slot->unflushed.exchange(true)) wake_workers(slot);
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
