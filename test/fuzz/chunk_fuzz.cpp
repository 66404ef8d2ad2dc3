// Bytes that read_chunk accepts give as many records as their keys count, in ascending order; all others are refused
// without harm.
#include <cstdint>
#include <cstdlib>

#include "core/chunk.hpp"

using namespace plank::core;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	const std::string_view bytes(reinterpret_cast<const char*>(data), size);
	Chunk chunk;
	if (!read_chunk(bytes, chunk)) return 0;
	for (const ChunkShape& shape : chunk.shapes)
		(void)Shape::decode(shape.encoded);
	ChunkRecords records(chunk);
	RecordKey last;
	uint64_t count = 0;
	size_t length = 0;
	for (; records.next(); ++count) {
		if (count == 0 ? records.key() != chunk.first : records.key() <= last) abort();
		if (records.record().is_change() && !chunk.shape(records.record().shape)) abort();
		last = records.key();
		length += records.bytes().size();
	}
	if (count != chunk.count || last != chunk.last || length != chunk.records.size()) abort();
	return 0;
}
