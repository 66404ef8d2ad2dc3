// Looking tables, roles and channels up. Runs in the worker, outside network callbacks.
#include "worker/postgres_catalog.hpp"

#include <algorithm>

#include "pg/catalog.hpp"
#include "pg/encoding.hpp"
#include "pg/process.hpp"
#include "pg/roles.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

constexpr const char* kActivity = "plank: answering clients";

// A relation whose lock was free, open until the end of the scope; the lock goes with the unit of work.
class FreeRelation {
 public:
	enum class State { open, absent, busy };

	explicit FreeRelation(Oid oid)
	{
		state_ = pg::call([&] {
			if (!ConditionalLockRelationOid(oid, AccessShareLock)) return State::busy;
			relation_ = try_relation_open(oid, NoLock);
			return relation_ ? State::open : State::absent;
		});
	}
	~FreeRelation()
	{
		if (relation_) RelationClose(relation_);
	}
	FreeRelation(const FreeRelation&) = delete;
	FreeRelation& operator=(const FreeRelation&) = delete;

	State state() const noexcept { return state_; }
	Relation get() const noexcept { return relation_; }

 private:
	State state_ = State::absent;
	Relation relation_ = nullptr;
};

struct PlainExposure {
	char* channel;
	Oid role;
};
struct PlainExposures {
	PlainExposure* row;
	int count;
};

// The rows of plank.channel, straight from the heap: a query would run whatever a view, rule or policy of that name says,
// and the worker is a superuser. So it must be the extension's own table. May ereport.
PlainExposures read_exposures()
{
	PlainExposures all = {nullptr, 0};
	const Oid schema = get_namespace_oid("plank", false);
	const Oid oid = get_relname_relid("channel", schema);
	const Relation relation = OidIsValid(oid) ? try_table_open(oid, AccessShareLock) : nullptr;
	if (!relation) return all;
	if (relation->rd_rel->relkind != RELKIND_RELATION ||
	    getExtensionOfObject(RelationRelationId, oid) != get_extension_oid("plank", false))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
		                errmsg("plank.channel is not the table that extension plank made")));
	const AttrNumber channel = get_attnum(oid, "channel"), role = get_attnum(oid, "role");
	if (channel <= 0 || role <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("plank.channel lacks a column")));

	int room = 16;
	all.row = static_cast<PlainExposure*>(palloc(sizeof(PlainExposure) * static_cast<Size>(room)));
	const TableScanDesc scan = table_beginscan(relation, GetActiveSnapshot(), 0, nullptr);
	TupleTableSlot* const slot = table_slot_create(relation, nullptr);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot)) {
		CHECK_FOR_INTERRUPTS();
		bool no_channel = false, no_role = false;
		const Datum name = slot_getattr(slot, channel, &no_channel);
		const Datum allowed = slot_getattr(slot, role, &no_role);
		if (no_channel) continue;
		if (all.count == room)
			all.row = static_cast<PlainExposure*>(
			    repalloc_huge(all.row, sizeof(PlainExposure) * static_cast<Size>(room *= 2)));
		all.row[all.count++] = {TextDatumGetCString(name), no_role ? InvalidOid : DatumGetObjectId(allowed)};
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	return all;
}

}  // namespace

core::ShapePtr make_shape(const pg::TableDescription& description, const std::string& notify)
{
	auto shape = std::make_shared<core::Shape>();
	shape->relation = description.relation;
	shape->table = description.name;
	for (const pg::ColumnDescription& column : description.columns)
		shape->columns.push_back({column.name, column.type, static_cast<core::Numbers>(column.numbers),
		                          column.with_text, static_cast<uint16_t>(column.number)});
	shape->key = description.key;
	shape->notify = notify;
	shape->derive();
	return shape;
}

// Columns that the role may read and that the description leaves out.
static std::vector<std::string> other_columns(Relation relation, Oid role, const pg::TableDescription& description)
{
	std::vector<std::string> names;
	const TupleDesc columns = RelationGetDescr(relation);
	if (static_cast<size_t>(columns->natts) == description.columns.size()) return names;
	const bool all = pg::may_select_table(RelationGetRelid(relation), role);
	for (int i = 0; i < columns->natts; ++i) {
		const FormData_pg_attribute& column = *TupleDescAttr(columns, i);
		const bool captured = std::any_of(description.columns.begin(), description.columns.end(),
		                                  [&](const auto& other) { return other.number == column.attnum; });
		if (column.attisdropped || captured) continue;
		if (all || pg::may_select_column(RelationGetRelid(relation), column.attnum, role))
			names.push_back(pg::to_utf8(NameStr(column.attname)));
	}
	return names;
}

// Which of the columns that leave the server the role may read; `readable` stays null when it is all of them.
static core::Access choose_readable(Oid role, const pg::TableDescription& table, core::ColumnNames& readable)
{
	if (pg::may_select_table(table.relation, role)) return core::Access::granted;
	std::vector<std::string> names;
	std::vector<bool> may(table.columns.size());
	for (size_t i = 0; i < may.size(); ++i) {
		may[i] = pg::may_select_column(table.relation, table.columns[i].number, role);
		if (may[i]) names.push_back(table.columns[i].name);
	}
	if (names.empty()) return core::Access::absent;
	for (const uint32_t column : table.key)
		if (!may[column]) return core::Access::key_hidden;
	if (names.size() == may.size()) return core::Access::granted;
	std::sort(names.begin(), names.end());
	readable = std::make_shared<const std::vector<std::string>>(std::move(names));
	return core::Access::granted;
}

void PostgresCatalog::begin()
{
	if (!pg::in_unit()) pg::begin_unit(kActivity);
}

