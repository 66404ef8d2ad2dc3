// The server behind the interface: libwebsockets' context, the sessions, and the one place where output is flushed.
// Runs in the worker. Must not be entered from a signal handler or another thread.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <uv.h>

#include <exception>
#include <memory>
#include <string>

#include "net/address.hpp"
#include "net/listener.hpp"
#include "net/log.hpp"
#include "net/server.hpp"
#include "net/session.hpp"
#include "net/tls.hpp"

struct lws_context;
struct lws_vhost;

namespace plank::net {

class ServerCore final : public Server, private Listeners::Acceptor {
 public:
	ServerCore(uv_loop_s* loop, Handler& handler, const Limits& limits);
	~ServerCore() override;
	ServerCore(const ServerCore&) = delete;
	ServerCore& operator=(const ServerCore&) = delete;
	[[nodiscard]] bool start();

	std::vector<std::string> listen(const std::vector<Address>& addresses, bool share_port) override;
	int port() const noexcept override { return listeners_.port(); }
	void set_limits(const Limits& limits) noexcept override;
	std::vector<std::string> set_trusted_proxies(const std::string& list) override;
	std::string set_tls(const std::string& certificate_file, const std::string& key_file) override;
	size_t connections() const noexcept override { return websockets_; }
	size_t leaving_memory() const noexcept override;
	const Counters& counters() const noexcept override { return counters_; }
	void stop(CloseCode code, std::string_view reason) noexcept override;
	bool stopped() const noexcept override { return stopping_ && sessions_ == 0; }

	Handler& handler() noexcept { return handler_; }
	const Limits& limits() const noexcept { return limits_; }
	Counters& counters() noexcept { return counters_; }
	Log& log() noexcept { return log_; }
	uint64_t now() const noexcept { return uv_now(loop_); }
	bool stopping() const noexcept { return stopping_; }
	bool has_room() const noexcept;
	const Networks& trusted_proxies() const noexcept { return trusted_proxies_; }
	// Whether one more client of this address may come now.
	[[nodiscard]] bool rate_allows(const HostAddress& address);

	// `session`'s output is looked at before the loop sleeps.
	void make_ready(Session& session) noexcept;
	void hurry_deadlines() noexcept;
	void session_created(Session& session) noexcept;
	void session_gone(Session& session) noexcept;
	void websocket_opened() noexcept { websockets_++; }
	void websocket_closed() noexcept { websockets_--; }

	// Runs a call into the handler; false when it threw, which is logged.
	template <class Call>
	[[nodiscard]] bool guarded(Call&& call) noexcept
	{
		try {
			call();
			return true;
		} catch (const std::exception& error) {
			log_.limited('E', "exception in the network layer's handler: ", error.what());
		} catch (...) {
			log_.limited('E', "unknown exception in the network layer's handler", "");
		}
		return false;
	}

 private:
	void accepted(int fd, const sockaddr_storage& from) noexcept override;
	void accept_failed(int error) noexcept override;
	void raise_fd_limit() noexcept;
	void flush_ready() noexcept;
	void cut(Session& session) noexcept;
	void sweep() noexcept;
	void schedule_sweep() noexcept;
	void sweep_from_now_on(unsigned every) noexcept;

	uv_loop_t* loop_;
	Handler& handler_;
	Limits limits_;
	Counters counters_;
	Log log_;
	Networks trusted_proxies_;
	ConnectionRate rate_;
	TlsContext tls_;  // null: none
	lws_context* context_ = nullptr;
	lws_vhost* vhost_ = nullptr;
	int fd_limit_ = 0;  // libwebsockets' table of sockets ends here
	Listeners listeners_;
	Link<AllRing> all_;
	Link<ReadyRing> ready_;
	size_t sessions_ = 0, websockets_ = 0;
	Session* adopting_ = nullptr;
	bool stopping_ = false;
	uint64_t accepting_failed_at_ = 0;  // 0: it works
	bool full_ = false;                 // the last new client met max_connections
	unsigned sweep_every_ = 0;
	uint64_t sweep_due_ = 0;
	bool was_late_ = false;  // and the last sweep has looked at nobody
	int open_handles_ = 0;
	uv_idle_t idle_{};  // active while something is ready, so that the loop does not sleep
	uv_check_t check_{};
	uv_timer_t timer_{};
};

}  // namespace plank::net
