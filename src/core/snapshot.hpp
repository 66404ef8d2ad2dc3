// Reading the rows that a table holds already: what the hub asks for, and what it gets back. The reading is done by
// processes of their own; this is the language between them, the worker and the hub.
// Runs in the worker and in the processes that read. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/shape.hpp"
#include "core/subscription.hpp"

namespace plank::core {

// Texts are UTF-8.
struct SnapshotRequest {
	uint32_t relation = 0;  // OID of the tracked table
	ColumnNames columns;    // chosen from the table as the snapshot finds it
	bool numbers_as_text = false;
	std::string condition;  // SQL over the table's columns, other names qualified; empty: every row
	std::string role;       // who reads: its privileges and row security count
	std::string claims;     // what request.jwt.claims says for it: JSON

	std::string encode() const;
	// Nothing when the bytes are no request.
	static std::optional<SnapshotRequest> decode(std::string_view bytes);
};

// What a snapshot sees, in 64-bit transaction ids.
struct Visibility {
	uint64_t xmin = 0, xmax = 0;        // all below xmin are over, none from xmax on had begun
	std::vector<uint64_t> in_progress;  // between them, ascending; on a standby with subtransactions among them

	// Whether the work of a transaction that has committed is in the rows. `xid` is its own, not a subtransaction's.
	bool sees(uint64_t xid) const noexcept;
};

// What comes before the rows.
struct SnapshotHeader {
	Visibility visibility;
	uint64_t wal_end = 0;  // what the snapshot sees stands before this place in the WAL
	ShapePtr shape;        // of the table, all columns that may leave the server

	std::string encode() const;
	static std::optional<SnapshotHeader> decode(std::string_view bytes);
};

// What a client is told when a policy fails: the error's own words may quote rows that are hidden from it.
constexpr const char* kRowSecurityFailed = "the row security policy of the table failed";

constexpr const char* kRowsTookTooLong = "finding the table's rows took longer than plank.snapshot_timeout allows";

struct SnapshotFailure {
	std::string code;             // SQLSTATE
	std::string message, detail;  // UTF-8
	bool retry = false;           // nothing is wrong with the request: asked again it may succeed

	std::string encode() const;
	static std::optional<SnapshotFailure> decode(std::string_view bytes);
};

// Who hears of a snapshot: `began` once, `rows` any number of times, then `done` or `failed`, which may also come first.
// After `cancel` nothing comes. May call Snapshots from inside.
class SnapshotHandler {
 public:
	virtual void snapshot_began(uint64_t id, SnapshotHeader&& header) = 0;
	// `rows`: `count` JSON objects joined by commas, about 64 kB; good until the call returns.
	virtual void snapshot_rows(uint64_t id, std::string_view rows, uint64_t count) = 0;
	virtual void snapshot_done(uint64_t id) = 0;
	virtual void snapshot_failed(uint64_t id, const SnapshotFailure& failure) = 0;

 protected:
	~SnapshotHandler() = default;
};

// Where snapshots come from. Requests beyond what may be read at a time wait in line, in order.
class Snapshots {
 public:
	// Never fails and calls nobody back; the answer begins in a later turn. Ids begin at 1 and are never used again.
	virtual uint64_t start(SnapshotRequest request) = 0;
	virtual void cancel(uint64_t id) = 0;
	// While off, no rows come and their reader waits: for clients that read slowly.
	virtual void take_more(uint64_t id, bool on) = 0;

 protected:
	~Snapshots() = default;
};

// A message of a reading process: its kind and the request that it answers, then an encoded header or failure, or the
// number of rows and the rows. Numbers are as memory has them. `spent` comes before the last one of a request: the process
// is not to be used again.
enum class SnapshotMessage : char { header = 'H', rows = 'R', spent = 'S', done = 'D', failed = 'F', cancelled = 'C' };
constexpr size_t kMessageHead = 1 + sizeof(uint32_t);
constexpr size_t kRowsHead = kMessageHead + sizeof(uint32_t);

}  // namespace plank::core
