// Writes rows with the capture trigger's own code and reads them back with the worker's. Runs in ordinary sessions of test
// databases.
#include "filter_rows.hpp"

#include "backend/json_output.hpp"
#include "pg/expression.hpp"
#include "pg/guard.hpp"
#include "pg/table.hpp"
#include "sql_values.hpp"

namespace pg = plank::pg;
namespace core = plank::core;
namespace backend = plank::backend;

namespace plank_test {

namespace {

class OpenTable {
 public:
	explicit OpenTable(Oid oid) : relation_(pg::call([&] { return relation_open(oid, AccessShareLock); })) {}
	~OpenTable() { RelationClose(relation_); }
	OpenTable(const OpenTable&) = delete;
	OpenTable& operator=(const OpenTable&) = delete;
	Relation get() const noexcept { return relation_; }

 private:
	Relation relation_;
};

// What table_cache.cpp makes for a trigger. May ereport.
backend::CapturedTable* captured_table(Relation relation, const core::Shape& shape)
{
	auto* const table = static_cast<backend::CapturedTable*>(palloc0(sizeof(backend::CapturedTable)));
	table->columns = static_cast<int>(shape.columns.size());
	table->column =
	    static_cast<backend::CapturedColumn*>(palloc0(sizeof(backend::CapturedColumn) * (shape.columns.size() + 1)));
	int at = 0;
	for (int i = 0; i < RelationGetDescr(relation)->natts; ++i) {
		const FormData_pg_attribute* const attribute = TupleDescAttr(RelationGetDescr(relation), i);
		if (attribute->attisdropped) continue;
		backend::CapturedColumn& column = table->column[at];
		column.number = attribute->attnum;
		column.length = attribute->attlen;
		column.by_value = attribute->attbyval;
		column.output = backend::resolve_value_output(attribute->atttypid, CurrentMemoryContext);
		if (shape.columns[static_cast<size_t>(at)].with_text) {
			column.text = backend::resolve_text_output(attribute->atttypid, CurrentMemoryContext);
			++table->texts;
		}
		table->last_number = attribute->attnum;
		++at;
	}
	return table;
}

}  // namespace

core::ShapePtr shape_of(Oid oid, const std::string& columns)
{
	const OpenTable relation(oid);
	const pg::TableDescription description = pg::describe_table(relation.get(), columns.c_str());
	auto shape = std::make_shared<core::Shape>();
	shape->relation = description.relation;
	shape->table = description.name;
	for (const pg::ColumnDescription& column : description.columns)
		shape->columns.push_back(
		    {column.name, column.type, static_cast<core::Numbers>(column.numbers), column.with_text});
	shape->key = description.key;
	shape->derive();
	// As it arrives.
	return core::Shape::decode(shape->encode());
}

std::vector<TestChange> changes_of(Oid oid, const core::Shape& shape)
{
	std::vector<TestChange> changes;
	const OpenTable opened(oid);
	const Relation relation = opened.get();
	const backend::OutputSettings settings;
	const backend::CapturedTable* const table = pg::call([&] { return captured_table(relation, shape); });
	TupleTableSlot* const now = pg::call([&] { return table_slot_create(relation, nullptr); });
	TupleTableSlot* const before = pg::call([&] { return table_slot_create(relation, nullptr); });
	// With what this very statement has done.
	const Snapshot snapshot = pg::call([] { return RegisterSnapshot(GetLatestSnapshot()); });
	const TableScanDesc scan = pg::call([&] { return table_beginscan(relation, snapshot, 0, nullptr); });
	StringInfoData content;
	pg::call([&] { initStringInfo(&content); });
	const auto add = [&](core::Tag tag, int row, TupleTableSlot* former) {
		pg::call([&] {
			resetStringInfo(&content);
			backend::append_varint(&content, 0);
			backend::append_row(&content, *table, former, now);
		});
		changes.push_back({tag, row, std::string(content.data, static_cast<size_t>(content.len))});
	};
	for (int row = 1; pg::call([&] { return table_scan_getnextslot(scan, ForwardScanDirection, now); }); ++row) {
		add(core::Tag::insert, row, nullptr);
		add(core::Tag::remove, row, nullptr);
		pg::call([&] {
			slot_getallattrs(now);
			if (row > 1) slot_getallattrs(before);
		});
		if (row > 1) add(core::Tag::update, row, before);
		pg::call([&] { ExecCopySlot(before, now); });
	}
	pg::call([&] {
		table_endscan(scan);
		UnregisterSnapshot(snapshot);
		ExecDropSingleTupleTableSlot(now);
		ExecDropSingleTupleTableSlot(before);
	});
	return changes;
}

core::Record record_of(const TestChange& change, const core::ShapePtr& shape)
{
	core::Transaction transaction;
	std::string body;
	core::append_varint(body, 1);
	core::append_counted(body, shape->encode());
	core::append_record(body, change.tag, change.content);
	core::ShapeCache cache;
	if (!core::read_body(std::move(body), transaction, cache))
		pg::raise(ERRCODE_DATA_CORRUPTED, "capture wrote a faulty record");

	core::Record record;
	record.tag = change.tag;
	record.op = change.tag == core::Tag::insert   ? core::Op::insert
	            : change.tag == core::Tag::update ? core::Op::update
	                                              : core::Op::remove;
	core::Reader reader(change.content);
	record.shape = static_cast<uint32_t>(reader.varint());
	record.image = reader.rest();
	return record;
}

std::string judging_speed(plank::worker::FilterEvaluator& evaluator, Oid relation, const core::ShapePtr& shape,
                          int rounds)
{
	const std::vector<TestChange> changes = changes_of(relation, *shape);
	std::vector<core::Record> records;
	for (const TestChange& change : changes)
		records.push_back(record_of(change, shape));
	core::Verdicts verdicts;
	uint64_t passed = 0;
	const double start = cpu_seconds();
	for (int round = 0; round < rounds; ++round) {
		evaluator.begin_turn();
		evaluator.begin_batch();
		for (const core::Record& record : records) {
			evaluator.evaluate(*shape, record, verdicts);
			passed += verdicts.passed.size();
			if (verdicts.failed.empty()) continue;
			const core::FilterFault& fault = verdicts.failed.front().fault;
			pg::raise(ERRCODE_RAISE_EXCEPTION, (fault.code + ": " + fault.message).c_str());
		}
		evaluator.end_batch();
	}
	const double seconds = cpu_seconds() - start, judged = static_cast<double>(records.size()) * rounds;
	char text[100];
	snprintf(text, sizeof text, "%.0f ns a change, %.2f verdicts a change", 1e9 * seconds / judged,
	         static_cast<double>(passed) / judged);
	return text;
}

std::string adding_speed(const plank::worker::FilterEvaluator& evaluator, int count, double seconds)
{
	char text[100];
	snprintf(text, sizeof text, "; added %.0f a second, %.0f bytes each", count / seconds,
	         static_cast<double>(evaluator.memory()) / count);
	return text;
}

}  // namespace plank_test
