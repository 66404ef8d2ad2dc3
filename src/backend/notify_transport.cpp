// The sending end of `plank.transport = 'notify'`: at PRE_COMMIT the records leave as NOTIFY payloads on the database's
// secret channel. Runs in ordinary sessions.
//
// Plank must never be why a user's commit fails. NOTIFY keeps payloads in memory until commit and fails commits when its
// queue is full, so: above plank.notify_limit, and while the queue is more than half full, one small marker goes out
// instead, and the workers answer it with `reset`; when the queue is nearly full nothing goes out, and a counter in shared
// memory, raised after the commit, has the workers reset everything.
#include "core/bytes.hpp"
#include "core/parts.hpp"

#include "backend/chunk_stream.hpp"
#include "backend/transport.hpp"
#include "pg/guard.hpp"
#include "pg/session.hpp"
#include "pg/settings.hpp"
#include "pg/shared_state.hpp"

namespace plank::backend {

namespace {

constexpr int kMarkersFrom = 500;  // thousandths of the queue
constexpr int kNothingFrom = 900;

// Whether this commit's changes go another way than through the queue.
enum class Sent : uint8_t { all, nobody_listened, not_at_all };
Sent sent = Sent::all;

// `trace_notify` prints channel names, and any user may set it: the secret one must not show.
class QuietNotify {
 public:
	QuietNotify() noexcept : saved_(Trace_notify) { Trace_notify = false; }
	~QuietNotify() { Trace_notify = saved_; }
	QuietNotify(const QuietNotify&) = delete;
	QuietNotify& operator=(const QuietNotify&) = delete;

 private:
	bool saved_;
};

// Cuts a body into payloads. Plain data: its functions may ereport.
struct PartWriter {
	const char* channel;
	uint64_t xid;
	int64_t committed_at;
	uint64_t total;
	uint64_t written = 0, number = 0;
	uint32_t used = 0;
	char body[core::kPartBody];

	void write(const char* bytes, uint64_t length)
	{
		while (length > 0) {
			const uint64_t piece = std::min<uint64_t>(length, sizeof body - used);
			memcpy(body + used, bytes, piece);
			used += static_cast<uint32_t>(piece);
			written += piece;
			bytes += piece;
			length -= piece;
			if (used == sizeof body || written == total) flush();
		}
	}
	void write_varint(uint64_t value)
	{
		char bytes[core::kMaxVarint];
		write(bytes, static_cast<uint64_t>(core::put_varint(bytes, value)));
	}
	void flush()
	{
		char payload[core::kMaxPayload + 1];
		const int head = core::put_part_header(payload, xid, number++, written == total, committed_at, total);
		memcpy(payload + head, body, used);
		payload[static_cast<uint32_t>(head) + used] = '\0';
		Async_Notify(channel, payload);
		used = 0;
	}
};

PartWriter* make_writer(const pg::DatabaseSlot& slot, uint64_t total)
{
	auto* writer = static_cast<PartWriter*>(palloc(sizeof(PartWriter)));
	new (writer) PartWriter{};
	writer->channel = slot.channel;
	writer->xid = U64FromFullTransactionId(GetTopFullTransactionId());
	writer->committed_at = GetCurrentTimestamp();
	writer->total = total;
	return writer;
}

void send_all(const pg::DatabaseSlot& slot, TransactionRecords& records)
{
	uint64_t total = core::varint_size(static_cast<uint64_t>(records.shape_count));
	for (int i = 0; i < records.shape_count; ++i)
		total += core::varint_size(records.shapes[i].length) + records.shapes[i].length;
	for_each_in_order(records, [&](const RecordHeader& header, const char*) {
		total += core::varint_size(header.length - 1) + header.length;
	});

	PartWriter& writer = *make_writer(slot, total);
	writer.write_varint(static_cast<uint64_t>(records.shape_count));
	for (int i = 0; i < records.shape_count; ++i) {
		writer.write_varint(records.shapes[i].length);
		writer.write(records.shapes[i].bytes, records.shapes[i].length);
	}
	for_each_in_order(records, [&](const RecordHeader& header, const char* record) {
		writer.write(record, 1);
		writer.write_varint(header.length - 1);
		writer.write(record + 1, header.length - 1);
	});
}

// One marker with the tables concerned; without tables when they do not fit: all of them.
void send_marker(const pg::DatabaseSlot& slot, const TransactionRecords& records)
{
	uint64_t content = 0;
	for (int i = 0; i < records.lost_count; ++i)
		content += core::varint_size(records.lost[i]);
	const bool fits = content < core::kPartBody / 2;
	if (!fits) content = 0;
	PartWriter& writer = *make_writer(slot, 1 + 1 + core::varint_size(content) + content);
	writer.write_varint(0);
	const char tag = static_cast<char>(core::Tag::lost);
	writer.write(&tag, 1);
	writer.write_varint(content);
	if (fits)
		for (int i = 0; i < records.lost_count; ++i)
			writer.write_varint(records.lost[i]);
}

// The worker puts a transaction together in memory, where it is to leave room for its clients.
uint64_t largest() noexcept
{
	uint64_t limit = static_cast<uint64_t>(pg::Settings::notify_limit);
	if (pg::Settings::max_memory > 0) limit = std::min(limit, static_cast<uint64_t>(pg::Settings::max_memory) / 4);
	return limit * 1024;
}

class NotifyTransport final : public Transport {
 public:
	void grew(TransactionRecords& records) override
	{
		if (records.given_up || records.bytes <= largest()) return;
		pg::call([&] { records.give_up(); });
	}

	void before_release(TransactionRecords&, int) override {}

	void before_commit(TransactionRecords& records) override
	{
		sent = Sent::all;
		pg::DatabaseSlot* const slot = pg::call(pg::find_my_database_slot);
		// Whoever resumes from WAL over this run of the server hears that it lacks this run's changes. Once is enough.
		if (!slot->gap_noted.load()) chunk_stream().write_lost(records, true);
		if (!pg::anybody_listens(slot)) {
			sent = Sent::nobody_listened;
			return;
		}
		const int usage = pg::shared_state()->queue_usage.load();
		if (usage >= kNothingFrom) {
			sent = Sent::not_at_all;
			return;
		}
		const QuietNotify quiet;
		pg::call([&] {
			if (usage >= kMarkersFrom) records.give_up();
			if (records.given_up)
				send_marker(*slot, records);
			else
				send_all(*slot, records);
		});
	}

	void before_prepare(TransactionRecords&) override
	{
		pg::raise(
		    ERRCODE_FEATURE_NOT_SUPPORTED, "cannot PREPARE a transaction that has changed tables tracked by Plank",
		    "With plank.transport = 'notify' changes travel by NOTIFY, which PostgreSQL does not allow in prepared "
		    "transactions.",
		    "Set plank.transport to \"wal\" and restart the server.");
	}

	void after_commit() noexcept override
	{
		const Sent how = sent;
		sent = Sent::all;
		pg::DatabaseSlot* const slot = pg::my_database_slot();
		if (slot && chunk_stream().has_written()) slot->gap_noted.store(true);
		if (how == Sent::all) return;
		// Nobody listened when this transaction looked. Whoever listens by now may have read its tables just before the
		// commit became visible, and must be told.
		if (!slot || (how == Sent::nobody_listened && !pg::anybody_listens(slot))) return;
		slot->lost.fetch_add(1);
		pg::wake_workers(slot);
	}

	void after_abort() noexcept override { sent = Sent::all; }
};

constinit NotifyTransport transport;

}  // namespace

Transport& notify_transport() noexcept { return transport; }

}  // namespace plank::backend
