// See costly_calls.hpp.
#include "pg/costly_calls.hpp"

namespace plank::pg {

namespace {

// Bytes times bytes: less than a second.
constexpr double kMostSearched = 1 << 28, kMostCompared = 1 << 30;
constexpr int32 kMostBuilt = 1000000;  // characters
constexpr double kBuiltInThatTime = 32e6;

constexpr CostlyCall kCostly[] = {
    {textlike, kMostSearched},
    {textnlike, kMostSearched},
    {texticlike, kMostSearched},
    {texticnlike, kMostSearched},
    {bytealike, kMostSearched},
    {byteanlike, kMostSearched},
    {textpos, kMostSearched},
    {byteapos, kMostSearched},
    {bitposition, kMostSearched},
    {replace_text, kMostSearched},
    {split_part, kMostSearched},
    {text_to_array, kMostSearched},
    {arraycontains, kMostCompared},
    {arraycontained, kMostCompared},
    {arrayoverlap, kMostCompared},
    {jsonb_contains, kMostCompared},
    {jsonb_contained, kMostCompared},
    {numeric_mul, kMostCompared},
    {numeric_div, kMostCompared},
    {numeric_div_trunc, kMostCompared},
    {numeric_mod, kMostCompared},
    {lpad, 0},
    {rpad, 0},
    {repeat, 0},
};

Datum call_if_cheap(FunctionCallInfo call)
{
	CHECK_FOR_INTERRUPTS();
	const PGFunction function = call->flinfo->fn_addr;
	(void)check_cost(*find_costly_call(function), call->args[0], call->args[1], 0);
	return function(call);
}

bool guard_plan(PlanState* node, void* context)
{
	guard_costs(node->qual);
	return planstate_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void*>(guard_plan)), context);
}

}  // namespace

const CostlyCall* find_costly_call(PGFunction function)
{
	for (const CostlyCall& costly : kCostly)
		if (costly.function == function) return &costly;
	return nullptr;
}

double check_cost(const CostlyCall& costly, const NullableDatum& first, const NullableDatum& second, int position)
{
	if (first.isnull || second.isnull) return 0;
	if (costly.most == 0) {
		const int32 built = DatumGetInt32(second.value);
		if (built <= kMostBuilt) return Max(built, 0) / kBuiltInThatTime;
		ereport(ERROR,
		        (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		         errmsg("a filter must not build text longer than %d characters", kMostBuilt), errposition(position)));
	}
	const auto size = [](Datum value) { return static_cast<double>(toast_raw_datum_size(value)); };
	const double cost = size(first.value) * size(second.value) / costly.most;
	if (cost > 1)
		ereport(ERROR,
		        (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		         errmsg("a filter must not look for values this large in others this large"), errposition(position)));
	return cost;
}

void guard_costs(ExprState* state)
{
	if (!state) return;
	for (int i = 0; i < state->steps_len; ++i) {
		ExprEvalStep& step = state->steps[i];
		switch (ExecEvalStepOp(state, &step)) {
			case EEOP_FUNCEXPR:
			case EEOP_FUNCEXPR_STRICT:
			case EEOP_FUNCEXPR_FUSAGE:
			case EEOP_FUNCEXPR_STRICT_FUSAGE:
#if PG_VERSION_NUM >= 180000
			case EEOP_FUNCEXPR_STRICT_1:
			case EEOP_FUNCEXPR_STRICT_2:
#endif
				if (find_costly_call(step.d.func.fn_addr)) step.d.func.fn_addr = call_if_cheap;
				break;
			case EEOP_SCALARARRAYOP:
				if (find_costly_call(step.d.scalararrayop.fn_addr)) step.d.scalararrayop.fn_addr = call_if_cheap;
				break;
			default:
				break;
		}
	}
}

void guard_costs(PlanState* plan) { (void)guard_plan(plan, nullptr); }

}  // namespace plank::pg
