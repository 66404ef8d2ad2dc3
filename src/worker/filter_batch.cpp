// Judging changes, and what becomes of filters that fail. Runs in the worker.
#include "worker/filter_evaluator.hpp"

#include <utility>

#include "pg/encoding.hpp"
#include "pg/unit_of_work.hpp"
#include "worker/filter_names.hpp"

namespace plank::worker {

namespace {

// Times that one filter is tried again after replay has taken what it read.
constexpr int kMostConflicts = 5;

std::string sqlstate_text(int sqlstate) { return unpack_sql_state(sqlstate); }

// What protocol.md rule 9 calls what PostgreSQL says of a condition.
const char* code_of(int sqlstate)
{
	switch (sqlstate) {
		case ERRCODE_UNDEFINED_COLUMN:
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_QUERY_CANCELED:
		case ERRCODE_INTERNAL_ERROR:
			return nullptr;
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_GROUPING_ERROR:
		case ERRCODE_WINDOWING_ERROR:
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			return "0A000";
		default:
			break;
	}
	const int category = ERRCODE_TO_CATEGORY(sqlstate);
	if (category == ERRCODE_PROGRAM_LIMIT_EXCEEDED || category == ERRCODE_INSUFFICIENT_RESOURCES) return "53400";
	return "42601";
}

std::string utf8(const char* text) { return text ? pg::to_utf8(text) : std::string(); }

}  // namespace

// Frees the error; once its subtransaction is over, for it may look at the catalog. `adding`: the filter is being added, so the client is told a code of the protocol.
core::FilterFault FilterEvaluator::fault_of(pg::Error& error, filter_timer::Stop stop, bool adding) const
{
	core::FilterFault fault;
	const ErrorData* const data = error.data();
	fault.sqlstate = sqlstate_text(data->sqlerrcode);
	if (data->sqlerrcode == ERRCODE_QUERY_CANCELED && stop != filter_timer::Stop::none) {
		fault.code = fault.sqlstate = "53400";
		switch (stop) {
			case filter_timer::Stop::memory:
				fault.message = "the filter needs more than " + std::to_string(limits_.memory / 1024 / 1024) + " MB";
				break;
			case filter_timer::Stop::budget:
				fault.message = "the filter takes too much of the server's time";
				break;
			default:
				fault.message = "the filter takes longer than " + std::to_string(limits_.evaluation_ms) + " ms";
		}
		fault.hint = "Write a simpler condition.";
		error.release();
		return fault;
	}
	const char* const code = adding ? code_of(data->sqlerrcode) : nullptr;
	fault.code = code ? code : fault.sqlstate;
	fault.message = without_hiding(utf8(data->message));
	fault.detail = without_hiding(utf8(data->detail));
	fault.hint = without_hiding(utf8(data->hint));
	fault.position = data->cursorpos;
	error.release();
	return fault;
}

core::FilterFault FilterEvaluator::recover(FilterUnit& unit, pg::Error& error, bool adding) const
{
	const filter_timer::Stop stop = filter_timer::take_stop();
	unit.renew();
	return fault_of(error, stop, adding);
}

void FilterEvaluator::begin_turn() noexcept { filter_timer::begin_turn(); }

// The unit opens with the first change of a table that has filters: many batches have none.
void FilterEvaluator::begin_batch() {}

void FilterEvaluator::end_batch()
{
	unit_.close();
	if (execution_.row) MemoryContextReset(execution_.row);
}

void FilterEvaluator::evaluate(const core::Shape& shape, const core::Record& change, core::Verdicts& verdicts)
{
	verdicts.passed.clear();
	verdicts.failed.clear();
	verdicts.unreadable.clear();
	verdicts.locked = false;
	met_lock_ = false;
	const auto found = tables_.find(shape.relation);
	if (found == tables_.end() || change.op == core::Op::truncate) return;
	if (!unit_.is_open()) unit_.open(limits_, execution_.context->ecxt_per_tuple_memory);
	row_.read(change, shape);
	MemoryContextReset(execution_.row);
	++change_;
	for (const auto& table : found->second) {
		table->prepare(shape, row_, change.op, change_);
		find(*table, verdicts);
		run(*table, verdicts);
		if (verdicts.locked) return;
		verdicts.passed.insert(verdicts.passed.end(), table->certain().begin(), table->certain().end());
	}
	if (!met_lock_) locked_since_ = {};
}

void FilterEvaluator::fail(core::FilterId id, const core::FilterFault& fault, core::Verdicts& verdicts)
{
	Filter& filter = filters_[id];
	if (filter.failed) return;
	stop(id);
	verdicts.failed.push_back({id, fault});
}

// It is not evaluated any more.
void FilterEvaluator::stop(core::FilterId id)
{
	Filter& filter = filters_[id];
	filter.failed = true;
	if (filter.index && filter.values == 1) filter.index->doubt(filter.first_value, id);
	forget_signature(id);
}

// The change was written when the table was another one, or replay leaves no time for it: nothing is wrong with the filter.
void FilterEvaluator::note_unreadable(core::FilterId id, core::Verdicts& verdicts)
{
	const Filter& filter = filters_[id];
	if (filter.failed || filter.unreadable == change_) return;
	filters_[id].unreadable = change_;
	verdicts.unreadable.push_back(id);
}

// What a policy's error says may quote rows that the client may not see: it is for the server's log.
core::FilterFault FilterEvaluator::policy_fault(const core::FilterFault& fault, const std::string& table)
{
	if (take_policy_refusal()) return fault;
	core::FilterFault told;
	told.code = told.sqlstate = fault.sqlstate;
	if (fault.sqlstate == core::kLocked) {
		told.message = "a table that the row security policy reads is locked";
		told.hint = "Subscribe again.";
		return told;
	}
	pg::log_line(LOG, ("row security of table " + table + " failed: " + fault.message).c_str(),
	             fault.detail.empty() ? nullptr : fault.detail.c_str());
	told.message = "the row security policy of the table failed";
	if (fault.code == "53400") {
		told.code = told.sqlstate = "53400";
		told.message = "the row security policy of the table takes too long or needs too much memory";
	}
	return told;
}

// An index is asked before row security is: its error may be about a row that the client may not see.
core::FilterFault FilterEvaluator::index_fault(const core::FilterFault& fault)
{
	core::FilterFault told;
	told.code = fault.code;
	told.sqlstate = fault.sqlstate;
	told.message = "the filter failed";
	return told;
}

// Ends whoever sees the table through the policy.
void FilterEvaluator::fail_policy(const FilterTable& table, Policy& policy, const core::FilterFault& fault,
                                  core::Verdicts& verdicts)
{
	const core::FilterFault told = policy_fault(fault, table.name());
	for (core::FilterId id = 0; id < filters_.size(); ++id)
		if (filters_[id].policy == &policy) fail(id, told, verdicts);
}

// Whether the server was asked to cancel something: not the filter's fault, so it is tried again.
bool FilterEvaluator::is_foreign_cancel(const core::FilterFault& fault) { return fault.sqlstate == "57014"; }

// So that an ordinary ALTER TABLE ends nobody. All that comes behind the change waits too, so this is not for long.
bool FilterEvaluator::may_wait_for_lock() noexcept
{
	constexpr auto kLongest = std::chrono::milliseconds(3000);
	const auto now = std::chrono::steady_clock::now();
	met_lock_ = true;
	if (locked_since_ == std::chrono::steady_clock::time_point{}) {
		locked_since_ = now;
		lock_is_told_ = false;
	}
	if (now - locked_since_ < kLongest) return true;
	if (!std::exchange(lock_is_told_, true))
		pg::log_line(LOG, "a table that row security reads is locked for too long; subscriptions end",
		             "Commits were held back from clients for it.",
		             "Let transactions that lock tables which policies read be short.");
	return false;
}

void FilterEvaluator::find(FilterTable& table, core::Verdicts& verdicts)
{
	int conflicts = 0;
	for (;;) {
		try {
			filter_timer::run_for_all();
			pg::call([&] {
				error_context_stack = nullptr;
				table.find(filters_);
			});
			return;
		} catch (pg::Error& error) {
			const bool conflict = pg::is_recovery_conflict(error);
			const bool unreadable = take_unreadable(error.sqlstate()) || conflict;
			const core::FilterFault fault = recover(unit_, error, false);
			if (is_foreign_cancel(fault) || (conflict && ++conflicts <= kMostConflicts)) continue;
			conflicts = 0;
			std::vector<uint32_t> failed;
			table.skip_index(failed);
			for (const uint32_t id : failed) {
				if (unreadable)
					note_unreadable(id, verdicts);
				else
					fail(id, filters_[id].policy ? index_fault(fault) : fault, verdicts);
			}
		}
	}
}

void FilterEvaluator::run(FilterTable& table, core::Verdicts& verdicts)
{
	const std::vector<uint32_t>& candidates = table.candidates();
	if (candidates.empty()) return;
	at_ = 0;
	// Somebody who cancels does so once; a policy may raise the same error for ever.
	constexpr int kMostCancels = 3;
	int cancels = 0, conflicts = 0;
	while (at_ < candidates.size()) {
		try {
			pg::call([&] {
				error_context_stack = nullptr;
				for (; at_ < candidates.size(); ++at_) {
					Filter& filter = filters_[candidates[at_]];
					if (filter.failed) continue;
					filter_timer::run(&filter.charge);
					core::Verdict verdict = table.run(filter);
					if (filter_timer::has_overrun())
						ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the filter took too long")));
					verdict.filter = candidates[at_];
					if (verdict.before || verdict.after) verdicts.passed.push_back(verdict);
				}
			});
		} catch (pg::Error& error) {
			const bool conflict = pg::is_recovery_conflict(error);
			const bool unreadable = take_unreadable(error.sqlstate()) || conflict;
			Policy* const policy = std::exchange(execution_.running, nullptr);
			const core::FilterFault fault = recover(unit_, error, false);
			Filter& filter = filters_[candidates[at_]];
			FilterTable::mend(policy ? policy->conjuncts : filter.conjuncts);
			if (conflict && ++conflicts <= kMostConflicts) continue;
			if (policy && fault.sqlstate == core::kLocked && may_wait_for_lock()) {
				verdicts.locked = true;
				return;
			}
			if (!unreadable && is_foreign_cancel(fault) && ++cancels <= kMostCancels) continue;
			cancels = conflicts = 0;
			if (unreadable)
				note_unreadable(candidates[at_], verdicts);
			else if (policy)
				fail_policy(table, *policy, fault, verdicts);
			else
				fail(candidates[at_], fault, verdicts);
			++at_;
		}
	}
	filter_timer::run(nullptr);
}

}  // namespace plank::worker