void PostgresCatalog::finish()
{
	if (!pg::in_unit()) return;
	try {
		pg::commit_unit();
	} catch (...) {
		pg::abort_unit();
		throw;
	}
}

// An error ends the unit; the next question begins another.
template <typename F>
core::TableAnswer PostgresCatalog::guarded(F&& f)
{
	try {
		begin();
		return f();
	} catch (pg::Error& error) {
		core::TableAnswer answer{pg::is_recovery_conflict(error) ? core::Access::busy : core::Access::failed, nullptr,
		                         error.what()};
		error.release();
		pg::abort_unit();
		return answer;
	}
}

Oid PostgresCatalog::usable_role(const std::string& role)
{
	Oid oid = InvalidOid;
	return pg::judge_role(pg::from_utf8(role).c_str(), oid) == pg::RoleVerdict::usable ? oid : InvalidOid;
}

core::TableAnswer PostgresCatalog::find_table(const std::string& role, const core::QualifiedName& name)
{
	return guarded([&]() -> core::TableAnswer {
		std::string schema, table;
		try {
			schema = pg::from_utf8(name.schema);
			table = pg::from_utf8(name.name);
		} catch (pg::Error& error) {
			// A name that the database's encoding cannot hold is no table's name.
			error.release();
			pg::abort_unit();
			return {};
		}
		const Oid relation = pg::call([&] {
			const Oid schema_oid = get_namespace_oid(schema.c_str(), true);
			return OidIsValid(schema_oid) ? get_relname_relid(table.c_str(), schema_oid) : InvalidOid;
		});
		return look(usable_role(role), relation);
	});
}

core::TableAnswer PostgresCatalog::look_again(const std::string& role, uint32_t relation)
{
	return guarded([&] { return look(usable_role(role), relation); });
}

// Privileges first and without a lock: whether a table is busy must not tell a stranger that it exists.
core::TableAnswer PostgresCatalog::look(Oid role, Oid relation)
{
	core::TableAnswer answer;
	if (!OidIsValid(role) || !OidIsValid(relation)) return answer;
	const Oid schema = pg::call([&] {
		const char kind = get_rel_relkind(relation);
		const bool table = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
		return table ? get_rel_namespace(relation) : InvalidOid;
	});
	if (!OidIsValid(schema) || !pg::may_use_schema(schema, role) || !pg::may_select_something(relation, role))
		return answer;

	const FreeRelation opened(relation);
	if (opened.state() == FreeRelation::State::busy) answer.access = core::Access::busy;
	if (opened.state() != FreeRelation::State::open) return answer;
	const pg::Tracking tracking = pg::read_tracking(opened.get(), pg::capture_function());
	if (!tracking.tracked) return answer;
	const pg::TableDescription description = pg::describe_table(opened.get(), tracking.columns.c_str());
	answer.access = choose_readable(role, description, answer.readable);
	if (answer.access != core::Access::granted) return answer;
	answer.row_security = pg::has_row_security(relation, role);
	answer.uncaptured = other_columns(opened.get(), role, description);
	core::ShapePtr shape = make_shape(description, tracking.notify);
	if (shapes_.size() > 4096) shapes_.clear();
	answer.shape = shapes_.try_emplace(shape->identity, shape).first->second;
	return answer;
}

std::vector<core::ReadableTable> PostgresCatalog::readable_tables(const std::string& role)
{
	std::vector<core::ReadableTable> tables;
	guarded([&]() -> core::TableAnswer {
		std::vector<Oid> tracked;
		const Oid function = pg::capture_function();
		pg::call([&] {
			SPI_connect();
			const Oid types[] = {OIDOID};
			const Datum values[] = {ObjectIdGetDatum(function)};
			SPI_execute_with_args(
			    "SELECT DISTINCT t.tgrelid, n.nspname, c.relname FROM pg_catalog.pg_trigger t "
			    "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid "
			    "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
			    "WHERE t.tgfoid OPERATOR(pg_catalog.=) $1 AND t.tgparentid OPERATOR(pg_catalog.=) 0 "
			    "ORDER BY n.nspname, c.relname",
			    1, const_cast<Oid*>(types), const_cast<Datum*>(values), nullptr, true, 0);
		});
		for (uint64 i = 0; i < SPI_processed; ++i)
			tracked.push_back(pg::call([&] {
				bool null = false;
				return DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null));
			}));
		pg::call([] { SPI_finish(); });
		const Oid oid = usable_role(role);
		for (const Oid relation : tracked) {
			core::TableAnswer answer = look(oid, relation);
			if (answer.access == core::Access::granted)
				tables.push_back({std::move(answer.shape), std::move(answer.readable)});
		}
		return {};
	});
	return tables;
}

std::vector<std::string> PostgresCatalog::read_channels()
{
	const PlainExposures rows = pg::call(read_exposures);
	std::vector<Exposure> exposures;
	std::vector<std::string> channels;
	for (int i = 0; i < rows.count; ++i) {
		exposures.push_back({pg::to_utf8(rows.row[i].channel), rows.row[i].role});
		channels.emplace_back(rows.row[i].channel);
	}
	std::sort(channels.begin(), channels.end());
	channels.erase(std::unique(channels.begin(), channels.end()), channels.end());
	exposures_.swap(exposures);
	return channels;
}

bool PostgresCatalog::may_hear(const std::string& role, const std::string& channel)
{
	try {
		begin();
		const Oid oid = usable_role(role);
		return OidIsValid(oid) && std::any_of(exposures_.begin(), exposures_.end(), [&](const Exposure& exposure) {
			       return exposure.channel == channel &&
			              (!OidIsValid(exposure.role) || pg::is_member(oid, exposure.role));
		       });
	} catch (...) {
		pg::abort_unit();
		throw;
	}
}

}  // namespace plank::worker
