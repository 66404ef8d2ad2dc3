// LISTEN in a background worker. Runs in the worker, outside network callbacks.
#include "pg/notifications.hpp"

#include "pg/guard.hpp"
#include "pg/unit_of_work.hpp"

extern "C" {
#include "access/xact.h"
#include "commands/async.h"
#include "libpq/libpq.h"
#include "mb/pg_wchar.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/fmgrprotos.h"
}

namespace plank::pg {

namespace {

NotificationSink current_sink = nullptr;
void* current_context = nullptr;

void nothing() {}
int done() { return 0; }
bool not_pending() { return false; }

// The messages PostgreSQL would send to a client; only NotificationResponse concerns us: int32 pid, channel, payload.
int take_message(char type, const char* bytes, size_t length)
{
	if (type != 'A' || length < 4) return 0;
	const char* channel = bytes + 4;
	current_sink(current_context, channel, channel + strlen(channel) + 1);
	return 0;
}
void take_message_nonblocking(char type, const char* bytes, size_t length) { take_message(type, bytes, length); }

const PQcommMethods kSinkMethods = {nothing, done, done, not_pending, take_message, take_message_nonblocking};

// Puts the sink in the client's place, and everything back on every path.
class ScopedSink {
 public:
	ScopedSink(NotificationSink sink, void* context) noexcept
	    : methods_(PqCommMethods), destination_(whereToSendOutput), protocol_(FrontendProtocol)
	{
		current_sink = sink;
		current_context = context;
		PqCommMethods = &kSinkMethods;
		whereToSendOutput = DestRemote;
		FrontendProtocol = PG_PROTOCOL_LATEST;
	}
	~ScopedSink()
	{
		PqCommMethods = methods_;
		whereToSendOutput = destination_;
		FrontendProtocol = protocol_;
	}
	ScopedSink(const ScopedSink&) = delete;
	ScopedSink& operator=(const ScopedSink&) = delete;

 private:
	const PQcommMethods* methods_;
	CommandDest destination_;
	ProtocolVersion protocol_;
};

}  // namespace

void listen(const char* channel)
{
	call([&] { Async_Listen(channel); });
}

void unlisten_all()
{
	call([] { Async_UnlistenAll(); });
}

void notify(const char* channel, const char* payload)
{
	call([&] { Async_Notify(channel, payload); });
}

bool notifications_wait() noexcept { return notifyInterruptPending; }

void receive_notifications(NotificationSink sink, void* context, bool all)
{
	if (all) notifyInterruptPending = true;
	if (!notifyInterruptPending) return;
	const ScopedSink scope(sink, context);
	call([] {
		// ALTER DATABASE … SET client_encoding reaches the worker too; payloads must come as they are.
		SetClientEncoding(GetDatabaseEncoding());
		ProcessNotifyInterrupt(false);
		MemoryContextSwitchTo(turn_memory());
	});
}

int notification_queue_usage()
{
	return call([] {
		const double usage = DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, static_cast<Datum>(0)));
		return static_cast<int>(usage * 1000);
	});
}

}  // namespace plank::pg
