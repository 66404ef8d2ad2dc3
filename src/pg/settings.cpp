// Definition of Plank's settings, in alphabetical order. Runs in every process, from _PG_init.
#include "pg/settings.hpp"

#include <climits>

#include "pg/postgres.hpp"

extern "C" {
#include "access/xlog.h"
#include "utils/guc.h"
}

namespace plank::pg {

char* Settings::allowed_origins = nullptr;
char* Settings::anonymous_role = nullptr;
char* Settings::authenticator = nullptr;
int Settings::connection_rate = 100;
int Settings::crash_limit = 3;
char* Settings::databases = nullptr;
int Settings::history_size = 64 * 1024;
char* Settings::jwt_audience = nullptr;
char* Settings::jwt_key_file = nullptr;
char* Settings::jwt_role_claim = nullptr;
char* Settings::listen_addresses = nullptr;
int Settings::max_connections = 10000;
int Settings::max_memory = 1024 * 1024;
int Settings::max_message_size = 64 * 1024;
int Settings::max_snapshots = 4;
int Settings::max_subscriptions = 1000;
int Settings::notify_limit = 64 * 1024;
int Settings::ping_interval = 25000;
int Settings::policy_timeout = 100;
int Settings::port = 8432;
int Settings::send_buffer = 4 * 1024;
int Settings::send_timeout = 10000;
int Settings::snapshot_timeout = 60000;
int Settings::spill_size = 1024 * 1024;
char* Settings::ssl_cert_file = nullptr;
char* Settings::ssl_key_file = nullptr;
int Settings::subscribe_rate = 100;
int Settings::transport = 0;
char* Settings::trusted_proxies = nullptr;
char* Settings::unix_socket_directory = nullptr;
int Settings::workers = 1;

namespace {

const config_enum_entry kTransports[] = {{"notify", 0, false}, {"wal", 1, false}, {nullptr, 0, false}};

// PostgreSQL keeps listen_addresses to two words and letters it can resolve later; what cannot be split is refused here.
bool check_roles_name(char** value, void**, GucSource)
{
	if (strlen(*value) < NAMEDATALEN) return true;
	GUC_check_errdetail("A role's name has at most %d bytes.", NAMEDATALEN - 1);
	return false;
}

// What plank.transport = 'wal' needs of the server. In the postmaster at start.
void check_wal()
{
	if (wal_level == WAL_LEVEL_MINIMAL)
		ereport(FATAL, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("plank.transport = 'wal' needs \"wal_level\" to be \"replica\" or \"logical\""),
		                errhint("Set wal_level to \"replica\" or plank.transport to \"notify\".")));
	if (wal_keep_size_mb == 0)
		ereport(WARNING, (errmsg("plank: with wal_keep_size = 0 clients that were away may not be able to resume"),
		                  errdetail("They resume from WAL, which PostgreSQL removes soon after checkpoints."),
		                  errhint("Set wal_keep_size to the amount of WAL that clients may miss, such as \"1GB\".")));
}

// Below this a worker would be short of memory before its first client.
constexpr int kLeastMemory = 64 * 1024;

bool check_max_memory(int* value, void**, GucSource)
{
	if (*value == 0 || *value >= kLeastMemory) return true;
	GUC_check_errdetail("A worker needs at least %d MB; 0 sets no limit.", kLeastMemory / 1024);
	return false;
}

bool check_not_empty(char** value, void**, GucSource) { return **value != '\0'; }

}  // namespace

