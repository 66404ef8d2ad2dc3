// Numbered NOTIFY payloads, written and put together. Runs in every process. Must not call PostgreSQL.
#include "core/parts.hpp"

#include <utility>

#include "core/bytes.hpp"

namespace plank::core {

namespace {
constexpr char kFormat = '1';
}

int put_part_header(char* out, uint64_t xid, uint64_t number, bool last, int64_t committed_at, uint64_t total_bytes)
{
	int at = 0;
	out[at++] = kFormat;
	at += put_varint(out + at, xid);
	at += put_varint(out + at, number);
	at += put_varint(out + at, last ? 1 : 0);
	if (number == 0) {
		at += put_varint(out + at, static_cast<uint64_t>(committed_at < 0 ? 0 : committed_at));
		at += put_varint(out + at, total_bytes);
	}
	return at;
}

// What is left of the transaction that `part` belongs to is passed over: one loss is one fault.
PartAssembler::Result PartAssembler::lose(uint64_t xid)
{
	open_ = false;
	lost_xid_ = xid;
	// Assigning an empty one would hand the lost body's memory, which may be large, to the next transaction.
	(void)std::exchange(whole_, Whole{});
	return Result::fault;
}

PartAssembler::Result PartAssembler::add(std::string_view payload)
{
	Reader reader(payload);
	const bool known = reader.byte() == kFormat;
	const uint64_t xid = reader.varint();
	const uint64_t number = reader.varint();
	const bool last = reader.varint() == 1;
	int64_t committed_at = 0;
	uint64_t total = 0;
	if (number == 0) {
		committed_at = static_cast<int64_t>(reader.varint());
		total = reader.varint();
	}
	if (!known || !reader.ok()) return lose(0);
	if (!open_ && number != 0) return xid == lost_xid_ ? Result::incomplete : lose(xid);
	// An unfinished transaction and the part that interrupts it are both lost: the reset covers both.
	if (open_ && (number != next_ || xid != whole_.xid)) return lose(xid);
	if (number == 0) {
		if (total > limit_) return lose(xid);
		whole_ = Whole{};
		whole_.xid = xid;
		whole_.committed_at = committed_at;
		whole_.body.reserve(total);
		total_ = total;
		next_ = 0;
		lost_xid_ = 0;
		open_ = true;
	}
	const std::string_view bytes = reader.rest();
	const size_t left = total_ - whole_.body.size();
	if (bytes.size() > left || (last && bytes.size() != left)) return lose(xid);
	whole_.body.append(bytes);
	++next_;
	if (!last) return Result::incomplete;
	open_ = false;
	return Result::complete;
}

PartAssembler::Whole PartAssembler::take() { return std::move(whole_); }

}  // namespace plank::core
