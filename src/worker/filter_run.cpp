// Running a table's filters against a change: rebuilding the columns that they look at, asking the indexes, evaluating
// the rest. Runs in the worker, in a FilterUnit.
#include "worker/filter_table.hpp"

#include <utility>

namespace plank::worker {

namespace {

constexpr int kAfterSlot = 0, kBeforeSlot = 1;

bool unreadable = false;
bool reading = false;  // a value, by its type's input function

// The others say nothing of the value, such as that nothing of the type may be read any more.
bool is_about_a_value(int sqlstate)
{
	const int category = ERRCODE_TO_CATEGORY(sqlstate);
	return sqlstate != ERRCODE_QUERY_CANCELED && sqlstate != ERRCODE_INTERNAL_ERROR &&
	       sqlstate != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE && category != ERRCODE_INSUFFICIENT_RESOURCES &&
	       category != ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

}  // namespace

bool take_unreadable(int sqlstate) noexcept
{
	const bool was_reading = std::exchange(reading, false);
	return std::exchange(unreadable, false) || (was_reading && is_about_a_value(sqlstate));
}

void FilterTable::prepare(const core::Shape& shape, const core::Row& row, core::Op op, uint64_t change)
{
	if (bound_ != shape.identity) bind(shape);
	row_ = &row;
	op_ = op;
	images_ = op == core::Op::insert ? kAfter : op == core::Op::remove ? kBefore : kAfter | kBefore;
	change_ = change;
	next_index_ = 0;
	candidates_.clear();
	certain_.clear();
	certain_kept_ = 0;
}

void FilterTable::bind(const core::Shape& shape)
{
	for (TableColumn& column : columns_) {
		column.in_shape = -1;
		if (column.name.empty()) continue;
		for (size_t i = 0; i < shape.columns.size(); ++i)
			if (shape.columns[i].name == column.name && shape.columns[i].type == column.type)
				column.in_shape = static_cast<int>(i);
	}
	bound_ = shape.identity;
}

// Puts a column's value into a slot. May ereport.
void FilterTable::read_column(int which, AttrNumber number)
{
	TableColumn& column = columns_[static_cast<size_t>(number - 1)];
	if (column.read[which] == change_) return;
	if (column.in_shape < 0) {
		unreadable = true;
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("column \"%s\" was another one when the row was written",
		                       NameStr(TupleDescAttr(descriptor_, number - 1)->attname))));
	}
	const auto at = static_cast<size_t>(column.in_shape);
	const bool former = op_ == core::Op::update && which == kBeforeSlot;
	TupleTableSlot* const slot = slots_[which];
	if (former && !row_->differs(at)) {
		read_column(kAfterSlot, number);
		slot->tts_values[number - 1] = slots_[kAfterSlot]->tts_values[number - 1];
		slot->tts_isnull[number - 1] = slots_[kAfterSlot]->tts_isnull[number - 1];
		column.read[which] = change_;
		return;
	}
	if (!column.resolved) {
		resolve_input(&column.input, TupleDescAttr(descriptor_, number - 1)->atttypid, memory_);
		column.resolved = true;
	}
	const core::ColumnImage& image = former ? row_->before(at) : row_->now(at);
	slot->tts_isnull[number - 1] = image.is_null();
	if (!image.is_null()) {
		const MemoryContext caller = MemoryContextSwitchTo(execution_.row);
		reading = true;
		slot->tts_values[number - 1] = read_value(&column.input, image);
		reading = false;
		MemoryContextSwitchTo(caller);
	}
	column.read[which] = change_;
}

void FilterTable::want(Filters& filters, std::span<const uint32_t> ids, uint8_t images)
{
	for (const uint32_t id : ids) {
		Filter& filter = filters[id];
		if (filter.failed) continue;
		if (filter.change != change_) {
			filter.change = change_;
			filter.wanted = 0;
			candidates_.push_back(id);
		}
		filter.wanted |= images;
	}
}

