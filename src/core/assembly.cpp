// Ordering and merging, in slices. Runs in the worker. Must not call PostgreSQL.
#include "core/assembly.hpp"

#include <algorithm>

namespace plank::core {

namespace {

constexpr size_t kPieceBytes = 256 * 1024;
constexpr int kRecordsBetweenLooks = 64;  // at the clock

}  // namespace

Assembly::Assembly(uint64_t xid, std::vector<KeptChunk>&& chunks, std::vector<ShapePtr>&& shapes, Concerned&& concerned,
                   std::unique_ptr<AppendFile>&& file, std::string directory)
    : xid_(xid),
      chunks_(std::move(chunks)),
      shapes_(std::move(shapes)),
      concerned_(std::move(concerned)),
      file_(std::move(file)),
      directory_(std::move(directory))
{
	std::sort(chunks_.begin(), chunks_.end(), [](const KeptChunk& a, const KeptChunk& b) { return a.first < b.first; });
	contents_.ops.assign(shapes_.size(), 0);
	for (const KeptChunk& chunk : chunks_) {
		contents_.changes += chunk.changes;
		contents_.messages += chunk.messages;
		contents_.others += chunk.others;
		for (const auto& [shape, ops] : chunk.ops)
			contents_.ops[shape] |= ops;
	}
	if (!file_) return;
	mapping_ = file_->map(error_);
	if (!mapping_) lose();
}

std::unique_ptr<Assembly> Assembly::lost(uint64_t xid, Concerned&& concerned)
{
	std::unique_ptr<Assembly> assembly(new Assembly());
	assembly->xid_ = xid;
	assembly->concerned_ = std::move(concerned);
	assembly->lose();
	return assembly;
}

std::string_view Assembly::bytes_of(const KeptChunk& chunk) const noexcept
{
	return chunk.in_file() ? mapping_->bytes().substr(chunk.offset, chunk.length) : std::string_view(chunk.bytes);
}

// Lets all go but the names of the tables.
void Assembly::lose()
{
	lost_ = true;
	chunks_.clear();
	cursors_.clear();
	parts_.clear();
	merged_ = std::string();
	shapes_.clear();
	contents_ = {};
	next_ = 0;
}

namespace {

// For std heaps, which have the greatest in front.
constexpr auto later = [](const auto& a, const auto& b) { return b.records.key() < a.records.key(); };

}  // namespace

// The next chunk joins those that are merged. False when its bytes are not what they were.
bool Assembly::open_cursor()
{
	Chunk chunk;
	if (!read_chunk(bytes_of(chunks_[next_]), chunk)) return false;
	Cursor cursor{next_, ChunkRecords(chunk)};
	if (!cursor.records.next()) return false;
	++next_;
	cursors_.push_back(cursor);
	std::push_heap(cursors_.begin(), cursors_.end(), later);
	return true;
}

// The next chunk overlaps with none: its records stay where they are.
void Assembly::pass_whole()
{
	KeptChunk& chunk = chunks_[next_++];
	Part part;
	part.from = chunk.records_at;
	part.offset = chunk.offset;
	part.length = chunk.length;
	part.text = std::move(chunk.bytes);
	parts_.push_back(std::move(part));
}

// False when there is no room for it.
bool Assembly::flush_merged(size_t at_least)
{
	if (merged_.empty() || merged_.size() < at_least) return true;
	Part part;
	if (file_) {
		// What was too large for memory once is so again.
		if (!merged_file_) merged_file_ = AppendFile::create(directory_, error_);
		if (!merged_file_) return false;
		part.merged_file = true;
		part.offset = merged_file_->size();
		part.length = merged_.size();
		if (!merged_file_->append(merged_, error_)) return false;
		merged_.clear();
	} else {
		part.text = std::exchange(merged_, std::string());
	}
	parts_.push_back(std::move(part));
	return true;
}

// Takes records from the chunks that overlap until there are none, or until `deadline`. False on disk trouble.
bool Assembly::merge(Clock::time_point deadline)
{
	for (int records = 0; !cursors_.empty(); ++records) {
		if (records == kRecordsBetweenLooks) {
			if (Clock::now() >= deadline) return true;
			records = 0;
		}
		while (next_ < chunks_.size() && chunks_[next_].first < cursors_.front().records.key())
			if (!open_cursor()) return false;
		std::pop_heap(cursors_.begin(), cursors_.end(), later);
		Cursor& cursor = cursors_.back();
		merged_ += cursor.records.bytes();
		if (cursor.records.next()) {
			std::push_heap(cursors_.begin(), cursors_.end(), later);
		} else {
			chunks_[cursor.chunk].bytes = std::string();
			cursors_.pop_back();
		}
		if (!flush_merged(kPieceBytes)) return false;
	}
	return flush_merged(1);
}

bool Assembly::step(Clock::time_point deadline)
{
	if (done_) return true;
	for (int looks = 0; !lost_ && (next_ < chunks_.size() || !cursors_.empty()); ++looks) {
		if (looks % kRecordsBetweenLooks == kRecordsBetweenLooks - 1 && Clock::now() >= deadline) return false;
		const bool alone =
		    cursors_.empty() && (next_ + 1 == chunks_.size() || chunks_[next_].last < chunks_[next_ + 1].first);
		if (alone) {
			pass_whole();
			continue;
		}
		if ((cursors_.empty() && !open_cursor()) || !merge(deadline)) {
			lose();
		} else if (!cursors_.empty()) {
			return false;
		}
	}
	finish();
	return true;
}

void Assembly::finish()
{
	std::shared_ptr<const AppendFile::Mapping> merged;
	if (!lost_ && merged_file_) {
		merged = merged_file_->map(error_);
		if (!merged) lose();
	}
	done_ = true;
	transaction_.xid = xid_;
	if (lost_) {
		std::string content, record;
		if (!concerned_.all)
			for (const uint32_t relation : concerned_.relations)
				append_varint(content, relation);
		append_record(record, Tag::lost, content);
		transaction_.contents.others = 1;
		transaction_.body.add(std::move(record));
	} else {
		transaction_.shapes = std::move(shapes_);
		transaction_.contents = std::move(contents_);
		for (Part& part : parts_) {
			if (!part.text.empty())
				transaction_.body.add(std::move(part.text), part.from);
			else
				transaction_.body.add_mapped(
				    part.merged_file ? merged : mapping_,
				    (part.merged_file ? merged : mapping_)->bytes().substr(part.offset, part.length).substr(part.from));
		}
	}
	chunks_.clear();
	parts_.clear();
	file_.reset();
	merged_file_.reset();
	mapping_.reset();
}

Transaction Assembly::take() { return std::move(transaction_); }

}  // namespace plank::core
