// Looking at a table's filters again after DDL, GRANT or REVOKE, in steps. Runs in the worker.
#include "worker/filter_evaluator.hpp"

#include <algorithm>
#include <set>

#include "pg/encoding.hpp"
#include "worker/filter_signature.hpp"

namespace plank::worker {

namespace {

constexpr int kLookAtClock = 8;  // filters between two looks
constexpr auto kAskAgain = std::chrono::milliseconds(50);
constexpr const char* kNoTable = "42P01";

uint64_t column_of(Oid role, AttrNumber column)
{
	return static_cast<uint64_t>(role) << 16 | static_cast<uint16_t>(column);
}

core::FilterFault column_lost()
{
	core::FilterFault fault;
	fault.code = fault.sqlstate = "42703";
	fault.message = "a column of the condition no longer exists or may not be read";
	return fault;
}

}  // namespace

void FilterEvaluator::look_again(const core::Shape& shape)
{
	// What was found of the table as it was before is void.
	std::erase_if(looks_, [&](const Look& look) { return look.shape.relation == shape.relation; });
	if (!tables_.contains(shape.relation)) return;
	looks_.emplace_back().shape = shape;
}

bool FilterEvaluator::look_further(std::chrono::steady_clock::time_point deadline, core::LookedAgain& found)
{
	for (size_t left = looks_.size(); left > 0; --left) {
		Look look = std::move(looks_.front());
		looks_.pop_front();
		if (std::chrono::steady_clock::now() < look.not_before || !look_at_table(look, deadline, found))
			looks_.push_back(std::move(look));
		if (std::chrono::steady_clock::now() >= deadline) break;
	}
	return std::any_of(looks_.begin(), looks_.end(),
	                   [](const Look& look) { return look.not_before <= std::chrono::steady_clock::now(); });
}

// True when it is done.
bool FilterEvaluator::look_at_table(Look& look, std::chrono::steady_clock::time_point deadline,
                                    core::LookedAgain& found)
{
	if (!look.begun && !begin_look(look)) return false;
	int until_look = kLookAtClock;
	for (; look.at < look.ids.size(); ++look.at) {
		if (!look_at(look, look.ids[look.at], found)) return false;
		if (--until_look > 0) continue;
		until_look = kLookAtClock;
		if (std::chrono::steady_clock::now() >= deadline) {
			++look.at;
			return look.at == look.ids.size();
		}
	}
	return true;
}

// Finds out for which roles row security has become another one, and which columns they may read. False: later.
bool FilterEvaluator::begin_look(Look& look)
{
	const uint32_t relation_oid = look.shape.relation;
	std::set<Oid> roles;
	if (const auto tables = tables_.find(relation_oid); tables != tables_.end())
		for (const auto& table : tables->second)
			for (const Oid role : table->roles())
				roles.insert(role);
	for (const Oid role : roles) {
		Signature definition;
		const std::optional<core::FilterFault> fault =
		    at_table(look.shape, [&](FilterUnit& unit, Relation relation, FilterTable&) {
			    unit.become(role);
			    pg::call([&] {
				    error_context_stack = nullptr;
				    unit.speak_for("");
				    Node* const policies = policies_of(relation);
				    sign_text(policies ? definition_of(policies) : "", &definition);
				    unit.speak_for_nobody();
			    });
			    note_columns(look, role, relation);
		    });
		if (fault && fault->sqlstate == core::kLocked) {
			look.not_before = std::chrono::steady_clock::now() + kAskAgain;
			return false;
		}
		if (fault && fault->sqlstate == kNoTable) return true;
		// What it has become, or why it cannot be had, is found when the filters are added anew.
		if (fault) look.changed.insert(role);
		if (fault) continue;
		for (const auto& table : tables_[relation_oid]) {
			if (table->is_defined_as(role, definition) || !table->has_role(role)) continue;
			table->define(role, definition);
			look.changed.insert(role);
		}
	}
	for (core::FilterId id = 0; id < filters_.size(); ++id) {
		const FilterTable* const table = filters_[id].table;
		if (table && table->relation() == relation_oid) look.ids.push_back(id);
	}
	look.begun = true;
	return true;
}

void FilterEvaluator::note_columns(Look& look, Oid role, Relation relation)
{
	const Oid oid = RelationGetRelid(relation);
	const TupleDesc columns = RelationGetDescr(relation);
	if (pg::call([&] { return pg_class_aclcheck(oid, role, ACL_SELECT) == ACLCHECK_OK; })) return;
	for (AttrNumber number = 1; number <= columns->natts; ++number) {
		if (TupleDescAttr(columns, number - 1)->attisdropped) continue;
		if (pg::call([&] { return pg_attribute_aclcheck(oid, number, role, ACL_SELECT) != ACLCHECK_OK; }))
			look.hidden.insert(column_of(role, number));
	}
}

// Of a table that has been begun. False: DDL holds it, later.
bool FilterEvaluator::look_at(Look& look, core::FilterId id, core::LookedAgain& found)
{
	Filter& filter = filters_[id];
	// It may have been released since, and its id may be another one's.
	if (!filter.table || filter.table->relation() != look.shape.relation || filter.failed) return true;
	const auto fail = [&](core::FilterFault&& fault) {
		stop(id);
		found.failed.push_back({id, std::move(fault)});
	};
	if (look.changed.contains(filter.role)) {
		found.changed.push_back(id);
		return true;
	}
	if (filter.table->identity() != look.shape.identity) {
		std::optional<core::FilterFault> fault = move_to(id, look.shape);
		if (fault && fault->sqlstate == core::kLocked) {
			// In the midst of it: it has to be had anew.
			if (!filter.table) found.changed.push_back(id);
			if (!filter.table) return true;
			look.not_before = std::chrono::steady_clock::now() + kAskAgain;
			return false;
		}
		if (fault) fail(*std::move(fault));
		return true;
	}
	bool readable = true;
	FilterTable::for_each_column(
	    filter, [&](AttrNumber column) { readable &= !look.hidden.contains(column_of(filter.role, column)); });
	if (!readable) fail(column_lost());
	return true;
}

// Compiles a filter anew for the table as it is now. What fails has no table any more, unless the table was locked.
std::optional<core::FilterFault> FilterEvaluator::move_to(core::FilterId id, const core::Shape& shape)
{
	Filter& filter = filters_[id];
	FilterTable* const former = filter.table;
	in_policy_ = false;
	std::optional<core::FilterFault> fault =
	    at_table(shape, [&](FilterUnit& unit, Relation relation, FilterTable& table) {
		    core::Identity identity;
		    if (filter.policy)
			    identity = filter.policy->identity;
		    else
			    identity.role = pg::to_utf8(pg::call([&] { return GetUserNameFromId(filter.role, false); }));
		    unit.become(filter.role);
		    Signature definition;
		    Policy* const policy = find_policy(unit, table, relation, filter.role, identity, &definition);
		    try {
			    const Condition* const condition = parse(filter.role, filter.where, relation, table);
			    Signature signature;
			    pg::call([&] { sign_filter(*condition, filter.role, table, policy, &signature); });
			    forget_signature(id);
			    former->remove(filters_, id);
			    filter.signature = signature;
			    table.add(filters_, id, *condition, policy, definition);
			    // Two that became equal stay two; the first is who newcomers join.
			    by_signature_.try_emplace(signature, id);
		    } catch (...) {
			    table.drop_if_unused(policy);
			    throw;
		    }
	    });
	if (fault && in_policy_) fault = policy_fault(*fault, shape.table);
	if (fault && fault->sqlstate != core::kLocked && filter.table) {
		forget_signature(id);
		former->remove(filters_, id);
	}
	drop_if_empty(former);
	return fault;
}

}  // namespace plank::worker
