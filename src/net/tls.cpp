// See tls.hpp.
#include "net/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace plank::net {

namespace {

constexpr size_t kRecord = 16 * 1024;  // the most plain text of one record
constexpr unsigned char kProtocol[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

std::string last_error()
{
	char text[256] = "unknown error";
	// The first is the cause; what follows tells who was concerned.
	const unsigned long error = ERR_peek_error();
	if (error) ERR_error_string_n(error, text, sizeof text);
	ERR_clear_error();
	if (ERR_SYSTEM_ERROR(error)) return strerror(ERR_GET_REASON(error));
	// "error:0A000086:SSL routines::certificate verify failed": the reason is what an operator can use.
	const char* reason = strrchr(text, ':');
	return reason && reason[1] ? reason + 1 : text;
}

// The server has no terminal at which somebody could type one.
int no_passphrase(char*, int, int, void*) { return 0; }

// As PostgreSQL wants it for its own: nobody else may read a private key, but for a group of root's file.
std::string unsafe_key_file(const std::string& path)
{
	struct stat status;
	if (stat(path.c_str(), &status) != 0) return strerror(errno);
	if (!S_ISREG(status.st_mode)) return "it is not a regular file";
	const mode_t others = status.st_uid == geteuid() ? S_IRWXG | S_IRWXO : S_IWGRP | S_IXGRP | S_IRWXO;
	if (status.st_uid != geteuid() && status.st_uid != 0) return "it must belong to the server's user or root";
	if ((status.st_mode & others) != 0)
		return status.st_uid == geteuid() && geteuid() != 0
		           ? "others may read it; its mode must be 0600 or less"
		           : "others may read it; its mode must be 0640 or less when root owns it, else 0600";
	return "";
}

// A client that offers protocols but not this one would speak another than what is answered.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* offered,
                    unsigned offered_length, void*) noexcept
{
	unsigned char* chosen = nullptr;
	if (SSL_select_next_proto(&chosen, length, kProtocol, sizeof kProtocol, offered, offered_length) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

}  // namespace

void TlsFree::operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
void TlsFree::operator()(SSL* ssl) const noexcept { SSL_free(ssl); }

TlsContext make_tls_context(const std::string& certificate_file, const std::string& key_file, std::string& failure)
{
	ERR_clear_error();
	const auto fail = [&](const std::string& file, const std::string& why) {
		failure = "file \"" + file + "\" cannot be used for TLS: " + why;
		return nullptr;
	};
	TlsContext context(SSL_CTX_new(TLS_server_method()));
	SSL_CTX* raw = context.get();
	if (!raw) return fail(certificate_file, last_error());
	SSL_CTX_set_default_passwd_cb(raw, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(raw, certificate_file.c_str()) != 1)
		return fail(certificate_file, last_error());
	if (const std::string unsafe = unsafe_key_file(key_file); !unsafe.empty()) return fail(key_file, unsafe);
	const bool read = SSL_CTX_use_PrivateKey_file(raw, key_file.c_str(), SSL_FILETYPE_PEM) == 1;
	if (!read && ERR_GET_REASON(ERR_peek_error()) != X509_R_KEY_VALUES_MISMATCH) return fail(key_file, last_error());
	if (!read || SSL_CTX_check_private_key(raw) != 1)
		return fail(key_file, "it is not the key of the certificate in \"" + certificate_file + "\"");
	SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
	// For TLS 1.2: forward secrecy and authenticated encryption only. Those of TLS 1.3 all are.
	SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20");
	SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
	                             SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
	// Buffers of 16 kB each are given back while a connection is idle.
	SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);
	// Sessions are resumed with tickets, which the client keeps.
	SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(raw, 1);
	SSL_CTX_set_alpn_select_cb(raw, choose_protocol, nullptr);
	ERR_clear_error();
	return context;
}

// What OpenSSL takes for its socket: reads from the bytes at hand, and writes into the output.
struct TlsPipe {
	static TlsStream& of(BIO* bio) noexcept { return *static_cast<TlsStream*>(BIO_get_data(bio)); }

	static int read(BIO* bio, char* out, size_t size, size_t* got)
	{
		std::string_view& input = of(bio).input_;
		BIO_clear_retry_flags(bio);
		if (input.empty()) {
			BIO_set_retry_read(bio);
			return 0;
		}
		*got = std::min(size, input.size());
		memcpy(out, input.data(), *got);
		input.remove_prefix(*got);
		return 1;
	}

	static int write(BIO* bio, const char* data, size_t size, size_t* written)
	{
		BIO_clear_retry_flags(bio);
		try {
			of(bio).output_.append(data, size);
		} catch (const std::exception&) {
			return 0;  // an exception must not pass through OpenSSL
		}
		*written = size;
		return 1;
	}

	static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

	static BIO_METHOD* method()
	{
		static BIO_METHOD* const kMethod = [] {
			BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "plank");
			if (!made) throw std::bad_alloc();
			BIO_meth_set_read_ex(made, read);
			BIO_meth_set_write_ex(made, write);
			BIO_meth_set_ctrl(made, control);
			return made;
		}();
		return kMethod;
	}
};

TlsStream::TlsStream(SSL_CTX& context) : ssl_(SSL_new(&context))
{
	BIO* pipe = ssl_ ? BIO_new(TlsPipe::method()) : nullptr;
	if (!pipe) throw std::bad_alloc();
	BIO_set_data(pipe, this);
	BIO_set_init(pipe, 1);
	SSL_set_bio(ssl_.get(), pipe, pipe);  // owns it from here on
	SSL_set_accept_state(ssl_.get());
}

// One for all connections: plain text is gone when `feed` returns.
char* TlsStream::plain_text() noexcept
{
	static char buffer[kRecord];
	return buffer;
}

TlsStream::Outcome TlsStream::read(size_t& got)
{
	ERR_clear_error();
	if (SSL_read_ex(ssl_.get(), plain_text(), kRecord, &got) == 1) return Outcome::fine;
	got = 0;
	const int error = SSL_get_error(ssl_.get(), 0);
	ERR_clear_error();
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Outcome::fine;
	return error == SSL_ERROR_ZERO_RETURN ? Outcome::ended : Outcome::broken;
}

bool TlsStream::encrypt(const char* data, size_t length)
{
	size_t written = 0;
	ERR_clear_error();
	// The output takes everything, so a write is whole or has failed.
	const bool done = SSL_write_ex(ssl_.get(), data, length, &written) == 1 && written == length;
	ERR_clear_error();
	return done;
}

void TlsStream::say_goodbye() noexcept
{
	if (established()) SSL_shutdown(ssl_.get());
	ERR_clear_error();
}

bool TlsStream::established() const noexcept { return SSL_is_init_finished(ssl_.get()) == 1; }

std::string TlsStream::take_output() noexcept
{
	std::string output;
	output.swap(output_);
	return output;
}

bool is_plain_http(std::string_view first) noexcept { return !first.empty() && first[0] >= 'A' && first[0] <= 'Z'; }

// A record of type handshake.
bool is_tls(std::string_view first) noexcept { return !first.empty() && first[0] == 0x16; }

}  // namespace plank::net
