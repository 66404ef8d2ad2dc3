// What a worker takes from the settings and the catalog: where it listens, whom it lets in, whether the extension is
// there. Runs in the worker, outside network callbacks.
#include "worker/worker.hpp"

#include <algorithm>
#include <utility>

#include "pg/encoding.hpp"
#include "pg/extension.hpp"
#include "pg/guard.hpp"
#include "pg/process.hpp"
#include "pg/roles.hpp"
#include "pg/settings.hpp"
#include "pg/table.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

constexpr auto kListenAgain = std::chrono::seconds(5);

net::Limits net_limits()
{
	net::Limits limits;
	limits.max_connections = pg::Settings::max_connections;
	limits.max_message_size = static_cast<size_t>(pg::Settings::max_message_size);
	limits.send_buffer = static_cast<size_t>(pg::Settings::send_buffer) * 1024;
	limits.send_timeout_ms = pg::Settings::send_timeout;
	limits.ping_interval_ms = pg::Settings::ping_interval;
	limits.connection_rate = pg::Settings::connection_rate;
	return limits;
}

std::vector<net::Address> addresses(int port)
{
	std::vector<net::Address> list;
	std::string_view rest = pg::Settings::listen_addresses;
	while (!rest.empty()) {
		const size_t comma = rest.find(',');
		std::string_view item = rest.substr(0, comma);
		rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
		while (!item.empty() && item.front() == ' ')
			item.remove_prefix(1);
		while (!item.empty() && item.back() == ' ')
			item.remove_suffix(1);
		if (!item.empty()) list.push_back({std::string(item), port});
	}
	return list;
}

// The Unix-domain socket of a worker: those of one database share the port, but cannot share a file.
void add_socket(std::vector<net::Address>& list, int port, int worker)
{
	std::string path = pg::Settings::unix_socket_directory;
	if (path.empty()) return;
	if (path[0] != '/') path = std::string(DataDir) + '/' + path;
	path += "/.s.plank." + std::to_string(port);
	if (worker > 0) path += '.' + std::to_string(worker);
	list.push_back({path, port});
}

}  // namespace

core::HubLimits hub_limits()
{
	core::HubLimits limits;
	limits.max_subscriptions = static_cast<size_t>(pg::Settings::max_subscriptions);
	limits.subscribe_rate = pg::Settings::subscribe_rate;
	limits.memory = static_cast<size_t>(pg::Settings::max_memory) * 1024;
	limits.log.memory = static_cast<size_t>(pg::Settings::history_size) * 1024;
	// What waits to be judged, what is put together and what is read again take about as much once more.
	if (limits.memory > 0) limits.log.memory = std::min(limits.log.memory, limits.memory / 4);
	limits.log.spill = static_cast<size_t>(pg::Settings::spill_size) * 1024;
	limits.log.directory = pg::temporary_directory();
	limits.replay = std::max(limits.log.memory / 4, 2 * static_cast<size_t>(pg::Settings::send_buffer) * 1024);
	if (limits.memory > 0) limits.replay = std::min(limits.replay, limits.memory / 4);
	return limits;
}

void Worker::reload()
{
	pg::call([] { ProcessConfigFile(PGC_SIGHUP); });
	apply_settings();
	look_ = true;
	next_tick_ = {};
}

void Worker::apply_settings()
{
	web_.origins.set(pg::Settings::allowed_origins);
	hub_.set_limits(hub_limits());
	rows_.set_limit(pg::Settings::max_snapshots);
	apply_memory_limits();
	evaluator_.set_policy_timeout(pg::Settings::policy_timeout);
	identities_.apply_settings();
	if (!server_) {
		server_ = net::Server::create(loop_.uv(), web_, net_limits());
		if (!server_) {
			write_log();
			pg::raise(ERRCODE_INTERNAL_ERROR, "plank could not start its web server", nullptr,
			          "Install the packages libwebsockets-evlib-uv and libuv1, and see the lines above.");
		}
	}
	server_->set_limits(net_limits());
	trust_proxies();
	prepare_tls();
	listen_on_port();
}

void Worker::listen_on_port()
{
	next_listen_ = Clock::now() + kListenAgain;
	if (!may_listen_) prepare_tls();
	const int port = pg::port_of(slot_.database);
	std::vector<net::Address> list;
	if (may_listen_) list = addresses(port);
	add_socket(list, port, slot_.number);
	const std::vector<std::string> failures = server_->listen(list, pg::Settings::workers > 1);
	// Said once, and again when it has worked in between.
	if (!failures.empty() && !port_in_trouble_)
		for (const std::string& failure : failures)
			pg::log_line(WARNING, failure.c_str(), nullptr,
			             "Choose another port with plank.port or plank.databases, or mend plank.listen_addresses or "
			             "plank.unix_socket_directory.");
	port_in_trouble_ = !failures.empty();
	slot_.port.store(server_->port());
}

// What cannot be used leaves in force what was; at the start that is nothing, for a port that is meant to speak TLS must not
// speak anything else.
void Worker::prepare_tls()
{
	const std::string trouble = server_->set_tls(pg::Settings::ssl_cert_file, pg::Settings::ssl_key_file);
	may_listen_ = may_listen_ || trouble.empty();
	if (!trouble.empty() && trouble != tls_trouble_)
		pg::log_line(
		    WARNING, trouble.c_str(),
		    may_listen_ ? "What was in force before stays so." : "The port is not listened on until it can be used.",
		    "Name a certificate and its private key, both in PEM and without passphrase, in plank.ssl_cert_file and "
		    "plank.ssl_key_file, or empty both.");
	tls_trouble_ = trouble;
}

