// Plank's settings, as variables that PostgreSQL keeps up to date. Runs in every process.
#pragma once

namespace plank::pg {

enum class TransportKind : int { notify, wal };

struct Settings {
	static char* allowed_origins;
	static char* anonymous_role;
	static char* authenticator;
	static int connection_rate;  // a second and address
	static int crash_limit;
	static char* databases;
	static int history_size;  // kB
	static char* jwt_audience;
	static char* jwt_key_file;
	static char* jwt_role_claim;
	static char* listen_addresses;
	static int max_connections;
	static int max_memory;        // kB of each worker; 0: no limit
	static int max_message_size;  // bytes
	static int max_snapshots;
	static int max_subscriptions;
	static int notify_limit;    // kB
	static int ping_interval;   // ms
	static int policy_timeout;  // ms
	static int port;
	static int send_buffer;       // kB
	static int send_timeout;      // ms
	static int snapshot_timeout;  // ms
	static int spill_size;        // kB
	static char* ssl_cert_file;
	static char* ssl_key_file;
	static int subscribe_rate;  // a second and connection
	static int transport;       // TransportKind
	static char* trusted_proxies;
	static char* unix_socket_directory;
	static int workers;
};

// Defines them all. From _PG_init, while shared_preload_libraries is processed; elsewhere they are defined without
// effect, so that SHOW and ALTER SYSTEM know them.
void define_settings();

}  // namespace plank::pg
