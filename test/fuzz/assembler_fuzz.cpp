// Whatever chunks come in whatever order, with whatever ends of transactions between them: what is delivered can be read
// and holds as many records as it says, and in the end nothing is left.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/assembler.hpp"

using namespace plank::core;

namespace {

// A chunk of well-formed parts in a spirit that raw bytes seldom have.
std::string build_chunk(Reader& input)
{
	const auto small = [&](unsigned limit) { return input.done() ? 0u : static_cast<uint8_t>(input.byte()) % limit; };
	char head[kMaxChunkHead];
	std::string out(head, static_cast<size_t>(put_chunk_head(head, 1 + small(4), small(4), 1 + small(8))));
	const unsigned count = 1 + small(4);
	std::string runs, records;
	RecordKey key{small(4), small(4)};
	for (unsigned i = 0; i < count; ++i) {
		runs.append(head, static_cast<size_t>(put_key_run(head, {key, 1})));
		key = {key.command + small(2), key.ordinal + 1 + small(2)};
		std::string content;
		append_counted(content, "jobs");
		content.append(small(200), 'x');
		append_record(records, Tag::message, content);
	}
	append_varint(out, count);
	out += runs;
	append_varint(out, 0);
	return out + records;
}

void check(Assembly& assembly)
{
	while (!assembly.step(Assembly::Clock::time_point::min())) {}
	const Transaction transaction = assembly.take();
	RecordReader reader(transaction.body);
	Record record;
	uint64_t records = 0;
	while (reader.next(record))
		++records;
	const Contents& contents = transaction.contents;
	if (records == 0 || records != contents.changes + contents.messages + contents.others) abort();
	if (reader.offset() != transaction.body.size()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	Reader input(std::string_view(reinterpret_cast<const char*>(data), size));
	ShapeCache shapes;
	Assembler assembler(shapes, {size % 2 ? size_t{1} << 20 : 400, size % 3 ? 4096u : 100u, "/tmp"});
	const auto xid = [&] { return input.done() ? 1u : 1u + static_cast<uint8_t>(input.byte()) % 6; };
	while (!input.done()) {
		const auto action = static_cast<uint8_t>(input.byte());
		const uint32_t top = xid(), sub = xid();
		switch (action % 8) {
			case 0: {
				const std::string_view bytes = input.counted();
				(void)assembler.add(sub, bytes);
				break;
			}
			case 1:
			case 2:
				if (!assembler.add(sub, build_chunk(input))) abort();
				break;
			case 3: {
				std::unique_ptr<Assembly> assembly;
				assembler.commit(top, &sub, action % 2, assembly);
				if (assembly) check(*assembly);
				break;
			}
			case 4:
				assembler.abort(top, &sub, action % 3 ? 1 : 0);
				break;
			case 5:
				assembler.prepare(top);
				break;
			case 6:
				assembler.running(&top, action % 3 ? 1 : 0, sub);
				break;
			case 7:
				action % 3 ? assembler.restarted() : assembler.prove({top, sub});
				break;
		}
	}
	for (uint32_t top = 0; top < 8; ++top) {
		std::unique_ptr<Assembly> assembly;
		assembler.commit(top, nullptr, 0, assembly);
	}
	assembler.running(nullptr, 0, 1u << 30);
	return 0;
}
