// Puts the chunks of interleaved transactions together until their commit records come. Keeps to a limit of memory, moves
// the largest transactions to temporary files, and never gives a transaction in part.
// Runs in the worker. Must not call PostgreSQL.
//
// Chunks carry the (sub)transaction that wrote them; which of those committed is known at the commit record alone. Reading
// begins somewhere in the middle of the log, so the first question is what may have been written before: until a list of
// running transactions has been read, or the caller knows better (`prove`), nothing is known (`proven`). From then on the
// transactions of that list of which no chunk has been seen are suspects: the commit of one is Outcome::unknown.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/assembly.hpp"
#include "core/record.hpp"

namespace plank::core {

class Assembler {
 public:
	struct Limits {
		size_t memory = 16 << 20;
		size_t spill = 1 << 30;
		std::string directory;  // of temporary files
	};

	Assembler(ShapeCache& shapes, Limits limits) : shapes_(shapes), limits_(std::move(limits)) {}
	void set_limits(Limits limits) { limits_ = std::move(limits); }

	// A chunk written by the (sub)transaction `xid`. False: these bytes are none, so somebody's changes are lost.
	bool add(uint32_t xid, std::string_view bytes);

	// How transactions end. `subs`: the committed subtransactions that share `xid`'s fate.
	void abort(uint32_t xid, const uint32_t* subs, size_t count);
	void prepare(uint32_t top);
	enum class Outcome : uint8_t {
		nothing,  // it has no tracked changes
		whole,    // `assembly` has them
		unknown,  // it may have had changes that were written before reading began
	};
	Outcome commit(uint32_t top, const uint32_t* subs, size_t count, std::unique_ptr<Assembly>& assembly);

	// The top-level transactions that run here (prepared ones included); others below `next` have ended, or died.
	void running(const uint32_t* tops, size_t count, uint32_t next);
	// The server has stopped or recovered here: only prepared transactions live on.
	void restarted();

	// Whether it is known which transactions may have written something before reading began.
	bool proven() const noexcept { return proven_; }
	// It is known from elsewhere: those in `suspects` and no others.
	void prove(const std::vector<uint32_t>& suspects);

	// From where on everything that is open now can be read whole; 0: it cannot, UINT64_MAX: nothing is open.
	uint64_t restart() const noexcept
	{
		if (!proven_ || !suspects_.empty()) return 0;
		return firsts_.empty() ? UINT64_MAX : *firsts_.begin();
	}
	size_t open() const noexcept { return open_.size(); }
	size_t memory() const noexcept { return memory_; }
	size_t spilled() const noexcept { return spilled_; }
	// Of the temporary files, since the last call; or "".
	std::string take_error() { return std::exchange(error_, std::string()); }

 private:
	struct Open {
		uint64_t full_xid = 0;
		uint64_t next_number = 0;
		bool whole = true;  // every chunk from number 0 on was seen
		bool prepared = false;
		bool lost = false;  // its chunks could not be kept
		std::vector<KeptChunk> chunks;
		std::unordered_set<uint32_t> subs;  // subtransactions that wrote some, but for those taken back
		std::vector<ShapePtr> shapes;
		std::unique_ptr<AppendFile> file;
		Concerned concerned;
		size_t memory = 0, spilled = 0;
		std::multiset<uint64_t>::iterator first;
	};
	using OpenMap = std::unordered_map<uint32_t, Open>;

	bool read(std::string_view bytes, const Chunk& chunk, Open& open, KeptChunk& kept);
	void keep(Open& open, KeptChunk&& kept, std::string_view bytes);
	bool spill(Open& open);
	bool move_to_file(Open& open, KeptChunk& kept, std::string_view bytes);
	void give_up(Open& open, const std::string& reason);
	void keep_to_limit();
	OpenMap::iterator drop(OpenMap::iterator found);
	void drop_sub(uint32_t sub);

	ShapeCache& shapes_;
	Limits limits_;
	OpenMap open_;                                 // by top-level xid
	std::unordered_map<uint32_t, uint32_t> tops_;  // of the open transactions' subs
	std::multiset<uint64_t> firsts_;               // first LSNs of what is open
	std::unordered_set<uint32_t> suspects_;
	bool proven_ = false;
	size_t memory_ = 0, spilled_ = 0, files_ = 0;
	std::string error_;
};

}  // namespace plank::core
