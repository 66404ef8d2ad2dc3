// PostgreSQL's XLogReader, wrapped. Runs in the worker, outside network callbacks.
#include "pg/wal_reader.hpp"

#include <utility>

#include "pg/guard.hpp"

extern "C" {
#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "catalog/pg_control.h"
#include "replication/message.h"
#include "storage/fd.h"
#include "storage/standbydefs.h"
}

namespace plank::pg {

namespace {

// Between two looks at the clock.
constexpr uint64_t kSliceBytes = 64 * 1024;
// The XLogReader keeps buffers as large as the largest record it has met, and anybody may write a large one.
constexpr uint32_t kLargeRecord = 4 * 1024 * 1024;

}  // namespace

struct WalReader::Reader {
	MemoryContext memory = nullptr;
	XLogReaderState* state = nullptr;
	ReadLocalXLogPageNoWaitPrivate end = {};

	Reader()
	{
		call([&] {
			memory = AllocSetContextCreate(TopMemoryContext, "plank WAL reader", ALLOCSET_DEFAULT_SIZES);
			const MemoryContext former = MemoryContextSwitchTo(memory);
			XLogReaderRoutine routine = {};
			routine.page_read = read_local_xlog_page_no_wait;
			routine.segment_open = wal_segment_open;
			routine.segment_close = wal_segment_close;
			state = XLogReaderAllocate(wal_segment_size, nullptr, &routine, &end);
			MemoryContextSwitchTo(former);
			if (!state) ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		});
	}
	// After an error nothing but the open segment and the memory is certain, so that is what is given back.
	~Reader()
	{
		if (state && state->seg.ws_file >= 0) wal_segment_close(state);
		if (memory) MemoryContextDelete(memory);
	}
	Reader(const Reader&) = delete;
	Reader& operator=(const Reader&) = delete;

