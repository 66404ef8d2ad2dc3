// Adding, releasing and looking again at filters. Runs in the worker.
#include "worker/filter_evaluator.hpp"

#include "pg/encoding.hpp"
#include "pg/unit_of_work.hpp"
#include "worker/filter_parse.hpp"
#include "worker/filter_signature.hpp"

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

}  // namespace

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
		execution_.unit = &unit_;
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
	auto made = std::make_unique<FilterTable>(shape, execution_);
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
	filter_timer::run_for_all();
	return pg::call([&] {
		// Whoever called has nothing to add to what is wrong with a filter, and would take the position away.
		error_context_stack = nullptr;
		if (text.empty()) return take_apart(makeBoolConst(true, false), false);
		const FilterSource source = {relation, text.c_str(), table.captured(), role, limits_.constants};
		Condition* const condition = take_apart(parse_condition(source), false);
		if (filter_timer::has_overrun())
			ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the filter took too long")));
		return condition;
	});
}

// Runs `work(unit, relation, table)` on the table as `shape` describes it, in surroundings of its own; returns what went
// wrong with it.
std::optional<core::FilterFault> FilterEvaluator::at_table(const core::Shape& shape, const Work& work)
{
	prepare();
	std::optional<core::FilterFault> fault;
	FilterTable* table = nullptr;
	FilterUnit unit;
	unit.open(limits_, parsing_);
	filter_timer::run_for_all(shape.table.c_str());
	try {
		FreeTable relation(shape.relation);
		try {
			table = &table_for(shape, relation.get());
			work(unit, relation.get(), *table);
		} catch (...) {
			relation.forget();
			throw;
		}
	} catch (pg::Error& error) {
		const bool conflict = pg::is_recovery_conflict(error);
		fault = recover(unit, error, true);
		if (conflict) fault->code = fault->sqlstate = core::kLocked;
	}
	drop_if_empty(table);
	unit.close();
	MemoryContextReset(parsing_);
	return fault;
}

// The policy of an identity, or null; `definition` is what its role's was made from. As the role. Throws pg::Error.
Policy* FilterEvaluator::find_policy(FilterUnit& unit, FilterTable& table, Relation relation, Oid role,
                                     const core::Identity& identity, Signature* definition)
{
	const std::string name = pg::from_utf8(identity.role), claims = pg::from_utf8(identity.claims);
	const PolicyTree* tree = nullptr;
	const Condition* condition = nullptr;
	Signature signature;
	(void)take_policy_refusal();
	in_policy_ = true;
	pg::call([&] {
		error_context_stack = nullptr;
		unit.speak_for(claims.c_str());
		Node* const policies = policies_of(relation);
		sign_text(policies ? definition_of(policies) : "", definition);
		if (policies) {
			const PolicySource source = {relation, table.captured(), name.c_str(), claims.c_str(), limits_.constants};
			tree = tree_for(policies, source);
			if (!tree->has_subquery) condition = take_apart(tree->condition, true);
			sign_policy(*tree, condition, role, claims.c_str(), *definition, &signature);
		}
	});
	Policy* const policy = tree ? &table.policy_for(signature, *tree, condition, role, identity) : nullptr;
	if (policy) policy->definition = *definition;
	// Not before: what is compiled may be asked for an estimate, which runs it.
	try {
		pg::call([&] {
			unit.speak_for_nobody();
			if (filter_timer::has_overrun())
				ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the policy took too long")));
		});
	} catch (...) {
		table.drop_if_unused(policy);
		throw;
	}
	in_policy_ = false;
	return policy;
}

// Makes a filter, or finds the one that is the same. Takes a policy that nobody has over. Throws pg::Error.
core::FilterId FilterEvaluator::find_filter(FilterTable& table, const Condition& condition, Policy* policy, Oid role,
                                            const Signature& definition, std::string_view where)
{
	Signature signature;
	pg::call([&] { sign_filter(condition, role, table, policy, &signature); });
	const auto [known, is_new] = by_signature_.try_emplace(signature, 0);
	if (!is_new) return known->second;
	core::FilterId id = core::kNoFilter;
	try {
		id = take_id();
		Filter& filter = filters_[id];
		filter.role = role;
		filter.where = where;
		filter.signature = signature;
		table.add(filters_, id, condition, policy, definition);
	} catch (...) {
		by_signature_.erase(signature);
		if (id != core::kNoFilter) give_back(id);
		throw;
	}
	known->second = id;
	return id;
}

std::variant<core::FilterId, core::FilterFault> FilterEvaluator::add_filter(const core::Identity& identity,
                                                                            const core::Shape& shape,
                                                                            std::string_view where)
{
	if (where.find('\0') != std::string_view::npos) {
		// JSON can say it, PostgreSQL's text cannot: what comes after it would be lost.
		core::FilterFault fault;
		fault.code = fault.sqlstate = "42601";
		fault.message = "a filter must not hold the character with code zero";
		return fault;
	}
	core::FilterId id = core::kNoFilter;
	in_policy_ = false;
	std::optional<core::FilterFault> fault =
	    at_table(shape, [&](FilterUnit& unit, Relation relation, FilterTable& table) {
		    const std::string name = pg::from_utf8(identity.role);
		    const Oid role = pg::call([&] { return get_role_oid(name.c_str(), false); });
		    unit.become(role);
		    Signature definition;
		    Policy* const policy = find_policy(unit, table, relation, role, identity, &definition);
		    if (!policy && where.empty()) return;
		    try {
			    const Condition* const condition = parse(role, std::string(where), relation, table);
			    id = find_filter(table, *condition, policy, role, definition, where);
		    } catch (...) {
			    table.drop_if_unused(policy);
			    throw;
		    }
		    // The filter that is the same has the same policy.
		    ++filters_[id].references;
	    });
	if (fault) return in_policy_ ? policy_fault(*fault, shape.table) : *std::move(fault);
	return id;
}

std::variant<std::string, core::FilterFault> FilterEvaluator::condition(core::FilterId id, const core::Shape& shape)
{
	const Filter& filter = filters_[id];
	std::string printed;
	if (filter.where.empty()) return printed;
	std::optional<core::FilterFault> fault = at_table(shape, [&](FilterUnit& unit, Relation relation,
	                                                             FilterTable& table) {
		unit.become(filter.role);
		filter_timer::run_for_all();
		const std::string text = pg::from_utf8(filter.where);
		const char* const sql = pg::call([&] {
			error_context_stack = nullptr;
			const FilterSource source = {relation, text.c_str(), table.captured(), filter.role, limits_.constants};
			const char* const name = RelationGetRelationName(relation);
			return deparse_expression(parse_condition(source), deparse_context_for(name, shape.relation), false, false);
		});
		printed = pg::to_utf8(sql);
	});
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

uint64_t FilterEvaluator::rights(core::FilterId id) const noexcept
{
	const Policy* const policy = filters_[id].policy;
	if (!policy) return 0;
	uint64_t number = 0;
	memcpy(&number, policy->definition.data(), sizeof number);
	return number | 1;
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
		bytes += filters_[id].where.capacity() + filters_[id].values * sizeof(uint32_t);
	for (const auto& [relation, tables] : tables_)
		for (const auto& table : tables)
			bytes += table->memory();
	return bytes;
}

}  // namespace plank::worker
