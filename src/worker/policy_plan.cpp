// Planning and running policies with subqueries. Runs in the worker, in a FilterUnit, inside pg::call.
//
// The query is made from the policy's own tree, as PostgreSQL stores it: printing and parsing it again would ask for
// privileges on schemas that running it does not.
#include "worker/policy_plan.hpp"

#include <initializer_list>

#include "pg/compat.hpp"
#include "pg/execution.hpp"

namespace plank::worker {

namespace {

uint64 changes = 0;

void listen_for_changes()
{
	static bool registered = false;
	if (registered) return;
	registered = true;
	CacheRegisterRelcacheCallback([](Datum, Oid) { ++changes; }, static_cast<Datum>(0));
	for (const int cache : {PROCOID, NAMESPACEOID, OPEROID, TYPEOID, AUTHOID, AUTHMEMMEMROLE})
		CacheRegisterSyscacheCallback(
		    cache, [](Datum, int, uint32) { ++changes; }, static_cast<Datum>(0));
}

struct ToParameters {
	TupleDesc row;
	int depth;
	bool* whole_row;
};

// The row's columns, however deep in subqueries, become parameters with their numbers; the whole row the one after.
Node* put_parameters(Node* node, ToParameters* context)
{
	if (!node) return nullptr;
	if (IsA(node, Query)) {
		++context->depth;
		Query* const query = pg::mutate_query(reinterpret_cast<Query*>(node), put_parameters, context);
		--context->depth;
		return reinterpret_cast<Node*>(query);
	}
	if (!IsA(node, Var)) return pg::mutate_expression(node, put_parameters, context);
	const auto* const var = reinterpret_cast<Var*>(node);
	if (var->varno != 1 || static_cast<int>(var->varlevelsup) != context->depth)
		return static_cast<Node*>(copyObjectImpl(node));
	auto* const parameter = makeNode(Param);
	parameter->paramkind = PARAM_EXTERN;
	parameter->paramid = var->varattno > 0 ? var->varattno : context->row->natts + 1;
	if (var->varattno == 0) *context->whole_row = true;
	parameter->paramtype = var->vartype;
	parameter->paramtypmod = var->vartypmod;
	parameter->paramcollid = var->varcollid;
	parameter->location = -1;
	return reinterpret_cast<Node*>(parameter);
}

// Takes the first row's only column.
struct Answer {
	DestReceiver receiver;
	bool is_true;
};

bool take_answer(TupleTableSlot* slot, DestReceiver* self)
{
	bool is_null = false;
	const Datum value = slot_getattr(slot, 1, &is_null);
	reinterpret_cast<Answer*>(self)->is_true = !is_null && DatumGetBool(value);
	return true;
}

// Or fails at once: the worker stands in no queue.
void lock_tables(List* entries)
{
	ListCell* cell;
	foreach (cell, entries) {
		const auto* const entry = lfirst_node(RangeTblEntry, cell);
		if (entry->rtekind == RTE_RELATION && !ConditionalLockRelationOid(entry->relid, AccessShareLock))
			ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("the table is locked")));
	}
}

bool lock_tables_of(Node* node, void* context)
{
	if (!node) return false;
	if (!IsA(node, Query)) return pg::walk_expression(node, lock_tables_of, context);
	lock_tables(reinterpret_cast<Query*>(node)->rtable);
	return pg::walk_query(reinterpret_cast<Query*>(node), lock_tables_of, context);
}

}  // namespace

PolicyPlan::~PolicyPlan()
{
	if (memory_) MemoryContextDelete(memory_);
}

void PolicyPlan::open(Node* condition, TupleDesc row)
{
	listen_for_changes();
	memory_ = AllocSetContextCreate(TopMemoryContext, "plank policy", ALLOCSET_SMALL_SIZES);
	const MemoryContext caller = MemoryContextSwitchTo(memory_);
	plan_memory_ = AllocSetContextCreate(memory_, "plank policy plan", ALLOCSET_SMALL_SIZES);
	row_ = row;
	ToParameters context = {row, 0, &whole_row_};
	// Copied, because what mutators do not change they share with `condition`, which does not stay.
	auto* const answer = static_cast<Node*>(copyObjectImpl(put_parameters(condition, &context)));
	query_ = makeNode(Query);
	query_->commandType = CMD_SELECT;
	query_->canSetTag = true;
	query_->hasSubLinks = true;
	query_->jointree = makeFromExpr(NIL, nullptr);
	query_->targetList = list_make1(makeTargetEntry(reinterpret_cast<Expr*>(answer), 1, pstrdup("sees"), false));
	parameters_ = makeParamList(row->natts + 1);
	for (int i = 0; i < row->natts; ++i)
		parameters_->params[i].ptype = TupleDescAttr(row, i)->atttypid;
	parameters_->params[row->natts].ptype = row->tdtypeid;
	for (int i = 0; i <= row->natts; ++i)
		parameters_->params[i].isnull = true;
	MemoryContextSwitchTo(caller);
	plan();
}

void PolicyPlan::lock() const { lock_tables(planned_->rtable); }

void PolicyPlan::plan()
{
	planned_ = nullptr;
	MemoryContextReset(plan_memory_);
	const MemoryContext caller = MemoryContextSwitchTo(plan_memory_);
	auto* const query = static_cast<Query*>(copyObjectImpl(query_));
	(void)lock_tables_of(reinterpret_cast<Node*>(query), nullptr);
	AcquireRewriteLocks(query, true, false);
	const uint64 before = changes;
	Query* const rewritten = linitial_node(Query, pg_rewrite_query(query));
	planned_ = pg_plan_query(rewritten, "", 0, nullptr);
	planned_at_ = before;
	MemoryContextSwitchTo(caller);
}

bool PolicyPlan::run(const TupleTableSlot* slot, const AttrNumber* columns, size_t count)
{
	// With its tables locked nothing can change under the plan; what had changed before is heard of with the locks.
	constexpr int kMostPlans = 5;
	for (int plans = 0; plans < kMostPlans; ++plans) {
		if (!planned_) plan();
		lock();
		if (planned_at_ == changes) break;
		planned_ = nullptr;
	}
	if (!planned_) plan();

	for (size_t i = 0; i < count; ++i) {
		const int at = columns[i] - 1;
		parameters_->params[at].value = slot->tts_values[at];
		parameters_->params[at].isnull = slot->tts_isnull[at];
	}
	if (whole_row_) {
		parameters_->params[row_->natts].value =
		    heap_copy_tuple_as_datum(heap_form_tuple(row_, slot->tts_values, slot->tts_isnull), row_);
		parameters_->params[row_->natts].isnull = false;
	}
	Answer answer = {{}, false};
	answer.receiver = *CreateDestReceiver(DestNone);
	answer.receiver.receiveSlot = take_answer;
	QueryDesc* const run =
	    CreateQueryDesc(planned_, "", GetActiveSnapshot(), InvalidSnapshot, &answer.receiver, parameters_, nullptr, 0);
	ExecutorStart(run, 0);
	ExecutorRun(run, ForwardScanDirection, 1);
	ExecutorFinish(run);
	ExecutorEnd(run);
	FreeQueryDesc(run);
	return answer.is_true;
}

}  // namespace plank::worker