	// The next record; null at the end of what there is (`end.end_of_wal`) or when it cannot be read. May ereport.
	const XLogRecord* read(char*& error)
	{
		end.end_of_wal = false;
		error = nullptr;
		const MemoryContext former = MemoryContextSwitchTo(memory);
		const XLogRecord* record = XLogReadRecord(state, &error);
		MemoryContextSwitchTo(former);
		return record;
	}
};

WalReader::WalReader(uint32_t database, std::string prefix, std::string family)
    : database_(database), prefix_(std::move(prefix)), family_(std::move(family))
{}

WalReader::~WalReader() = default;

void WalReader::reopen()
{
	reader_.reset();
	reader_ = std::make_unique<Reader>();
	call([&] { XLogBeginRead(reader_->state, position_); });
}

WalReader::Start WalReader::start(uint64_t lsn)
{
	reader_.reset();
	reader_ = std::make_unique<Reader>();
	Start result = Start::gone;
	try {
		call([&] {
			const MemoryContext former = MemoryContextSwitchTo(reader_->memory);
			reader_->end.end_of_wal = false;
			const XLogRecPtr found = XLogFindNextRecord(reader_->state, lsn);
			MemoryContextSwitchTo(former);
			if (found != InvalidXLogRecPtr) {
				position_ = found;
				result = Start::found;
			} else if (reader_->end.end_of_wal) {
				result = Start::later;
			}
		});
	} catch (Error& error) {
		why_ = error.what();
		error.release();
	}
	if (result != Start::found) reader_.reset();
	return result;
}

WalEvent WalReader::broken(const char* why)
{
	why_ = why && *why ? why : "the write-ahead log cannot be read";
	reader_.reset();
	WalEvent event;
	event.kind = WalEvent::Kind::broken;
	event.begin = event.end = position_;
	event.bytes = why_;
	return event;
}

namespace {

enum class Verdict : uint8_t { foreign, forged, event };

struct Ours {
	uint32_t database;
	std::string_view prefix, family;
};

Verdict read_message(XLogReaderState* state, const Ours& ours, WalEvent& event)
{
	const auto* message = reinterpret_cast<const xl_logical_message*>(XLogRecGetData(state));
	if (message->dbId != ours.database) return Verdict::foreign;
	// The prefix's size counts its final zero byte.
	const std::string_view prefix(message->message, message->prefix_size ? message->prefix_size - 1 : 0);
	if (prefix.substr(0, ours.family.size()) != ours.family) return Verdict::foreign;
	if (prefix != ours.prefix || !message->transactional) return Verdict::forged;
	event.kind = WalEvent::Kind::message;
	event.xid = XLogRecGetXid(state);
	event.bytes = {message->message + message->prefix_size, message->message_size};
	return Verdict::event;
}

// Subtransactions are left where they are: in the reader's memory, until the next record is read.
Verdict read_xact(XLogReaderState* state, WalEvent& event)
{
	const uint8 info = XLogRecGetInfo(state);
	const uint8 operation = info & XLOG_XACT_OPMASK;
	switch (operation) {
		case XLOG_XACT_COMMIT:
		case XLOG_XACT_COMMIT_PREPARED: {
			xl_xact_parsed_commit parsed;
			ParseCommitRecord(info, reinterpret_cast<xl_xact_commit*>(XLogRecGetData(state)), &parsed);
			event.kind = WalEvent::Kind::commit;
			event.prepared = operation == XLOG_XACT_COMMIT_PREPARED;
			event.xid = event.prepared ? parsed.twophase_xid : XLogRecGetXid(state);
			event.xids = parsed.subxacts;
			event.count = parsed.nsubxacts;
			event.time = parsed.xact_time;
			event.database = parsed.dbId;
			return Verdict::event;
		}
		case XLOG_XACT_ABORT:
		case XLOG_XACT_ABORT_PREPARED: {
			xl_xact_parsed_abort parsed;
			ParseAbortRecord(info, reinterpret_cast<xl_xact_abort*>(XLogRecGetData(state)), &parsed);
			event.kind = WalEvent::Kind::abort;
			event.prepared = operation == XLOG_XACT_ABORT_PREPARED;
			event.xid = event.prepared ? parsed.twophase_xid : XLogRecGetXid(state);
			event.xids = parsed.subxacts;
			event.count = parsed.nsubxacts;
			return Verdict::event;
		}
		case XLOG_XACT_PREPARE: {
			xl_xact_parsed_prepare parsed;
			ParsePrepareRecord(info, reinterpret_cast<xl_xact_prepare*>(XLogRecGetData(state)), &parsed);
			event.kind = WalEvent::Kind::prepare;
			event.xid = parsed.twophase_xid;
			event.xids = parsed.subxacts;
			event.count = parsed.nsubxacts;
			return Verdict::event;
		}
		default:
			return Verdict::foreign;
	}
}

Verdict read_running(XLogReaderState* state, WalEvent& event)
{
	if ((XLogRecGetInfo(state) & ~XLR_INFO_MASK) != XLOG_RUNNING_XACTS) return Verdict::foreign;
	const auto* running = reinterpret_cast<const xl_running_xacts*>(XLogRecGetData(state));
	event.kind = WalEvent::Kind::running;
	// Top-level ones come first, and they are all there even when subtransactions are not.
	event.xids = running->xids;
	event.count = running->xcnt;
	event.next_xid = running->nextXid;
	return Verdict::event;
}

Verdict read_record(XLogReaderState* state, const Ours& ours, WalEvent& event)
{
	switch (XLogRecGetRmid(state)) {
		case RM_LOGICALMSG_ID:
			return read_message(state, ours, event);
		case RM_XACT_ID:
			return read_xact(state, event);
		case RM_STANDBY_ID:
			return read_running(state, event);
		case RM_XLOG_ID: {
			const uint8 info = XLogRecGetInfo(state) & ~XLR_INFO_MASK;
			// A crash recovery ends with a checkpoint of the kind that a shutdown writes.
			if (info != XLOG_CHECKPOINT_SHUTDOWN && info != XLOG_END_OF_RECOVERY) return Verdict::foreign;
			event.kind = WalEvent::Kind::restart;
			return Verdict::event;
		}
		default:
			return Verdict::foreign;
	}
}

}  // namespace

WalEvent WalReader::next(Clock::time_point deadline)
{
	if (!reader_) return broken("the write-ahead log is not open");
	WalEvent event;
	char* error = nullptr;
	bool failed = false, large = false;
	const Ours ours = {database_, prefix_, family_};
	try {
		// The record before is done with.
		if (reader_->state->readRecordBufSize > kLargeRecord) reopen();
		call([&] {
			uint64_t look_again = position_ + kSliceBytes;
			XLogReaderState* const state = reader_->state;
			while (true) {
				const XLogRecord* record = reader_->read(error);
				if (!record) {
					failed = !reader_->end.end_of_wal;
					// The page that is not whole yet is to be read again.
					if (!failed) XLogBeginRead(state, position_);
					return;
				}
				position_ = state->EndRecPtr;
				const Verdict verdict = read_record(state, ours, event);
				if (verdict == Verdict::event) {
					event.begin = state->ReadRecPtr;
					event.end = state->EndRecPtr;
					return;
				}
				if (verdict == Verdict::forged) ++forged_;
				large = record->xl_tot_len > kLargeRecord;
				if (large || position_ >= look_again) {
					look_again = position_ + kSliceBytes;
					if (large || Clock::now() >= deadline) {
						event.kind = WalEvent::Kind::time_up;
						return;
					}
				}
			}
		});
	} catch (Error& caught) {
		const std::string text = caught.what();
		caught.release();
		return broken(text.c_str());
	}
	if (failed) {
		const std::string text = error ? error : "";
		return broken(text.c_str());
	}
	if (event.kind == WalEvent::Kind::nothing || event.kind == WalEvent::Kind::time_up)
		event.begin = event.end = position_;
	return event;
}

uint64_t next_record_place(uint64_t end) noexcept { return end % XLOG_BLCKSZ == 0 ? end + SizeOfXLogLongPHD : end; }

}  // namespace plank::pg
