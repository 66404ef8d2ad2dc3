#include "swarm.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace plank::bench {

namespace {

constexpr size_t kReceiveBuffer = 256 * 1024;
constexpr unsigned kOpening = 64;  // connections on their way at a time: below every listen backlog
constexpr unsigned kSources = 16;  // addresses 127.0.0.2 …, each with ephemeral ports of its own
constexpr int kConnectStallMs = 15000;
constexpr int kCloseMs = 5000;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

// What the frame parser calls; a view of one client while its bytes are read.
struct Swarm::Reader {
	Swarm& swarm;
	Client& client;

	void payload(std::string_view piece) const
	{
		if (client.state == State::subscribing) {
			client.text.append(piece);
			return;
		}
		if (client.head_size < sizeof client.head) {
			const size_t size = std::min(sizeof client.head - client.head_size, piece.size());
			std::memcpy(client.head + client.head_size, piece.data(), size);
			client.head_size += static_cast<uint8_t>(size);
		}
		client.scanner.feed(piece, [&](Mark mark) { swarm.on_mark(client, mark); });
	}

	void message_end() const
	{
		if (client.state == State::subscribing) {
			swarm.on_answer(client);
			return;
		}
		++swarm.counts_.messages;
		if (client.scanner.open()) throw std::runtime_error("a message ended inside a mark");
		// A reset or an error says what a count alone could only call missing.
		const std::string_view head(client.head, client.head_size);
		client.head_size = 0;
		for (std::string_view bad : {R"({"type":"reset")", R"({"type":"error")", R"({"type":"unsubs)"})
			if (head == bad) throw std::runtime_error("the server sent " + std::string(head) + " …");
	}

	void control(Opcode opcode, std::string_view payload) const
	{
		if (opcode == Opcode::ping) {
			swarm.send_all(client, masked_frame(Opcode::pong, payload));
		} else if (opcode == Opcode::close && client.state != State::closing) {
			const unsigned code =
			    payload.size() < 2 ? 0 : static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]);
			throw std::runtime_error("the server closed a connection with code " + std::to_string(code));
		}
	}
};

Swarm::Swarm(SwarmOptions options, SentAt sent_at)
    : options_(std::move(options)),
      sent_at_(std::move(sent_at)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      clients_(options_.clients),
      next_(static_cast<size_t>(options_.clients) * options_.writers, 1),
      buffer_(kReceiveBuffer)
{
	if (epoll_ < 0) fail("epoll_create1");
}

Swarm::~Swarm()
{
	for (const Client& client : clients_)
		if (client.fd >= 0) ::close(client.fd);
	::close(epoll_);
}

void Swarm::connect()
{
	unsigned opened = 0;
	int64_t progress = now_ns();
	while (ready_ < options_.clients) {
		const unsigned before = ready_;
		while (opened < options_.clients && opened - ready_ < kOpening)
			open(opened++);
		wait(100);
		if (ready_ > before)
			progress = now_ns();
		else if (now_ns() - progress > kConnectStallMs * 1'000'000LL)
			throw std::runtime_error("only " + std::to_string(ready_) + " of " + std::to_string(options_.clients) +
			                         " clients became ready");
	}
}

void Swarm::run_until(const std::function<bool()>& done, int stall_ms)
{
	int64_t progress = now_ns();
	while (!done()) {
		if (wait(20))
			progress = now_ns();
		else if (now_ns() - progress > stall_ms * 1'000'000LL)
			throw std::runtime_error("nothing has arrived for " + std::to_string(stall_ms) + " ms");
	}
}

void Swarm::hold()
{
	pollfd watched[2] = {{STDIN_FILENO, POLLIN, 0}, {epoll_, POLLIN, 0}};
	for (;;) {
		if (poll(watched, 2, -1) < 0 && errno != EINTR) fail("poll");
		if (watched[0].revents != 0) {
			char byte;
			if (read(STDIN_FILENO, &byte, 1) <= 0) return;
		}
		if (watched[1].revents != 0) wait(0);
	}
}

void Swarm::close()
{
	closing_ = true;
	for (Client& client : clients_) {
		client.state = State::closing;
		send_all(client, masked_frame(Opcode::close, std::string_view("\x03\xe8", 2)));
	}
	const int64_t deadline = now_ns() + kCloseMs * 1'000'000LL;
	while (closed_ < options_.clients && now_ns() < deadline)
		wait(100);
}

void Swarm::reset_counts()
{
	counts_ = SwarmCounts();
	latency_.clear();
	last_delivery_ = 0;
}

uint64_t Swarm::lacking(const std::vector<uint32_t>& last_of_writer) const
{
	uint64_t result = 0;
	for (size_t i = 0; i < next_.size(); ++i) {
		const uint32_t last = last_of_writer[i % options_.writers];
		result += last + 1 > next_[i] ? last + 1 - next_[i] : 0;
	}
	return result;
}

void Swarm::open(unsigned index)
{
	Client& client = clients_[index];
	client.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client.fd < 0) fail("socket");
	const int on = 1;
	setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(client.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	sockaddr_in address{};
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + index % kSources);
	if (bind(client.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail("bind");
	address.sin_port = htons(options_.port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (::connect(client.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 && errno != EINPROGRESS)
		fail("connect");
	epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.u32 = index}};
	if (epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event) < 0) fail("epoll_ctl");
}

// True when changes arrived; a gateway's pings are no progress.
bool Swarm::wait(int timeout_ms)
{
	epoll_event events[512];
	const int count = epoll_wait(epoll_, events, 512, timeout_ms);
	if (count < 0 && errno != EINTR) fail("epoll_wait");
	const uint64_t before = total_;
	for (int i = 0; i < count; ++i)
		on_event(events[i].data.u32, events[i].events);
	return total_ > before;
}

void Swarm::on_event(unsigned index, uint32_t events)
{
	Client& client = clients_[index];
	if (client.state == State::connecting) {
		int error = 0;
		socklen_t size = sizeof error;
		getsockopt(client.fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error != 0) throw std::system_error(error, std::generic_category(), "connect");
		if ((events & EPOLLOUT) == 0) return;
		client.state = State::upgrading;
		epoll_event event{.events = EPOLLIN, .data = {.u32 = index}};
		epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &event);
		send_all(client, upgrade_request("127.0.0.1:" + std::to_string(options_.port), options_.path,
		                                 options_.subscribe.empty() ? "" : "plank.v1"));
		return;
	}

	const ssize_t size = recv(client.fd, buffer_.data(), buffer_.size(), 0);
	if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (size <= 0) {
		if (!closing_) throw std::runtime_error("the server ended a connection");
		end(client);
		return;
	}
	++counts_.reads;
	counts_.bytes += static_cast<uint64_t>(size);
	arrival_ = now_ns();
	on_bytes(client, {buffer_.data(), static_cast<size_t>(size)});
}