void FilterTable::probe(Filters& filters, FilterIndex& index)
{
	const AttrNumber number = index.column();
	// A filter with one value is found by one look and no other, so that what is certain need not be looked at: of very
	// many filters few are in the cache.
	const auto look = [&](int which, uint8_t images, bool only) {
		read_column(which, number);
		if (slots_[which]->tts_isnull[number - 1]) return;
		MemoryContextReset(execution_.context->ecxt_per_tuple_memory);
		const MemoryContext caller = MemoryContextSwitchTo(execution_.context->ecxt_per_tuple_memory);
		index.probe(slots_[which]->tts_values[number - 1], [&](std::span<const uint32_t> ids, bool certain) {
			if (only && certain)
				certain_.push_back({ids.front(), (images & kBefore) != 0, (images & kAfter) != 0});
			else
				want(filters, ids, images);
		});
		MemoryContextSwitchTo(caller);
	};
	const int place = columns_[static_cast<size_t>(number - 1)].in_shape;
	if (op_ == core::Op::update && place >= 0 && !row_->differs(static_cast<size_t>(place))) {
		look(kAfterSlot, images_, true);
		return;
	}
	// Both looks of an update may find it: 1.0 has become 1.00.
	if (images_ & kAfter) look(kAfterSlot, kAfter, op_ != core::Op::update);
	if (images_ & kBefore) look(kBeforeSlot, kBefore, op_ != core::Op::update);
}

void FilterTable::find(Filters& filters)
{
	for (; next_index_ < indexes_.size(); ++next_index_) {
		// An error may have ended the last look in the middle.
		certain_.resize(certain_kept_);
		probe(filters, *indexes_[next_index_]);
		certain_kept_ = certain_.size();
	}
	certain_.resize(certain_kept_);
	want(filters, unindexed_, images_);
}

void FilterTable::skip_index(std::vector<uint32_t>& failed)
{
	if (next_index_ >= indexes_.size()) return;
	indexes_[next_index_]->for_each(
	    [&](std::span<const uint32_t> ids, bool) { failed.insert(failed.end(), ids.begin(), ids.end()); });
	++next_index_;
}

// May ereport.
bool FilterTable::passes(const Conjuncts& conjuncts, int which)
{
	SharedCondition& shared = *conjuncts.shared;
	if (shared.rest == NIL) return true;
	if (unlikely(shared.of_policy && shared.compiled_at != function_changes())) {
		shared.state = nullptr;
		MemoryContextReset(shared.state_memory);
	}
	if (unlikely(!shared.state)) compile_state(shared);
	if (shared.read[which] != change_) {
		for (const AttrNumber number : shared.columns)
			read_column(which, number);
		shared.read[which] = change_;
	}
	ExprContext* const context = execution_.context;
	MemoryContextReset(context->ecxt_per_tuple_memory);
	const size_t constants = shared.by_value.size();
	for (size_t i = 0; i < constants; ++i)
		shared.parameters->params[i].value = conjuncts.constants[i];
	context->ecxt_param_list_info = shared.parameters;
	context->ecxt_scantuple = slots_[which];
	return ExecQual(shared.state, context);
}

bool FilterTable::same_in_both(const std::vector<AttrNumber>& columns) const noexcept
{
	if (row_->differences().empty()) return true;
	for (const AttrNumber number : columns) {
		const int place = columns_[static_cast<size_t>(number - 1)].in_shape;
		if (place < 0 || row_->differs(static_cast<size_t>(place))) return false;
	}
	return true;
}

core::Verdict FilterTable::run(Filter& filter)
{
	core::Verdict verdict;
	const auto passes_in = [&](int which) {
		if (filter.policy) {
			// First, and before the condition meets the row at all: its errors would tell what is hidden.
			if (!visible(*filter.policy, which)) return false;
			filter_timer::run(&filter.charge);
		}
		return passes(filter.conjuncts, which);
	};
	if (filter.wanted & kAfter) verdict.after = passes_in(kAfterSlot);
	if (!(filter.wanted & kBefore)) return verdict;
	if (filter.wanted == (kAfter | kBefore) && same_in_both(filter.conjuncts.shared->columns) &&
	    (!filter.policy || same_row_for(*filter.policy)))
		verdict.before = verdict.after;
	else
		verdict.before = passes_in(kBeforeSlot);
	return verdict;
}

void FilterTable::mend(const Conjuncts& conjuncts) noexcept
{
	if (!conjuncts.shared) return;
	conjuncts.shared->state = nullptr;
	MemoryContextReset(conjuncts.shared->state_memory);
}

}  // namespace plank::worker
