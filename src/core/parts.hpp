// A transaction's body as NOTIFY payloads: numbered parts of at most 7,999 bytes, put together again by the worker.
// The xid and the number make every payload of a transaction different, because NOTIFY folds equal ones.
// Runs in every process. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string>
#include <string_view>

namespace plank::core {

constexpr size_t kMaxPayload = 7999;   // NOTIFY_PAYLOAD_MAX_LENGTH - 1
constexpr size_t kMaxPartHeader = 64;  // bytes a part's header may take
constexpr size_t kPartBody = kMaxPayload - kMaxPartHeader;

// Writes a part's header and returns its length. `out` holds kMaxPartHeader bytes.
int put_part_header(char* out, uint64_t xid, uint64_t number, bool last, int64_t committed_at, uint64_t total_bytes);

// Puts parts together. The queue keeps a transaction's parts next to each other.
class PartAssembler {
 public:
	enum class Result { incomplete, complete, fault };

	// `limit`: a transaction that claims more bytes than this is a fault.
	explicit PartAssembler(uint64_t limit) : limit_(limit) {}
	// After `complete` the transaction can be taken. `fault`: something is missing and every table must be reset; said
	// once for a transaction, whose other parts are then passed over.
	Result add(std::string_view payload);
	struct Whole {
		uint64_t xid;
		int64_t committed_at;
		std::string body;
	};
	Whole take();

 private:
	Result lose(uint64_t xid);

	uint64_t limit_;
	uint64_t lost_xid_ = 0;  // parts of this transaction are passed over; 0: none
	bool open_ = false;
	uint64_t next_ = 0;
	uint64_t total_ = 0;
	Whole whole_{};
};

}  // namespace plank::core
