// plank-watch: many subscriptions, with conditions, snapshots or positions, on some connections; counts the marks they
// bring and does what standard input says, until it ends.
// Exit code 0: nothing came twice or was refused; 1: something was, or nothing came any more; 2: bad usage.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <system_error>
#include <vector>

#include "arguments.hpp"
#include "clock.hpp"
#include "replayed.hpp"
#include "scan.hpp"
#include "websocket.hpp"

namespace plank::bench {

namespace {

constexpr const char* kUsage = R"(plank-watch: subscriptions by the many
  --port N            the worker's                      --table T         to subscribe to
  --clients N         connections (1)                   --each N          subscriptions on each (1)
  --where C           condition; # in it stands for the subscription's number, 0, 1, 2 … over all connections
  --since P           position to resume from           --stall MS        give up when nothing arrives (30000)
  --tokens F          file with a line for each connection: its token
  --primary C         and
  --standby C         conninfo of the two servers, for the command replay
  --snapshot          ask for the rows that are there, which come in any order
When every subscription is confirmed it prints {"subscribed":N, …}. Then it reads lines:
  expect N            wait for N marks and print their times
  replay N            write N rows at the primary and print how long after their replay they came
)";

constexpr uint32_t kInput = std::numeric_limits<uint32_t>::max();
constexpr size_t kReceiveBuffer = 256 * 1024;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

size_t occurrences(std::string_view text, std::string_view of)
{
	size_t count = 0;
	for (size_t at = text.find(of); at != std::string_view::npos; at = text.find(of, at + of.size()))
		++count;
	return count;
}

std::string in_json(std::string_view text)
{
	std::string result;
	for (const char c : text) {
		if (c == '"' || c == '\\') result += '\\';
		result += c;
	}
	return result;
}

class Watch {
 public:
	explicit Watch(const Arguments& arguments)
	    : arguments_(arguments),
	      stall_ns_(static_cast<int64_t>(arguments.number("--stall", 30000) * 1e6)),
	      each_(arguments.count("--each", 1)),
	      ordered_(arguments.count("--snapshot", 0) == 0),
	      epoll_(epoll_create1(EPOLL_CLOEXEC)),
	      clients_(arguments.count("--clients", 1)),
	      buffer_(kReceiveBuffer)
	{
		if (epoll_ < 0) fail("epoll_create1");
	}

	~Watch()
	{
		for (const Client& client : clients_)
			if (client.fd >= 0) ::close(client.fd);
		::close(epoll_);
	}

	Watch(const Watch&) = delete;
	Watch& operator=(const Watch&) = delete;

	void run()
	{
		std::ifstream tokens;
		if (const std::string path = arguments_.text("--tokens", ""); !path.empty()) {
			tokens.open(path);
			if (!tokens) throw std::invalid_argument("cannot read " + path);
		}
		for (Client& client : clients_) {
			std::string token;
			if (tokens.is_open() && !std::getline(tokens, token))
				throw std::invalid_argument("there are fewer tokens than connections");
			connect(client, token);
		}
		add(STDIN_FILENO, EPOLLIN, kInput);
		const int64_t began = now_ns();
		for (Client& client : clients_)
			subscribe(client);
		const size_t wanted = clients_.size() * each_;
		run_until([&] { return confirmed_ == wanted; });
		std::cout << "{\"subscribed\":" << confirmed_ << ",\"began_ns\":" << began << ",\"confirmed_ns\":" << now_ns()
		          << ",\"position\":\"" << position_ << "\"}" << std::endl;
		for (;;) {
			const size_t end = input_.find('\n');
			if (end != std::string::npos) {
				const std::string line = input_.substr(0, end);
				input_.erase(0, end + 1);
				command(line);
			} else if (input_ended_) {
				return;
			} else {
				turn(1000);
			}
		}
	}

 private:
	struct Client {
		int fd = -1;
		FrameParser parser;
		MarkScanner scanner;
		uint32_t last = 0;     // number of its last mark
		size_t confirmed = 0;  // subscriptions
		std::string text;      // the current message, while subscriptions are not all confirmed
		std::string out;       // not yet taken by the socket
		uint8_t head_size = 0;
		char head[15];
	};

	struct Reader {
		Watch& watch;
		Client& client;

		void payload(std::string_view piece) const
		{
			if (client.confirmed < watch.each_) client.text.append(piece);
			const size_t size = std::min(sizeof client.head - client.head_size, piece.size());
			std::memcpy(client.head + client.head_size, piece.data(), size);
			client.head_size += static_cast<uint8_t>(size);
			client.scanner.feed(piece, [&](Mark mark) { watch.on_mark(client, mark); });
		}

