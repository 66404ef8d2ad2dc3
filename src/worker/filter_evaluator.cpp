// Adding, releasing and looking again at filters. Runs in the worker.
#include "worker/filter_evaluator.hpp"

#include <algorithm>
#include <cstring>

#include "pg/encoding.hpp"
#include "worker/filter_parse.hpp"

namespace plank::worker {

namespace {

// A table for as long as the scope lasts; its lock, which must be free, goes with the transaction.
class FreeTable {
 public:
	explicit FreeTable(Oid oid)
	    : relation_(pg::call([&] {
		      if (!ConditionalLockRelationOid(oid, AccessShareLock))
			      ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("the table is locked")));
		      const Relation relation = try_relation_open(oid, NoLock);
		      if (!relation) ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the table does not exist")));
		      return relation;
	      }))
	{}
	// An error has closed it with the subtransaction that it was opened in.
	~FreeTable()
	{
		if (relation_) RelationClose(relation_);
	}
	FreeTable(const FreeTable&) = delete;
	FreeTable& operator=(const FreeTable&) = delete;
	Relation get() const noexcept { return relation_; }
	void forget() noexcept { relation_ = nullptr; }

 private:
	Relation relation_;
};

void hash_bytes(pg_cryptohash_ctx* context, const void* bytes, size_t length)
{
	if (pg_cryptohash_update(context, static_cast<const uint8*>(bytes), length) < 0)
		ereport(ERROR, (errmsg("could not compute a filter's signature")));
}

void hash_number(pg_cryptohash_ctx* context, uint64 number) { hash_bytes(context, &number, sizeof number); }

void hash_datum(pg_cryptohash_ctx* context, Datum value, bool by_value, int16 length)
{
	if (by_value) return hash_number(context, value);
	const Size size = datumGetSize(value, by_value, length);
	hash_number(context, size);
	hash_bytes(context, DatumGetPointer(value), size);
}

// All that makes two filters one. May ereport.
void sign(const Condition& condition, Oid role, const FilterTable& table, Signature* signature)
{
	pg_cryptohash_ctx* const context = pg_cryptohash_create(PG_SHA256);
	if (!context || pg_cryptohash_init(context) < 0) ereport(ERROR, (errmsg("could not compute a filter's signature")));
	hash_number(context, role);
	hash_number(context, reinterpret_cast<uintptr_t>(&table));
	hash_bytes(context, condition.identity, strlen(condition.identity) + 1);
	ListCell* cell;
	foreach (cell, condition.constants) {
		const auto* const constant = lfirst_node(Const, cell);
		hash_datum(context, constant->constvalue, constant->constbyval, constant->constlen);
	}
	if (const FilterKey* const key = condition.key) {
		hash_number(context, static_cast<uint64>(key->column));
		hash_number(context, key->op);
		hash_number(context, key->collation);
		hash_number(context, key->constant_type);
		for (int i = 0; i < key->count; ++i)
			hash_datum(context, key->values[i], key->by_value, key->length);
	}
	if (pg_cryptohash_final(context, signature->data(), signature->size()) < 0)
		ereport(ERROR, (errmsg("could not compute a filter's signature")));
	pg_cryptohash_free(context);
}

}  // namespace

size_t FilterEvaluator::SignatureHash::operator()(const Signature& signature) const noexcept
{
	size_t hash = 0;
	memcpy(&hash, signature.data(), sizeof hash);
	return hash;
}

FilterEvaluator::FilterEvaluator(FilterLimits limits) : limits_(limits) {}

FilterEvaluator::~FilterEvaluator()
{
	tables_.clear();
	if (memory_) MemoryContextDelete(memory_);
}

// Made at first use: a worker without filters has none of it.
void FilterEvaluator::prepare()
{
	if (memory_) return;
	pg::call([&] {
		const MemoryContext made = AllocSetContextCreate(TopMemoryContext, "plank evaluator", ALLOCSET_DEFAULT_SIZES);
		parsing_ = AllocSetContextCreate(made, "plank filter parsing", ALLOCSET_DEFAULT_SIZES);
		execution_.row = AllocSetContextCreate(made, "plank filtered row", ALLOCSET_DEFAULT_SIZES);
		const MemoryContext caller = MemoryContextSwitchTo(made);
		execution_.context = CreateStandaloneExprContext();
		MemoryContextSwitchTo(caller);
		memory_ = made;
	});
}

