// The network layer alone, as a program: echoes every message. For the frame-level tests beside it and for outside
// WebSocket conformance suites. `echo PORT [--name=value ...]`; prints "listening on PORT" when it accepts clients and
// stops cleanly, with close code 1001, on SIGTERM or SIGINT. Not part of Plank.
//
// Besides echoing, with --commands: "push N SIZE" makes N shared frames of SIZE bytes and sends them to every client;
// "throw" throws inside the handler; "close CODE" closes; "drain N SIZE CODE" sends N frames and closes after them;
// "stats" sends the counters; "listen HOST:PORT ..." listens there instead (a path has no port) and sends what failed;
// "tls CERT KEY" changes the files and sends why not; "peer" sends the client's address.
#include <uv.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <sstream>
#include <stdexcept>
#include <unordered_set>

#include <malloc.h>

#include "net/server.hpp"

using namespace plank::net;

namespace {

struct Client {
	std::deque<FramePtr> queue;
	size_t waiting = 0;
};

class Echo : public Handler {
 public:
	std::unique_ptr<Server> server;
	bool commands = false;

	HttpResponse on_request(const HttpRequest& request) override
	{
		HttpResponse response;
		static const auto hello = std::make_shared<const std::string>("hello\n");
		static const auto large = std::make_shared<const std::string>(3'000'000, 'x');
		if (request.path == "/") {
			response.body = hello;
			response.etag = "\"1\"";
		} else if (request.path == "/large") {
			response.body = large;
		} else if (request.path == "/throw") {
			throw std::runtime_error("thrown on demand");
		} else {
			response.status = 404;
		}
		return response;
	}
	UpgradeAnswer on_upgrade(const HttpRequest& request) override
	{
		if (request.query == "refuse") return {403, "refused on demand", nullptr};
		return {};
	}
	void on_open(Connection& connection) override
	{
		clients_.insert(&connection);
		connection.set_context(new Client);
	}
	void on_message(Connection& connection, std::string_view text) override
	{
		if (!commands || !obey(connection, text)) push(connection, Frame::make(text));
	}
	void on_binary(Connection& connection, std::string_view bytes) override
	{
		push(connection, Frame::make(bytes, true));
	}
	FramePtr next_frame(Connection& connection) override
	{
		auto& client = *static_cast<Client*>(connection.context());
		if (client.waiting < kResume) connection.pause_reading(false);
		if (client.queue.empty()) return nullptr;
		FramePtr frame = std::move(client.queue.front());
		client.queue.pop_front();
		client.waiting -= frame->size();
		return frame;
	}
	size_t waiting(const Connection& connection) noexcept override
	{
		return static_cast<const Client*>(connection.context())->waiting;
	}
	void on_close(Connection& connection) noexcept override
	{
		if (clients_.erase(&connection) != 1) abort();  // never twice, never without on_open
		delete static_cast<Client*>(connection.context());
	}
	void log(char level, std::string_view line) noexcept override
	{
		fprintf(stderr, "%c %.*s\n", level, static_cast<int>(line.size()), line.data());
	}

 private:
	// Someone who sends without reading is not read from beyond this.
	static constexpr size_t kPause = 32 * 1024 * 1024, kResume = 1024 * 1024;

	void push(Connection& connection, FramePtr frame)
	{
		auto& client = *static_cast<Client*>(connection.context());
		client.waiting += frame->size();
		client.queue.push_back(std::move(frame));
		if (client.waiting > kPause && commands == false) connection.pause_reading(true);
		connection.request_write();
	}
	// A text that shows where a byte was lost or changed.
	static FramePtr pattern(size_t size, size_t number)
	{
		std::string text = "#" + std::to_string(number) + " ";
		while (text.size() < size)
			text += std::to_string(text.size()) + ",";
		text.resize(size);
		return Frame::make(text);
	}
	std::string listen(const std::string& hosts)
	{
		std::vector<Address> addresses;
		std::istringstream words(hosts);
		for (std::string word; words >> word;) {
			if (word[0] == '/') {
				addresses.push_back({word, 0});
				continue;
			}
			const size_t colon = word.rfind(':');
			addresses.push_back({word.substr(0, colon), std::stoi(word.substr(colon + 1))});
		}
		std::string failures;
		for (const std::string& failure : server->listen(addresses, false))
			failures += failure + "\n";
		return failures + "port " + std::to_string(server->port());
	}
	bool obey(Connection& connection, std::string_view text)
	{
		const std::string line(text);
		size_t count = 0, size = 0;
		unsigned code = 0;
		if (sscanf(line.c_str(), "push %zu %zu", &count, &size) == 2) {
			for (size_t i = 0; i < count; i++) {
				const FramePtr frame = pattern(size, i);
				for (Connection* each : clients_)
					push(*each, frame);
			}
		} else if (sscanf(line.c_str(), "drain %zu %zu %u", &count, &size, &code) == 3) {
			for (size_t i = 0; i < count; i++)
				push(connection, pattern(size, i));
			connection.close(static_cast<CloseCode>(code), "drained", true);
		} else if (sscanf(line.c_str(), "close %u", &code) == 1) {
			connection.close(static_cast<CloseCode>(code), "asked for");
		} else if (line.starts_with("listen ")) {
			push(connection, Frame::make(listen(line.substr(7))));
		} else if (line.starts_with("tls")) {
			std::istringstream words(line.substr(3));
			std::string certificate, key;
			words >> certificate >> key;
			push(connection, Frame::make("tls: " + server->set_tls(certificate, key)));
		} else if (line == "peer") {
			push(connection, Frame::make("peer " + std::string(connection.peer())));
		} else if (line == "throw") {
			throw std::runtime_error("thrown on demand");
		} else if (line == "stats") {
			const Counters& c = server->counters();
			const struct mallinfo2 heap = mallinfo2();
			push(connection, Frame::make("{\"accepted\":" + std::to_string(c.accepted) + ",\"refused\":" +
			                             std::to_string(c.refused) + ",\"closed\":" + std::to_string(c.closed) +
			                             ",\"connections\":" + std::to_string(server->connections()) +
			                             ",\"too_slow\":" + std::to_string(c.closed_too_slow) +
			                             ",\"heap\":" + std::to_string(heap.uordblks + heap.hblkhd) + "}"));
		} else {
			return false;
		}
		return true;
	}

