// The server's own listening sockets, on libuv. libwebsockets' are not used: one per vhost, no set of addresses that
// can change at run time, and a failure has no message.
// Runs in the worker. Must not know sessions.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <sys/socket.h>
#include <uv.h>

#include <memory>
#include <string>
#include <vector>

#include "net/server.hpp"

namespace plank::net {

class Listeners {
 public:
	class Acceptor {
	 public:
		// A new client; the descriptor is non-blocking and is the acceptor's to close.
		virtual void accepted(int fd, const sockaddr_storage& from) noexcept = 0;
		// Accepting rests for a while: the process or the system has no descriptors (or memory) left.
		virtual void accept_failed(int error) noexcept = 0;

	 protected:
		~Acceptor() = default;
	};

	Listeners(uv_loop_t* loop, Acceptor& acceptor) noexcept;
	~Listeners();
	Listeners(const Listeners&) = delete;
	Listeners& operator=(const Listeners&) = delete;

	// Makes the set equal to `addresses`; returns a line for each that failed.
	std::vector<std::string> set(const std::vector<Address>& addresses, bool share_port);
	void close_all() noexcept;
	int port() const noexcept;
	bool empty() const noexcept { return sockets_.empty(); }

 private:
	struct Socket;
	struct Target;
	void open(const Target& target, bool share_port, std::vector<std::string>& failures);
	void accept_some(Socket& socket) noexcept;
	void start(Socket& socket) noexcept;
	void rest() noexcept;
	static void close(std::unique_ptr<Socket> socket) noexcept;

	uv_loop_t* loop_;
	Acceptor& acceptor_;
	std::vector<std::unique_ptr<Socket>> sockets_;
	uv_timer_t* rest_timer_ = nullptr;
};

}  // namespace plank::net
