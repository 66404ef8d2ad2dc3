// Numbered NOTIFY payloads, written and put together. Runs in every process. Must not call PostgreSQL.
#include "core/parts.hpp"

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
	if (!known || !reader.ok()) {
		open_ = false;
		return Result::fault;
	}
	const bool interrupted = open_ && (number == 0 || xid != transaction_.xid || number != next_);
	if (number == 0) {
		transaction_ = Transaction{};
		transaction_.xid = xid;
		transaction_.committed_at = committed_at;
		total_ = total;
		next_ = 0;
		open_ = total <= limit_;
		if (!open_) return Result::fault;
		transaction_.body.reserve(total);
	} else if (!open_ || interrupted) {
		open_ = false;
		return Result::fault;
	}
	transaction_.body.append(reader.rest());
	++next_;
	if (interrupted) {
		open_ = false;
		return Result::fault;
	}
	if (transaction_.body.size() > total_ || (last && transaction_.body.size() != total_)) {
		open_ = false;
		return Result::fault;
	}
	if (!last) return Result::incomplete;
	open_ = false;
	return Result::complete;
}

Transaction PartAssembler::take()
{
	return std::move(transaction_);
}

}  // namespace plank::core
