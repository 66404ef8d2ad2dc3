// Bytes that read_body accepts can be rendered; all others are refused without harm. Seen alone, in numbered parts, and
// as a shape.
#include <cstdint>
#include <cstdlib>

#include "core/change_json.hpp"
#include "core/parts.hpp"
#include "core/record.hpp"
#include "core/row.hpp"

using namespace plank::core;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	const std::string_view bytes(reinterpret_cast<const char*>(data), size);
	(void)Shape::decode(bytes);

	PartAssembler parts(1 << 20);
	for (size_t at = 0; at < size; at += 64)
		if (parts.add(bytes.substr(at, 64)) == PartAssembler::Result::complete) (void)parts.take();

	ShapeCache shapes;
	Transaction transaction;
	if (!read_body(std::string(bytes), transaction, shapes)) return 0;
	RecordReader reader(transaction.body);
	Record record;
	Row row;
	uint64_t changes = 0;
	std::string out;
	while (reader.next(record)) {
		if (!record.is_change()) continue;
		++changes;
		const Shape& shape = *transaction.shapes[record.shape];
		if (record.op != Op::truncate) {
			row.read(record, shape);
			size_t seen = 0;
			for (size_t i = 0; i < shape.columns.size(); ++i)
				seen += row.now(i).json.size() + row.before(i).text.size() + row.differs(i);
			if (seen > 2 * size + shape.columns.size()) abort();
		}
		for (const bool as_text : {false, true}) {
			out.clear();
			append_change_members(out, record, *transaction.shapes[record.shape], View::whole(record, as_text));
		}
		append_key_member(out, record, *transaction.shapes[record.shape]);
	}
	if (changes != transaction.contents.changes || reader.offset() != transaction.body.size()) abort();
	return 0;
}