core::FilterId FilterEvaluator::take_id()
{
	if (free_.empty()) {
		filters_.grow();
		// give_back must not fail.
		if (free_.capacity() < filters_.size()) free_.reserve(filters_.size() * 2);
		return static_cast<core::FilterId>(filters_.size() - 1);
	}
	const core::FilterId id = free_.back();
	free_.pop_back();
	return id;
}

void FilterEvaluator::give_back(core::FilterId id) noexcept
{
	filters_[id] = Filter{};
	free_.push_back(id);
}

// The table as `shape` describes it. Filters made for it as it was before stay where they are until look_again.
FilterTable& FilterEvaluator::table_for(const core::Shape& shape, Relation relation)
{
	if (const auto found = tables_.find(shape.relation); found != tables_.end())
		for (const auto& table : found->second)
			if (table->identity() == shape.identity) return *table;
	auto made = std::make_unique<FilterTable>(shape.relation, shape.identity, execution_);
	pg::call([&] { made->describe(relation, shape); });
	return *tables_[shape.relation].emplace_back(std::move(made));
}

void FilterEvaluator::drop_if_empty(FilterTable* table) noexcept
{
	if (!table || !table->is_empty()) return;
	const auto found = tables_.find(table->relation());
	if (found == tables_.end()) return;
	std::erase_if(found->second, [&](const auto& other) { return other.get() == table; });
	if (found->second.empty()) tables_.erase(found);
}

Condition* FilterEvaluator::parse(Oid role, const std::string& where, Relation relation, const FilterTable& table)
{
	const std::string text = pg::from_utf8(where);
	return pg::call([&] {
		// Whoever called has nothing to add to what is wrong with a filter, and would take the position away.
		error_context_stack = nullptr;
		const FilterSource source = {relation, text.c_str(), table.captured(), role, limits_.constants};
		return take_apart(parse_condition(source));
	});
}

std::variant<core::FilterId, core::FilterFault> FilterEvaluator::add_filter(const core::Identity& identity,
                                                                            const core::Shape& shape,
                                                                            std::string_view where)
{
	std::optional<core::FilterId> id;
	std::optional<core::FilterFault> fault;
	if (where.find('\0') != std::string_view::npos) {
		// JSON can say it, PostgreSQL's text cannot: what comes after it would be lost.
		fault.emplace();
		fault->code = fault->sqlstate = "42601";
		fault->message = "a filter must not hold the character with code zero";
		return *std::move(fault);
	}
	prepare();
	FilterUnit unit;
	unit.open(limits_, parsing_);
	filter_timer::run_for_all();
	FilterTable* table = nullptr;
	try {
		const std::string name = pg::from_utf8(identity.role);
		const Oid role_oid = pg::call([&] { return get_role_oid(name.c_str(), false); });
		FreeTable relation(shape.relation);
		try {
			if (relation.get()->rd_rel->relrowsecurity)
				pg::raise(ERRCODE_FEATURE_NOT_SUPPORTED, "tables with row security are not supported yet");
			table = &table_for(shape, relation.get());
			unit.become(role_oid);
			const std::string text(where);
			const Condition* const condition = parse(role_oid, text, relation.get(), *table);
			Signature signature;
			pg::call([&] { sign(*condition, role_oid, *table, &signature); });
			const auto [known, is_new] = by_signature_.try_emplace(signature, 0);
			if (is_new) {
				try {
					id = take_id();
					Filter& filter = filters_[*id];
					filter.role = role_oid;
					filter.where = text;
					filter.signature = signature;
					table->add(filters_, *id, *condition);
				} catch (...) {
					by_signature_.erase(known);
					if (id) give_back(*id);
					throw;
				}
				known->second = *id;
			}
			id = known->second;
			++filters_[*id].references;
		} catch (...) {
			relation.forget();
			throw;
		}
	} catch (pg::Error& error) {
		fault = recover(unit, error, true);
		drop_if_empty(table);
	}
	unit.close();
	MemoryContextReset(parsing_);
	if (fault) return *std::move(fault);
	return *id;
}

std::variant<std::string, core::FilterFault> FilterEvaluator::condition(core::FilterId id, const core::Shape& shape)
{
	const Filter& filter = filters_[id];
	std::string printed;
	std::optional<core::FilterFault> fault;
	FilterTable* table = nullptr;
	FilterUnit unit;
	unit.open(limits_, parsing_);
	filter_timer::run_for_all();
	try {
		FreeTable relation(shape.relation);
		try {
			table = &table_for(shape, relation.get());
			unit.become(filter.role);
			const std::string text = pg::from_utf8(filter.where);
			const char* const sql = pg::call([&] {
				error_context_stack = nullptr;
				const FilterSource source = {relation.get(), text.c_str(), table->captured(), filter.role,
				                             limits_.constants};
				const char* const name = RelationGetRelationName(relation.get());
				return deparse_expression(parse_condition(source), deparse_context_for(name, shape.relation), false,
				                          false);
			});
			printed = pg::to_utf8(sql);
		} catch (...) {
			relation.forget();
			throw;
		}
	} catch (pg::Error& error) {
		fault = recover(unit, error, true);
	}
	drop_if_empty(table);
	unit.close();
	MemoryContextReset(parsing_);
	if (fault) return *std::move(fault);
	return printed;
}

