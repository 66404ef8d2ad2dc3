// Reads back what Plank's sessions wrote into WAL, as a reader must: messages of this database with its secret, by
// top-level transaction, without what rolled back, in the order of their keys. Runs in ordinary sessions of test databases.
#include "core/change_json.hpp"
#include "core/chunk.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "pg/guard.hpp"
#include "pg/secret.hpp"

extern "C" {
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "funcapi.h"
#include "replication/message.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"

PGDLLEXPORT Datum plank_test_written(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_chunks(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_written);
PG_FUNCTION_INFO_V1(plank_test_chunks);
}

using namespace plank;

namespace {

enum class Kind : uint8_t { message, commit };

// What a WAL record says, as plain data.
struct Event {
	Kind kind;
	XLogRecPtr lsn;
	TransactionId xid;  // a message's own, else the top-level one
	int subxact_count;
	TransactionId* subxacts;
	const char* prefix;
	const char* content;
	Size length;
};

struct Events {
	Event* at;
	int count, room;
};

// The next two may ereport.

void note_event(Events& events, XLogReaderState* reader)
{
	Event event = {};
	event.lsn = reader->ReadRecPtr;
	if (XLogRecGetRmid(reader) == RM_LOGICALMSG_ID) {
		const auto* const message = reinterpret_cast<const xl_logical_message*>(XLogRecGetData(reader));
		if (message->dbId != MyDatabaseId || !message->transactional) return;
		event.kind = Kind::message;
		event.xid = XLogRecGetXid(reader);
		event.prefix = pstrdup(message->message);
		auto* const content = static_cast<char*>(palloc(message->message_size));
		memcpy(content, message->message + message->prefix_size, message->message_size);
		event.content = content;
		event.length = message->message_size;
	} else if (XLogRecGetRmid(reader) == RM_XACT_ID) {
		const uint8 info = XLogRecGetInfo(reader), operation = info & XLOG_XACT_OPMASK;
		if (operation == XLOG_XACT_COMMIT || operation == XLOG_XACT_COMMIT_PREPARED) {
			xl_xact_parsed_commit parsed;
			ParseCommitRecord(info, reinterpret_cast<xl_xact_commit*>(XLogRecGetData(reader)), &parsed);
			event.kind = Kind::commit;
			event.xid = operation == XLOG_XACT_COMMIT ? XLogRecGetXid(reader) : parsed.twophase_xid;
			event.subxact_count = parsed.nsubxacts;
			event.subxacts = static_cast<TransactionId*>(palloc(sizeof(TransactionId) * (parsed.nsubxacts + 1)));
			if (parsed.nsubxacts > 0) memcpy(event.subxacts, parsed.subxacts, sizeof(TransactionId) * parsed.nsubxacts);
		} else {
			return;
		}
	} else {
		return;
	}
	if (events.count == events.room) {
		events.room = Max(events.room * 2, 64);
		const Size size = sizeof(Event) * events.room;
		events.at = static_cast<Event*>(events.at ? repalloc_huge(events.at, size) : palloc(size));
	}
	events.at[events.count++] = event;
}

Events read_wal(XLogRecPtr since)
{
	XLogReaderRoutine routine = {};
	routine.page_read = &read_local_xlog_page_no_wait;
	routine.segment_open = &wal_segment_open;
	routine.segment_close = &wal_segment_close;
	auto* const end = static_cast<ReadLocalXLogPageNoWaitPrivate*>(palloc0(sizeof(ReadLocalXLogPageNoWaitPrivate)));
	XLogReaderState* const reader = XLogReaderAllocate(wal_segment_size, nullptr, &routine, end);
	Events events = {};
	const XLogRecPtr first = XLogFindNextRecord(reader, since);
	char* error = nullptr;
	if (!XLogRecPtrIsInvalid(first)) {
		XLogBeginRead(reader, first);
		while (XLogReadRecord(reader, &error))
			note_event(events, reader);
	}
	if (!end->end_of_wal) elog(ERROR, "could not read WAL: %s", error ? error : "no record");
	XLogReaderFree(reader);
	return events;
}

Events events_since(FunctionCallInfo fcinfo)
{
	return pg::call([&] {
		InitMaterializedSRF(fcinfo, 0);
		return read_wal(PG_GETARG_LSN(0));
	});
}

void put_row(FunctionCallInfo fcinfo, Datum* values)
{
	const auto* const result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
	bool nulls[8] = {};
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum as_text(std::string_view text)
{
	return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
}

[[noreturn]] void fail(const char* message) { pg::raise(ERRCODE_DATA_CORRUPTED, message); }

bool is_genuine(const Event& event)
{
	const char* const prefix = pg::message_prefix();
	return event.kind == Kind::message && prefix && strcmp(event.prefix, prefix) == 0;
}

core::Chunk chunk_of(const Event& event)
{
	core::Chunk chunk;
	if (!core::read_chunk({event.content, event.length}, chunk)) fail("a genuine message is no chunk");
	if (chunk.first_lsn > event.lsn) fail("a chunk's first LSN lies behind it");
	return chunk;
}

std::string name_of(Oid relation)
{
	const char* const name = pg::call([&] { return get_rel_name(relation); });
	return name ? name : "a dropped table";
}

std::string told(const core::Record& record, const core::Transaction& transaction)
{
	switch (record.tag) {
		case core::Tag::message:
			return "message " + std::string(record.channel) + ' ' + std::string(record.payload);
		case core::Tag::reset:
			return "reset " + name_of(record.relation) + ": " + std::string(record.reason);
		case core::Tag::lost: {
			std::string text = "lost";
			core::Reader relations(record.relations);
			if (relations.done()) text += " all";
			while (!relations.done())
				text += ' ' + name_of(static_cast<Oid>(relations.varint()));
			return text;
		}
		default:
			break;
	}
	const core::Shape& shape = *transaction.shapes[record.shape];
	std::string text(core::op_name(record.op)), members;
	text += ' ' + shape.table;
	if (record.op == core::Op::truncate) return text;
	core::append_change_members(members, record, shape, core::View::whole(record, false));
	return text + " {" + members.substr(1) + '}';
}

// All records of a transaction's chunks, merged; as one body, which read_body checks.
std::vector<std::string> merged(const std::vector<core::Chunk>& chunks)
{
	std::map<uint32_t, std::string_view> shapes;
	std::vector<std::pair<core::RecordKey, std::string_view>> all;
	for (const core::Chunk& chunk : chunks) {
		for (const core::ChunkShape& shape : chunk.shapes)
			if (!shapes.emplace(shape.number, shape.encoded).second && shapes[shape.number] != shape.encoded)
				fail("a shape's number means two shapes");
		core::ChunkRecords records(chunk);
		while (records.next())
			all.emplace_back(records.key(), records.bytes());
	}
	std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
	std::string body;
	const uint32_t count = shapes.empty() ? 0 : shapes.rbegin()->first + 1;
	core::append_varint(body, count);
	// A number whose only chunks rolled back stands for nothing.
	for (uint32_t i = 0; i < count; ++i)
		core::append_counted(body, shapes.count(i) ? shapes[i] : shapes.begin()->second);
	for (size_t i = 0; i < all.size(); ++i) {
		if (i > 0 && all[i].first == all[i - 1].first) fail("two records have the same key");
		body += all[i].second;
	}
	core::ShapeCache cache;
	core::Transaction transaction;
	if (!core::read_body(std::move(body), transaction, cache)) fail("a transaction's records cannot be read");
	std::vector<std::string> texts;
	core::RecordReader reader(transaction.body);
	core::Record record;
	while (reader.next(record))
		texts.push_back(told(record, transaction));
	return texts;
}

// By the top-level transaction that each chunk names.
struct Open {
	std::vector<std::pair<TransactionId, core::Chunk>> chunks;

	std::vector<core::Chunk> kept(const Event& commit) const
	{
		std::set<TransactionId> committed(commit.subxacts, commit.subxacts + commit.subxact_count);
		committed.insert(commit.xid);
		std::vector<core::Chunk> result;
		for (size_t i = 0; i < chunks.size(); ++i) {
			if (chunks[i].second.number != i) fail("a chunk's number is not the next");
			if (chunks[i].second.first_lsn != chunks[0].second.first_lsn) fail("a transaction begins twice");
			if (committed.count(chunks[i].first)) result.push_back(chunks[i].second);
		}
		return result;
	}
};

}  // namespace

Datum plank_test_written(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		const Events events = events_since(fcinfo);
		std::map<TransactionId, Open> open;
		int transaction = 0;
		for (int i = 0; i < events.count; ++i) {
			const Event& event = events.at[i];
			if (is_genuine(event)) {
				core::Chunk chunk = chunk_of(event);
				open[static_cast<TransactionId>(chunk.xid)].chunks.emplace_back(event.xid, std::move(chunk));
			}
			if (event.kind != Kind::commit || !open.count(event.xid)) continue;
			++transaction;
			for (const std::string& change : merged(open[event.xid].kept(event)))
				pg::call([&] {
					Datum values[] = {Int32GetDatum(transaction), as_text(change)};
					put_row(fcinfo, values);
				});
			open.erase(event.xid);
		}
		return static_cast<Datum>(0);
	});
}

Datum plank_test_chunks(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		const Events events = events_since(fcinfo);
		for (int i = 0; i < events.count; ++i) {
			const Event& event = events.at[i];
			if (event.kind != Kind::message) continue;
			core::Chunk chunk;
			if (is_genuine(event)) chunk = chunk_of(event);
			pg::call([&] {
				Datum values[] = {
				    Int64GetDatum(static_cast<int64>(event.xid)),   BoolGetDatum(chunk.xid != 0),
				    Int64GetDatum(static_cast<int64>(chunk.xid)),   Int32GetDatum(static_cast<int32>(chunk.number)),
				    Int64GetDatum(static_cast<int64>(chunk.count)), Int64GetDatum(static_cast<int64>(event.length))};
				put_row(fcinfo, values);
			});
		}
		return static_cast<Datum>(0);
	});
}