	std::unordered_set<Connection*> clients_;
};

bool option(const char* argument, const char* name, long& value)
{
	const size_t length = strlen(name);
	if (strncmp(argument, name, length) != 0 || argument[length] != '=') return false;
	value = atol(argument + length + 1);
	return true;
}

}  // namespace

int main(int argc, char** argv)
{
	Limits limits;
	limits.max_message_size = 16 * 1024 * 1024;
	limits.send_buffer = 64 * 1024 * 1024;
	limits.accept_binary = true;
	limits.websocket_path.clear();
	Echo echo;
	long port = 0, value = 0;
	std::string host = "localhost", certificate, key, proxies;
	for (int i = 1; i < argc; i++) {
		const char* a = argv[i];
		if (option(a, "--max-connections", value))
			limits.max_connections = static_cast<int>(value);
		else if (option(a, "--max-message", value))
			limits.max_message_size = static_cast<size_t>(value);
		else if (option(a, "--send-buffer", value))
			limits.send_buffer = static_cast<size_t>(value);
		else if (option(a, "--send-timeout", value))
			limits.send_timeout_ms = static_cast<int>(value);
		else if (option(a, "--ping-interval", value))
			limits.ping_interval_ms = static_cast<int>(value);
		else if (option(a, "--handshake-timeout", value))
			limits.handshake_timeout_ms = static_cast<int>(value);
		else if (option(a, "--message-timeout", value))
			limits.message_timeout_ms = static_cast<int>(value);
		else if (option(a, "--connection-rate", value))
			limits.connection_rate = static_cast<int>(value);
		else if (strncmp(a, "--cert=", 7) == 0)
			certificate = a + 7;
		else if (strncmp(a, "--key=", 6) == 0)
			key = a + 6;
		else if (strncmp(a, "--proxies=", 10) == 0)
			proxies = a + 10;
		else if (strcmp(a, "--no-binary") == 0)
			limits.accept_binary = false;
		else if (strcmp(a, "--commands") == 0)
			echo.commands = true;
		else if (strncmp(a, "--path=", 7) == 0)
			limits.websocket_path = a + 7;
		else if (strncmp(a, "--host=", 7) == 0)
			host = a + 7;
		else if (a[0] != '-')
			port = atol(a);
		else {
			fprintf(stderr, "unknown option %s\n", a);
			return 2;
		}
	}
	uv_loop_t loop;
	uv_loop_init(&loop);
	echo.server = Server::create(&loop, echo, limits);
	if (!echo.server) return 1;
	for (const std::string& entry : echo.server->set_trusted_proxies(proxies))
		fprintf(stderr, "not an address: %s\n", entry.c_str());
	const std::string untrusted = echo.server->set_tls(certificate, key);
	if (!untrusted.empty()) {
		fprintf(stderr, "%s\n", untrusted.c_str());
		return 1;
	}
	for (const std::string& failure : echo.server->listen({{host, static_cast<int>(port)}}, false))
		fprintf(stderr, "%s\n", failure.c_str());
	if (echo.server->port() == 0) return 1;

	uv_signal_t signals[2];
	for (int i = 0; i < 2; i++) {
		uv_signal_init(&loop, &signals[i]);
		signals[i].data = echo.server.get();
		uv_signal_start(
		    &signals[i],
		    [](uv_signal_t* handle, int) {
			    static_cast<Server*>(handle->data)->stop(CloseCode::going_away, "server stopping");
		    },
		    i ? SIGINT : SIGTERM);
	}
	printf("listening on %d\n", echo.server->port());
	fflush(stdout);
	while (!echo.server->stopped())
		uv_run(&loop, UV_RUN_ONCE);
	for (auto& signal : signals)
		uv_close(reinterpret_cast<uv_handle_t*>(&signal), nullptr);
	echo.server.reset();
	const int left = uv_loop_close(&loop);
	if (left != 0) fprintf(stderr, "handles were left open: %s\n", uv_strerror(left));
	return left == 0 ? 0 : 1;
}
