// The server's life: libwebsockets' context, new clients, flushing, the sweep of deadlines, the stop.
// Runs in the worker on the owner's libuv loop. Must not call PostgreSQL; no exception leaves a callback.
#include <libwebsockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "net/server_core.hpp"

namespace plank::net {

namespace {

// Sockets that are not WebSockets (yet), beyond max_connections.
constexpr size_t kSpareSockets = 1000;
// What the process has open besides: files of PostgreSQL, pipes, the loop itself.
constexpr int kOtherFiles = 1500;
// Room for max_connections to grow at a reload: libwebsockets' table (16 bytes an entry, touched only when used) is
// made once.
constexpr int kRoomToGrow = 65536;
// Accepting works again when it did not fail for this long: one freed descriptor is no change of state.
constexpr uint64_t kAcceptsAgainMs = 5000;
constexpr int kClosingTurns = 10;
constexpr uint64_t kLateMs = 500;  // a sweep that comes so much later than it is due

// Every callback of libwebsockets about a client ends here; -1 closes it.
int callback(lws* wsi, lws_callback_reasons reason, void*, void* in, size_t length) noexcept
{
	auto* session = static_cast<Session*>(lws_get_opaque_user_data(wsi));
	if (!session) return 0;
	try {
		switch (reason) {
			case LWS_CALLBACK_RAW_ADOPT:
				session->adopted(wsi);
				return 0;
			case LWS_CALLBACK_RAW_RX:
				return session->receive(static_cast<char*>(in), length) ? 0 : -1;
			case LWS_CALLBACK_RAW_WRITEABLE:
				return session->flush() ? 0 : -1;
			case LWS_CALLBACK_RAW_CLOSE:
				lws_set_opaque_user_data(wsi, nullptr);
				delete session;
				return 0;
			default:
				return 0;
		}
	} catch (...) {
		// Out of memory, in all likelihood: this client goes, the others stay.
		return -1;
	}
}

const lws_protocols kProtocols[] = {
    // libwebsockets cuts a write at the seventh field; a piece of output is always smaller.
    {"plank.v1", callback, 0, 0, 0, nullptr, 1 << 20},
    {nullptr, nullptr, 0, 0, 0, nullptr, 0},
};

}  // namespace

std::unique_ptr<Server> Server::create(uv_loop_s* loop, Handler& handler, const Limits& limits)
{
	auto server = std::make_unique<ServerCore>(loop, handler, limits);
	if (!server->start()) return nullptr;
	return server;
}

ServerCore::ServerCore(uv_loop_s* loop, Handler& handler, const Limits& limits)
    : loop_(loop), handler_(handler), limits_(limits), log_(handler), listeners_(loop, *this)
{}

bool ServerCore::start()
{
	uv_idle_init(loop_, &idle_);
	uv_check_init(loop_, &check_);
	uv_timer_init(loop_, &timer_);
	idle_.data = check_.data = timer_.data = this;
	open_handles_ = 3;
	uv_check_start(&check_, [](uv_check_t* handle) { static_cast<ServerCore*>(handle->data)->flush_ready(); });

	log_.take_over_libwebsockets();
	raise_fd_limit();
	void* loops[] = {loop_};
	lws_context_creation_info info{};
	info.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
	info.foreign_loops = loops;
	info.protocols = kProtocols;
	info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
	info.gid = info.uid = static_cast<unsigned>(-1);
	info.max_http_header_pool = 1;
	info.pt_serv_buf_size = 64 * 1024;  // bytes read at once
	info.pcontext = &context_;  // set to null when the context is gone, which may be turns after its destruction
	lws_context* made = lws_create_context(&info);
	if (!made) {
		log_.line('E', "could not start libwebsockets (is libwebsockets-evlib-uv installed?)");
		return false;
	}
	context_ = made;
	info.vhost_name = "plank";
	vhost_ = lws_create_vhost(made, &info);
	if (!vhost_) log_.line('E', "could not start libwebsockets' virtual host");
	return vhost_ != nullptr;
}

ServerCore::~ServerCore()
{
	listeners_.close_all();
	while (!all_.alone())
		cut(static_cast<Session&>(*all_.next));
	if (context_) lws_context_destroy(context_);
	const auto closed = [](uv_handle_t* handle) { static_cast<ServerCore*>(handle->data)->open_handles_--; };
	if (open_handles_ > 0) {
		uv_close(reinterpret_cast<uv_handle_t*>(&idle_), closed);
		uv_close(reinterpret_cast<uv_handle_t*>(&check_), closed);
		uv_close(reinterpret_cast<uv_handle_t*>(&timer_), closed);
	}
	// libuv closes handles in its own turns. On a foreign loop 4.1.6 waits for them and then forgets to go on: the second
	// call frees the context. (It sets context_ to null when it is gone.)
	for (int i = 0; i < kClosingTurns; i++)
		uv_run(loop_, UV_RUN_NOWAIT);
	if (context_) lws_context_destroy(context_);
	while (open_handles_ > 0)
		uv_run(loop_, UV_RUN_NOWAIT);
}

// libwebsockets makes its table as long as the soft limit of open files: too small a limit means too few clients, and
// the unlimited one of some containers would be gigabytes. (Its own fd_limit_per_thread makes every look-up a scan.)
void ServerCore::raise_fd_limit() noexcept
{
	rlimit limit{};
	getrlimit(RLIMIT_NOFILE, &limit);
	const rlim_t wanted = static_cast<rlim_t>(
	    std::max(limits_.max_connections + static_cast<int>(kSpareSockets) + kOtherFiles, kRoomToGrow));
	limit.rlim_cur = std::min(limit.rlim_max, wanted);
	setrlimit(RLIMIT_NOFILE, &limit);
	fd_limit_ = static_cast<int>(limit.rlim_cur);
	if (static_cast<rlim_t>(limits_.max_connections + kOtherFiles) > limit.rlim_max)
		log_.line('W', "the limit of open files (" + std::to_string(fd_limit_) + ") is too low for " +
		                   std::to_string(limits_.max_connections) + " connections");
}

std::vector<std::string> ServerCore::listen(const std::vector<Address>& addresses, bool share_port)
{
	if (stopping_) return {};
	return listeners_.set(addresses, share_port);
}

void ServerCore::set_limits(const Limits& limits) noexcept
{
	try {
		limits_ = limits;
	} catch (const std::exception& error) {
		log_.line('E', error.what());
	}
	sweep_every_ = 0;
	schedule_sweep();
}

std::vector<std::string> ServerCore::set_trusted_proxies(const std::string& list)
{
	std::vector<std::string> bad;
	trusted_proxies_ = Networks::parse(list, bad);
	return bad;
}

std::string ServerCore::set_tls(const std::string& certificate_file, const std::string& key_file)
{
	std::string failure;
	TlsContext context;
	if (!certificate_file.empty() || !key_file.empty()) {
		context = make_tls_context(certificate_file, key_file, failure);
		if (!context) return failure;
	}
	tls_ = std::move(context);
	return failure;
}

bool ServerCore::rate_allows(const HostAddress& address)
{
	if (rate_.allows(address, static_cast<int64_t>(now()), limits_.connection_rate)) return true;
	log_.limited('W', "new clients are refused: more than plank.connection_rate come from ", address.text());
	return false;
}

bool ServerCore::has_room() const noexcept
{
	return websockets_ < static_cast<size_t>(std::max(limits_.max_connections, 0));
}

void ServerCore::accepted(int fd, const sockaddr_storage& from) noexcept
{
	if (accepting_failed_at_ != 0 && now() >= accepting_failed_at_ + kAcceptsAgainMs) {
		accepting_failed_at_ = 0;
		log_.line('I', "new clients are accepted again");
	}
	const bool full = sessions_ >= static_cast<size_t>(std::max(limits_.max_connections, 0)) + kSpareSockets;
	if (stopping_ || full || fd >= fd_limit_) {
		counters_.refused++;
		::close(fd);
		if (full && !full_) log_.line('W', "new clients are refused: too many sockets are open");
		full_ = full;
		return;
	}
	full_ = false;
	Session* session = nullptr;
	try {
		const HostAddress address = HostAddress::of(from);
		// A proxy's clients are counted when they say who they are.
		if (!trusted_proxies_.contains(address) && !rate_allows(address)) {
			counters_.refused++;
			::close(fd);
			return;
		}
		session = new Session(*this, address, address.unix_socket ? nullptr : tls_.get());
	} catch (const std::exception&) {
		counters_.refused++;
		::close(fd);
		return;
	}
	counters_.accepted++;
	lws_adopt_desc_t description{};
	description.vh = vhost_;
	description.type = LWS_ADOPT_SOCKET;
	description.fd.sockfd = fd;
	description.opaque = session;
	adopting_ = session;
	// On failure it closes the descriptor, and has told the session so only if it came that far.
	if (!lws_adopt_descriptor_vhost_via_info(&description) && adopting_ == session) delete session;
	adopting_ = nullptr;
	schedule_sweep();
}

void ServerCore::accept_failed(int error) noexcept
{
	const bool known = accepting_failed_at_ != 0;
	accepting_failed_at_ = now();
	if (known) return;
	log_.limited('W', "new clients have to wait: could not accept a connection: ", strerror(error));
}

size_t ServerCore::leaving_memory() const noexcept
{
	size_t bytes = 0;
	for (const Link<AllRing>* link = all_.next; link != &all_; link = link->next) {
		const auto& session = static_cast<const Session&>(*link);
		if (session.is_leaving()) bytes += session.memory();
	}
	return bytes;
}

void ServerCore::session_created(Session& session) noexcept
{
	sessions_++;
	static_cast<Link<AllRing>&>(session).insert_before(all_);
}

void ServerCore::session_gone(Session& session) noexcept
{
	sessions_--;
	if (adopting_ == &session) adopting_ = nullptr;
}

void ServerCore::make_ready(Session& session) noexcept
{
	auto& link = static_cast<Link<ReadyRing>&>(session);
	if (!link.alone()) return;
	if (ready_.alone())
		uv_idle_start(&idle_, [](uv_idle_t* handle) { static_cast<ServerCore*>(handle->data)->flush_ready(); });
	link.insert_before(ready_);
}

// Writes for everyone who has something to send, once before the loop sleeps and once after it has read. Outside a
// writeable callback, which would cost two calls of epoll_ctl and a turn for every delivery; that callback is asked
// for by libwebsockets itself when a socket does not take all, and nothing is written here while it is awaited.
void ServerCore::flush_ready() noexcept
{
	if (ready_.alone()) {
		uv_idle_stop(&idle_);
		return;
	}
	// Who becomes ready again while being served waits for the next turn.
	Link<ReadyRing> now;
	now.insert_before(ready_);
	ready_.unlink();
	while (!now.alone()) {
		auto& session = static_cast<Session&>(*now.next);
		static_cast<Link<ReadyRing>&>(session).unlink();
		bool fine = false;
		try {
			fine = session.flush();
		} catch (...) {
			log_.limited('E', "out of memory while writing to a client", "");
		}
		if (!fine) cut(session);
	}
	if (ready_.alone()) uv_idle_stop(&idle_);
}

void ServerCore::cut(Session& session) noexcept
{
	// Ends in LWS_CALLBACK_RAW_CLOSE, which deletes the session. Never from inside that session's own callback.
	lws_set_timeout(session.wsi(), PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_SYNC);
}

void ServerCore::schedule_sweep() noexcept
{
	if (sweep_every_ != 0 || sessions_ == 0) return;
	int shortest = std::min({limits_.send_timeout_ms, limits_.handshake_timeout_ms, limits_.message_timeout_ms});
	if (limits_.ping_interval_ms > 0) shortest = std::min(shortest, limits_.ping_interval_ms);
	sweep_from_now_on(static_cast<unsigned>(std::clamp(shortest / 4, 20, 1000)));
}

void ServerCore::sweep_from_now_on(unsigned every) noexcept
{
	sweep_every_ = every;
	sweep_due_ = now() + every;
	uv_timer_start(
	    &timer_, [](uv_timer_t* timer) { static_cast<ServerCore*>(timer->data)->sweep(); }, every, every);
}

// A farewell lasts two seconds: worth looking oftener while there is one.
void ServerCore::hurry_deadlines() noexcept
{
	constexpr unsigned kHurry = 100;
	if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&timer_)) || (sweep_every_ != 0 && sweep_every_ <= kHurry)) return;
	sweep_from_now_on(kHurry);
}

