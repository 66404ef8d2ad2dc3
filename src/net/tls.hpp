// TLS for adopted sockets: the server's certificate, and one connection's records. OpenSSL reads from and writes to memory
// here, never to a socket, so that nothing can block and libwebsockets keeps carrying the bytes.
// Runs in the worker, inside libwebsockets and libuv callbacks. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

namespace plank::net {

struct TlsFree {
	void operator()(SSL_CTX* context) const noexcept;
	void operator()(SSL* ssl) const noexcept;
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsFree>;

// TLS 1.2 and up, ALPN http/1.1, with what the two PEM files hold; null and why not in `failure`. Connections keep the
// context that they were made with.
[[nodiscard]] TlsContext make_tls_context(const std::string& certificate_file, const std::string& key_file,
                                          std::string& failure);

class TlsStream {
 public:
	// What becomes of bytes that came from the client.
	enum class Outcome : unsigned char {
		fine,
		ended,   // the client has said that nothing more comes
		broken,  // it is no TLS, or not this server's: what waits in `take_output` is the alert that says so
	};

	explicit TlsStream(SSL_CTX& context);
	TlsStream(const TlsStream&) = delete;
	TlsStream& operator=(const TlsStream&) = delete;

	// Takes all of `wire`; calls `take` with each piece of plain text, which may be changed in place.
	template <class Take>
	[[nodiscard]] Outcome feed(std::string_view wire, Take&& take)
	{
		input_ = wire;
		for (;;) {
			size_t got = 0;
			const Outcome outcome = read(got);
			if (outcome != Outcome::fine || got == 0) return outcome;
			take(plain_text(), got);
		}
	}
	// Turns plain text into records, all of it; false when the connection cannot be written to any more.
	[[nodiscard]] bool encrypt(const char* data, size_t length);
	// Says that nothing more will be sent.
	void say_goodbye() noexcept;
	[[nodiscard]] bool established() const noexcept;

	// Records that wait to be given to the socket.
	bool has_output() const noexcept { return !output_.empty(); }
	std::string take_output() noexcept;

 private:
	friend struct TlsPipe;
	Outcome read(size_t& got);
	static char* plain_text() noexcept;

	std::unique_ptr<SSL, TlsFree> ssl_;
	std::string_view input_;  // while `feed` runs: what OpenSSL has not read yet
	std::string output_;
};

// Whether bytes that came first on a connection are a plain HTTP request and no TLS, or the other way round.
[[nodiscard]] bool is_plain_http(std::string_view first) noexcept;
[[nodiscard]] bool is_tls(std::string_view first) noexcept;

}  // namespace plank::net