		void message_end() const
		{
			if (client.scanner.open()) throw std::runtime_error("a message ended inside a mark");
			const std::string_view head(client.head, client.head_size);
			for (std::string_view bad : {R"({"type":"reset")", R"({"type":"error")", R"({"type":"unsubs)"})
				if (head == bad) throw std::runtime_error("the server sent " + std::string(head) + " … " + client.text);
			client.head_size = 0;
			if (client.confirmed < watch.each_) watch.on_answer(client);
		}

		void control(Opcode opcode, std::string_view payload) const
		{
			if (opcode == Opcode::ping)
				watch.send(client, masked_frame(Opcode::pong, payload));
			else if (opcode == Opcode::close)
				throw std::runtime_error("the server closed a connection");
		}
	};

	void add(int fd, uint32_t events, uint32_t name) const
	{
		epoll_event event{.events = events, .data = {.u32 = name}};
		if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
	}

	// One after the other and blocking: connecting is not what is measured here.
	void connect(Client& client, const std::string& token)
	{
		client.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (client.fd < 0) fail("socket");
		const int on = 1;
		setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		const timeval patience{180, 0};
		setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
		const unsigned port = arguments_.count("--port", 0);
		sockaddr_in address{};
		address.sin_family = AF_INET;
		address.sin_port = htons(static_cast<uint16_t>(port));
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (::connect(client.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail("connect");
		const std::string path = token.empty() ? "/ws" : "/ws?access_token=" + token;
		const std::string request = upgrade_request("127.0.0.1:" + std::to_string(port), path, "plank.v1");
		if (::send(client.fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) fail("send");
		std::string answer;
		size_t end = std::string::npos;
		while (end == std::string::npos) {
			const ssize_t size = recv(client.fd, buffer_.data(), buffer_.size(), 0);
			if (size <= 0) throw std::runtime_error("the server did not answer an upgrade");
			answer.append(buffer_.data(), static_cast<size_t>(size));
			end = answer.find("\r\n\r\n");
		}
		check_upgrade(std::string_view(answer).substr(0, end + 4));
		fcntl(client.fd, F_SETFL, O_NONBLOCK);
		add(client.fd, EPOLLIN, static_cast<uint32_t>(&client - clients_.data()));
		client.parser.feed(std::string_view(answer).substr(end + 4), Reader{*this, client});
	}

	void subscribe(Client& client)
	{
		const std::string where = arguments_.text("--where", "");
		const std::string since = arguments_.text("--since", "");
		const std::string head = R"({"type":"subscribe","table":")" + in_json(arguments_.text("--table", "")) + "\"" +
		                         (ordered_ ? "" : R"(,"snapshot":true)") +
		                         (since.empty() ? "" : R"(,"since":")" + in_json(since) + "\"");
		const size_t first = static_cast<size_t>(&client - clients_.data()) * each_;
		std::string frames;
		for (size_t i = first; i < first + each_; ++i) {
			std::string text = head + R"(,"id":"s)" + std::to_string(i) + "\"";
			if (!where.empty()) {
				text += R"(,"where":")";
				for (const char c : in_json(where))
					c == '#' ? text.append(std::to_string(i)) : text.append(1, c);
				text += '"';
			}
			frames += masked_frame(Opcode::text, text + "}");
		}
		send(client, frames);
	}

	void command(const std::string& line)
	{
		const size_t space = line.find(' ');
		const unsigned long count = space == std::string::npos ? 0 : std::stoul(line.substr(space + 1));
		const std::string name = line.substr(0, space);
		if (name == "expect")
			expect(count);
		else if (name == "replay")
			replay(static_cast<unsigned>(count));
		else
			throw std::invalid_argument("unknown command " + line);
	}

	void expect(uint64_t count)
	{
		run_until([&] { return marks_ >= count; });
		if (marks_ != count)
			throw std::runtime_error(std::to_string(marks_) + " marks came where " + std::to_string(count) +
			                         " were due");
		std::cout << "{\"marks\":" << marks_ << ",\"sum\":" << sum_ << ",\"bytes\":" << bytes_
		          << ",\"first_ns\":" << first_ << ",\"last_ns\":" << arrival_ << "}" << std::endl;
		marks_ = sum_ = bytes_ = 0;
	}

	void replay(unsigned count)
	{
		arrivals_.assign(count + 1, 0);
		Replayed replayed(arguments_.text("--primary", ""), arguments_.text("--standby", ""),
		                  arguments_.text("--table", ""), count);
		run_until([&] { return replayed.finished() && marks_ >= count; });
		replayed.join();
		Histogram after_replay;
		Histogram after_commit;
		for (unsigned i = 1; i <= count; ++i) {
			after_replay.add(arrivals_[i] - replayed.replayed_ns()[i]);
			after_commit.add(arrivals_[i] - replayed.commit_sent_ns()[i]);
		}
		std::cout << "{\"after_replay_ns\":" << percentiles(after_replay)
		          << ",\"after_commit_ns\":" << percentiles(after_commit) << "}" << std::endl;
		arrivals_.clear();
		marks_ = sum_ = bytes_ = 0;
	}

