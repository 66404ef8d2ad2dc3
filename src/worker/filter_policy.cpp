// Row security of a table's filters: its policies are kept here, and judged before anything else looks at a row. Runs in
// the worker, in a FilterUnit.
#include "worker/filter_table.hpp"

#include "pg/encoding.hpp"
#include "pg/guard.hpp"

namespace plank::worker {

namespace {

constexpr int kAfterSlot = 0, kBeforeSlot = 1;

}  // namespace

// --- Keeping -------------------------------------------------------------------------------------------------------

Policy& FilterTable::policy_for(const Signature& signature, const PolicyTree& tree, const Condition* condition,
                                Oid role, const core::Identity& identity)
{
	if (const auto known = policies_.find(signature); known != policies_.end()) return *known->second;
	Policy& policy = *policies_.emplace(signature, std::make_unique<Policy>()).first->second;
	try {
		policy.signature = signature;
		policy.role = role;
		policy.identity.role = identity.role;
		policy.identity.claims = identity.claims;
		policy.charge.table = name_.c_str();
		policy.reads_session = tree.reads_session;
		if (policy.reads_session) policy.claims = pg::from_utf8(identity.claims);
		for (int column = -1; (column = bms_next_member(tree.columns, column)) >= 0;)
			policy.columns.push_back(static_cast<AttrNumber>(column));
		if (!condition) {
			policy.plan = std::make_unique<PolicyPlan>();
			pg::call([&] { policy.plan->open(tree.condition, descriptor_); });
			return policy;
		}
		policy.never = condition->never;
		if (policy.never) return policy;
		join(policy.conjuncts, role, *condition, true);
		if (condition->key) policy.key = pg::call([&] { return copy_key(*condition->key); });
	} catch (...) {
		drop_policy(policy);
		throw;
	}
	return policy;
}

// May ereport.
FilterKey* FilterTable::copy_key(const FilterKey& key)
{
	const MemoryContext caller = MemoryContextSwitchTo(memory_);
	auto* const copy = static_cast<FilterKey*>(palloc(sizeof(FilterKey)));
	*copy = key;
	copy->values = static_cast<Datum*>(palloc0(sizeof(Datum) * static_cast<Size>(Max(key.count, 1))));
	for (int i = 0; i < key.count; ++i)
		copy->values[i] = datumCopy(key.values[i], key.by_value, key.length);
	MemoryContextSwitchTo(caller);
	return copy;
}

void FilterTable::drop_policy(Policy& policy) noexcept
{
	if (policy.key) {
		if (!policy.key->by_value)
			for (int i = 0; i < policy.key->count; ++i)
				pfree(DatumGetPointer(policy.key->values[i]));
		pfree(policy.key->values);
		pfree(policy.key);
	}
	leave(policy.conjuncts);
	policies_.erase(Signature(policy.signature));
}

bool FilterTable::is_defined_as(Oid role, const Signature& definition) const noexcept
{
	const auto found = definitions_.find(role);
	return found != definitions_.end() && found->second.signature == definition;
}

void FilterTable::define(Oid role, const Signature& definition) noexcept
{
	if (const auto found = definitions_.find(role); found != definitions_.end()) found->second.signature = definition;
}

std::vector<Oid> FilterTable::roles() const
{
	std::vector<Oid> all;
	for (const auto& [role, definition] : definitions_)
		all.push_back(role);
	return all;
}

// --- Judging -------------------------------------------------------------------------------------------------------

// Whether the former row looks to the policy like the present one.
bool FilterTable::same_row_for(const Policy& policy) const noexcept
{
	return !policy.reads_session && (row_->differences().empty() || same_in_both(policy.columns));
}

// May ereport: then `running` is what failed.
bool FilterTable::visible(Policy& policy, int which)
{
	if (policy.never) return false;
	if (policy.judged[which] == change_) return policy.passed[which];
	if (which == kBeforeSlot && policy.judged[kAfterSlot] == change_ && same_row_for(policy)) {
		policy.passed[which] = policy.passed[kAfterSlot];
	} else {
		execution_.running = &policy;
		policy.charge.own_limit = execution_.policy_ms;
		filter_timer::run(&policy.charge);
		policy.passed[which] = judge(policy, which);
		if (filter_timer::has_overrun())
			ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the policy took too long")));
		execution_.running = nullptr;
	}
	policy.judged[which] = change_;
	return policy.passed[which];
}

// May ereport.
bool FilterTable::judge(Policy& policy, int which)
{
	execution_.unit->become(policy.role);
	if (!policy.reads_session) return passes(policy.conjuncts, which);
	execution_.unit->speak_for(policy.claims.c_str());
	// What its functions set must meet nobody else's.
	const int level = NewGUCNestLevel();
	const bool seen = policy.plan ? judge_by_plan(policy, which) : passes(policy.conjuncts, which);
	AtEOXact_GUC(false, level);
	return seen;
}

// May ereport.
bool FilterTable::judge_by_plan(Policy& policy, int which)
{
	for (const AttrNumber number : policy.columns)
		read_column(which, number);
	const MemoryContext caller = MemoryContextSwitchTo(execution_.row);
	const bool seen = policy.plan->run(slots_[which], policy.columns.data(), policy.columns.size());
	MemoryContextSwitchTo(caller);
	return seen;
}

}  // namespace plank::worker
