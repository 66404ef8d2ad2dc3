// Reading and checking the records of a transaction. Runs in the worker. Must not call PostgreSQL.
#include "core/record.hpp"

#include <algorithm>

namespace plank::core {

std::string_view op_name(Op op) noexcept
{
	switch (op) {
		case Op::insert:
			return "insert";
		case Op::update:
			return "update";
		case Op::remove:
			return "delete";
		case Op::truncate:
			return "truncate";
	}
	return "";
}

std::optional<Op> op_named(std::string_view name) noexcept
{
	for (int i = 0; i < kOps; ++i)
		if (op_name(static_cast<Op>(i)) == name) return static_cast<Op>(i);
	return std::nullopt;
}

namespace {

// An OID or a small number; one that is larger is a fault, never another number.
uint32_t read_number(Reader& reader) noexcept
{
	const uint64_t value = reader.varint();
	if (value > UINT32_MAX) reader.fail();
	return reader.ok() ? static_cast<uint32_t>(value) : 0;
}

bool all_numbers(std::string_view bytes) noexcept
{
	Reader reader(bytes);
	while (!reader.done())
		(void)read_number(reader);
	return reader.ok();
}

}  // namespace

bool next_record(Reader& reader, Record& record) noexcept
{
	if (reader.done()) return false;
	record = Record{};
	record.tag = static_cast<Tag>(reader.byte());
	Reader content(reader.counted());
	if (!reader.ok()) return false;
	switch (record.tag) {
		case Tag::insert:
			record.op = Op::insert;
			break;
		case Tag::entered:
			record.op = Op::insert;
			record.by_update = true;
			break;
		case Tag::update:
			record.op = Op::update;
			break;
		case Tag::remove:
			record.op = Op::remove;
			break;
		case Tag::left:
			record.op = Op::remove;
			record.by_update = true;
			break;
		case Tag::truncate:
			record.op = Op::truncate;
			break;
		case Tag::message:
			record.channel = content.counted();
			record.payload = content.rest();
			if (!content.ok()) reader.fail();
			return content.ok();
		case Tag::reset:
			record.relation = read_number(content);
			record.reason = content.rest();
			if (!content.ok()) reader.fail();
			return content.ok();
		case Tag::lost:
			record.relations = content.rest();
			if (!all_numbers(record.relations)) reader.fail();
			return reader.ok();
		default:
			reader.fail();
			return false;
	}
	record.shape = read_number(content);
	record.image = content.rest();
	if (!content.ok()) reader.fail();
	return content.ok();
}

namespace {

// Walks what follows: n, and so many pairs of a number below `limit` and bytes.
bool check_pairs(Reader& reader, size_t limit)
{
	const uint64_t pairs = reader.varint();
	if (pairs > limit) return false;
	for (uint64_t i = 0; i < pairs; ++i) {
		if (reader.varint() >= limit) return false;
		reader.counted();
	}
	return true;
}

// Walks a change's columns, so that whoever reads them need not check.
bool check_change(const Record& record, const std::vector<ShapePtr>& shapes)
{
	if (record.shape >= shapes.size() || !shapes[record.shape]) return false;
	if (record.op == Op::truncate) return record.image.empty();
	const Shape& shape = *shapes[record.shape];
	const size_t columns = shape.columns.size(), texts = shape.texts.size();
	const bool updated = record.op == Op::update;
	Reader reader(record.image);
	for (size_t i = 0; i < columns; ++i)
		reader.counted();
	if (updated && !check_pairs(reader, columns)) return false;
	for (size_t i = 0; i < texts; ++i)
		reader.counted();
	if (updated && texts > 0 && !check_pairs(reader, texts)) return false;
	return reader.ok() && reader.done();
}

}  // namespace

ShapePtr ShapeCache::find(std::string_view encoded)
{
	if (const auto found = shapes_.find(encoded); found != shapes_.end()) return found->second;
	ShapePtr shape = Shape::decode(encoded);
	if (!shape) return nullptr;
	if (shapes_.size() >= kMost) shapes_.clear();
	shapes_.emplace(encoded, shape);
	return shape;
}

bool check_records(std::string_view records, const std::vector<ShapePtr>& shapes, Contents& contents)
{
	contents.ops.resize(std::max(contents.ops.size(), shapes.size()), 0);
	Reader reader(records);
	Record record;
	while (next_record(reader, record)) {
		if (record.is_change()) {
			if (!check_change(record, shapes)) return false;
			contents.ops[record.shape] |= op_bit(record.op);
			++contents.changes;
		} else if (record.tag == Tag::message) {
			++contents.messages;
		} else {
			++contents.others;
		}
	}
	return reader.ok();
}

bool read_body(std::string&& bytes, Transaction& transaction, ShapeCache& shapes)
{
	Reader reader(bytes);
	const uint64_t count = reader.varint();
	for (uint64_t i = 0; i < count && reader.ok(); ++i) {
		ShapePtr shape = shapes.find(reader.counted());
		if (!shape) return false;
		transaction.shapes.push_back(std::move(shape));
	}
	if (!reader.ok() || !check_records(reader.rest(), transaction.shapes, transaction.contents)) return false;
	const auto records_at = static_cast<size_t>(reader.at() - bytes.data());
	transaction.body.add(std::move(bytes), records_at);
	return true;
}

void append_record(std::string& out, Tag tag, std::string_view content)
{
	out += static_cast<char>(tag);
	append_counted(out, content);
}

}  // namespace plank::core
