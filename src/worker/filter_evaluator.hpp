// The conditions of subscriptions, judged by PostgreSQL: the evaluator that core/evaluator.hpp describes. Runs in the
// worker; in tests in ordinary sessions too. Must not be called inside pg::call or network callbacks.
//
// Every piece of work runs in a subtransaction of a unit of work, under fixed settings and a timer (filter_unit.hpp). Only
// code that filter_safety.hpp trusts runs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
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
	bool has_filters(uint32_t relation) const noexcept override { return tables_.contains(relation); }
	void begin_batch() override;
	void evaluate(const core::Shape& shape, const core::Record& change, core::Verdicts& verdicts) override;
	void end_batch() override;
	void abort_batch() noexcept override { unit_.abandon(); }
	void begin_turn() noexcept override;
	size_t filters() const noexcept override { return filters_.size() - free_.size(); }
	size_t memory() const noexcept override;
	size_t memory_of(core::FilterId filter) const noexcept override;

 private:
	using Tables = std::vector<std::unique_ptr<FilterTable>>;
	struct SignatureHash {
		size_t operator()(const Signature& signature) const noexcept;
	};

	void prepare();
	Condition* parse(Oid role, const std::string& where, Relation relation, const FilterTable& table);
	std::optional<core::FilterFault> move_to(core::FilterId id, const core::Shape& shape);
	FilterTable& table_for(const core::Shape& shape, Relation relation);
	void drop_if_empty(FilterTable* table) noexcept;
	void forget_signature(core::FilterId id) noexcept;
	core::FilterId take_id();
	void give_back(core::FilterId id) noexcept;
	core::FilterFault fault_of(pg::Error& error, filter_timer::Stop stop, bool adding) const;
	core::FilterFault recover(FilterUnit& unit, pg::Error& error, bool adding) const;
	void fail(core::FilterId id, const core::FilterFault& fault, core::Verdicts& verdicts);
	static bool is_foreign_cancel(const core::FilterFault& fault);
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
	std::vector<core::ShapePtr> to_look_at_;
	uint64_t change_ = 0;
	size_t at_ = 0;  // among the candidates
};

}  // namespace plank::worker