// From now on nobody joins the filter.
void FilterEvaluator::forget_signature(core::FilterId id) noexcept
{
	const auto known = by_signature_.find(filters_[id].signature);
	if (known != by_signature_.end() && known->second == id) by_signature_.erase(known);
}

void FilterEvaluator::retain(core::FilterId id) noexcept { ++filters_[id].references; }

void FilterEvaluator::release(core::FilterId id) noexcept
{
	Filter& filter = filters_[id];
	if (--filter.references > 0) return;
	forget_signature(id);
	FilterTable* const table = filter.table;
	if (table) table->remove(filters_, id);
	drop_if_empty(table);
	give_back(id);
}

void FilterEvaluator::look_again(const core::Shape& shape)
{
	to_look_at_.push_back(std::make_shared<core::Shape>(shape));
}

bool FilterEvaluator::look_further(std::chrono::steady_clock::time_point, core::LookedAgain& looked)
{
	if (to_look_at_.empty()) return false;
	const core::ShapePtr at = to_look_at_.back();
	to_look_at_.pop_back();
	const core::Shape& shape = *at;
	const auto found = tables_.find(shape.relation);
	if (found == tables_.end()) return !to_look_at_.empty();
	// The former tables stay until their last filter has moved: a filter that fails keeps its place in none.
	Tables former = std::move(found->second);
	tables_.erase(found);
	std::vector<core::FilterId> ids;
	for (core::FilterId id = 0; id < filters_.size(); ++id) {
		const FilterTable* const table = filters_[id].table;
		if (table && table->relation() == shape.relation) ids.push_back(id);
	}
	for (const core::FilterId id : ids) {
		Filter& filter = filters_[id];
		forget_signature(id);
		filter.table->remove(filters_, id);
		if (filter.failed) continue;
		std::optional<core::FilterFault> fault = move_to(id, shape);
		if (!fault) continue;
		filter.failed = true;
		looked.failed.push_back({id, *std::move(fault)});
	}
	return !to_look_at_.empty();
}

// Compiles a filter that has no table anew.
std::optional<core::FilterFault> FilterEvaluator::move_to(core::FilterId id, const core::Shape& shape)
{
	Filter& filter = filters_[id];
	std::optional<core::FilterFault> fault;
	FilterTable* table = nullptr;
	FilterUnit unit;
	unit.open(limits_, parsing_);
	filter_timer::run_for_all();
	try {
		FreeTable relation(shape.relation);
		try {
			table = &table_for(shape, relation.get());
			unit.become(filter.role);
			const Condition* const condition = parse(filter.role, filter.where, relation.get(), *table);
			pg::call([&] { sign(*condition, filter.role, *table, &filter.signature); });
			table->add(filters_, id, *condition);
			// Two that became equal stay two; the first is who newcomers join.
			by_signature_.try_emplace(filter.signature, id);
		} catch (...) {
			relation.forget();
			throw;
		}
	} catch (pg::Error& error) {
		fault = recover(unit, error, true);
		drop_if_empty(table);
	}
	unit.close();
	MemoryContextReset(parsing_);
	return fault;
}

size_t FilterEvaluator::memory_of(core::FilterId id) const noexcept
{
	const Filter& filter = filters_[id];
	return sizeof filter + filter.where.capacity() + (filter.table ? filter.table->memory_of(filter) : 0);
}

size_t FilterEvaluator::memory() const noexcept
{
	constexpr size_t kNode = 64;  // of a hash table, about
	size_t bytes = filters_.size() * sizeof(Filter) + free_.capacity() * sizeof(core::FilterId) +
	               by_signature_.size() * kNode + by_signature_.bucket_count() * sizeof(void*);
	for (size_t id = 0; id < filters_.size(); ++id)
		bytes += filters_[id].where.capacity() + filters_[id].places.capacity() * sizeof(uint32_t);
	for (const auto& [relation, tables] : tables_)
		for (const auto& table : tables)
			bytes += table->memory();
	return bytes;
}

}  // namespace plank::worker