void define_settings()
{
	// PostgreSQL ends a session that defines a PGC_POSTMASTER setting, which is no answer to a missing preload.
	const GucContext at_start = process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP;
	DefineCustomStringVariable("plank.allowed_origins", "Origins besides the page's own host whose pages may connect.",
	                           "A comma-separated list such as \"https://app.example.com\"; \"*\" allows all.",
	                           &Settings::allowed_origins, "", PGC_SIGHUP, GUC_LIST_INPUT, nullptr, nullptr, nullptr);
	DefineCustomStringVariable("plank.anonymous_role", "Role of clients that connect without a token.",
	                           "Empty: such clients may do nothing.", &Settings::anonymous_role, "", PGC_SIGHUP, 0,
	                           check_roles_name, nullptr, nullptr);
	DefineCustomStringVariable("plank.authenticator", "Role that must be able to SET ROLE to the role of a token.",
	                           "Empty: a token may have any ordinary role.", &Settings::authenticator, "", PGC_SIGHUP,
	                           0, check_roles_name, nullptr, nullptr);
	DefineCustomIntVariable("plank.connection_rate", "New connections that one address may make in a second.",
	                        "Ten seconds' worth may come at once. Not for this machine itself. 0: no limit.",
	                        &Settings::connection_rate, 100, 0, 1000000, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
	    "plank.crash_limit", "Crashes of a worker within a minute after which it stays down until the server restarts.",
	    "0 lets it come back always.", &Settings::crash_limit, 3, 0, 1000, at_start, 0, nullptr, nullptr, nullptr);
	DefineCustomStringVariable(
	    "plank.databases", "Databases that get a worker.",
	    "A comma-separated list of names, each with an optional port: \"app:8432, analytics:8433\".",
	    &Settings::databases, "postgres", at_start, GUC_LIST_INPUT, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.history_size", "Memory a worker uses for the log of recent transactions.", nullptr,
	                        &Settings::history_size, 64 * 1024, 1024, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, nullptr,
	                        nullptr, nullptr);
	DefineCustomStringVariable("plank.jwt_audience", "What a token must name as its audience.",
	                           "Empty: tokens for any audience are accepted.", &Settings::jwt_audience, "", PGC_SIGHUP,
	                           0, nullptr, nullptr, nullptr);
	DefineCustomStringVariable("plank.jwt_key_file", "File with the keys of tokens.",
	                           "A secret of at least 32 bytes, a JWK or a JWKS. Empty: no token is accepted.",
	                           &Settings::jwt_key_file, "", PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomStringVariable("plank.jwt_role_claim", "Claim of a token that names its role.", nullptr,
	                           &Settings::jwt_role_claim, "role", PGC_SIGHUP, 0, check_not_empty, nullptr, nullptr);
	DefineCustomStringVariable("plank.listen_addresses", "Host names or addresses the workers listen on.", nullptr,
	                           &Settings::listen_addresses, "localhost", PGC_SIGHUP, GUC_LIST_INPUT, nullptr, nullptr,
	                           nullptr);
	DefineCustomIntVariable("plank.max_connections", "Most WebSocket connections of one worker.", nullptr,
	                        &Settings::max_connections, 10000, 1, 1000000, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
	    "plank.max_memory", "Most memory of one worker; beyond it clients are closed.",
	    "Near it new clients and subscriptions are refused. Shared memory is not counted. 0: no limit.",
	    &Settings::max_memory, 1024 * 1024, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, check_max_memory, nullptr, nullptr);
	DefineCustomIntVariable("plank.max_message_size", "Most bytes of one message from a client.", nullptr,
	                        &Settings::max_message_size, 64 * 1024, 1024, 64 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_BYTE,
	                        nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.max_snapshots", "Most snapshots that are read at a time for one worker.",
	                        "Each takes a process; beyond it they wait in line.", &Settings::max_snapshots, 4, 1, 1000,
	                        PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.max_subscriptions", "Most subscriptions of one connection.", nullptr,
	                        &Settings::max_subscriptions, 1000, 1, 1000000, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.notify_limit",
	                        "Size of a transaction's changes above which subscribers get a reset instead.",
	                        "NOTIFY keeps them in the session's memory until commit.", &Settings::notify_limit,
	                        64 * 1024, 64, 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.ping_interval",
	                        "Time between pings to a client; none answered within two of them closes the connection.",
	                        nullptr, &Settings::ping_interval, 25000, 100, 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS,
	                        nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.policy_timeout", "Time that row security may take to judge one row of a change.",
	                        "What takes longer ends the subscriptions that it is for.", &Settings::policy_timeout, 100,
	                        1, 60000, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.port", "Port of the first database that names none of its own.", nullptr,
	                        &Settings::port, 8432, 1, 65535, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
	    "plank.send_buffer", "Bytes that may wait for a client that takes none for plank.send_timeout.", nullptr,
	    &Settings::send_buffer, 4 * 1024, 16, 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
	    "plank.send_timeout", "Time after which a client that takes no byte of more than plank.send_buffer is closed.",
	    nullptr, &Settings::send_timeout, 10000, 100, 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.snapshot_timeout",
	                        "Time that the reading of a table's rows may take to find the next of them.",
	                        "Waiting for the client does not count. 0: no limit.", &Settings::snapshot_timeout, 60000,
	                        0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
	    "plank.spill_size", "Most temporary disk space a worker uses for transactions that slow clients still need.",
	    nullptr, &Settings::spill_size, 1024 * 1024, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, nullptr, nullptr, nullptr);
	DefineCustomStringVariable("plank.ssl_cert_file", "File with the certificate, and those it was issued by, for TLS.",
	                           "Empty: the port speaks no TLS.", &Settings::ssl_cert_file, "", PGC_SIGHUP, 0, nullptr,
	                           nullptr, nullptr);
	DefineCustomStringVariable("plank.ssl_key_file", "File with the private key of plank.ssl_cert_file.", nullptr,
	                           &Settings::ssl_key_file, "", PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.subscribe_rate", "Subscriptions that one connection may ask for in a second.",
	                        "Ten seconds' worth may come at once; what is beyond waits. 0: no limit.",
	                        &Settings::subscribe_rate, 100, 0, 1000000, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomEnumVariable("plank.transport", "How changes travel from sessions to the workers.", nullptr,
	                         &Settings::transport, 0, kTransports, at_start, 0, nullptr, nullptr, nullptr);
	DefineCustomStringVariable("plank.trusted_proxies", "Addresses and networks whose X-Forwarded-For is believed.",
	                           "A comma-separated list such as \"10.0.0.0/8, ::1, unix\".", &Settings::trusted_proxies,
	                           "", PGC_SIGHUP, GUC_LIST_INPUT, nullptr, nullptr, nullptr);
	DefineCustomStringVariable("plank.unix_socket_directory", "Directory of the workers' Unix-domain sockets.",
	                           "Each is called .s.plank. and its port. Empty: there are none.",
	                           &Settings::unix_socket_directory, "", PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("plank.workers", "Worker processes per database; they share its port.", nullptr,
	                        &Settings::workers, 1, 1, 64, at_start, 0, nullptr, nullptr, nullptr);
	MarkGUCPrefixReserved("plank");
	if (process_shared_preload_libraries_in_progress && Settings::transport == static_cast<int>(TransportKind::wal))
		check_wal();
}

}  // namespace plank::pg
