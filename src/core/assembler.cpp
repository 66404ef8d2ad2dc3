// Grouping chunks by transaction, and what becomes of them. Runs in the worker. Must not call PostgreSQL.
#include "core/assembler.hpp"

#include <algorithm>
#include <utility>

namespace plank::core {

namespace {

// A shape's number is an index; a session does not use more tables than this in one transaction.
constexpr uint32_t kMostShapes = 1 << 20;
// Each needs a descriptor until its transaction ends.
constexpr size_t kMostFiles = 256;
// What two hash tables take to remember a subtransaction.
constexpr size_t kSubMemory = 80;

// Transaction ids are compared as on a circle.
bool precedes(uint32_t a, uint32_t b) noexcept { return static_cast<int32_t>(a - b) < 0; }

size_t overhead(const std::vector<ShapePtr>& shapes) noexcept { return shapes.capacity() * sizeof(ShapePtr); }

}  // namespace

bool Assembler::add(uint32_t xid, std::string_view bytes)
{
	Chunk chunk;
	if (!read_chunk(bytes, chunk)) return false;
	const auto top = static_cast<uint32_t>(chunk.xid);
	auto found = open_.find(top);
	// Ids come round again: what had this one before is long dead.
	if (found != open_.end() && found->second.full_xid != chunk.xid) {
		drop(found);
		found = open_.end();
	}
	if (found == open_.end()) {
		found = open_.try_emplace(top).first;
		found->second.full_xid = chunk.xid;
		found->second.first = firsts_.insert(chunk.first_lsn);
	}
	// Whether it is whole shows in the numbers; its first LSN says from where on it can be read.
	suspects_.erase(top);
	Open& open = found->second;
	open.whole = open.whole && chunk.number == open.next_number;
	open.next_number = chunk.number + 1;
	if (xid != top && open.subs.insert(xid).second) {
		tops_.insert_or_assign(xid, top);
		open.memory += kSubMemory;
		memory_ += kSubMemory;
	}
	KeptChunk kept;
	kept.xid = xid;
	if (!read(bytes, chunk, open, kept)) {
		open.whole = false;
		return false;
	}
	if (!open.lost && open.whole) keep(open, std::move(kept), bytes);
	keep_to_limit();
	return true;
}

// Checks what read_chunk leaves to check, and notes what a look at the bytes tells.
bool Assembler::read(std::string_view bytes, const Chunk& chunk, Open& open, KeptChunk& kept)
{
	const size_t before = overhead(open.shapes);
	for (const ChunkShape& shape : chunk.shapes) {
		if (shape.number >= kMostShapes) return false;
		if (shape.number >= open.shapes.size()) open.shapes.resize(shape.number + 1);
		if (open.shapes[shape.number]) continue;
		open.shapes[shape.number] = shapes_.find(shape.encoded);
		if (!open.shapes[shape.number]) return false;
	}
	const size_t grown = overhead(open.shapes) - before;
	open.memory += grown;
	memory_ += grown;

	Contents contents;
	if (!check_records(chunk.records, open.shapes, contents)) return false;
	kept.first = chunk.first;
	kept.last = chunk.last;
	kept.length = bytes.size();
	kept.records_at = bytes.size() - chunk.records.size();
	kept.changes = contents.changes;
	kept.messages = contents.messages;
	kept.others = contents.others;
	for (const ChunkShape& shape : chunk.shapes) {
		if (!contents.ops[shape.number]) continue;
		kept.ops.emplace_back(shape.number, contents.ops[shape.number]);
		open.concerned.relations.insert(open.shapes[shape.number]->relation);
	}
	open.concerned.all |= contents.messages > 0;
	if (contents.others == 0) return true;
	Reader reader(chunk.records);
	Record record;
	while (next_record(reader, record)) {
		if (record.tag == Tag::reset) open.concerned.relations.insert(record.relation);
		if (record.tag != Tag::lost) continue;
		Reader relations(record.relations);
		if (relations.done()) open.concerned.all = true;
		while (!relations.done())
			open.concerned.relations.insert(static_cast<uint32_t>(relations.varint()));
	}
	return true;
}

void Assembler::keep(Open& open, KeptChunk&& kept, std::string_view bytes)
{
	if (open.file) {
		if (!move_to_file(open, kept, bytes)) return;
	} else {
		kept.bytes = bytes;
	}
	const size_t memory = kept.memory();
	open.memory += memory;
	memory_ += memory;
	open.chunks.push_back(std::move(kept));
}

// False when the transaction has been given up.
bool Assembler::move_to_file(Open& open, KeptChunk& kept, std::string_view bytes)
{
	std::string error;
	const uint64_t offset = open.file->size();
	if (spilled_ + bytes.size() > limits_.spill) {
		give_up(open, "transactions that have not ended take more than plank.spill_size");
		return false;
	}
	if (!open.file->append(bytes, error)) {
		give_up(open, error);
		return false;
	}
	open.spilled += bytes.size();
	spilled_ += bytes.size();
	kept.offset = offset;
	kept.bytes = std::string();
	return true;
}

// Moves a transaction to a file, where what it will write goes too. False when it has been given up instead.
bool Assembler::spill(Open& open)
{
	std::string error;
	if (files_ >= kMostFiles) {
		give_up(open, "too many large transactions have not ended");
		return false;
	}
	open.file = AppendFile::create(limits_.directory, error);
	if (!open.file) {
		give_up(open, error);
		return false;
	}
	++files_;
	for (KeptChunk& kept : open.chunks) {
		const size_t before = kept.memory();
		const std::string bytes = std::move(kept.bytes);
		if (!move_to_file(open, kept, bytes)) return false;
		const size_t freed = before - kept.memory();
		open.memory -= freed;
		memory_ -= freed;
	}
	return true;
}

// It will be told as lost when it commits. What it concerns, and whether it is whole, is still noted.
void Assembler::give_up(Open& open, const std::string& reason)
{
	error_ = reason;
	open.lost = true;
	memory_ -= open.memory;
	spilled_ -= open.spilled;
	if (open.file) --files_;
	open.memory = overhead(open.shapes) + open.subs.size() * kSubMemory;
	memory_ += open.memory;
	open.spilled = 0;
	open.file.reset();
	open.chunks = {};
}

void Assembler::keep_to_limit()
{
	while (memory_ > limits_.memory) {
		Open* largest = nullptr;
		for (auto& [top, open] : open_)
			if (!open.file && !open.lost && (!largest || open.memory > largest->memory)) largest = &open;
		if (!largest || largest->chunks.empty()) return;
		spill(*largest);
	}
}

Assembler::OpenMap::iterator Assembler::drop(OpenMap::iterator found)
{
	Open& open = found->second;
	memory_ -= open.memory;
	spilled_ -= open.spilled;
	if (open.file) --files_;
	firsts_.erase(open.first);
	for (const uint32_t sub : open.subs)
		tops_.erase(sub);
	return open_.erase(found);
}

// The chunks that a savepoint took back. Their numbers still count.
void Assembler::drop_sub(uint32_t sub)
{
	const auto top = tops_.find(sub);
	if (top == tops_.end()) return;
	if (const auto found = open_.find(top->second); found != open_.end()) {
		Open& open = found->second;
		std::erase_if(open.chunks, [&](const KeptChunk& chunk) {
			if (chunk.xid != sub) return false;
			open.memory -= chunk.memory();
			memory_ -= chunk.memory();
			return true;
		});
		open.subs.erase(sub);
		open.memory -= kSubMemory;
		memory_ -= kSubMemory;
	}
	tops_.erase(top);
}

void Assembler::abort(uint32_t xid, const uint32_t* subs, size_t count)
{
	suspects_.erase(xid);
	if (const auto found = open_.find(xid); found != open_.end()) {
		drop(found);
		return;
	}
	drop_sub(xid);
	for (size_t i = 0; i < count; ++i)
		drop_sub(subs[i]);
}

void Assembler::prepare(uint32_t top)
{
	if (const auto found = open_.find(top); found != open_.end()) found->second.prepared = true;
}

Assembler::Outcome Assembler::commit(uint32_t top, const uint32_t* subs, size_t count,
                                     std::unique_ptr<Assembly>& assembly)
{
	const bool suspect = suspects_.erase(top) > 0;
	const auto found = open_.find(top);
	if (found == open_.end()) return suspect ? Outcome::unknown : Outcome::nothing;
	Open& open = found->second;
	if (!open.whole) {
		drop(found);
		return Outcome::unknown;
	}
	if (open.lost) {
		assembly = Assembly::lost(open.full_xid, std::move(open.concerned));
		drop(found);
		return Outcome::whole;
	}
	// Those of subtransactions that did not commit are gone, whether or not their abort was read.
	std::vector<uint32_t> committed(subs, subs + count);
	std::sort(committed.begin(), committed.end());
	std::vector<KeptChunk> chunks;
	chunks.reserve(open.chunks.size());
	for (KeptChunk& chunk : open.chunks)
		if (chunk.xid == top || std::binary_search(committed.begin(), committed.end(), chunk.xid))
			chunks.push_back(std::move(chunk));
	open.chunks.clear();
	Outcome outcome = Outcome::nothing;
	if (!chunks.empty()) {
		outcome = Outcome::whole;
		if (open.file) --files_;
		assembly = std::make_unique<Assembly>(open.full_xid, std::move(chunks), std::move(open.shapes),
		                                      std::move(open.concerned), std::move(open.file), limits_.directory);
	}
	drop(found);
	return outcome;
}

void Assembler::running(const uint32_t* tops, size_t count, uint32_t next)
{
	const std::unordered_set<uint32_t> listed(tops, tops + count);
	for (auto each = open_.begin(); each != open_.end();)
		each = precedes(each->first, next) && !listed.contains(each->first) ? drop(each) : std::next(each);
	if (proven_) {
		std::erase_if(suspects_, [&](uint32_t xid) { return !listed.contains(xid); });
		return;
	}
	for (const uint32_t xid : listed)
		if (!open_.contains(xid)) suspects_.insert(xid);
	proven_ = true;
}

void Assembler::restarted()
{
	for (auto each = open_.begin(); each != open_.end();)
		each = each->second.prepared ? std::next(each) : drop(each);
}

void Assembler::prove(const std::vector<uint32_t>& suspects)
{
	std::unordered_set<uint32_t> left;
	for (const uint32_t xid : suspects)
		if (!open_.contains(xid) && (!proven_ || suspects_.contains(xid))) left.insert(xid);
	suspects_ = std::move(left);
	proven_ = true;
}

}  // namespace plank::core
