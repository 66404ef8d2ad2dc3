// See listener.hpp.
#include "net/listener.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace plank::net {

namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int kBacklog = 4096;
constexpr uint64_t kRestMs = 500;

int port_of(const sockaddr_storage& address) noexcept
{
	if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
	return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

void set_port(sockaddr_storage& address, int port) noexcept
{
	if (address.ss_family == AF_INET6)
		reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(static_cast<uint16_t>(port));
	else
		reinterpret_cast<sockaddr_in&>(address).sin_port = htons(static_cast<uint16_t>(port));
}

bool is_path(const Address& address) noexcept { return address.host.starts_with('/'); }

std::string failure(const Address& address, const char* why)
{
	if (is_path(address)) return "could not listen on Unix-domain socket \"" + address.host + "\": " + why;
	return "could not listen on address \"" + address.host + "\", port " + std::to_string(address.port) + ": " + why;
}

void set_tcp_options(int fd, int family, bool share_port) noexcept
{
	const int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (share_port) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	// Accepted sockets inherit these two, which saves two calls a client.
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

// A socket that nobody listens on is what a server left behind that was killed; any other file is somebody's.
void remove_stale(const sockaddr_storage& address, socklen_t length) noexcept
{
	const char* path = reinterpret_cast<const sockaddr_un&>(address).sun_path;
	struct stat status;
	if (lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
	const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe < 0) return;
	const bool refused =
	    connect(probe, reinterpret_cast<const sockaddr*>(&address), length) != 0 && errno == ECONNREFUSED;
	::close(probe);
	if (refused) unlink(path);
}

}  // namespace

// One socket address that is asked for. `optional`: "localhost" and "*" stand for both families, and a machine may
// lack one of them.
struct Listeners::Target {
	Address asked;
	sockaddr_storage address{};
	socklen_t length = 0;
	bool optional = false;

	bool same_as(const Target& other) const noexcept
	{
		return length == other.length && asked.port == other.asked.port &&
		       memcmp(&address, &other.address, length) == 0;
	}
};

struct Listeners::Socket {
	uv_poll_t poll{};
	int fd = -1;
	Target target;
	int port = 0;
	ino_t inode = 0;  // of a Unix-domain socket's file
	Listeners* owner = nullptr;

	// The file stays behind otherwise; by now it may be another server's.
	void remove_file() const noexcept
	{
		struct stat status;
		const char* path = target.asked.host.c_str();
		if (is_path(target.asked) && lstat(path, &status) == 0 && status.st_ino == inode) unlink(path);
	}
};

Listeners::Listeners(uv_loop_t* loop, Acceptor& acceptor) noexcept : loop_(loop), acceptor_(acceptor) {}

Listeners::~Listeners() { close_all(); }

std::vector<std::string> Listeners::set(const std::vector<Address>& addresses, bool share_port)
{
	std::vector<std::string> failures;
	std::vector<Target> targets;
	for (const Address& address : addresses) {
		if (is_path(address)) {
			Target target{address, {}, sizeof(sockaddr_un), false};
			auto& local = reinterpret_cast<sockaddr_un&>(target.address);
			local.sun_family = AF_UNIX;
			if (address.host.size() < sizeof local.sun_path) {
				memcpy(local.sun_path, address.host.c_str(), address.host.size() + 1);
				targets.push_back(std::move(target));
			} else {
				failures.push_back(failure(address, "the path is too long"));
			}
			continue;
		}
		std::vector<std::string> hosts{address.host};
		if (address.host == "localhost") hosts = {"127.0.0.1", "::1"};
		if (address.host == "*") hosts = {"0.0.0.0", "::"};
		for (const std::string& host : hosts) {
			addrinfo hints{};
			hints.ai_socktype = SOCK_STREAM;
			hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
			addrinfo* found = nullptr;
			const int error = getaddrinfo(host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
			if (error != 0) {
				failures.push_back(failure(address, error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error)));
				continue;
			}
			for (const addrinfo* each = found; each; each = each->ai_next) {
				if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
				Target target{address, {}, each->ai_addrlen, hosts.size() > 1 && each->ai_family == AF_INET6};
				memcpy(&target.address, each->ai_addr, each->ai_addrlen);
				if (std::none_of(targets.begin(), targets.end(), [&](const Target& t) { return t.same_as(target); }))
					targets.push_back(std::move(target));
			}
			freeaddrinfo(found);
		}
	}
	// Those no longer wanted go first: a new one may need their port.
	for (size_t i = 0; i < sockets_.size();) {
		const bool wanted = std::any_of(targets.begin(), targets.end(),
		                                [&](const Target& t) { return t.same_as(sockets_[i]->target); });
		if (wanted) {
			i++;
			continue;
		}
		close(std::move(sockets_[i]));
		sockets_.erase(sockets_.begin() + static_cast<ptrdiff_t>(i));
	}
	for (const Target& target : targets)
		if (std::none_of(sockets_.begin(), sockets_.end(), [&](const auto& s) { return s->target.same_as(target); }))
			open(target, share_port, failures);
	return failures;
}

void Listeners::open(const Target& target, bool share_port, std::vector<std::string>& failures)
{
	sockaddr_storage address = target.address;
	// Port 0 of "localhost" is one port in both families.
	if (target.asked.port == 0 && !is_path(target.asked))
		for (const auto& socket : sockets_)
			if (socket->target.asked.port == 0 && socket->target.asked.host == target.asked.host)
				set_port(address, socket->port);

	const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		if (!(target.optional && errno == EAFNOSUPPORT)) failures.push_back(failure(target.asked, strerror(errno)));
		return;
	}
	const bool path = address.ss_family == AF_UNIX;
	if (path)
		remove_stale(address, target.length);
	else
		set_tcp_options(fd, address.ss_family, share_port);

	auto opened = std::make_unique<Socket>();
	if (bind(fd, reinterpret_cast<sockaddr*>(&address), target.length) != 0 || ::listen(fd, kBacklog) != 0) {
		const int error = errno;
		::close(fd);
		if (!(target.optional && error == EADDRNOTAVAIL)) failures.push_back(failure(target.asked, strerror(error)));
		return;
	}
	socklen_t length = sizeof address;
	getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
	opened->fd = fd;
	opened->target = target;
	opened->port = path ? target.asked.port : port_of(address);
	struct stat status;
	if (path) {
		// As PostgreSQL's own: who may connect is for the directory to say, and for the role that a client gets.
		chmod(target.asked.host.c_str(), 0777);
		if (lstat(target.asked.host.c_str(), &status) == 0) opened->inode = status.st_ino;
	}
	opened->owner = this;
	opened->poll.data = opened.get();
	const int error = uv_poll_init(loop_, &opened->poll, fd);
	if (error != 0) {
		::close(fd);
		failures.push_back(failure(target.asked, uv_strerror(error)));
		return;
	}
	if (!rest_timer_) start(*opened);
	sockets_.push_back(std::move(opened));
}