void Swarm::on_bytes(Client& client, std::string_view bytes)
{
	if (client.state == State::upgrading) {
		client.text.append(bytes);
		const size_t end_of_head = client.text.find("\r\n\r\n");
		if (end_of_head == std::string::npos) return;
		const std::string answer = std::exchange(client.text, {});
		check_upgrade(std::string_view(answer).substr(0, end_of_head + 4));
		if (options_.subscribe.empty()) {
			client.state = State::ready;
			++ready_;
		} else {
			client.state = State::subscribing;
			send_all(client, masked_frame(Opcode::text,
			                              R"({"type":"subscribe","id":"a","table":")" + options_.subscribe + "\"}"));
		}
		client.parser.feed(std::string_view(answer).substr(end_of_head + 4), Reader{*this, client});
		return;
	}
	client.parser.feed(bytes, Reader{*this, client});
}

// A message came before the client was ready: a welcome, the confirmation, or a refusal.
void Swarm::on_answer(Client& client)
{
	if (client.text.find(R"("type":"error")") != std::string::npos)
		throw std::runtime_error("subscription refused: " + client.text);
	if (client.text.find(R"("type":"subscribed")") != std::string::npos) {
		client.state = State::ready;
		++ready_;
		client.text.shrink_to_fit();
	}
	client.text.clear();
}

void Swarm::on_mark(const Client& client, Mark mark)
{
	if (mark.writer >= options_.writers) throw std::runtime_error("a mark of an unknown writer");
	uint32_t& next = next_[index_of(client) * options_.writers + mark.writer];
	if (mark.seq != next)
		throw std::runtime_error("client " + std::to_string(index_of(client)) + " " +
		                         (mark.seq > next ? "missed" : "had twice or late") + " a change of writer " +
		                         std::to_string(mark.writer) + ": " + std::to_string(next) + " was due and " +
		                         std::to_string(mark.seq) + " came");
	++next;
	++counts_.deliveries;
	++total_;
	last_delivery_ = arrival_;
	latency_.add(arrival_ - sent_at_(mark));
}

// Requests are a few hundred bytes on an empty socket: they fit, or something is wrong.
void Swarm::send_all(const Client& client, std::string_view bytes)
{
	if (send(client.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()) && !closing_)
		fail("send");
}

void Swarm::end(Client& client)
{
	::close(std::exchange(client.fd, -1));
	client.state = State::closed;
	++closed_;
}

}  // namespace plank::bench
