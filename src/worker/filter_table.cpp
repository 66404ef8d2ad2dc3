// Compiling a table's filters and taking them away. Runs in the worker, in a FilterUnit.
#include "worker/filter_table.hpp"

#include <algorithm>
#include <utility>

#include "pg/costly_calls.hpp"
#include "pg/encoding.hpp"
#include "pg/guard.hpp"
#include "worker/filter_safety.hpp"

namespace plank::worker {

FilterTable::FilterTable(const core::Shape& shape, FilterExecution& execution)
    : relation_(shape.relation), name_(shape.table), identity_(shape.identity), execution_(execution)
{}

FilterTable::~FilterTable()
{
	for (auto& [name, shared] : shared_)
		if (shared->memory) MemoryContextDelete(shared->memory);
	if (memory_) MemoryContextDelete(memory_);
}

void FilterTable::describe(Relation relation, const core::Shape& shape)
{
	memory_ = AllocSetContextCreate(TopMemoryContext, "plank filters", ALLOCSET_DEFAULT_SIZES);
	const MemoryContext caller = MemoryContextSwitchTo(memory_);
	descriptor_ = CreateTupleDescCopy(RelationGetDescr(relation));
	for (TupleTableSlot*& slot : slots_) {
		slot = MakeSingleTupleTableSlot(descriptor_, &TTSOpsVirtual);
		(void)ExecStoreAllNullTuple(slot);
	}
	const int count = descriptor_->natts;
	captured_ = static_cast<bool*>(palloc0(sizeof(bool) * static_cast<Size>(count + 1)));
	columns_.resize(static_cast<size_t>(count));
	for (int i = 0; i < count; ++i) {
		const FormData_pg_attribute* const attribute = TupleDescAttr(descriptor_, i);
		if (attribute->attisdropped) continue;
		const char* const name = pg::utf8_of(NameStr(attribute->attname));
		for (const core::Column& column : shape.columns) {
			if (column.name != name) continue;
			captured_[i] = true;
			columns_[static_cast<size_t>(i)].name = column.name;
			columns_[static_cast<size_t>(i)].type = column.type;
		}
	}
	MemoryContextSwitchTo(caller);
}

// Joins a filter or policy to the condition that it shares, made when it is the first, and copies its constants. When it
// throws, `leave` is still to be called.
void FilterTable::join(Conjuncts& conjuncts, Oid role, const Condition& condition, bool of_policy)
{
	auto made = std::make_unique<SharedCondition>();
	const auto [at, is_new] = shared_.try_emplace(
	    std::to_string(role) + (of_policy ? " policy " : " ") + condition.identity, std::move(made));
	SharedCondition& shared = *at->second;
	conjuncts.shared = &shared;
	conjuncts.shared_name = &at->first;
	++shared.users;
	const int constants = list_length(condition.constants);
	if (constants > 0)
		pg::call([&] {
			const MemoryContext caller = MemoryContextSwitchTo(memory_);
			conjuncts.constants = static_cast<Datum*>(palloc0(sizeof(Datum) * static_cast<Size>(constants)));
			for (int i = 0; i < constants; ++i) {
				const auto* const constant = list_nth_node(Const, condition.constants, i);
				conjuncts.constants[i] = datumCopy(constant->constvalue, constant->constbyval, constant->constlen);
			}
			MemoryContextSwitchTo(caller);
		});
	if (!is_new) return;
	shared.of_policy = of_policy;
	if (bms_is_member(0, condition.columns)) {
		// The whole row, which only policies may use.
		for (int i = 0; i < descriptor_->natts; ++i)
			if (captured_[i]) shared.columns.push_back(static_cast<AttrNumber>(i + 1));
	} else {
		for (int column = -1; (column = bms_next_member(condition.columns, column)) >= 0;)
			shared.columns.push_back(static_cast<AttrNumber>(column));
	}
	const int count = list_length(condition.constants);
	for (int i = 0; i < count; ++i)
		shared.by_value.push_back(list_nth_node(Const, condition.constants, i)->constbyval);
	pg::call([&] {
		shared.memory = AllocSetContextCreate(TopMemoryContext, "plank filter", ALLOCSET_SMALL_SIZES);
		const MemoryContext caller = MemoryContextSwitchTo(shared.memory);
		shared.rest = static_cast<List*>(copyObjectImpl(condition.rest));
		shared.parameters = makeParamList(count);
		for (int i = 0; i < count; ++i) {
			ParamExternData& parameter = shared.parameters->params[i];
			parameter.ptype = list_nth_node(Const, condition.constants, i)->consttype;
			parameter.isnull = false;
			parameter.pflags = PARAM_FLAG_CONST;
		}
		shared.state_memory = AllocSetContextCreate(shared.memory, "plank filter state", ALLOCSET_SMALL_SIZES);
		MemoryContextSwitchTo(caller);
		compile_state(shared);
	});
}

// May ereport.
void FilterTable::compile_state(SharedCondition& shared)
{
	if (shared.of_policy)
		shared.compiled_at = function_changes();
	else
		check_domains(reinterpret_cast<Node*>(shared.rest));
	const MemoryContext caller = MemoryContextSwitchTo(shared.state_memory);
	ExprState* const state = ExecInitQual(shared.rest, nullptr);
	if (!shared.of_policy) pg::guard_costs(state);
	shared.state = state;
	MemoryContextSwitchTo(caller);
}

void FilterTable::leave(Conjuncts& conjuncts) noexcept
{
	SharedCondition* const shared = std::exchange(conjuncts.shared, nullptr);
	if (Datum* const constants = std::exchange(conjuncts.constants, nullptr)) {
		for (size_t i = 0; i < shared->by_value.size(); ++i)
			if (!shared->by_value[i] && constants[i]) pfree(DatumGetPointer(constants[i]));
		pfree(constants);
	}
	if (!shared || --shared->users > 0) return;
	if (shared->memory) MemoryContextDelete(shared->memory);
	shared_.erase(*conjuncts.shared_name);
}

void FilterTable::index(Filter& filter, uint32_t id, const FilterKey& key)
{
	const auto serving =
	    std::find_if(indexes_.begin(), indexes_.end(), [&](const auto& index) { return index->serves(key); });
	if (serving == indexes_.end()) {
		auto made = std::make_unique<FilterIndex>(key);
		pg::call([&] { made->open(key); });
		indexes_.push_back(std::move(made));
		filter.index = indexes_.back().get();
	} else {
		filter.index = serving->get();
	}
	if (key.count > 1) filter.more_values = std::make_unique<uint32_t[]>(static_cast<size_t>(key.count - 1));
	const bool certain = key.count == 1 && !filter.policy && filter.conjuncts.shared->rest == NIL;
	pg::call([&] {
		for (int i = 0; i < key.count; ++i) {
			filter.value(filter.values) = filter.index->add(key.values[i], id, certain);
			++filter.values;
		}
	});
}

void FilterTable::add(Filters& filters, uint32_t id, const Condition& condition, Policy* policy,
                      const Signature& definition)
{
	Filter& filter = filters[id];
	filter.table = this;
	filter.policy = policy;
	filter.never = condition.never || (policy && policy->never);
	filter.place = UINT32_MAX;
	++filters_;
	if (policy) ++policy->users;
	try {
		Definition& known = definitions_[filter.role];
		if (known.users++ == 0) known.signature = definition;
		if (filter.never) return;
		join(filter.conjuncts, filter.role, condition, false);
		const FilterKey* const key = condition.key ? condition.key : policy ? policy->key : nullptr;
		filter.by_policy = key && !condition.key;
		if (key) {
			index(filter, id, *key);
		} else {
			unindexed_.push_back(id);
			filter.place = static_cast<uint32_t>(unindexed_.size() - 1);
		}
	} catch (...) {
		remove(filters, id);
		throw;
	}
}

void FilterTable::remove(Filters& filters, uint32_t id) noexcept
{
	Filter& filter = filters[id];
	--filters_;
	filter.table = nullptr;
	if (filter.index) {
		for (uint32_t i = 0; i < filter.values; ++i)
			filter.index->remove(filter.value(i), id);
		if (filter.index->is_empty())
			std::erase_if(indexes_, [&](const auto& index) { return index.get() == filter.index; });
	} else if (filter.place != UINT32_MAX) {
		unindexed_[filter.place] = unindexed_.back();
		filters[unindexed_.back()].place = filter.place;
		unindexed_.pop_back();
	}
	filter.index = nullptr;
	filter.by_policy = false;
	filter.values = 0;
	filter.more_values.reset();
	leave(filter.conjuncts);
	if (Policy* const policy = std::exchange(filter.policy, nullptr); policy && --policy->users == 0)
		drop_policy(*policy);
	if (const auto known = definitions_.find(filter.role); known != definitions_.end() && --known->second.users == 0)
		definitions_.erase(known);
}

size_t FilterTable::memory_of(const Filter& filter) const noexcept
{
	constexpr size_t kIndexed = 128;  // an entry of an index and its constant
	size_t bytes = (sizeof *this + MemoryContextMemAllocated(memory_, true)) / std::max<size_t>(filters_, 1);
	bytes += filter.values * kIndexed;
	const auto add = [&](const Conjuncts& conjuncts, size_t users) {
		const SharedCondition* const shared = conjuncts.shared;
		if (!shared) return;
		bytes +=
		    (sizeof *shared + 2 * conjuncts.shared_name->size() + MemoryContextMemAllocated(shared->memory, true)) /
		    (std::max<size_t>(shared->users, 1) * users);
	};
	add(filter.conjuncts, 1);
	if (const Policy* const policy = filter.policy) {
		const size_t users = std::max<size_t>(policy->users, 1);
		bytes += (sizeof *policy + policy->claims.capacity() + policy->identity.claims.capacity() +
		          (policy->plan ? policy->plan->memory() : 0)) /
		         users;
		add(policy->conjuncts, users);
	}
	return bytes;
}

size_t FilterTable::memory() const
{
	constexpr size_t kNode = 64;  // of a hash table, about
	size_t bytes = sizeof *this + MemoryContextMemAllocated(memory_, true) + unindexed_.capacity() * sizeof(uint32_t) +
	               candidates_.capacity() * sizeof(uint32_t) + certain_.capacity() * sizeof(core::Verdict) +
	               columns_.capacity() * sizeof(TableColumn);
	for (const auto& [name, shared] : shared_)
		bytes += kNode + name.capacity() + sizeof *shared + MemoryContextMemAllocated(shared->memory, true);
	for (const auto& index : indexes_)
		bytes += sizeof *index + index->memory();
	for (const auto& [signature, policy] : policies_)
		bytes += kNode + sizeof *policy + policy->claims.capacity() + policy->identity.claims.capacity() +
		         policy->columns.capacity() * sizeof(AttrNumber) + (policy->plan ? policy->plan->memory() : 0);
	return bytes;
}

}  // namespace plank::worker
