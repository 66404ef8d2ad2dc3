// Chunks, marks and order of a transaction's records. Runs in ordinary sessions; functions may ereport.
#include "core/bytes.hpp"
#include "core/record.hpp"

#include "backend/transaction_records.hpp"

#include <algorithm>

extern "C" {
#include "pg/session.hpp"
}

namespace plank::backend {

namespace {

// Most transactions need the first only, which fits into the block that PostgreSQL keeps for such contexts. The second is
// what a transport that lets records go at 64 kB fills again and again.
constexpr uint32_t kFirstChunk = 4096 - sizeof(RecordChunk);
constexpr uint32_t kSecondChunk = 72 * 1024;
constexpr uint32_t kLargestChunk = 1024 * 1024;
uint64_t transactions = 0;

uint32_t capacity_after(const RecordChunk* last)
{
	return last ? std::clamp(last->capacity * 2, kSecondChunk, kLargestChunk) : kFirstChunk;
}

template <typename T>
void make_room(MemoryContext memory, T*& array, int count, int& capacity)
{
	if (count < capacity) return;
	const int wanted = capacity ? capacity * 2 : 16;
	const Size size = sizeof(T) * static_cast<Size>(wanted);
	array = static_cast<T*>(array ? repalloc(array, size) : MemoryContextAlloc(memory, size));
	capacity = wanted;
}

Oid first_number(const char* bytes, uint32_t length)
{
	core::Reader reader(std::string_view(bytes, length));
	return static_cast<Oid>(reader.varint());
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
		shapes[shape_count++] = {shape, table.shape_length, 0};
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
		marks[mark_count++] = {level, {last, last ? last->used : 0, records, bytes}};
	}

	const Size size = MAXALIGN(sizeof(RecordHeader) + length);
	if (!last || last->capacity - last->used < size) {
		const uint32_t capacity = std::max(capacity_after(last), static_cast<uint32_t>(size));
		auto* chunk = static_cast<RecordChunk*>(MemoryContextAllocHuge(memory, sizeof(RecordChunk) + capacity));
		*chunk = {nullptr, capacity, 0};
		(last ? last->next : first) = chunk;
		last = chunk;
	}
	const RecordHeader header = {added++, command, length};
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
	if (given_up) return;
	for (int i = 0; i < shape_count; ++i)
		lose(first_number(shapes[i].bytes, shapes[i].length));
	for_each_since(*this, {}, [&](const RecordHeader& header, const char* record) {
		if (*record == static_cast<char>(core::Tag::reset)) lose(first_number(record + 1, header.length - 1));
	});
	given_up = true;
	mark_count = 0;
	cut({});
}

void TransactionRecords::lose(Oid table)
{
	prepare();
	for (int i = 0; i < lost_count; ++i)
		if (lost[i] == table) return;
	make_room(memory, lost, lost_count, lost_capacity);
	lost[lost_count++] = table;
}

RecordPlace TransactionRecords::start_of(int level) const noexcept
{
	if (level <= 1) return {};
	int mark = mark_count;
	while (mark > 0 && marks[mark - 1].level >= level)
		--mark;
	return mark < mark_count ? marks[mark].at : RecordPlace{last, last ? last->used : 0, records, bytes};
}

RecordIndex TransactionRecords::index_since(const RecordPlace& place)
{
	auto** at = static_cast<const RecordHeader**>(
	    MemoryContextAllocHuge(memory, sizeof(RecordHeader*) * (records - place.records + 1)));
	uint64_t count = 0;
	for_each_since(*this, place, [&](const RecordHeader& header, const char*) { at[count++] = &header; });
	if (!in_order)
		std::sort(at, at + count, [](const RecordHeader* a, const RecordHeader* b) {
			return a->command != b->command ? a->command < b->command : a->ordinal < b->ordinal;
		});
	return {at, count};
}

void TransactionRecords::cut(const RecordPlace& place) noexcept
{
	// A list that is cut to nothing is often filled again.
	RecordChunk* const kept = place.chunk || !last || last->capacity > kSecondChunk ? nullptr : last;
	RecordChunk* each = place.chunk ? place.chunk->next : first;
	while (each) {
		RecordChunk* const next = each->next;
		if (each != kept) pfree(each);
		each = next;
	}
	last = place.chunk ? place.chunk : kept;
	if (!place.chunk) first = kept;
	if (last) {
		last->used = place.used;
		last->next = nullptr;
	}
	records = place.records;
	bytes = place.bytes;
	for (int i = mark_count; i > 0 && marks[i - 1].at.bytes >= bytes; --i)
		marks[i - 1].at = place;
	// Unless nothing is left, `in_order` and `last_command` may now be stricter than need be, which costs a sort and
	// nothing else.
	if (records == 0) in_order = true;
}

void TransactionRecords::release_level(int level) noexcept
{
	if (lent_to == level) lent_to = 0;
	if (!mark_count || marks[mark_count - 1].level < level) return;
	const int below = mark_count > 1 ? marks[mark_count - 2].level : 1;
	if (below >= level - 1)
		--mark_count;
	else
		marks[mark_count - 1].level = level - 1;
}

void TransactionRecords::roll_back_level(int level) noexcept
{
	if (lent_to == level) {
		broken = true;
		lent_to = 0;
	}
	while (mark_count && marks[mark_count - 1].level >= level) {
		const RecordPlace place = marks[--mark_count].at;
		cut(place);
	}
}

void TransactionRecords::forget() noexcept { *this = TransactionRecords{}; }

}  // namespace plank::backend