	void run_until(const std::function<bool()>& done)
	{
		int64_t progress = now_ns();
		while (!done()) {
			if (turn(20))
				progress = now_ns();
			else if (now_ns() - progress > stall_ns_)
				throw std::runtime_error("nothing has arrived any more: " + std::to_string(confirmed_) +
				                         " subscriptions and " + std::to_string(marks_) + " marks were there");
		}
	}

	// True when marks or confirmations came.
	bool turn(int timeout_ms)
	{
		epoll_event events[128];
		const int count = epoll_wait(epoll_, events, 128, timeout_ms);
		if (count < 0 && errno != EINTR) fail("epoll_wait");
		const uint64_t before = marks_ + confirmed_;
		for (int i = 0; i < count; ++i) {
			if (events[i].data.u32 == kInput) {
				read_input();
				continue;
			}
			Client& client = clients_[events[i].data.u32];
			if ((events[i].events & EPOLLOUT) != 0) send(client, {});
			if ((events[i].events & ~EPOLLOUT) != 0) receive(client);
		}
		return marks_ + confirmed_ > before;
	}

	void read_input()
	{
		char bytes[512];
		const ssize_t size = read(STDIN_FILENO, bytes, sizeof bytes);
		if (size > 0) {
			input_.append(bytes, static_cast<size_t>(size));
			return;
		}
		input_ended_ = true;
		epoll_ctl(epoll_, EPOLL_CTL_DEL, STDIN_FILENO, nullptr);
	}

	void receive(Client& client)
	{
		const ssize_t size = recv(client.fd, buffer_.data(), buffer_.size(), 0);
		if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
		if (size <= 0) throw std::runtime_error("the server ended a connection");
		bytes_ += static_cast<uint64_t>(size);
		now_ = now_ns();
		client.parser.feed({buffer_.data(), static_cast<size_t>(size)}, Reader{*this, client});
	}

	void send(Client& client, std::string_view bytes) const
	{
		const bool was_waiting = !client.out.empty();
		client.out.append(bytes);
		const ssize_t size = ::send(client.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
		if (size < 0 && errno != EAGAIN && errno != EINTR) fail("send");
		client.out.erase(0, static_cast<size_t>(std::max<ssize_t>(size, 0)));
		if (was_waiting == !client.out.empty()) return;
		epoll_event event{.events = client.out.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT,
		                  .data = {.u32 = static_cast<uint32_t>(&client - clients_.data())}};
		epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &event);
	}

	void on_answer(Client& client)
	{
		const std::string& text = client.text;
		for (std::string_view bad : {R"("type":"error")", R"("type":"reset")", R"("resumed":false)"})
			if (text.find(bad) != std::string::npos)
				throw std::runtime_error("subscription refused: " + text.substr(0, 500));
		const size_t confirmed = occurrences(text, R"("type":"subscribed")");
		client.confirmed += confirmed;
		confirmed_ += confirmed;
		constexpr std::string_view kPosition = R"("position":")";
		if (const size_t at = text.find(kPosition); confirmed > 0 && at != std::string::npos) {
			const size_t begin = at + kPosition.size();
			position_ = text.substr(begin, text.find('"', begin) - begin);
		}
		client.text.clear();
	}

	void on_mark(Client& client, Mark mark)
	{
		if (ordered_ && mark.seq <= client.last)
			throw std::runtime_error("a change came twice or late: " + std::to_string(mark.seq) + " after " +
			                         std::to_string(client.last));
		client.last = mark.seq;
		if (mark.seq < arrivals_.size()) arrivals_[mark.seq] = now_;
		if (marks_ == 0) first_ = now_;
		arrival_ = now_;
		++marks_;
		sum_ += mark.seq;
	}

	const Arguments& arguments_;
	int64_t stall_ns_;
	size_t each_;
	bool ordered_;
	int epoll_;
	std::vector<Client> clients_;
	std::vector<char> buffer_;
	std::vector<int64_t> arrivals_;  // by number, while replay is watched
	std::string input_;
	bool input_ended_ = false;
	std::string position_;
	size_t confirmed_ = 0;
	uint64_t marks_ = 0;
	uint64_t sum_ = 0;
	uint64_t bytes_ = 0;
	int64_t first_ = 0;
	int64_t arrival_ = 0;
	int64_t now_ = 0;
};

}  // namespace

}  // namespace plank::bench

int main(int argc, char** argv)
{
	using namespace plank::bench;
	try {
		const Arguments arguments(argc, argv, kUsage, "--snapshot");
		Watch(arguments).run();
		return 0;
	} catch (const std::invalid_argument& error) {
		std::cerr << "plank-watch: " << error.what() << "\n" << kUsage;
		return 2;
	} catch (const std::exception& error) {
		std::cerr << "plank-watch: " << error.what() << "\n";
		return 1;
	}
}
