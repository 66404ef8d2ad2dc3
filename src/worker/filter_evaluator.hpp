// The conditions of subscriptions, judged by PostgreSQL: the evaluator that core/evaluator.hpp describes. Runs in the
// worker; in tests in ordinary sessions too. Must not be called inside pg::call or network callbacks.
//
// Every piece of work runs in a subtransaction of a unit of work, under fixed settings and a timer (filter_unit.hpp). Only
// code that filter_safety.hpp trusts runs.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/evaluator.hpp"
#include "core/row.hpp"

#include "pg/guard.hpp"
#include "worker/filter_table.hpp"
#include "worker/filter_unit.hpp"

namespace plank::worker {

class FilterEvaluator final : public core::Evaluator {
 public:
	explicit FilterEvaluator(FilterLimits limits = {});
	~FilterEvaluator();
	FilterEvaluator(const FilterEvaluator&) = delete;
	FilterEvaluator& operator=(const FilterEvaluator&) = delete;

	std::variant<core::FilterId, core::FilterFault> add_filter(const core::Identity& identity, const core::Shape& shape,
	                                                           std::string_view where) override;
	void retain(core::FilterId filter) noexcept override;
	void release(core::FilterId filter) noexcept override;
	std::variant<std::string, core::FilterFault> condition(core::FilterId filter, const core::Shape& shape) override;
	void look_again(const core::Shape& shape) override;
	bool look_further(std::chrono::steady_clock::time_point deadline, core::LookedAgain& found) override;
	uint64_t rights(core::FilterId filter) const noexcept override;
	bool has_filters(uint32_t relation) const noexcept override { return tables_.contains(relation); }
	void begin_batch() override;
	void evaluate(const core::Shape& shape, const core::Record& change, core::Verdicts& verdicts) override;
	void end_batch() override;
	void abort_batch() noexcept override { unit_.abandon(); }
	void begin_turn() noexcept override;
	size_t filters() const noexcept override { return filters_.size() - free_.size(); }
	size_t memory() const noexcept override;
	size_t memory_of(core::FilterId filter) const noexcept override;
	// plank.policy_timeout, in milliseconds.
	void set_policy_timeout(int limit) noexcept { execution_.policy_ms = limit; }

 private:
	using Tables = std::vector<std::unique_ptr<FilterTable>>;
	// A table that is being looked at again.
	struct Look {
		core::Shape shape;
		bool begun = false;
		std::vector<core::FilterId> ids;
		size_t at = 0;
		std::unordered_set<Oid> changed;                        // roles whose row security is another one
		std::unordered_set<uint64_t> hidden;                    // columns, with the role that may not read them
		std::chrono::steady_clock::time_point not_before = {};  // DDL holds the table
	};

	void prepare();
	using Work = std::function<void(FilterUnit&, Relation, FilterTable&)>;
	std::optional<core::FilterFault> at_table(const core::Shape& shape, const Work& work);
	Condition* parse(Oid role, const std::string& where, Relation relation, const FilterTable& table);
	Policy* find_policy(FilterUnit& unit, FilterTable& table, Relation relation, Oid role,
	                    const core::Identity& identity, Signature* definition);
	core::FilterId find_filter(FilterTable& table, const Condition& condition, Policy* policy, Oid role,
	                           const Signature& definition, std::string_view where);
	std::optional<core::FilterFault> move_to(core::FilterId id, const core::Shape& shape);
	bool look_at_table(Look& look, std::chrono::steady_clock::time_point deadline, core::LookedAgain& found);
	bool begin_look(Look& look);
	static void note_columns(Look& look, Oid role, Relation relation);
	bool look_at(Look& look, core::FilterId id, core::LookedAgain& found);
	FilterTable& table_for(const core::Shape& shape, Relation relation);
	void drop_if_empty(FilterTable* table) noexcept;
	void forget_signature(core::FilterId id) noexcept;
	core::FilterId take_id();
	void give_back(core::FilterId id) noexcept;
	core::FilterFault fault_of(pg::Error& error, filter_timer::Stop stop, bool adding) const;
	core::FilterFault recover(FilterUnit& unit, pg::Error& error, bool adding) const;
	static core::FilterFault policy_fault(const core::FilterFault& fault, const std::string& table);
	static core::FilterFault index_fault(const core::FilterFault& fault);
	void fail_policy(const FilterTable& table, Policy& policy, const core::FilterFault& fault,
	                 core::Verdicts& verdicts);
	void note_unreadable(core::FilterId id, core::Verdicts& verdicts);
	void fail(core::FilterId id, const core::FilterFault& fault, core::Verdicts& verdicts);
	void stop(core::FilterId id);
	static bool is_foreign_cancel(const core::FilterFault& fault);
	bool may_wait_for_lock() noexcept;
	void find(FilterTable& table, core::Verdicts& verdicts);
	void run(FilterTable& table, core::Verdicts& verdicts);

	const FilterLimits limits_;
	MemoryContext memory_ = nullptr, parsing_ = nullptr;
	FilterExecution execution_;
	FilterUnit unit_;  // of the batch
	Filters filters_;
	std::vector<core::FilterId> free_;
	std::unordered_map<Signature, core::FilterId, SignatureHash> by_signature_;
	std::unordered_map<uint32_t, Tables> tables_;  // by relation
	core::Row row_;
	std::deque<Look> looks_;
	bool in_policy_ = false;  // what went wrong when a filter was added
	// Since when changes have met tables that row security reads and that are locked.
	std::chrono::steady_clock::time_point locked_since_{};
	bool met_lock_ = false, lock_is_told_ = false;
	uint64_t change_ = 0;
	size_t at_ = 0;  // among the candidates
};

}  // namespace plank::worker
