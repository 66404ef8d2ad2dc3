// The swarm owns every WebSocket connection of the load client: one thread, one epoll, one receive buffer for all.
// It checks each delivery as it comes: per client and writer the numbers 1, 2, 3 … must arrive each once and in order;
// the first that does not is thrown.
// Runs in the main thread of plank-load. Must not call libpq and must not allocate per delivery.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "clock.hpp"
#include "scan.hpp"
#include "websocket.hpp"

namespace plank::bench {

// When the commit that carries a mark was sent; the writers know.
using SentAt = std::function<int64_t(Mark)>;

struct SwarmOptions {
	uint16_t port = 0;
	std::string path = "/";
	std::string subscribe;  // table to subscribe to by plank.v1; empty: every connection gets everything
	unsigned clients = 1;
	unsigned writers = 1;
};

struct SwarmCounts {
	uint64_t deliveries = 0;  // changes received, all clients together
	uint64_t messages = 0;
	uint64_t bytes = 0;
	uint64_t reads = 0;  // recv() calls that brought bytes
};

class Swarm {
 public:
	Swarm(SwarmOptions options, SentAt sent_at);
	~Swarm();
	Swarm(const Swarm&) = delete;
	Swarm& operator=(const Swarm&) = delete;

	// Connects everybody, and subscribes; returns when all are ready.
	void connect();

	// Receives until `done` says so, asked after each batch; throws when nothing arrives for `stall_ms`.
	void run_until(const std::function<bool()>& done, int stall_ms);

	// Keeps all connections alive until standard input ends.
	void hold();

	// Says goodbye with a close frame and waits for the server to end the connections.
	void close();

	const SwarmCounts& counts() const noexcept { return counts_; }
	const Histogram& latency() const noexcept { return latency_; }
	int64_t last_delivery_ns() const noexcept { return last_delivery_; }
	// Deliveries since the start, which reset_counts() leaves alone.
	uint64_t total() const noexcept { return total_; }
	// From here on counts and times start anew; the order that is checked goes on.
	void reset_counts();
	// Numbers up to each writer's last that clients have not had yet, summed over clients.
	uint64_t lacking(const std::vector<uint32_t>& last_of_writer) const;

 private:
	enum class State : uint8_t { connecting, upgrading, subscribing, ready, closing, closed };

	struct Client {
		int fd = -1;
		State state = State::connecting;
		FrameParser parser;
		MarkScanner scanner;
		uint8_t head_size = 0;
		char head[15];     // of the current message, to tell its kind
		std::string text;  // what came before it was ready
	};
	struct Reader;

	void open(unsigned index);
	void on_event(unsigned index, uint32_t events);
	void on_bytes(Client& client, std::string_view bytes);
	void on_mark(const Client& client, Mark mark);
	void on_answer(Client& client);
	void send_all(const Client& client, std::string_view bytes);
	void end(Client& client);
	bool wait(int timeout_ms);
	size_t index_of(const Client& client) const noexcept { return static_cast<size_t>(&client - clients_.data()); }

	SwarmOptions options_;
	SentAt sent_at_;
	int epoll_ = -1;
	std::vector<Client> clients_;
	std::vector<uint32_t> next_;  // clients × writers
	std::vector<char> buffer_;
	SwarmCounts counts_;
	Histogram latency_;
	uint64_t total_ = 0;
	int64_t arrival_ = 0;
	int64_t last_delivery_ = 0;
	unsigned ready_ = 0;
	unsigned closed_ = 0;
	bool closing_ = false;
};

}  // namespace plank::bench
