// What a transaction says, record by record. The capture side writes records, the worker reads them.
// Runs in every process. Must not call PostgreSQL.
//
//   body    := varint(shapes) counted(shape)* record*
//   record  := tag counted(content)
//   content of a change  := varint(shape number) image [differences] [texts]
//     image       := counted(JSON of a column)*      one per column of the shape; empty: null
//     differences := varint(n) (varint(column) counted(JSON of the former value))*     updates only
//     texts       := counted(text)* [varint(n) (varint(text column) counted(former text))*]    shapes with texts only:
//                    one per column with_text; after an update the former ones that differ. What stands in a text is
//                    between the capture side and whoever rebuilds values (pg/value_text.hpp)
//   content of a message := counted(channel) payload
//   content of a reset   := varint(relation) reason
//   content of lost      := varint(relation)*        none: all tables
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/body.hpp"
#include "core/bytes.hpp"
#include "core/shape.hpp"

namespace plank::core {

enum class Tag : char {
	insert = 'I',
	entered = 'i',  // an update that moved the row into the tracked rows or to this partition
	update = 'U',
	remove = 'D',
	left = 'd',  // an update that moved the row out
	truncate = 'T',
	message = 'M',
	reset = 'R',
	lost = 'L',  // the transaction was too large, or the queue too full: reset these tables
};

// What subscribers call it.
enum class Op : uint8_t { insert, update, remove, truncate };
constexpr int kOps = 4;
using OpSet = uint8_t;
constexpr OpSet op_bit(Op op) noexcept { return static_cast<OpSet>(1u << static_cast<unsigned>(op)); }
constexpr OpSet kAllOps = 0x0f;
std::string_view op_name(Op op) noexcept;
std::optional<Op> op_named(std::string_view name) noexcept;

// One record, as views into the body.
struct Record {
	Tag tag = Tag::truncate;
	Op op = Op::truncate;               // changes only
	bool by_update = false;             // changes only: an insert or delete that an update caused
	uint32_t shape = 0;                 // changes only: number within the body
	std::string_view image;             // changes: the new row (updates: then the differences), a delete's old row
	std::string_view channel, payload;  // messages
	uint32_t relation = 0;              // resets
	std::string_view reason;            // resets
	std::string_view relations;         // lost

	bool is_change() const noexcept { return tag != Tag::message && tag != Tag::reset && tag != Tag::lost; }
};

// Reads the next record; false at the end or when the bytes are faulty (reader.ok() tells which).
bool next_record(Reader& reader, Record& record) noexcept;

// Reads the records of a body whose pieces have been checked, from a place between two records on.
class RecordReader {
 public:
	explicit RecordReader(const Body& body, size_t offset = 0) noexcept
	    : body_(body), piece_(body.piece_at(offset)), reader_(rest_of_piece(offset))
	{}
	bool next(Record& record) noexcept
	{
		while (!next_record(reader_, record)) {
			if (piece_ >= body_.pieces().size() || ++piece_ == body_.pieces().size()) return false;
			reader_ = Reader(body_.pieces()[piece_].bytes);
		}
		return true;
	}
	// Where the next record begins.
	size_t offset() const noexcept
	{
		if (piece_ >= body_.pieces().size()) return body_.size();
		const Body::Piece& piece = body_.pieces()[piece_];
		return piece.begin + piece.bytes.size() - reader_.rest().size();
	}

 private:
	std::string_view rest_of_piece(size_t offset) const noexcept
	{
		if (piece_ >= body_.pieces().size()) return {};
		const Body::Piece& piece = body_.pieces()[piece_];
		return piece.bytes.substr(offset - piece.begin);
	}
	const Body& body_;
	size_t piece_;
	Reader reader_;
};

// What a transaction's records say in sum; filled as they are checked, piece by piece.
struct Contents {
	uint64_t changes = 0, messages = 0;
	uint64_t others = 0;     // resets and lost markers
	std::vector<OpSet> ops;  // what is done with each shape
};

// A committed transaction as the transport hands it to the hub.
struct Transaction {
	uint64_t xid = 0;          // 0: none (a plain NOTIFY)
	int64_t committed_at = 0;  // microseconds since 2000-01-01 UTC
	// Where in the stream it stands, in the transport's own order of places (a commit record's end, an xid), and the same
	// with all that it takes to find it again, as clients are told.
	uint64_t place = 0;
	std::string position;
	std::vector<ShapePtr> shapes;  // by the numbers that records have; null where a number is not used
	Body body;                     // the records
	Contents contents;
};

// Remembers shapes by their bytes, so that equal ones are one object. Bounded: forgets all when it holds many.
class ShapeCache {
 public:
	ShapePtr find(std::string_view encoded);

 private:
	static constexpr size_t kMost = 4096;
	struct Hash {
		using is_transparent = void;
		size_t operator()(std::string_view bytes) const noexcept { return std::hash<std::string_view>{}(bytes); }
	};
	std::unordered_map<std::string, ShapePtr, Hash, std::equal_to<>> shapes_;
};

// Checks records that name `shapes`, and adds what they say to `contents`; false when they are faulty.
bool check_records(std::string_view records, const std::vector<ShapePtr>& shapes, Contents& contents);

// Takes a body that came whole: checks it and fills shapes, body and contents; false when it is no body.
bool read_body(std::string&& bytes, Transaction& transaction, ShapeCache& shapes);

// Writing, for the worker's own records and for tests; the capture side writes the same bytes into PostgreSQL's memory.
void append_record(std::string& out, Tag tag, std::string_view content);

}  // namespace plank::core
