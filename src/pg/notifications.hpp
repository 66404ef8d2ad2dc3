// LISTEN for a background worker. SQL LISTEN is refused there, and notifications go to a client that does not exist; so
// Async_Listen is called directly, and while PostgreSQL reads its queue a sink stands in for the client.
// Runs in the worker, outside network callbacks.
#pragma once

#include <functional>
#include <string>

#include "pg/postgres.hpp"

namespace plank::pg {

// Called for each notification, in the order of commits, from within PostgreSQL's reading of the queue: it must not
// throw, and PostgreSQL may be called through pg::call only.
using NotificationSink = void (*)(void* context, const char* channel, const char* payload);

// In a unit of work; they take effect when it commits. Throw Error.
void listen(const char* channel);
void unlisten_all();
// Sends a notification when the unit commits. Throws Error.
void notify(const char* channel, const char* payload);

// True when PostgreSQL has signalled that the queue holds something.
bool notifications_wait() noexcept;

// Reads the queue to its end. `all`: even when nothing was signalled. Outside a unit of work. Throws Error.
void receive_notifications(NotificationSink sink, void* context, bool all);

// How full the cluster's notification queue is, in thousandths. In a unit of work. Throws Error.
int notification_queue_usage();

}  // namespace plank::pg
