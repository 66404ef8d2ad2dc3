// Timelines, ends and the oldest segment. Runs in the worker, outside network callbacks.
#include "pg/wal_history.hpp"

#include <algorithm>

#include "pg/guard.hpp"

extern "C" {
#include "access/timeline.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
}

namespace plank::pg {

namespace {

// May ereport.
uint32_t present_timeline()
{
	TimeLineID timeline = 0;
	if (RecoveryInProgress())
		GetXLogReplayRecPtr(&timeline);
	else
		GetFlushRecPtr(&timeline);
	return timeline;
}

}  // namespace

uint64_t system_identifier() { return GetSystemIdentifier(); }

bool in_recovery()
{
	return call([] { return RecoveryInProgress(); });
}

uint64_t wal_end()
{
	return call([] { return RecoveryInProgress() ? GetXLogReplayRecPtr(nullptr) : GetFlushRecPtr(nullptr); });
}

uint64_t wal_written_end()
{
	const uint64_t end =
	    call([] { return RecoveryInProgress() ? GetXLogReplayRecPtr(nullptr) : GetXLogInsertRecPtr(); });
	// At the beginning of a page the next record's place is behind a header that is not written yet.
	const uint64_t offset = end % XLOG_BLCKSZ;
	const uint64_t header =
	    XLogSegmentOffset(end, wal_segment_size) < XLOG_BLCKSZ ? SizeOfXLogLongPHD : SizeOfXLogShortPHD;
	return offset <= header ? end - offset : end;
}

void flush_wal(uint64_t lsn)
{
	call([&] { XLogFlush(lsn); });
}

uint64_t last_redo()
{
	return call([] { return GetRedoRecPtr(); });
}

uint64_t segment_start(uint64_t lsn) { return lsn - XLogSegmentOffset(lsn, wal_segment_size); }

uint64_t next_segment(uint64_t lsn) { return segment_start(lsn) + static_cast<uint64_t>(wal_segment_size); }

std::string lsn_text(uint64_t lsn)
{
	char text[32];
	snprintf(text, sizeof text, "%X/%X", static_cast<uint32_t>(lsn >> 32), static_cast<uint32_t>(lsn));
	return text;
}

void WalHistory::refresh()
{
	const uint32_t now = call([] { return present_timeline(); });
	if (now == present_) return;
	List* history = nullptr;
	call([&] { history = readTimeLineHistory(now); });
	std::vector<Timeline> found;
	for (int i = 0; i < list_length(history); ++i) {
		const auto* entry = static_cast<const TimeLineHistoryEntry*>(list_nth(history, i));
		found.push_back({entry->tli, entry->begin, entry->end});
	}
	list_free_deep(history);
	timelines_ = std::move(found);
	present_ = now;
	look_again_ = {};
}

WalHistory::Timeline WalHistory::timeline_of(uint64_t lsn)
{
	refresh();
	for (const Timeline& timeline : timelines_)
		if (lsn >= timeline.began && (timeline.ends == 0 || lsn < timeline.ends)) return timeline;
	return {};
}

Judgement WalHistory::judge(uint64_t system, uint32_t timeline, uint64_t began, uint64_t end, uint64_t restart)
{
	if (system != system_identifier()) return Judgement::other_system;
	refresh();
	const auto found =
	    std::find_if(timelines_.begin(), timelines_.end(), [&](const Timeline& t) { return t.id == timeline; });
	if (found == timelines_.end()) {
		// A standby may not have replayed the switch to it yet; whether it ever will shows when it gets there.
		return in_recovery() && timeline > present_ && end > wal_end() ? Judgement::ahead : Judgement::other_past;
	}
	if (found->began != began || (found->ends != 0 && end > found->ends)) return Judgement::other_past;
	if (end > wal_end()) return in_recovery() ? Judgement::ahead : Judgement::future;
	if (restart < oldest_wal()) return Judgement::removed;
	return Judgement::good;
}

uint64_t WalHistory::oldest_wal()
{
	refresh();
	const auto now = std::chrono::steady_clock::now();
	if (now < look_again_) return oldest_;
	// Segments of a timeline that was left are named after the one that begins in them, too; the lowest number decides.
	uint64_t oldest = 0;
	bool any = false;
	call([&] {
		DIR* const directory = AllocateDir(XLOGDIR);
		while (const dirent* file = ReadDir(directory, XLOGDIR)) {
			if (!IsXLogFileName(file->d_name)) continue;
			TimeLineID timeline = 0;
			XLogSegNo segment = 0;
			XLogFromFileName(file->d_name, &timeline, &segment, wal_segment_size);
			const uint64_t start = segment * static_cast<uint64_t>(wal_segment_size);
			const uint64_t end = start + static_cast<uint64_t>(wal_segment_size);
			bool ours = false;
			for (const Timeline& known : timelines_)
				ours |= known.id == timeline && end > known.began && (known.ends == 0 || start < known.ends);
			if (!ours || (any && start >= oldest)) continue;
			oldest = start;
			any = true;
		}
		FreeDir(directory);
	});
	look_again_ = now + std::chrono::seconds(1);
	return oldest_ = any ? oldest : UINT64_MAX;
}

}  // namespace plank::pg
