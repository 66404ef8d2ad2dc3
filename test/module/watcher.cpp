// A WebSocket client inside a session, so that isolation tests see in SQL what clients are sent: blocking, one connection,
// no more of the protocol than it needs. Runs in ordinary sessions of test databases.
#include "pg/postgres.hpp"

extern "C" {
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "utils/builtins.h"
#include "utils/timestamp.h"

PGDLLEXPORT Datum plank_test_connect(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_request(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_next_frame(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_connect);
PG_FUNCTION_INFO_V1(plank_test_request);
PG_FUNCTION_INFO_V1(plank_test_next_frame);
}

namespace {

constexpr int kPatienceMs = 180000;

int peer = -1;
StringInfo input = nullptr;  // what has come and was not taken

// Reads some more; an ordinary ERROR when nothing comes or the connection ends.
void read_more()
{
	const TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kPatienceMs);
	for (;;) {
		CHECK_FOR_INTERRUPTS();
		pollfd waiting = {peer, POLLIN, 0};
		if (poll(&waiting, 1, 100) > 0) break;
		if (GetCurrentTimestamp() > end) elog(ERROR, "the server sent nothing");
	}
	enlargeStringInfo(input, 65536);
	const ssize_t length = recv(peer, input->data + input->len, 65536, 0);
	if (length <= 0) elog(ERROR, "the server closed the connection");
	input->len += static_cast<int>(length);
	input->data[input->len] = '\0';
}

void take(int length)
{
	memmove(input->data, input->data + length, static_cast<size_t>(input->len - length) + 1);
	input->len -= length;
}

void write_all(const char* bytes, size_t length)
{
	while (length > 0) {
		const ssize_t written = send(peer, bytes, length, MSG_NOSIGNAL);
		if (written <= 0) elog(ERROR, "could not write to the server: %m");
		bytes += written;
		length -= static_cast<size_t>(written);
	}
}

// The payload of the next text frame; pings and the like are passed over.
text* next_text()
{
	for (;;) {
		const auto* head = reinterpret_cast<const unsigned char*>(input->data);
		int at = 2;
		uint64 length = input->len < 2 ? 0 : head[1] & 127;
		if (length == 126) {
			at = 4;
			length = input->len < at ? 0 : static_cast<uint64>(head[2]) << 8 | head[3];
		} else if (length == 127) {
			at = 10;
			length = 0;
			for (int i = 2; i < at && input->len >= at; ++i)
				length = length << 8 | head[i];
		}
		if (input->len < at || static_cast<uint64>(input->len - at) < length) {
			read_more();
			continue;
		}
		const int opcode = head[0] & 15;
		text* const payload = cstring_to_text_with_len(input->data + at, static_cast<int>(length));
		take(at + static_cast<int>(length));
		if (opcode == 8) elog(ERROR, "the server closed the WebSocket");
		if (opcode == 1) return payload;
	}
}

}  // namespace

Datum plank_test_connect(PG_FUNCTION_ARGS)
{
	if (peer >= 0) close(peer);
	peer = socket(AF_INET, SOCK_STREAM, 0);
	sockaddr_in address = {};
	address.sin_family = AF_INET;
	address.sin_port = htons(static_cast<uint16>(PG_GETARG_INT32(0)));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
		elog(ERROR, "could not connect to port %d: %m", PG_GETARG_INT32(0));
	const MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	if (!input) input = makeStringInfo();
	MemoryContextSwitchTo(caller);
	resetStringInfo(input);
	static constexpr char kUpgrade[] =
	    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	write_all(kUpgrade, sizeof kUpgrade - 1);
	const char* end = nullptr;
	while (!(end = strstr(input->data, "\r\n\r\n")))
		read_more();
	if (strncmp(input->data, "HTTP/1.1 101", 12) != 0) elog(ERROR, "the upgrade was refused: %.40s", input->data);
	take(static_cast<int>(end + 4 - input->data));
	PG_RETURN_VOID();
}

Datum plank_test_request(PG_FUNCTION_ARGS)
{
	const text* const message = PG_GETARG_TEXT_PP(0);
	const size_t length = VARSIZE_ANY_EXHDR(message);
	if (length > 125) elog(ERROR, "too long a message");
	// Masked with zeros, which is a mask.
	const char head[] = {'\x81', static_cast<char>(0x80 | length), 0, 0, 0, 0};
	write_all(head, sizeof head);
	write_all(VARDATA_ANY(message), length);
	PG_RETURN_VOID();
}

Datum plank_test_next_frame(PG_FUNCTION_ARGS)
{
	(void)fcinfo;
	PG_RETURN_TEXT_P(next_text());
}