void Listeners::start(Socket& socket) noexcept
{
	uv_poll_start(&socket.poll, UV_READABLE, [](uv_poll_t* handle, int, int) {
		auto* readable = static_cast<Socket*>(handle->data);
		readable->owner->accept_some(*readable);
	});
}

void Listeners::accept_some(Socket& socket) noexcept
{
	for (int i = 0; i < kAcceptsPerTurn; i++) {
		sockaddr_storage from{};
		socklen_t length = sizeof from;
		const int fd = accept4(socket.fd, reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			acceptor_.accepted(fd, from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			acceptor_.accept_failed(errno);
			rest();
			return;
		}
		// Whatever else accept() reports is about one client that is gone already, or means that none is left.
		if (errno == EAGAIN || errno == EWOULDBLOCK) return;
	}
}

// A listening socket that cannot be served stays readable: without a rest the loop would spin on it.
void Listeners::rest() noexcept
{
	if (rest_timer_) return;
	for (const auto& socket : sockets_)
		uv_poll_stop(&socket->poll);
	rest_timer_ = new (std::nothrow) uv_timer_t;
	if (!rest_timer_) return;
	uv_timer_init(loop_, rest_timer_);
	rest_timer_->data = this;
	uv_timer_start(
	    rest_timer_,
	    [](uv_timer_t* timer) noexcept {
		    auto* self = static_cast<Listeners*>(timer->data);
		    self->rest_timer_ = nullptr;
		    uv_close(reinterpret_cast<uv_handle_t*>(timer),
		             [](uv_handle_t* handle) { delete reinterpret_cast<uv_timer_t*>(handle); });
		    for (const auto& socket : self->sockets_)
			    self->start(*socket);
	    },
	    kRestMs, 0);
}

void Listeners::close(std::unique_ptr<Socket> socket) noexcept
{
	uv_poll_stop(&socket->poll);
	::close(socket->fd);
	socket->remove_file();
	Socket* leaving = socket.release();
	uv_close(reinterpret_cast<uv_handle_t*>(&leaving->poll),
	         [](uv_handle_t* handle) { delete static_cast<Socket*>(handle->data); });
}

void Listeners::close_all() noexcept
{
	for (auto& socket : sockets_)
		close(std::move(socket));
	sockets_.clear();
	if (!rest_timer_) return;
	uv_timer_stop(rest_timer_);
	uv_close(reinterpret_cast<uv_handle_t*>(rest_timer_),
	         [](uv_handle_t* handle) { delete reinterpret_cast<uv_timer_t*>(handle); });
	rest_timer_ = nullptr;
}

int Listeners::port() const noexcept
{
	for (const auto& socket : sockets_)
		if (socket->port != 0) return socket->port;
	return 0;
}

}  // namespace plank::net
