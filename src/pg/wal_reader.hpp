// The server's own WAL, record by record: what concerns tracked changes comes out as events, everything else is passed
// over. Runs in the worker, outside network callbacks; needs no transaction, slot or role and holds nothing back.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "pg/postgres.hpp"

namespace plank::pg {

struct WalEvent {
	enum class Kind : uint8_t {
		nothing,  // the end of what is flushed (primary) or replayed (standby)
		time_up,  // the slice is over, there is more
		message,  // one of ours
		commit,
		abort,  // of a transaction or of a subtransaction
		prepare,
		running,  // which transactions run here
		restart,  // shutdown, or the end of a recovery: what was open here, and not prepared, has died
		broken,   // recycled or torn: `bytes` says why; the reader must be started elsewhere
	};
	Kind kind = Kind::nothing;
	uint64_t begin = 0, end = 0;  // of the record
	uint32_t xid = 0;             // message: its (sub)transaction; commit, abort, prepare: the one that ends
	const uint32_t* xids =
	    nullptr;  // commit, abort, prepare: subtransactions that share its fate; running: the top-level ones
	int count = 0;
	uint32_t next_xid = 0;   // running: all that begin later are not below it
	int64_t time = 0;        // commit: TimestampTz
	bool prepared = false;   // commit, abort: of a prepared transaction
	uint32_t database = 0;   // commit: where it happened, when the record says so
	std::string_view bytes;  // message: its content; valid until the next call
};

class WalReader {
 public:
	using Clock = std::chrono::steady_clock;

	// Messages of `database` under `prefix` are ours; others that begin with `family` are forged, and counted.
	WalReader(uint32_t database, std::string prefix, std::string family);
	~WalReader();
	WalReader(const WalReader&) = delete;
	WalReader& operator=(const WalReader&) = delete;

	void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }

	enum class Start : uint8_t {
		found,  // stands at the first record at or after the place asked for
		later,  // no record is there yet
		gone,   // that WAL has been removed, or cannot be read
	};
	// Throws pg::Error only for what is not about the WAL.
	Start start(uint64_t lsn);
	// Goes on to the next event, at most until `deadline`. Throws nothing for trouble with the WAL: that is `broken`.
	WalEvent next(Clock::time_point deadline);

	// Everything before it has been read.
	uint64_t position() const noexcept { return position_; }
	uint64_t forged() const noexcept { return forged_; }

 private:
	struct Reader;
	WalEvent broken(const char* why);
	void reopen();

	const uint32_t database_;
	std::string prefix_, family_;
	std::unique_ptr<Reader> reader_;
	uint64_t position_ = 0;
	uint64_t forged_ = 0;
	std::string why_;
};

// Where the record after one that ends at `end` begins at the latest: behind the header, when a page begins there.
uint64_t next_record_place(uint64_t end) noexcept;

}  // namespace plank::pg
