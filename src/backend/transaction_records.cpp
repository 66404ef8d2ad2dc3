// Chunks, marks and order of a transaction's records. Runs in ordinary sessions; functions may ereport.
#include "backend/transaction_records.hpp"

#include <algorithm>

extern "C" {
#include "pg/session.hpp"
}

namespace plank::backend {

namespace {

constexpr uint32_t kFirstChunk = 8 * 1024;
constexpr uint32_t kLargestChunk = 1024 * 1024;
uint64_t transactions = 0;

template <typename T>
void make_room(MemoryContext memory, T*& array, int count, int& capacity)
{
	if (count < capacity) return;
	const int wanted = capacity ? capacity * 2 : 16;
	const Size size = sizeof(T) * static_cast<Size>(wanted);
	array = static_cast<T*>(array ? repalloc(array, size) : MemoryContextAlloc(memory, size));
	capacity = wanted;
}

}  // namespace

void TransactionRecords::prepare()
{
	if (memory) return;
	memory = AllocSetContextCreate(TopTransactionContext, "plank transaction records", ALLOCSET_DEFAULT_SIZES);
	transaction = ++transactions;
}

uint32_t TransactionRecords::number_shape(const CapturedTable& table)
{
	prepare();
	if (table.used_in == transaction) return table.used_as;
	int number = 0;
	// The partitions of one table share its shape.
	while (number < shape_count && !(shapes[number].length == table.shape_length &&
	                                 memcmp(shapes[number].bytes, table.shape, table.shape_length) == 0))
		++number;
	if (number == shape_count) {
		make_room(memory, shapes, shape_count, shape_capacity);
		auto* shape = static_cast<char*>(MemoryContextAlloc(memory, table.shape_length + 1));
		memcpy(shape, table.shape, table.shape_length);
		shapes[shape_count++] = {shape, table.shape_length};
	}
	table.used_in = transaction;
	return table.used_as = static_cast<uint32_t>(number);
}

void TransactionRecords::add(uint32_t command, const char* record, uint32_t length)
{
	prepare();
	const int level = GetCurrentTransactionNestLevel();
	const int marked = mark_count ? marks[mark_count - 1].level : 1;
	if (level > marked) {
		make_room(memory, marks, mark_count, mark_capacity);
		marks[mark_count++] = {level, last, last ? last->used : 0, records, bytes};
	}

	const Size size = MAXALIGN(sizeof(RecordHeader) + length);
	if (!last || last->capacity - last->used < size) {
		uint32_t capacity = last ? std::min(last->capacity * 2, kLargestChunk) : kFirstChunk;
		capacity = std::max(capacity, static_cast<uint32_t>(size));
		auto* chunk = static_cast<RecordChunk*>(MemoryContextAllocHuge(memory, sizeof(RecordChunk) + capacity));
		*chunk = {nullptr, capacity, 0};
		(last ? last->next : first) = chunk;
		last = chunk;
	}
	const RecordHeader header = {command, length};
	memcpy(last->bytes() + last->used, &header, sizeof header);
	memcpy(last->bytes() + last->used + sizeof header, record, length);
	last->used += static_cast<uint32_t>(size);
	in_order &= records == 0 || command >= last_command;
	last_command = command;
	++records;
	bytes += size;
}

void TransactionRecords::give_up()
{
	prepare();
	given_up = true;
	for (RecordChunk* chunk = first; chunk;) {
		RecordChunk* const next = chunk->next;
		pfree(chunk);
		chunk = next;
	}
	first = last = nullptr;
	records = bytes = 0;
	mark_count = 0;
}

void TransactionRecords::lose(Oid table)
{
	prepare();
	for (int i = 0; i < lost_count; ++i)
		if (lost[i] == table) return;
	make_room(memory, lost, lost_count, lost_capacity);
	lost[lost_count++] = table;
}

void TransactionRecords::release_level(int level) noexcept
{
	if (!mark_count || marks[mark_count - 1].level < level) return;
	const int below = mark_count > 1 ? marks[mark_count - 2].level : 1;
	if (below >= level - 1)
		--mark_count;
	else
		marks[mark_count - 1].level = level - 1;
}

void TransactionRecords::roll_back_level(int level) noexcept
{
	while (mark_count && marks[mark_count - 1].level >= level) {
		const RecordMark& mark = marks[--mark_count];
		RecordChunk* cut = mark.chunk ? mark.chunk->next : first;
		while (cut) {
			RecordChunk* const next = cut->next;
			pfree(cut);
			cut = next;
		}
		if (mark.chunk) {
			mark.chunk->used = mark.used;
			mark.chunk->next = nullptr;
		} else {
			first = nullptr;
		}
		last = mark.chunk;
		records = mark.records;
		bytes = mark.bytes;
		// `in_order` and `last_command` may now be stricter than need be, which costs a sort and nothing else.
	}
}

void TransactionRecords::forget() noexcept { *this = TransactionRecords{}; }

const RecordHeader** sorted_index(TransactionRecords& records)
{
	auto** index = static_cast<const RecordHeader**>(
	    MemoryContextAllocHuge(records.memory, sizeof(RecordHeader*) * (records.records + 1)));
	uint64_t count = 0;
	for (RecordChunk* chunk = records.first; chunk; chunk = chunk->next) {
		for (uint32_t at = 0; at < chunk->used;) {
			const auto* header = reinterpret_cast<const RecordHeader*>(chunk->bytes() + at);
			index[count++] = header;
			at += static_cast<uint32_t>(MAXALIGN(sizeof *header + header->length));
		}
	}
	// Within a chunk addresses tell the order; between chunks they do not, so the sort must be stable. It is an in-place
	// merge when there is no memory for more, and never throws.
	std::stable_sort(index, index + count,
	                 [](const RecordHeader* a, const RecordHeader* b) { return a->command < b->command; });
	return index;
}

}  // namespace plank::backend