void ServerCore::sweep() noexcept
{
	const uint64_t at = now();
	// When the process was kept from running, what clients have sent meanwhile is read only after this. One that is always
	// late looks every other time.
	const bool late = at > sweep_due_ + kLateMs && !stopping_;
	sweep_due_ = at + sweep_every_;
	was_late_ = late && !was_late_;
	if (was_late_) return;
	bool hurry = false;
	for (Link<AllRing>* link = all_.next; link != &all_;) {
		auto& session = static_cast<Session&>(*link);
		link = link->next;
		bool keep = false;
		try {
			keep = session.check_deadlines(at);
		} catch (...) {
			log_.limited('E', "out of memory while looking after a client", "");
		}
		hurry = hurry || session.needs_attention_soon();
		if (!keep) cut(session);
	}
	if (hurry) return;
	sweep_every_ = 0;
	if (sessions_ == 0)
		uv_timer_stop(&timer_);
	else
		schedule_sweep();
}

void ServerCore::stop(CloseCode code, std::string_view reason) noexcept
{
	if (stopping_) return;
	stopping_ = true;
	uv_update_time(loop_);
	listeners_.close_all();
	for (Link<AllRing>* link = all_.next; link != &all_; link = link->next)
		static_cast<Session&>(*link).stop(code, reason);
}

}  // namespace plank::net