void Worker::trust_proxies()
{
	std::string trouble;
	for (const std::string& bad : server_->set_trusted_proxies(pg::Settings::trusted_proxies))
		trouble += (trouble.empty() ? "\"" : "\", \"") + bad;
	if (!trouble.empty() && trouble != proxies_trouble_)
		pg::log_line(WARNING, ("plank.trusted_proxies holds what is no address or network: " + trouble + '"').c_str(),
		             nullptr, "Write addresses, networks such as 10.0.0.0/8, and \"unix\", with commas between.");
	proxies_trouble_ = trouble;
}

// In a unit of work.
void Worker::choose_anonymous_role()
{
	const std::string name = pg::Settings::anonymous_role;
	const char* trouble = nullptr;
	std::string role;
	if (!name.empty()) {
		Oid oid = InvalidOid;
		switch (pg::judge_role(name.c_str(), oid)) {
			case pg::RoleVerdict::usable:
				role = pg::to_utf8(name.c_str());
				break;
			case pg::RoleVerdict::absent:
				trouble = "it does not exist";
				break;
			case pg::RoleVerdict::superuser:
				trouble = "it is a superuser";
				break;
			case pg::RoleVerdict::bypasses_row_security:
				trouble = "it bypasses row security";
				break;
			case pg::RoleVerdict::predefined:
				trouble = "its name is reserved";
				break;
			case pg::RoleVerdict::not_granted:
			case pg::RoleVerdict::no_authenticator:
				break;  // said of tokens' roles only
		}
	}
	if (trouble && role_in_trouble_ != name)
		pg::log_line(WARNING, ("plank.anonymous_role \"" + name + "\" is not used: " + trouble).c_str(), nullptr,
		             "Create an ordinary role without LOGIN, grant it SELECT on what clients may see, and name it.");
	role_in_trouble_ = trouble ? name : "";
	const core::IdentityPtr& known = web_.anonymous;
	if (role == (known ? known->role : std::string())) return;
	const core::IdentityPtr former =
	    std::exchange(web_.anonymous, role.empty() ? nullptr : core::anonymous_identity(role));
	identities_.set_anonymous_role(role);
	if (former)
		hub_.end_identities([&](const core::Identity& identity) {
			return &identity == former.get() ? "the role of clients without a token has changed" : nullptr;
		});
}

void Worker::look_for_extension()
{
	if (!look_ && !look_failed_ && slot_.state.load() == static_cast<int>(pg::WorkerState::ready)) return;
	std::string version;
	Oid function = InvalidOid;
	// Should this fail, the next tick does it again, and not every turn.
	look_ = false;
	look_failed_ = true;
	pg::unit_of_work("plank: looking for the extension", [&] {
		version = pg::extension_version();
		if (!version.empty()) function = pg::capture_function();
	});
	const std::string name = web_.database;
	if (version.empty() || !OidIsValid(function)) {
		catalog_.forget_channels();
		stop_serving(pg::WorkerState::waiting_for_extension,
		             "extension plank is not installed in database " + name + "; run CREATE EXTENSION plank");
	} else if (version != PLANK_VERSION) {
		stop_serving(pg::WorkerState::wrong_version, "extension plank in database " + name + " has version " + version +
		                                                 ", the library " PLANK_VERSION
		                                                 "; run ALTER EXTENSION plank UPDATE");
	} else {
		begin_serving();
	}
	look_failed_ = false;
}

// Listening begins with the commit; what commits after that is heard. Called again when the channels may have changed.
void Worker::begin_serving()
{
	pg::unit_of_work("plank: listening", [&] {
		receiver_->listen(catalog_.read_channels());
		look_at_tables_ = true;
		choose_anonymous_role();
	});
	if (!std::exchange(receiving_, true)) {
		slot_.listening.store(true);
		receiver_->begin();
		set_state(pg::WorkerState::starting, "the worker is reading what happened before it started");
	}
	if (receiver_->ready() && slot_.state.load() != static_cast<int>(pg::WorkerState::ready)) become_ready();
}

void Worker::become_ready()
{
	set_state(pg::WorkerState::ready, "");
	const int port = server_->port();
	pg::log_line(LOG, ("serving database " + web_.database + (port ? " on port " + std::to_string(port) : "")).c_str());
}

void Worker::stop_serving(pg::WorkerState state, const std::string& reason)
{
	if (slot_.state.load() == static_cast<int>(state) && web_.not_ready == reason) return;
	set_state(state, reason);
	pg::log_line(LOG, reason.c_str());
	if (!std::exchange(receiving_, false)) return;
	slot_.listening.store(false);
	pg::unit_of_work("plank: no longer listening", [&] { receiver_->unlisten(); });
	// Nothing is tracked any more: subscribers hear that their tables are gone. The drop may hold their locks still, so
	// that the look has to be repeated.
	look_at_tables_ = true;
	next_tick_ = {};
}

}  // namespace plank::worker
